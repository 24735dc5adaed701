//! What callers of Lambda send, as its API has it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frontdesk_functions::FunctionError;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Members that change nothing here when they say what is so anyway.
const HARMLESS: [(&str, &str); 2] = [("PackageType", "Zip"), ("SnapStart", r#"{"ApplyOn":"None"}"#)];

/// Of any request: which function it is about.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named {
    pub(super) function_name: Option<String>,
}

/// `CreateFunction`, and `UpdateFunctionConfiguration`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutFunction {
    pub(super) function_name: Option<String>,
    pub(super) runtime: Option<String>,
    pub(super) role: Option<String>,
    pub(super) handler: Option<String>,
    pub(super) code: Option<Code>,
    pub(super) description: Option<String>,
    pub(super) timeout: Option<u32>,
    pub(super) memory_size: Option<u32>,
    #[serde(default)]
    pub(super) publish: bool,
    pub(super) environment: Option<Environment>,
    pub(super) tracing_config: Option<TracingConfig>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) architectures: Option<Vec<String>>,
    pub(super) ephemeral_storage: Option<EphemeralStorage>,
    pub(super) revision_id: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// `UpdateFunctionCode`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutCode {
    #[serde(flatten)]
    pub(super) code: Code,
    pub(super) architectures: Option<Vec<String>>,
    #[serde(default)]
    pub(super) publish: bool,
    #[serde(default)]
    pub(super) dry_run: bool,
    pub(super) revision_id: Option<String>,
}

/// Where code is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Code {
    zip_file: Option<String>,
    s3_bucket: Option<String>,
    image_uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Environment {
    pub(super) variables: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TracingConfig {
    pub(super) mode: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EphemeralStorage {
    pub(super) size: u32,
}

/// `PublishVersion`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Publish {
    pub(super) code_sha256: Option<String>,
    pub(super) description: Option<String>,
    pub(super) revision_id: Option<String>,
}

/// `CreateAlias` and `UpdateAlias`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutAlias {
    pub(super) name: Option<String>,
    pub(super) function_version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) revision_id: Option<String>,
    pub(super) routing_config: Option<RoutingConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RoutingConfig {
    pub(super) additional_version_weights: Option<BTreeMap<String, f64>>,
}

/// `AddPermission`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddPermission {
    pub(super) statement_id: Option<String>,
    pub(super) action: Option<String>,
    pub(super) principal: Option<String>,
    pub(super) source_arn: Option<String>,
    pub(super) source_account: Option<String>,
    pub(super) revision_id: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// The role in `CreateFunction` and `UpdateFunctionConfiguration`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GivenRole {
    pub(crate) role: Option<String>,
}

/// `PutFunctionConcurrency`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutConcurrency {
    pub(super) reserved_concurrent_executions: Option<u32>,
}

/// `TagResource`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutTags {
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

impl Code {
    /// The zip file.
    pub(super) fn zip(&self) -> Result<Vec<u8>, FunctionError> {
        if self.s3_bucket.is_some() || self.image_uri.is_some() {
            let message = "this host fetches no code from S3 and runs no container images: give the code as ZipFile (--zip-file fileb://…)";
            return Err(FunctionError::Invalid(message.to_owned()));
        }
        let zip =
            self.zip_file.as_deref().ok_or_else(|| FunctionError::Invalid("Please provide a source for function code.".to_owned()))?;
        let unreadable =
            || FunctionError::Invalid("Could not unzip uploaded file. Please check your file, then try to upload again.".to_owned());
        STANDARD.decode(zip).map_err(|_| unreadable())
    }
}

/// A member that must be there.
pub(super) fn required<T>(member: Option<T>, name: &str) -> Result<T, FunctionError> {
    member.ok_or_else(|| {
        FunctionError::Invalid(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

/// The only architecture that is asked for.
pub(super) fn architecture(architectures: Option<Vec<String>>) -> Result<Option<String>, FunctionError> {
    match architectures.as_deref() {
        None | Some([]) => Ok(None),
        Some([one]) => Ok(Some(one.clone())),
        Some(_) => Err(FunctionError::Invalid("A function has one architecture".to_owned())),
    }
}

/// Refuses what this host would have to ignore: a function that was promised a network or a layer must not run without.
pub(super) fn refuse_rest(rest: &Map<String, Value>) -> Result<(), FunctionError> {
    let asks = |value: &Value| match value {
        Value::Null => false,
        Value::Object(members) => members.values().any(|member| !matches!(member, Value::Null) && *member != Value::Array(Vec::new())),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    };
    let is_harmless = |name: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        HARMLESS.contains(&(name, text.as_str()))
    };
    match rest.iter().find(|(name, value)| asks(value) && !is_harmless(name, value)) {
        Some((name, _)) => Err(FunctionError::Invalid(format!("{name} is not supported by this host"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        let check = |rest: Value, expected: Option<&str>| {
            let refused = refuse_rest(rest.as_object().unwrap()).err().map(|error| error.to_string());
            assert_eq!(refused.as_deref(), expected, "{rest}");
        };
        check(json!({}), None);
        check(
            json!({"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "Layers": [], "PackageType": "Zip", "SnapStart": {"ApplyOn": "None"}}),
            None,
        );
        check(json!({"VpcConfig": {"SubnetIds": ["s"]}}), Some("VpcConfig is not supported by this host"));
        check(json!({"Layers": ["arn"]}), Some("Layers is not supported by this host"));
        check(json!({"PackageType": "Image"}), Some("PackageType is not supported by this host"));
    }
}
