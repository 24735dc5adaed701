//! The stack for teams whose hand is Terraform: one resource of its AWS provider that carries the template, so that there is one description of the stack and no second
//! that could differ from it.
//!
//! Sources: "JSON Configuration Syntax" of Terraform's documentation (<https://developer.hashicorp.com/terraform/language/syntax/json>);
//! `aws_cloudformation_stack` of its AWS provider (<https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/cloudformation_stack>).

use serde_json::{Map, Value, json};

use super::{MADE_BY, StackName, TAG_MADE_BY, Template};

/// Terraform's own name of the resource.
const RESOURCE: &str = "frontdesk";

/// A file `*.tf.json`: the parameters as variables, the stack, its outputs as outputs.
#[must_use]
pub fn terraform(name: &StackName, template: &Template) -> String {
    let (mut variables, mut parameters, mut outputs) = (Map::new(), Map::new(), Map::new());
    for (parameter, about) in template.parameters.iter() {
        let variable = snake_case(parameter);
        let mut declared = json!({ "type": "string", "description": about.description() });
        if let Some(default) = about.default() {
            declared["default"] = json!(default);
        }
        parameters.insert(parameter.to_owned(), json!(format!("${{var.{variable}}}")));
        variables.insert(variable, declared);
    }
    for (output, about) in template.outputs.iter() {
        let value = format!("${{aws_cloudformation_stack.{RESOURCE}.outputs[\"{output}\"]}}");
        outputs.insert(snake_case(output), json!({ "description": about.description(), "value": value }));
    }
    let stack = json!({
        "name": name.as_str(),
        "capabilities": ["CAPABILITY_IAM"],
        "template_body": literal(&template.to_compact_json()),
        "parameters": parameters,
        "tags": { TAG_MADE_BY: MADE_BY },
    });
    let file = json!({
        "terraform": { "required_providers": { "aws": { "source": "hashicorp/aws" } } },
        "variable": variables,
        "resource": { "aws_cloudformation_stack": { RESOURCE: stack } },
        "output": outputs,
    });
    format!("{file:#}\n")
}

/// A text that Terraform takes as it stands: in its JSON every text is a template, and so are the places that CloudFormation fills.
fn literal(text: &str) -> Value {
    json!(text.replace("${", "$${").replace("%{", "%%{"))
}

/// `AgentImage` as `agent_image`.
fn snake_case(name: &str) -> String {
    let mut written = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !written.is_empty() {
            written.push('_');
        }
        written.push(letter.to_ascii_lowercase());
    }
    written
}
