//! What `frontdesk deploy` and `undeploy` do in an account: look first, make a change set, execute it, watch it, ask the endpoint a question; or take it all
//! away again.
//!
//! Everything that happens is told as a [`Progress`]; nothing is printed here. Waiting is by asking again: CloudFormation tells nobody by itself.

mod agent_logs;
pub mod change_set;
pub mod code;
mod error;
pub mod events;
pub mod images;
pub mod log_role;
pub mod question;
pub mod secret;
pub mod stacks;
mod undeploy;

use std::collections::BTreeSet;
use std::time::Duration;

pub use error::DeployError;
pub use undeploy::{Kept, Removed, undeploy};

use crate::call::{Account, Aws};
use crate::stack::{MAKE_LOG_ROLE, StackName};
use change_set::{Change, ChangeSet};
use events::StackEvent;
use stacks::Stack;

/// How long a stack may take. An AgentCore runtime takes a few minutes, the rest seconds; CloudFormation itself gives up later.
const WAITS_MAX: u32 = 1200;

/// What happens, as it happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<'a> {
    /// A stack whose first creation failed is in the way, and is removed.
    RemovingFailedStack(&'a str),
    /// The model provider's key was put into a new secret, or a new key into the old one.
    KeyStored(&'a str),
    /// What will change.
    Planned(&'a [Change]),
    /// Something happened to a resource, or to the stack as a whole.
    Happened(&'a StackEvent),
    /// Nothing has happened for a while; these resources are under way.
    StillAt(&'a BTreeSet<String>),
    /// An attempt at the endpoint that came to nothing yet.
    NotYet(&'a str),
}

/// After so many looks at which nothing was new, who watches is told that it goes on all the same: an AgentCore runtime takes minutes and says nothing.
const QUIET_LOOKS_MAX: u32 = 10;

/// Is told what happens.
pub type Listener<'a> = dyn FnMut(Progress<'_>) + Send + 'a;

/// An account, and how long to wait between two looks.
#[derive(Debug)]
pub struct Deployer<'a> {
    /// Where and as whom.
    pub aws: &'a Aws,
    /// Between two looks at something that takes its time.
    pub pause: Duration,
}

/// What is wanted of the stack.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The stack.
    pub name: &'a StackName,
    /// The template's text.
    pub template: &'a str,
    /// The template's parameters, but for [`MAKE_LOG_ROLE`], which the account decides.
    pub parameters: Vec<(&'static str, String)>,
}

/// What a deployment has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing in the stack had to change.
    Unchanged(Stack),
    /// The stack was made or changed.
    Deployed(Stack),
}

impl Outcome {
    /// The stack as it is now.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        match self {
            Outcome::Unchanged(stack) | Outcome::Deployed(stack) => stack,
        }
    }
}

impl Deployer<'_> {
    /// Whose account it is.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn account(&self) -> Result<Account, DeployError> {
        Ok(self.aws.account().await?)
    }

    /// The stack as it is, if it may be deployed to: one that this program made, that nobody is changing, and that CloudFormation can change.
    ///
    /// # Errors
    /// [`DeployError::NotOurs`], [`DeployError::Busy`], [`DeployError::Stuck`].
    pub async fn inspect(&self, name: &StackName) -> Result<Option<Stack>, DeployError> {
        let Some(stack) = stacks::describe(self.aws, name.as_str()).await? else { return Ok(None) };
        // A stack in review has nothing in it, and no tags yet.
        if stack.is_there() && !stack.is_ours() {
            return Err(DeployError::NotOurs { what: format!("stack {name}") });
        }
        if stack.is_busy() {
            return Err(DeployError::Busy { stack: name.to_string(), status: stack.status });
        }
        if ["ROLLBACK_FAILED", "UPDATE_ROLLBACK_FAILED", "DELETE_FAILED"].contains(&stack.status.as_str()) {
            return Err(DeployError::Stuck { stack: name.to_string(), status: stack.status, reason: stack.reason });
        }
        Ok(Some(stack))
    }

    /// The stack, which must be there.
    ///
    /// # Errors
    /// [`DeployError::NoStack`], [`DeployError::NotOurs`].
    pub async fn stack(&self, name: &StackName) -> Result<Stack, DeployError> {
        let stack = stacks::describe(self.aws, name.as_str()).await?.filter(Stack::is_there);
        let stack = stack.ok_or_else(|| DeployError::NoStack(name.to_string()))?;
        if stack.is_ours() { Ok(stack) } else { Err(DeployError::NotOurs { what: format!("stack {name}") }) }
    }

    /// What a deployment would change. Leaves nothing behind.
    ///
    /// # Errors
    /// As [`Deployer::inspect`]; [`DeployError::ChangeSet`] where CloudFormation does not take the template.
    pub async fn plan(&self, wanted: &Wanted<'_>) -> Result<Vec<Change>, DeployError> {
        let found = self.inspect(wanted.name).await?;
        let makes_shell = found.is_none();
        if found.as_ref().is_some_and(Stack::is_empty_remnant) {
            return Err(DeployError::Remnant(wanted.name.to_string()));
        }
        let stack = found.filter(Stack::is_there);
        let parameters = self.parameters(wanted, stack.as_ref()).await?;
        let change_set = change_set::create(self, wanted, parameters, stack.is_none()).await?;
        let changes = change_set.as_ref().map(|change_set| change_set.changes.clone()).unwrap_or_default();
        if let Some(change_set) = &change_set {
            change_set::delete(self.aws, change_set).await?;
        }
        if makes_shell {
            // A change set for a new stack makes an empty stack to hang on.
            stacks::delete(self.aws, wanted.name.as_str()).await?;
        }
        Ok(changes)
    }

    /// Makes the stack what it should be, and waits for it.
    ///
    /// # Errors
    /// As [`Deployer::inspect`]; [`DeployError::ChangeSet`]; [`DeployError::Failed`] names the first resource that failed and CloudFormation's reason, and
    /// says what was rolled back.
    pub async fn deploy(&self, wanted: &Wanted<'_>, listener: &mut Listener<'_>) -> Result<Outcome, DeployError> {
        let mut stack = self.inspect(wanted.name).await?;
        if let Some(failed) = stack.take_if(|stack| stack.is_empty_remnant()) {
            // Nothing is in it, and CloudFormation takes no change to it.
            listener(Progress::RemovingFailedStack(wanted.name.as_str()));
            stacks::delete(self.aws, wanted.name.as_str()).await?;
            self.watch(&failed.id, None, listener).await?;
        }
        let stack = stack.filter(Stack::is_there);
        let parameters = self.parameters(wanted, stack.as_ref()).await?;
        let Some(change_set) = change_set::create(self, wanted, parameters, stack.is_none()).await? else {
            let stack = stack.ok_or_else(|| DeployError::Gone(wanted.name.to_string()))?;
            return Ok(Outcome::Unchanged(stack));
        };
        listener(Progress::Planned(&change_set.changes));
        let last_seen = events::last(self.aws, &change_set.stack_id).await?;
        self.execute(&change_set, wanted.name).await?;
        self.watch(&change_set.stack_id, last_seen, listener).await?;
        let stack = stacks::describe(self.aws, &change_set.stack_id).await?;
        Ok(Outcome::Deployed(stack.ok_or_else(|| DeployError::Gone(wanted.name.to_string()))?))
    }

    async fn execute(&self, change_set: &ChangeSet, name: &StackName) -> Result<(), DeployError> {
        match change_set::execute(self.aws, change_set).await {
            // Somebody else has changed the stack since the change set was made, or has put another change set in its place.
            Err(error) if error.has_code("InvalidChangeSetStatus") || error.has_code("ChangeSetNotFound") => {
                Err(DeployError::Overtaken { stack: name.to_string() })
            }
            executed => Ok(executed?),
        }
    }

    /// The parameters, with the one that the account decides: a role for API Gateway's logs is made where there is none, and a stack that has made it keeps it.
    async fn parameters(&self, wanted: &Wanted<'_>, stack: Option<&Stack>) -> Result<Vec<(&'static str, String)>, DeployError> {
        let has_made_it = stack.is_some_and(|stack| stack.parameters.get(MAKE_LOG_ROLE).is_some_and(|made| made == "true"));
        let makes_it = has_made_it || log_role::find(self.aws).await?.is_none();
        let mut parameters = wanted.parameters.clone();
        parameters.push((MAKE_LOG_ROLE, makes_it.to_string()));
        Ok(parameters)
    }

    /// Tells what happens to a stack until it rests. `last_seen` is the last event of before.
    async fn watch(&self, stack_id: &str, mut last_seen: Option<String>, listener: &mut Listener<'_>) -> Result<(), DeployError> {
        let mut first_failure: Option<StackEvent> = None;
        let (mut under_way, mut quiet_looks) = (BTreeSet::new(), 0);
        for _ in 0..WAITS_MAX {
            // The state before the events: whatever led to it is then among them.
            let stack = stacks::describe(self.aws, stack_id).await?;
            let events = events::since(self.aws, stack_id, last_seen.as_deref()).await?;
            quiet_looks = if events.is_empty() { quiet_looks + 1 } else { 0 };
            for event in events {
                if event.is_under_way() {
                    under_way.insert(event.resource.clone());
                } else {
                    under_way.remove(&event.resource);
                }
                listener(Progress::Happened(&event));
                if first_failure.is_none() && event.is_cause_of_failure() {
                    first_failure = Some(event.clone());
                }
                last_seen = Some(event.id);
            }
            // A stack that is gone is described by its id for a while, then no more.
            let Some(stack) = stack.filter(|stack| stack.status != "DELETE_COMPLETE") else { return Ok(()) };
            if !stack.is_busy() {
                return stack.verdict(first_failure);
            }
            if quiet_looks > 0 && quiet_looks % QUIET_LOOKS_MAX == 0 && !under_way.is_empty() {
                listener(Progress::StillAt(&under_way));
            }
            tokio::time::sleep(self.pause).await;
        }
        Err(DeployError::TookTooLong { stack: stack_id.to_owned() })
    }
}
