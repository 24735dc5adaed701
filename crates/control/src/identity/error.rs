//! What IAM answers when it does not do what it was asked, in its words.

use frontdesk_aws::ServiceError;
use frontdesk_aws::policy::PolicyError;
use frontdesk_store::{IdentityKind, StoreError};
use http::StatusCode;

/// Why a change or a look-up failed
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html> and the errors of each operation).
#[derive(Debug, thiserror::Error)]
pub(crate) enum IamError {
    #[error("{0}")]
    NoSuchEntity(String),
    #[error("{0}")]
    EntityAlreadyExists(String),
    #[error("{0}")]
    DeleteConflict(&'static str),
    #[error("{0}")]
    LimitExceeded(String),
    #[error(transparent)]
    MalformedPolicyDocument(#[from] PolicyError),
    #[error("{0}")]
    InvalidInput(String),
    #[error("Cannot perform the operation on the protected role '{0}' - this role is only modifiable by the host")]
    UnmodifiableEntity(String),
    #[error("the system's random generator failed: {0}")]
    Random(frontdesk_gateway::key::RandomError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IamError {
    /// No identity of this kind has the name.
    pub(crate) fn no_identity(kind: IdentityKind, name: &str) -> IamError {
        IamError::NoSuchEntity(format!("The {} with name {name} cannot be found.", kind.name()))
    }

    /// An account's or an entity's quota, as IAM words it.
    pub(crate) fn quota(of: &str, max: usize) -> IamError {
        IamError::LimitExceeded(format!("Cannot exceed quota for {of}: {max}"))
    }
}

impl From<IamError> for ServiceError {
    fn from(error: IamError) -> ServiceError {
        let (status, code) = match &error {
            IamError::NoSuchEntity(_) => (StatusCode::NOT_FOUND, "NoSuchEntity"),
            IamError::EntityAlreadyExists(_) => (StatusCode::CONFLICT, "EntityAlreadyExists"),
            IamError::DeleteConflict(_) => (StatusCode::CONFLICT, "DeleteConflict"),
            IamError::LimitExceeded(_) => (StatusCode::CONFLICT, "LimitExceeded"),
            IamError::MalformedPolicyDocument(_) => (StatusCode::BAD_REQUEST, "MalformedPolicyDocument"),
            IamError::InvalidInput(_) => (StatusCode::BAD_REQUEST, "InvalidInput"),
            IamError::UnmodifiableEntity(_) => (StatusCode::BAD_REQUEST, "UnmodifiableEntity"),
            IamError::Random(_) | IamError::Store(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the identities could not be changed");
                (StatusCode::INTERNAL_SERVER_ERROR, "ServiceFailure")
            }
        };
        ServiceError::new(status, code, error.to_string())
    }
}
