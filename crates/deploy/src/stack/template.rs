//! The form of a CloudFormation template: its sections, a resource, and the functions that join resources. Knows no resource of ours.
//!
//! Source: "Template reference" of the AWS CloudFormation documentation
//! (<https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/introduction.html>).

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Value, json};

/// Entries in the order in which they were put: who reads a template reads it from top to bottom.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entries<T>(Vec<(String, T)>);

impl<T> Entries<T> {
    /// Adds an entry.
    ///
    /// # Panics
    /// When the name is taken: two parts of the stack would overwrite each other.
    pub(super) fn put(&mut self, name: impl Into<String>, entry: T) {
        let name = name.into();
        assert!(self.get(&name).is_none(), "the template has two entries called {name}");
        self.0.push((name, entry));
    }

    /// The entry with this name.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, entry)| entry)
    }

    /// Name and entry, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries(Vec::new())
    }
}

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, entry) in &self.0 {
            map.serialize_entry(name, entry)?;
        }
        map.end()
    }
}

/// A whole template.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Template {
    #[serde(rename = "AWSTemplateFormatVersion")]
    version: &'static str,
    description: String,
    /// What a deployment gives.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub(super) parameters: Entries<Parameter>,
    /// What depends on parameters.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub(super) conditions: Entries<Value>,
    /// What is made.
    pub(super) resources: Entries<Resource>,
    /// What a deployment learns.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub(super) outputs: Entries<Output>,
}

impl Template {
    /// A template with nothing in it.
    #[must_use]
    pub(super) fn new(description: impl Into<String>) -> Template {
        Template {
            version: "2010-09-09",
            description: description.into(),
            parameters: Entries::default(),
            conditions: Entries::default(),
            resources: Entries::default(),
            outputs: Entries::default(),
        }
    }

    /// The template's text, as CloudFormation takes it: JSON, indented, with an end of line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a template has text keys only");
        text.push('\n');
        text
    }

    /// The same without white space: what is handed to CloudFormation in a text has at most 51,200 bytes.
    #[must_use]
    pub(super) fn to_compact_json(&self) -> String {
        serde_json::to_string(self).expect("a template has text keys only")
    }
}

/// What a deployment gives. Never a secret: parameters can be read by whoever may describe the stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Parameter {
    /// `String` throughout.
    #[serde(rename = "Type")]
    kind: &'static str,
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_pattern: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allowed_values: &'static [&'static str],
}

impl Parameter {
    /// A text that must be given and match `pattern`.
    #[must_use]
    pub(super) fn text(description: &'static str, pattern: &'static str) -> Parameter {
        Parameter { kind: "String", description, default: None, allowed_pattern: Some(pattern), allowed_values: &[] }
    }

    /// What it is for.
    pub(super) fn description(&self) -> &'static str {
        self.description
    }

    /// What it is unless it is given.
    pub(super) fn default(&self) -> Option<&'static str> {
        self.default
    }

    /// Yes or no; no, unless it is given.
    #[must_use]
    pub(super) fn choice(description: &'static str) -> Parameter {
        Parameter { kind: "String", description, default: Some("false"), allowed_pattern: None, allowed_values: &["true", "false"] }
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Resource {
    /// Such as `AWS::Lambda::Function`.
    #[serde(rename = "Type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_replace_policy: Option<&'static str>,
    /// What the type's own page documents.
    pub(super) properties: Value,
}

impl Resource {
    /// A resource with its properties.
    #[must_use]
    pub(super) fn new(kind: &'static str, properties: Value) -> Resource {
        Resource { kind, condition: None, depends_on: Vec::new(), deletion_policy: None, update_replace_policy: None, properties }
    }

    /// Made after these, though it refers to none of them.
    #[must_use]
    pub(super) fn after<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Resource {
        self.depends_on.extend(names.into_iter().map(Into::into));
        self
    }

    /// Made only where the condition holds.
    #[must_use]
    pub(super) fn only_if(mut self, condition: &'static str) -> Resource {
        self.condition = Some(condition);
        self
    }

    /// Stays when the stack goes.
    #[must_use]
    pub(super) fn kept(mut self) -> Resource {
        self.deletion_policy = Some("Retain");
        self.update_replace_policy = Some("Retain");
        self
    }
}

/// What a deployment learns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Output {
    description: &'static str,
    value: Value,
}

impl Output {
    /// What it tells.
    pub(super) fn description(&self) -> &'static str {
        self.description
    }

    /// An output.
    #[must_use]
    pub(super) fn new(description: &'static str, value: Value) -> Output {
        Output { description, value }
    }
}

/// What `Ref` gives for a resource or a parameter.
#[must_use]
pub(super) fn reference(name: &str) -> Value {
    json!({ "Ref": name })
}

/// An attribute of a resource.
#[must_use]
pub(super) fn attribute(resource: &str, name: &str) -> Value {
    json!({ "Fn::GetAtt": [resource, name] })
}

/// A text with `${Resource}`, `${Resource.Attribute}` and `${AWS::Region}` in it.
#[must_use]
pub(super) fn substitute(text: impl Into<String>) -> Value {
    json!({ "Fn::Sub": text.into() })
}

/// A role that `service` may take on under `condition`, and what it allows.
#[must_use]
pub(super) fn role(description: &str, service: &str, condition: Option<Value>, statements: Vec<Value>) -> Value {
    let mut trust = json!({ "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" });
    if let Some(condition) = condition {
        trust["Condition"] = condition;
    }
    let mut role = json!({ "Description": description, "AssumeRolePolicyDocument": { "Version": "2012-10-17", "Statement": [trust] } });
    if !statements.is_empty() {
        role["Policies"] = json!([{ "PolicyName": "least", "PolicyDocument": { "Version": "2012-10-17", "Statement": statements } }]);
    }
    role
}

/// One statement of a policy.
#[must_use]
pub(super) fn allow(sid: &str, actions: &[&str], resources: Value) -> Value {
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}
