//! A function's resource policy: who besides the account's own identities may call it
//! (<https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html>).

use std::collections::BTreeMap;

use frontdesk_aws::policy::{Context, Decision, Policy, evaluate};
use frontdesk_store::ResourcePolicy;
use serde_json::{Map, Value, json};

use super::{FunctionService, check_revision, new_revision};
use crate::error::FunctionError;

/// A statement to add.
#[derive(Debug, Clone, Default)]
pub struct Permission {
    /// The statement's id, which no other of the function has.
    pub statement_id: String,
    /// Such as `lambda:InvokeFunction`.
    pub action: String,
    /// A service such as `apigateway.amazonaws.com`, an account, or an ARN.
    pub principal: String,
    /// The ARN, perhaps with wildcards, that calls must come from.
    pub source_arn: Option<String>,
    /// The account that calls must come from.
    pub source_account: Option<String>,
    /// The policy's revision that is to be changed, and no other.
    pub revision_id: Option<String>,
}

impl FunctionService {
    /// Adds a statement to the policy of a function, or of a version or alias of it. Returns the statement. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`], [`FunctionError::Conflict`] when the id is taken, [`FunctionError::Invalid`], [`FunctionError::PreconditionFailed`].
    pub fn add_permission(&self, name: &str, qualifier: Option<&str>, permission: Permission) -> Result<Value, FunctionError> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let id = &permission.statement_id;
        if id.is_empty() || id.len() > 100 || !id.bytes().all(is_id) {
            return Err(FunctionError::Invalid(format!(
                "1 validation error detected: Value '{id}' at 'statementId' failed to satisfy constraint: Member must satisfy regular expression pattern: \
                 ([a-zA-Z0-9-_]+)"
            )));
        }
        let is_action = permission.action == "*" || permission.action.strip_prefix("lambda:").is_some_and(|action| !action.is_empty());
        if !is_action {
            return Err(FunctionError::Invalid(format!(
                "1 validation error detected: Value '{}' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: \
                 (lambda:[*]|lambda:[a-zA-Z]+|[*])",
                permission.action
            )));
        }
        let statement = statement(&permission, &self.arn(name, qualifier))?;
        self.change(name, |stored| {
            self.version_of(stored, qualifier)?;
            let policy = stored.function.policies.entry(qualifier.unwrap_or_default().to_owned()).or_default();
            check_revision(permission.revision_id.as_deref(), &policy.revision_id)?;
            if policy.statements.iter().any(|statement| statement["Sid"] == permission.statement_id.as_str()) {
                let message = format!(
                    "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.",
                    permission.statement_id
                );
                return Err(FunctionError::Conflict(message));
            }
            policy.statements.push(statement.clone());
            policy.revision_id = new_revision();
            Ok(statement)
        })
    }

    /// Removes a statement. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`], [`FunctionError::PreconditionFailed`].
    pub fn remove_permission(
        &self,
        name: &str,
        qualifier: Option<&str>,
        statement_id: &str,
        revision_id: Option<&str>,
    ) -> Result<(), FunctionError> {
        self.change(name, |stored| {
            let key = qualifier.unwrap_or_default();
            let policy = stored.function.policies.get_mut(key).ok_or_else(no_policy)?;
            check_revision(revision_id, &policy.revision_id)?;
            let before = policy.statements.len();
            policy.statements.retain(|statement| statement["Sid"] != statement_id);
            if policy.statements.len() == before {
                return Err(FunctionError::NotFound(format!("Statement {statement_id} is not found in resource policy.")));
            }
            policy.revision_id = new_revision();
            if policy.statements.is_empty() {
                stored.function.policies.remove(key);
            }
            Ok(())
        })
    }

    /// The policy of a function, or of a version or alias of it.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`] where there is none.
    pub fn policy(&self, name: &str, qualifier: Option<&str>) -> Result<ResourcePolicy, FunctionError> {
        let stored = self.find(name)?;
        self.version_of(&stored, qualifier)?;
        stored.function.policies.get(qualifier.unwrap_or_default()).cloned().ok_or_else(no_policy)
    }

    /// Whether the policy lets a service, such as `apigateway.amazonaws.com`, invoke the function on behalf of `source_arn`.
    #[must_use]
    pub fn service_may_invoke(&self, name: &str, qualifier: Option<&str>, service: &str, source_arn: &str) -> bool {
        let Some(known) = self.known(name) else { return false };
        if self.version_of(&known.stored, qualifier).is_err() {
            return false;
        }
        let context =
            Context::new().with("aws:SourceArn", source_arn).with("aws:SourceAccount", source_arn.split(':').nth(4).unwrap_or_default());
        let policies = known.permissions.of_service(qualifier, service);
        evaluate(policies, "lambda:InvokeFunction", &self.arn(name, qualifier), &context) == Decision::Allowed
    }
}

/// A function's policies, read once for all the requests that they are asked about: by qualifier, each statement with its principal.
#[derive(Debug, Default)]
pub(super) struct Permissions(BTreeMap<String, Vec<(Value, Policy)>>);

impl Permissions {
    /// Reads the policies of a function. A statement that is none lets nobody in.
    pub(super) fn of(policies: &BTreeMap<String, ResourcePolicy>) -> Permissions {
        let statement = |statement: &Value| {
            // An identity's policy names no principal; whose it is is seen beside it.
            let document = json!({ "Version": "2012-10-17", "Statement": [without_principal(statement)] });
            Some((statement["Principal"].clone(), Policy::parse(&document.to_string()).ok()?))
        };
        let read =
            |(qualifier, policy): (&String, &ResourcePolicy)| (qualifier.clone(), policy.statements.iter().filter_map(statement).collect());
        Permissions(policies.iter().map(read).collect())
    }

    /// The statements that are about a service.
    fn of_service<'p>(&'p self, qualifier: Option<&str>, service: &'p str) -> impl Iterator<Item = &'p Policy> {
        let statements = self.0.get(qualifier.unwrap_or_default()).into_iter().flatten();
        let is_about = move |principal: &Value| principal == "*" || principal["Service"] == service;
        statements.filter(move |(principal, _)| is_about(principal)).map(|(_, policy)| policy)
    }
}

fn no_policy() -> FunctionError {
    FunctionError::NotFound("The resource you requested does not exist.".to_owned())
}

fn without_principal(statement: &Value) -> Value {
    let mut statement = statement.clone();
    if let Some(fields) = statement.as_object_mut() {
        fields.remove("Principal");
    }
    statement
}

fn statement(permission: &Permission, resource: &str) -> Result<Value, FunctionError> {
    let Permission { statement_id, action, principal, source_arn, source_account, .. } = permission;
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let principal = match principal.as_str() {
        "*" => json!("*"),
        service if service.ends_with(".amazonaws.com") || service.ends_with(".amazon.com") => json!({ "Service": service }),
        account if is_account(account) => json!({ "AWS": format!("arn:aws:iam::{account}:root") }),
        arn if arn.starts_with("arn:") => json!({ "AWS": arn }),
        _ => {
            return Err(FunctionError::Invalid("The provided principal was invalid. Please check the principal and try again.".to_owned()));
        }
    };
    let mut condition = Map::new();
    if let Some(account) = source_account {
        condition.insert("StringEquals".to_owned(), json!({ "AWS:SourceAccount": account }));
    }
    if let Some(arn) = source_arn {
        condition.insert("ArnLike".to_owned(), json!({ "AWS:SourceArn": arn }));
    }
    let mut statement = json!({ "Sid": statement_id, "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource });
    if !condition.is_empty() {
        statement["Condition"] = Value::Object(condition);
    }
    Ok(statement)
}
