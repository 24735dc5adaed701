//! Change sets: CloudFormation works out what a template would change, and says so, before anything does.

use super::{DeployError, Deployer, WAITS_MAX, Wanted};
use crate::call::{Aws, Call, CallError, Element, operation};
use crate::stack::{MADE_BY, StackName, TAG_MADE_BY};

/// One change set at a time: a new one takes the place of one that an interrupted deployment has left.
const NAME: &str = "frontdesk-deploy";
/// Pages of changes; one holds a hundred, a stack of ours has thirty resources.
const PAGES_MAX: u32 = 20;

/// What will become of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `Add`, `Modify`, `Remove`, …
    pub action: String,
    /// Its name in the template.
    pub resource: String,
    /// Its type.
    pub kind: String,
    /// `True`, `False` or `Conditional`: whether another is made in its place.
    pub replacement: Option<String>,
}

/// A change set that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// Its ARN.
    pub id: String,
    /// The ARN of the stack it is for.
    pub stack_id: String,
    /// What it changes.
    pub changes: Vec<Change>,
}

/// Makes a change set and waits until it can be executed; `None` where nothing would change.
pub(super) async fn create(
    deployer: &Deployer<'_>,
    wanted: &Wanted<'_>,
    parameters: Vec<(&'static str, String)>,
    is_new: bool,
) -> Result<Option<ChangeSet>, DeployError> {
    let aws = deployer.aws;
    let resource = format!("stack {}", wanted.name);
    let names: Vec<_> = (1..=parameters.len())
        .map(|number| (format!("Parameters.member.{number}.ParameterKey"), format!("Parameters.member.{number}.ParameterValue")))
        .collect();
    let mut call = Call::new(&operation::CREATE_CHANGE_SET, &resource)
        .parameter("StackName", wanted.name.as_str())
        .parameter("ChangeSetName", NAME)
        .parameter("ChangeSetType", if is_new { "CREATE" } else { "UPDATE" })
        .parameter("TemplateBody", wanted.template)
        // The stack makes roles, under names that CloudFormation gives them.
        .parameter("Capabilities.member.1", "CAPABILITY_IAM")
        .parameter("Tags.member.1.Key", TAG_MADE_BY)
        .parameter("Tags.member.1.Value", MADE_BY);
    for ((key_name, value_name), (key, value)) in names.iter().zip(parameters) {
        call = call.parameter(key_name, key).parameter(value_name, value);
    }
    let answer = match aws.send(call.clone()).await {
        Err(error) if error.has_code("AlreadyExistsException") || error.has_code("AlreadyExists") => {
            delete_named(aws, wanted.name.as_str()).await?;
            aws.send(call).await?
        }
        Err(error) if error.has_code("ValidationError") => {
            let reason = error.refusal().map(|refusal| refusal.message.clone()).unwrap_or_default();
            return unchanged_or_refused(&reason);
        }
        answer => answer?,
    };
    let root = answer.xml()?;
    let id = root.find("Id").map(|id| id.text.clone()).ok_or_else(|| answer.lacks("Id"))?;
    wait(deployer, wanted.name, &id).await
}

/// CloudFormation has words for "nothing to do", and no code.
fn unchanged_or_refused(reason: &str) -> Result<Option<ChangeSet>, DeployError> {
    if ["didn't contain changes", "No updates are to be performed"].iter().any(|words| reason.contains(words)) {
        return Ok(None);
    }
    Err(DeployError::ChangeSet { reason: reason.trim_end_matches('.').to_owned() })
}

async fn wait(deployer: &Deployer<'_>, stack: &StackName, id: &str) -> Result<Option<ChangeSet>, DeployError> {
    for _ in 0..WAITS_MAX {
        let root = match describe(deployer.aws, id, None).await {
            // Another deployment has put its own in the place of this one.
            Err(error) if error.has_code("ChangeSetNotFound") => return Err(DeployError::Overtaken { stack: stack.to_string() }),
            described => described?,
        };
        let text = |name: &str| root.find(name).map(|element| element.text.clone());
        let (status, reason) = (text("Status").unwrap_or_default(), text("StatusReason").unwrap_or_default());
        let change_set = ChangeSet { id: id.to_owned(), stack_id: text("StackId").unwrap_or_default(), changes: Vec::new() };
        match status.as_str() {
            // One without changes of resources is one of outputs or tags.
            "CREATE_COMPLETE" => {
                let changes = changes(deployer.aws, id, root).await?;
                return Ok(Some(ChangeSet { changes, ..change_set }));
            }
            "FAILED" => {
                delete(deployer.aws, &change_set).await?;
                return unchanged_or_refused(&reason);
            }
            _ => tokio::time::sleep(deployer.pause).await,
        }
    }
    Err(DeployError::TookTooLong { stack: id.to_owned() })
}

async fn changes(aws: &Aws, id: &str, first: Element) -> Result<Vec<Change>, CallError> {
    let (mut found, mut page) = (Vec::new(), first);
    for _ in 0..PAGES_MAX {
        let read = |member: &Element| {
            let change = member.child("ResourceChange")?;
            Some(Change {
                action: change.text_of("Action")?.to_owned(),
                resource: change.text_of("LogicalResourceId")?.to_owned(),
                kind: change.text_of("ResourceType")?.to_owned(),
                replacement: change.text_of("Replacement").map(str::to_owned),
            })
        };
        found.extend(page.find("Changes").into_iter().flat_map(|list| &list.children).filter_map(read));
        let token = page.find("NextToken").map(|token| token.text.clone()).filter(|token| !token.is_empty());
        let Some(token) = token else { break };
        page = describe(aws, id, Some(&token)).await?;
    }
    Ok(found)
}

async fn describe(aws: &Aws, id: &str, token: Option<&str>) -> Result<Element, CallError> {
    let mut call = Call::new(&operation::DESCRIBE_CHANGE_SET, id).parameter("ChangeSetName", id);
    if let Some(token) = token {
        call = call.parameter("NextToken", token);
    }
    aws.send(call).await?.xml()
}

pub(super) async fn execute(aws: &Aws, change_set: &ChangeSet) -> Result<(), CallError> {
    aws.send(Call::new(&operation::EXECUTE_CHANGE_SET, &change_set.id).parameter("ChangeSetName", &change_set.id)).await.map(drop)
}

pub(super) async fn delete(aws: &Aws, change_set: &ChangeSet) -> Result<(), CallError> {
    aws.send(Call::new(&operation::DELETE_CHANGE_SET, &change_set.id).parameter("ChangeSetName", &change_set.id)).await.map(drop)
}

async fn delete_named(aws: &Aws, stack: &str) -> Result<(), CallError> {
    let call = Call::new(&operation::DELETE_CHANGE_SET, NAME).parameter("ChangeSetName", NAME).parameter("StackName", stack);
    aws.send(call).await.map(drop)
}
