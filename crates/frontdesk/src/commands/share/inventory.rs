//! What this installation has made, as its own APIs list it.

use frontdesk_deploy::call::operation::Operation;
use frontdesk_deploy::call::{Aws, Call, CallError};
use serde_json::{Value, json};

use crate::control_client::ControlClient;
use crate::diagnosis::calls::{self, document, pages, text, xml};
use crate::handout::clean_up::{GroupListed, Inventory, Named, PlanListed, PolicyListed, RoleListed, UserListed};
use crate::settings::Settings;

/// Takes the inventory. What cannot be listed is noted.
///
/// # Errors
/// When the host does not answer.
pub(super) async fn take(client: &ControlClient, settings: &Settings) -> anyhow::Result<Inventory> {
    let status = client.status().await?;
    let aws = client.aws()?;
    let mut inventory = Inventory {
        region: status.region.clone(),
        data_folder: std::path::absolute(&settings.data_dir)?.display().to_string(),
        own_api: status.rest_api_id.clone(),
        ..Inventory::default()
    };
    let agents = client.list_agents().await?.agents;
    let launched = agents.into_iter().filter(|agent| agent.agent_runtime_arn != status.agent_runtime_arn);
    inventory.agents = launched.map(|agent| agent.agent_runtime_name).collect();
    let named = |items: Vec<Value>| items.iter().map(|item| Named { id: text(item, "id"), name: text(item, "name") }).collect();
    match pages(&aws, &calls::GET_REST_APIS, &[], &[]).await {
        Ok(apis) => inventory.apis = named(apis),
        Err(error) => inventory.note("APIs", &error),
    }
    match pages(&aws, &calls::GET_API_KEYS, &[], &[]).await {
        Ok(keys) => inventory.keys = named(keys),
        Err(error) => inventory.note("API keys", &error),
    }
    match plans(&aws).await {
        Ok(plans) => inventory.plans = plans,
        Err(error) => inventory.note("Usage plans", &error),
    }
    match calls::function_names(&aws).await {
        Ok(names) => inventory.functions = names,
        Err(error) => inventory.note("Functions", &error),
    }
    match alarms(&aws).await {
        Ok(alarms) => inventory.alarms = alarms,
        Err(error) => inventory.note("Alarms", &error),
    }
    match log_groups(&aws).await {
        Ok(groups) => inventory.log_groups = groups,
        Err(error) => inventory.note("Log groups", &error),
    }
    match document(&aws, Call::new(&calls::GET_ACCOUNT, "account")).await {
        Ok(account) => inventory.writes_logs_as = account["cloudwatchRoleArn"].as_str().filter(|arn| !arn.is_empty()).map(str::to_owned),
        Err(error) => inventory.note("The role of API Gateway's logs", &error),
    }
    match roles(&aws).await {
        Ok(roles) => inventory.roles = roles,
        Err(error) => inventory.note("Roles", &error),
    }
    match users(&aws).await {
        Ok(users) => inventory.users = users,
        Err(error) => inventory.note("Users", &error),
    }
    match groups(&aws).await {
        Ok(groups) => inventory.groups = groups,
        Err(error) => inventory.note("Groups", &error),
    }
    match policies(&aws).await {
        Ok(policies) => inventory.policies = policies,
        Err(error) => inventory.note("Policies", &error),
    }
    Ok(inventory)
}

impl Inventory {
    fn note(&mut self, what: &str, error: &CallError) {
        self.unread.push((what.to_owned(), error.to_string()));
    }
}

fn members<'a>(document: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    document[name].as_array().into_iter().flatten()
}

async fn plans(aws: &Aws) -> Result<Vec<PlanListed>, CallError> {
    let mut plans = Vec::new();
    for plan in pages(aws, &calls::GET_USAGE_PLANS, &[], &[]).await? {
        let id = text(&plan, "id");
        let keys = pages(aws, &calls::GET_USAGE_PLAN_KEYS, &[("id", &id)], &[]).await?;
        plans.push(PlanListed {
            name: text(&plan, "name"),
            stages: members(&plan, "apiStages").map(|stage| (text(stage, "apiId"), text(stage, "stage"))).collect(),
            key_ids: keys.iter().map(|key| text(key, "id")).collect(),
            id,
        });
    }
    Ok(plans)
}

/// More pages than these are those of an account that is not one desk's.
const PAGES_MAX: usize = 20;

async fn alarms(aws: &Aws) -> Result<Vec<String>, CallError> {
    let (mut names, mut token) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let page = xml(aws, Call::new(&calls::DESCRIBE_ALARMS, "alarms").parameters(token.map(|token| ("NextToken", token)))).await?;
        let result = page.find("DescribeAlarmsResult").unwrap_or(&page);
        names.extend(result.members("MetricAlarms").filter_map(|alarm| alarm.text_of("AlarmName")).map(str::to_owned));
        token = result.text_of("NextToken").filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    Ok(names)
}

async fn log_groups(aws: &Aws) -> Result<Vec<String>, CallError> {
    let (mut names, mut asked) = (Vec::new(), json!({}));
    for _ in 0..PAGES_MAX {
        let page = document(aws, Call::new(&calls::DESCRIBE_LOG_GROUPS, "log groups").json(&asked)).await?;
        names.extend(members(&page, "logGroups").map(|group| text(group, "logGroupName")));
        match page["nextToken"].as_str() {
            Some(token) => asked = json!({ "nextToken": token }),
            None => break,
        }
    }
    Ok(names)
}

async fn roles(aws: &Aws) -> Result<Vec<RoleListed>, CallError> {
    let list = xml(aws, Call::new(&calls::LIST_ROLES, "roles").parameter("MaxItems", "1000")).await?;
    let names = list.find("ListRolesResult").into_iter().flat_map(|result| result.members("Roles"));
    let mut roles = Vec::new();
    // Roles below `/frontdesk/` are the host's own, and those below `/aws-service-role/` AWS's.
    let is_ours = |path: Option<&str>| !path.is_some_and(|path| path.starts_with("/frontdesk/") || path.starts_with("/aws-service-role/"));
    for name in names.filter(|role| is_ours(role.text_of("Path"))).filter_map(|role| role.text_of("RoleName")) {
        roles.push(RoleListed {
            name: name.to_owned(),
            attached: listed(aws, &calls::LIST_ATTACHED_ROLE_POLICIES, ("RoleName", name), "AttachedPolicies", Some("PolicyArn")).await?,
            inline: listed(aws, &calls::LIST_ROLE_POLICIES, ("RoleName", name), "PolicyNames", None).await?,
        });
    }
    Ok(roles)
}

async fn users(aws: &Aws) -> Result<Vec<UserListed>, CallError> {
    let mut users = Vec::new();
    for name in listed(aws, &calls::LIST_USERS, ("MaxItems", "1000"), "Users", Some("UserName")).await? {
        // Always of a user by name: without one the caller's own keys are listed, which are the root's.
        let of = ("UserName", name.as_str());
        users.push(UserListed {
            access_keys: listed(aws, &calls::LIST_ACCESS_KEYS, of, "AccessKeyMetadata", Some("AccessKeyId")).await?,
            groups: listed(aws, &calls::LIST_GROUPS_FOR_USER, of, "Groups", Some("GroupName")).await?,
            attached: listed(aws, &calls::LIST_ATTACHED_USER_POLICIES, of, "AttachedPolicies", Some("PolicyArn")).await?,
            inline: listed(aws, &calls::LIST_USER_POLICIES, of, "PolicyNames", None).await?,
            name,
        });
    }
    Ok(users)
}

async fn groups(aws: &Aws) -> Result<Vec<GroupListed>, CallError> {
    let mut groups = Vec::new();
    for name in listed(aws, &calls::LIST_GROUPS, ("MaxItems", "1000"), "Groups", Some("GroupName")).await? {
        let of = ("GroupName", name.as_str());
        groups.push(GroupListed {
            attached: listed(aws, &calls::LIST_ATTACHED_GROUP_POLICIES, of, "AttachedPolicies", Some("PolicyArn")).await?,
            inline: listed(aws, &calls::LIST_GROUP_POLICIES, of, "PolicyNames", None).await?,
            name,
        });
    }
    Ok(groups)
}

/// What an operation of IAM's lists in a member of its result: a field of each item, or the items themselves where they are texts.
async fn listed(
    aws: &Aws,
    operation: &'static Operation,
    (parameter, value): (&str, &str),
    member: &str,
    field: Option<&str>,
) -> Result<Vec<String>, CallError> {
    let page = xml(aws, Call::new(operation, value).parameter(parameter, value)).await?;
    let result = page.find(&format!("{}Result", operation.name));
    let items = result.into_iter().flat_map(|result| result.members(member));
    Ok(items.filter_map(|item| field.map_or(Some(item.text.as_str()), |field| item.text_of(field))).map(str::to_owned).collect())
}

async fn policies(aws: &Aws) -> Result<Vec<PolicyListed>, CallError> {
    let list = xml(aws, Call::new(&calls::LIST_POLICIES, "policies").parameter("Scope", "Local").parameter("MaxItems", "1000")).await?;
    let arns = list.find("ListPoliciesResult").into_iter().flat_map(|result| result.members("Policies"));
    let mut policies = Vec::new();
    for arn in arns.filter_map(|policy| policy.text_of("Arn")) {
        let versions = xml(aws, Call::new(&calls::LIST_POLICY_VERSIONS, arn).parameter("PolicyArn", arn)).await?;
        let versions = versions.find("ListPolicyVersionsResult").into_iter().flat_map(|result| result.members("Versions"));
        let others = versions.filter(|version| version.text_of("IsDefaultVersion") != Some("true"));
        let other_versions = others.filter_map(|version| version.text_of("VersionId")).map(str::to_owned).collect();
        policies.push(PolicyListed { arn: arn.to_owned(), other_versions });
    }
    Ok(policies)
}
