//! What goes wrong with functions, by the kinds that Lambda's API tells apart.

use frontdesk_store::StoreError;

/// Why an operation on a function was not done. The texts reach callers, in Lambda's own words where it has some.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// No such function, version, alias or policy.
    #[error("{0}")]
    NotFound(String),
    /// It exists already, or is in a state that forbids this.
    #[error("{0}")]
    Conflict(String),
    /// A value breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// A request that no function is handed.
    #[error("Could not parse request body into json: {0}")]
    InvalidJson(String),
    /// A payload, or a zip file, is too large.
    #[error("{0}")]
    TooLarge(String),
    /// No more may run at once.
    #[error("Rate Exceeded.")]
    TooManyRequests {
        /// Which limit: Lambda's word for it.
        reason: &'static str,
    },
    /// Somebody else changed it in between.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias/GetPolicy API to retrieve the latest Revision Id"
    )]
    PreconditionFailed,
    /// No process could be started, or a file not be written.
    #[error("{0}")]
    Failed(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FunctionError {
    /// There is no function, version or alias of this ARN.
    pub(crate) fn no_function(arn: &str) -> FunctionError {
        FunctionError::NotFound(format!("Function not found: {arn}"))
    }
}
