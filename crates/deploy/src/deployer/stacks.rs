//! Stacks, by CloudFormation's own calls: described, listed, deleted.

use std::collections::BTreeMap;

use super::DeployError;
use super::events::StackEvent;
use crate::call::{Aws, Call, CallError, Element, operation};
use crate::stack::{MADE_BY, TAG_MADE_BY};

/// Pages of a stack's resources; one holds about a hundred, and a stack of ours thirty resources.
const PAGES_MAX: u32 = 20;

/// A stack as CloudFormation describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its ARN, which stays its own when another takes its name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// CloudFormation's word, such as `UPDATE_COMPLETE`.
    pub status: String,
    /// Why, where there is a reason.
    pub reason: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The parameters of the last deployment.
    pub parameters: BTreeMap<String, String>,
    /// What it tells.
    pub outputs: BTreeMap<String, String>,
    /// When it was made, as CloudFormation writes it.
    pub created: String,
    /// When it was last changed.
    pub updated: Option<String>,
}

impl Stack {
    fn read(element: &Element) -> Option<Stack> {
        let text = |name: &str| element.text_of(name).map(str::to_owned);
        let map = |list: &str, key: &str, value: &str| {
            let pair = |member: &Element| Some((member.text_of(key)?.to_owned(), member.text_of(value).unwrap_or_default().to_owned()));
            element.members(list).filter_map(pair).collect()
        };
        Some(Stack {
            id: text("StackId")?,
            name: text("StackName")?,
            status: text("StackStatus")?,
            reason: text("StackStatusReason"),
            tags: map("Tags", "Key", "Value"),
            parameters: map("Parameters", "ParameterKey", "ParameterValue"),
            outputs: map("Outputs", "OutputKey", "OutputValue"),
            created: text("CreationTime").unwrap_or_default(),
            updated: text("LastUpdatedTime"),
        })
    }

    /// Whether this program made it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.tags.get(TAG_MADE_BY).is_some_and(|maker| maker == MADE_BY)
    }

    /// Whether something is in it: a stack in review is a change set's shell.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.status != "REVIEW_IN_PROGRESS"
    }

    /// Whether CloudFormation is changing it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS") && self.is_there()
    }

    /// Whether it is what CloudFormation leaves of a first creation that failed: a name with nothing in it, which takes no change.
    #[must_use]
    pub fn is_empty_remnant(&self) -> bool {
        self.status == "ROLLBACK_COMPLETE"
    }

    /// An output that every stack of ours has.
    ///
    /// # Errors
    /// [`DeployError::NoOutput`].
    pub fn output(&self, name: &'static str) -> Result<&str, DeployError> {
        self.outputs.get(name).map(String::as_str).ok_or(DeployError::NoOutput(name))
    }

    /// Whether what was done to a stack at rest was done; otherwise what failed first.
    pub(super) fn verdict(&self, first_failure: Option<StackEvent>) -> Result<(), DeployError> {
        let after = match self.status.as_str() {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => return Ok(()),
            "ROLLBACK_COMPLETE" => "What had been made was removed again; the next deployment starts anew".to_owned(),
            "UPDATE_ROLLBACK_COMPLETE" => "The stack was rolled back, and runs as before".to_owned(),
            status => format!("The stack is in {status}: see CloudFormation's console"),
        };
        let cause = first_failure.map(|event| (event.resource, event.kind, event.reason));
        let (resource, kind, reason) =
            cause.unwrap_or_else(|| (self.name.clone(), "AWS::CloudFormation::Stack".to_owned(), self.reason.clone()));
        let reason = reason.unwrap_or_else(|| "CloudFormation gives no reason".to_owned()).trim_end_matches('.').to_owned();
        Err(DeployError::Failed { resource, kind, reason, after })
    }
}

/// The stack with this name or id; `None` where there is none.
///
/// # Errors
/// As [`Aws::send`].
pub async fn describe(aws: &Aws, name: &str) -> Result<Option<Stack>, CallError> {
    let resource = format!("stack {name}");
    match aws.send(Call::new(&operation::DESCRIBE_STACKS, &resource).parameter("StackName", name)).await {
        Ok(answer) => {
            let root = answer.xml()?;
            let stack = root.find("Stacks").and_then(|stacks| stacks.children.first()).and_then(Stack::read);
            stack.map(Some).ok_or_else(|| answer.lacks("Stacks"))
        }
        // CloudFormation has no code of its own for this.
        Err(error)
            if error.refusal().is_some_and(|refusal| refusal.code == "ValidationError" && refusal.message.contains("does not exist")) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// One resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackResource {
    /// Its name in the template.
    pub resource: String,
    /// Its type.
    pub kind: String,
    /// What the service knows it by.
    pub physical_id: Option<String>,
    /// CloudFormation's word.
    pub status: String,
}

/// The resources of a stack, in CloudFormation's order.
///
/// # Errors
/// As [`Aws::send`].
pub async fn resources(aws: &Aws, name: &str) -> Result<Vec<StackResource>, CallError> {
    let described = format!("stack {name}");
    let (mut found, mut token) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut call = Call::new(&operation::LIST_STACK_RESOURCES, &described).parameter("StackName", name);
        if let Some(token) = &token {
            call = call.parameter("NextToken", token);
        }
        let root = aws.send(call).await?.xml()?;
        let read = |member: &Element| {
            Some(StackResource {
                resource: member.text_of("LogicalResourceId")?.to_owned(),
                kind: member.text_of("ResourceType")?.to_owned(),
                physical_id: member.text_of("PhysicalResourceId").map(str::to_owned),
                status: member.text_of("ResourceStatus")?.to_owned(),
            })
        };
        found.extend(root.find("StackResourceSummaries").into_iter().flat_map(|list| &list.children).filter_map(read));
        token = root.find("NextToken").map(|token| token.text.clone()).filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Has CloudFormation remove a stack; it takes its time.
///
/// # Errors
/// As [`Aws::send`].
pub async fn delete(aws: &Aws, name: &str) -> Result<(), CallError> {
    let resource = format!("stack {name}");
    aws.send(Call::new(&operation::DELETE_STACK, &resource).parameter("StackName", name)).await.map(drop)
}
