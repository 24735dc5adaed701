//! What can go wrong with a deployment, in sentences that end with what to do.

use crate::call::CallError;
use crate::registry::{ReferenceError, RegistryError};

/// A deployment that came to nothing, or to less.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A call of AWS.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A push.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A registry's host that is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Something of that name is there, and this program did not make it.
    #[error(
        "the {what} exists and was not made by frontdesk (it lacks the tag made-by=frontdesk), so it is left alone: choose another deploy.stack_name"
    )]
    NotOurs {
        /// Such as `stack faq`.
        what: String,
    },
    /// Somebody is at it.
    #[error(
        "the stack {stack} is being changed right now ({status}): wait until that has ended (`frontdesk status --aws`), then deploy again"
    )]
    Busy {
        /// Its name.
        stack: String,
        /// CloudFormation's word.
        status: String,
    },
    /// CloudFormation cannot change it.
    #[error(
        "the stack {stack} is stuck in {status}{}: {}remove it with `frontdesk undeploy`",
        reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
        if status == "UPDATE_ROLLBACK_FAILED" {
            format!("mend what the reason names and go back with `aws cloudformation continue-update-rollback --stack-name {stack}`, or ")
        } else {
            String::new()
        }
    )]
    Stuck {
        /// Its name.
        stack: String,
        /// CloudFormation's word.
        status: String,
        /// Its reason.
        reason: Option<String>,
    },
    /// Nothing to compare with.
    #[error(
        "the first creation of the stack {0} has failed, and CloudFormation plans nothing on what is left: `frontdesk deploy` removes it and starts anew"
    )]
    Remnant(String),
    /// CloudFormation does not take the template or a parameter.
    #[error("CloudFormation refuses the change: {reason}. Nothing was changed")]
    ChangeSet {
        /// Its reason.
        reason: String,
    },
    /// The change set is for a stack that is no longer as it was.
    #[error(
        "somebody else has changed the stack {stack}, or deploys to it, since the change was worked out. Nothing was changed by this deployment: look at it \
         (`frontdesk status --aws`), then deploy again"
    )]
    Overtaken {
        /// Its name.
        stack: String,
    },
    /// The reason on top: of a hundred events only the first failure is one.
    #[error("{resource} ({kind}) failed: {reason}. {after}")]
    Failed {
        /// The resource's logical id.
        resource: String,
        /// Its type.
        kind: String,
        /// CloudFormation's reason, which quotes the service's.
        reason: String,
        /// What became of the stack.
        after: String,
    },
    /// A stack that was there a moment ago.
    #[error("the stack {0} is gone: somebody else has removed it. Deploy again to make it anew")]
    Gone(String),
    /// CloudFormation takes longer than anything in the stack does.
    #[error(
        "the stack {stack} is still being changed; what becomes of it is seen in CloudFormation's console, and by `frontdesk status --aws`"
    )]
    TookTooLong {
        /// Its id.
        stack: String,
    },
    /// The stack lacks what only this program's template gives it.
    #[error("the stack has no output {0}: it was made by another version or changed by hand; deploy again to bring it up to date")]
    NoOutput(&'static str),
    /// A key that the stack does not have.
    #[error("the stack has no API key {key}; it has: {known}")]
    NoKey {
        /// As it was asked for.
        key: String,
        /// The names of those it has.
        known: String,
    },
    /// No stack of that name.
    #[error("there is no stack {0} in this account and region: `frontdesk deploy` makes it; --region and --profile choose another place")]
    NoStack(String),
    /// The endpoint does not answer as it should.
    #[error("the stack is there, but its endpoint does not answer a question: {0}")]
    Question(String),
    /// The question cannot be sent.
    #[error("failed to make the HTTP client")]
    Client(#[source] reqwest::Error),
}
