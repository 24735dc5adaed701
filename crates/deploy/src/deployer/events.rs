//! What happens to a stack's resources, oldest first.

use crate::call::{Aws, Call, CallError, Element, operation};

/// Pages read back to the last event seen; one holds about a hundred, and a deployment of ours makes two hundred.
const PAGES_MAX: u32 = 20;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackEvent {
    /// Its own id.
    pub id: String,
    /// The resource's name in the template; the stack's for the stack itself.
    pub resource: String,
    /// Its type.
    pub kind: String,
    /// What the service knows it by.
    pub physical_id: Option<String>,
    /// Such as `CREATE_IN_PROGRESS`.
    pub status: String,
    /// Why, as a rule where something failed.
    pub reason: Option<String>,
    /// When, as CloudFormation writes it.
    pub at: String,
}

impl StackEvent {
    fn read(member: &Element) -> Option<StackEvent> {
        let text = |name: &str| member.text_of(name).map(str::to_owned);
        Some(StackEvent {
            id: text("EventId")?,
            resource: text("LogicalResourceId")?,
            kind: text("ResourceType")?,
            physical_id: text("PhysicalResourceId"),
            status: text("ResourceStatus")?,
            reason: text("ResourceStatusReason"),
            at: text("Timestamp").unwrap_or_default(),
        })
    }

    /// Whether it is the stack's own.
    #[must_use]
    pub fn is_of_stack(&self) -> bool {
        self.kind == "AWS::CloudFormation::Stack"
    }

    /// Whether it says that something has begun with a resource.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS") && !self.is_of_stack()
    }

    /// Whether it is a failure of its own: when one resource fails, CloudFormation ends the others, and says that they failed.
    #[must_use]
    pub fn is_cause_of_failure(&self) -> bool {
        self.status.ends_with("_FAILED") && !self.reason.as_deref().is_some_and(|reason| reason.contains("cancelled"))
    }
}

/// The last event of a stack; `None` where nothing has happened yet.
///
/// # Errors
/// As [`Aws::send`].
pub async fn last(aws: &Aws, stack_id: &str) -> Result<Option<String>, CallError> {
    Ok(page(aws, stack_id, None).await?.0.into_iter().next().map(|event| event.id))
}

/// The events after `last_seen`, oldest first; all of them without one.
///
/// # Errors
/// As [`Aws::send`].
pub async fn since(aws: &Aws, stack_id: &str, last_seen: Option<&str>) -> Result<Vec<StackEvent>, CallError> {
    let (mut events, mut token) = (Vec::new(), None);
    // CloudFormation tells the newest first.
    for _ in 0..PAGES_MAX {
        let (page, next) = page(aws, stack_id, token.as_deref()).await?;
        let is_whole_page_new = page.iter().all(|event| Some(event.id.as_str()) != last_seen);
        events.extend(page.into_iter().take_while(|event| Some(event.id.as_str()) != last_seen));
        token = next.filter(|_| is_whole_page_new);
        if token.is_none() {
            break;
        }
    }
    events.reverse();
    Ok(events)
}

async fn page(aws: &Aws, stack_id: &str, token: Option<&str>) -> Result<(Vec<StackEvent>, Option<String>), CallError> {
    let resource = format!("stack {stack_id}");
    let mut call = Call::new(&operation::DESCRIBE_STACK_EVENTS, &resource).parameter("StackName", stack_id);
    if let Some(token) = token {
        call = call.parameter("NextToken", token);
    }
    let root = aws.send(call).await?.xml()?;
    let events = root.find("StackEvents").into_iter().flat_map(|list| &list.children).filter_map(StackEvent::read).collect();
    let next = root.find("NextToken").map(|token| token.text.clone()).filter(|token| !token.is_empty());
    Ok((events, next))
}
