//! The template: its golden, its hash, what it must not hold, and that every type in it is in the table of permissions.

use std::collections::BTreeMap;
use std::path::Path;

use frontdesk_deploy::stack::{
    self, AlarmSettings, Artifact, Limits, Model, QuotaLimit, RESOURCE_TYPES, StackName, StackSettings, Timeouts,
};
use serde_json::Value;

fn settings() -> StackSettings {
    StackSettings {
        name: StackName::new("faq-desk").unwrap(),
        stage: "prod".to_owned(),
        artifact: Artifact::Image { repository: "faq-desk/agent".to_owned() },
        request_headers: Vec::new(),
        agent_variables: BTreeMap::from([("FRONTDESK_AGENT_COMPANY".to_owned(), "Lauki, a telecommunications company".to_owned())]),
        model: Model::WithKey { key_variable: "GROQ_API_KEY".to_owned() },
        idle_session_s: 900,
        session_s_max: 28_800,
        function_memory_mb: 256,
        prompt_chars_max: 32_000,
        timeouts: Timeouts::new(29_000, None, 120).unwrap(),
        all_keys: Limits { rate_limit: 10_000.0, burst_limit: 5_000 },
        each_key: Limits { rate_limit: 50.0, burst_limit: 100 },
        quota: Some(QuotaLimit { limit: 10_000, period: "DAY".to_owned() }),
        access_log_format: r#"{"requestId":"$context.requestId","status":"$context.status","cache":"$context.cache"}"#.to_owned(),
        log_retention_days: 30,
        alarms: AlarmSettings { error_percent_max: 5.0, throttled_per_minute_max: 100, address: Some("ops@lauki.example".to_owned()) },
    }
}

fn template(settings: &StackSettings) -> Value {
    settings.check().unwrap();
    serde_json::from_str(&stack::template(settings).unwrap().to_json()).unwrap()
}

/// Compares with a golden, which `FRONTDESK_TEST_UPDATE=1` writes anew.
fn check_golden(name: &str, settings: &StackSettings) {
    let text = stack::template(settings).unwrap().to_json();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("FRONTDESK_TEST_UPDATE").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &text).unwrap();
    }
    let written = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(written == text, "{name} is not what the settings make; FRONTDESK_TEST_UPDATE=1 writes it anew, for review");
}

#[test]
fn the_template_is_the_one_that_was_reviewed() {
    check_golden("template.json", &settings());
}

#[test]
fn the_smallest_template_is_the_one_that_was_reviewed() {
    let alarms = AlarmSettings { address: None, ..settings().alarms };
    let each_key = Limits { rate_limit: 0.0, burst_limit: 0 };
    let smallest = StackSettings { model: Model::Keyless, quota: None, each_key, agent_variables: BTreeMap::new(), alarms, ..settings() };
    check_golden("template-smallest.json", &smallest);
}

#[test]
fn the_template_of_an_agent_in_python_is_the_one_that_was_reviewed() {
    let artifact = Artifact::Code { runtime: "PYTHON_3_13".to_owned(), entry_point: vec!["frontdesk_start.py".to_owned()] };
    let header = "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Tenant".to_owned();
    let python = StackSettings { artifact, request_headers: vec![header], ..settings() };
    check_golden("template-python.json", &python);
    let template = template(&python);
    assert!(template["Parameters"].get(stack::AGENT_IMAGE).is_none());
    let statements = template["Resources"]["AgentRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].to_string();
    assert!(!statements.contains("ecr:") && !statements.contains("s3:"), "AgentCore fetches code in the deployer's name: {statements}");
    let headers = vec!["X-Amzn-Bedrock-AgentCore-Runtime-Custom-A".to_owned(); 20];
    assert!(StackSettings { request_headers: headers, ..settings() }.check().unwrap_err().to_string().contains("20 headers"));
}

#[test]
fn a_bucket_s_name_is_one_account_s_in_one_region_and_never_too_long() {
    let longest = StackName::new(&"a".repeat(40)).unwrap();
    let name = longest.code_bucket("123456789012", "ap-southeast-1");
    assert!(name.len() <= 63 && name.starts_with("aaaa"), "{name}");
    assert_ne!(name, longest.code_bucket("123456789012", "ap-southeast-2"));
    assert_ne!(name, longest.code_bucket("123456789013", "ap-southeast-1"));
}

#[test]
fn bedrock_is_allowed_the_one_model() {
    let of = |id: &str| {
        let template = template(&StackSettings { model: Model::Bedrock { id: id.to_owned() }, ..settings() });
        let statements = &template["Resources"]["AgentRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"];
        let found = statements.as_array().unwrap().iter().find(|statement| statement["Sid"] == "Model").unwrap().clone();
        assert!(template["Parameters"].get(stack::MODEL_KEY_SECRET).is_none());
        found["Resource"].to_string()
    };
    assert_eq!(
        of("amazon.nova-lite-v1:0"),
        r#"[{"Fn::Sub":"arn:${AWS::Partition}:bedrock:${AWS::Region}::foundation-model/amazon.nova-lite-v1:0"}]"#
    );
    let profile = of("eu.amazon.nova-lite-v1:0");
    assert!(profile.contains("${AWS::AccountId}:inference-profile/eu.amazon.nova-lite-v1:0"), "{profile}");
    assert!(profile.contains("bedrock:*::foundation-model/amazon.nova-lite-v1:0"), "{profile}");
}

/// The deployment's name: an API is only what was deployed of it.
fn deployment(settings: &StackSettings) -> String {
    let template = template(settings);
    let resources = template["Resources"].as_object().unwrap();
    resources.keys().find(|name| name.starts_with("Deployment")).unwrap().clone()
}

#[test]
fn a_changed_api_is_deployed_anew_and_an_unchanged_one_is_not() {
    let first = deployment(&settings());
    let timeouts = Timeouts::new(20_000, None, 120).unwrap();
    assert_ne!(deployment(&StackSettings { timeouts, ..settings() }), first);
    assert_eq!(deployment(&StackSettings { log_retention_days: 7, quota: None, ..settings() }), first);
}

#[test]
fn only_what_knows_no_resources_is_allowed_on_all() {
    let template = template(&settings());
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let policies = resource["Properties"]["Policies"].as_array().into_iter().flatten();
        let statements = policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
        for statement in statements.filter(|statement| statement["Resource"] == "*") {
            let actions = statement["Action"].as_array().unwrap();
            let known = ["ecr:GetAuthorizationToken", "xray:PutTraceSegments", "xray:PutTelemetryRecords", "cloudwatch:PutMetricData"];
            assert!(actions.iter().all(|action| known.contains(&action.as_str().unwrap())), "{name}: {statement}");
        }
    }
}

#[test]
fn terraform_is_handed_the_same_template_with_its_parameters() {
    let settings = settings();
    let made = stack::template(&settings).unwrap();
    let file: Value = serde_json::from_str(&stack::terraform(&settings.name, &made)).unwrap();
    let resource = &file["resource"]["aws_cloudformation_stack"]["frontdesk"];
    let body = resource["template_body"].as_str().unwrap();
    assert!(body.len() < 51_200, "CloudFormation takes no longer template in a text");
    // Terraform fills no place in the template: each is written twice, which it reads as once.
    assert_eq!(body.matches("${").count(), body.matches("$${").count());
    assert!(body.contains("$${AWS::Region}"));
    assert_eq!(serde_json::from_str::<Value>(&body.replace("$${", "${")).unwrap(), template(&settings));
    let parameters = resource["parameters"].as_object().unwrap();
    assert_eq!(parameters.keys().collect::<Vec<_>>(), template(&settings)["Parameters"].as_object().unwrap().keys().collect::<Vec<_>>());
    for variable in parameters.values() {
        let name = variable.as_str().unwrap().strip_prefix("${var.").unwrap().trim_end_matches('}');
        assert_eq!(file["variable"][name]["type"], "string", "{name}");
    }
    assert_eq!(file["variable"]["make_log_role"]["default"], "false");
    assert_eq!(file["output"]["api_endpoint"]["value"], "${aws_cloudformation_stack.frontdesk.outputs[\"ApiEndpoint\"]}");
}

#[test]
fn every_type_is_in_the_table_of_permissions() {
    let template = template(&settings());
    for (name, resource) in template["Resources"].as_object().unwrap() {
        assert!(RESOURCE_TYPES.iter().any(|known| resource["Type"] == known.name), "{name}: {} has no row", resource["Type"]);
    }
    for known in RESOURCE_TYPES {
        let is_used = template["Resources"].as_object().unwrap().values().any(|resource| resource["Type"] == known.name);
        assert!(is_used, "{} is in no stack", known.name);
    }
}
