//! The clean-up guide: what is there, and the commands that take it away, in the order in which AWS lets go of things.

use std::fmt::Write as _;

/// What was found, by what it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inventory {
    pub(crate) region: String,
    pub(crate) data_folder: String,
    /// The id of the API that the host makes by itself, and the ids of its key and plan: they go with the data folder.
    pub(crate) own_api: String,
    pub(crate) apis: Vec<Named>,
    pub(crate) keys: Vec<Named>,
    pub(crate) plans: Vec<PlanListed>,
    pub(crate) functions: Vec<String>,
    pub(crate) alarms: Vec<String>,
    pub(crate) log_groups: Vec<String>,
    /// The ARN of the role in whose name API Gateway writes logs, where the account names one.
    pub(crate) writes_logs_as: Option<String>,
    pub(crate) roles: Vec<RoleListed>,
    /// The account's users; its root is none of them.
    pub(crate) users: Vec<UserListed>,
    pub(crate) groups: Vec<GroupListed>,
    pub(crate) policies: Vec<PolicyListed>,
    /// Agents that were launched here.
    pub(crate) agents: Vec<String>,
    /// What could not be looked at, and why.
    pub(crate) unread: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct PlanListed {
    pub(crate) id: String,
    pub(crate) name: String,
    /// API and stage.
    pub(crate) stages: Vec<(String, String)>,
    pub(crate) key_ids: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RoleListed {
    pub(crate) name: String,
    /// The ARNs of the policies that it holds.
    pub(crate) attached: Vec<String>,
    /// The names of its own.
    pub(crate) inline: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct UserListed {
    pub(crate) name: String,
    /// The ids of its access keys.
    pub(crate) access_keys: Vec<String>,
    /// The names of the groups that it is in.
    pub(crate) groups: Vec<String>,
    /// The ARNs of the policies that it holds.
    pub(crate) attached: Vec<String>,
    /// The names of its own.
    pub(crate) inline: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct GroupListed {
    pub(crate) name: String,
    /// As a user's.
    pub(crate) attached: Vec<String>,
    /// As a user's.
    pub(crate) inline: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyListed {
    pub(crate) arn: String,
    /// Its versions but for the default one.
    pub(crate) other_versions: Vec<String>,
}

impl Inventory {
    /// Whether a plan opens nothing but the host's own API.
    fn is_own(&self, plan: &PlanListed) -> bool {
        !plan.stages.is_empty() && plan.stages.iter().all(|(api, _)| *api == self.own_api)
    }

    /// The guide, as Markdown.
    pub(crate) fn guide(&self) -> String {
        let mut page = format!(
            "# Clean-up\n\nWhat this installation has made, and how to take it away. In this order: what is used by something else goes after it. The `aws` commands\n\
             want the host running, and its addresses and credentials in the environment (a shell of `frontdesk exec -- bash`). Region: `{}`.\n",
            self.region
        );
        let own_plans: Vec<&PlanListed> = self.plans.iter().filter(|plan| self.is_own(plan)).collect();
        let is_own_key = |key: &Named| own_plans.iter().any(|plan| plan.key_ids.contains(&key.id));
        let plans: Vec<&PlanListed> = self.plans.iter().filter(|plan| !self.is_own(plan)).collect();
        let keys: Vec<&Named> = self.keys.iter().filter(|key| !is_own_key(key)).collect();
        let apis: Vec<&Named> = self.apis.iter().filter(|api| api.id != self.own_api).collect();

        let aws = |words: &[&str]| crate::diagnosis::remedy::aws_line(words[0], &words[1..], &self.region);
        let lines = self.alarms.iter().map(|name| aws(&["cloudwatch", "delete-alarms", "--alarm-names", name])).collect();
        part(&mut page, "Alarms", "Before what they watch, so that none goes off.", &self.alarms, lines);
        let mut lines = Vec::new();
        for plan in &plans {
            for (api, stage) in &plan.stages {
                let patched = format!("op=remove,path=/apiStages,value={api}:{stage}");
                lines.push(aws(&["apigateway", "update-usage-plan", "--usage-plan-id", &plan.id, "--patch-operations", &patched]));
            }
            lines.push(aws(&["apigateway", "delete-usage-plan", "--usage-plan-id", &plan.id]));
        }
        part(
            &mut page,
            "Usage plans",
            "Before the APIs that they open.",
            &plans.iter().map(|plan| named(&plan.name, &plan.id)).collect::<Vec<_>>(),
            lines,
        );
        let lines = keys.iter().map(|key| aws(&["apigateway", "delete-api-key", "--api-key", &key.id])).collect();
        part(
            &mut page,
            "API keys",
            "From then on their holders get 403.",
            &keys.iter().map(|key| named(&key.name, &key.id)).collect::<Vec<_>>(),
            lines,
        );
        let lines = apis.iter().map(|api| aws(&["apigateway", "delete-rest-api", "--rest-api-id", &api.id])).collect();
        part(
            &mut page,
            "APIs",
            "With their stages and deployments.",
            &apis.iter().map(|api| named(&api.name, &api.id)).collect::<Vec<_>>(),
            lines,
        );
        let lines = self.functions.iter().map(|name| aws(&["lambda", "delete-function", "--function-name", name])).collect();
        part(&mut page, "Functions", "With their versions and aliases. Their logs stay, and go below.", &self.functions, lines);

        let mut lines = Vec::new();
        if self.writes_logs_as.as_deref().is_some_and(|arn| self.roles.iter().any(|role| arn.ends_with(&format!("/{}", role.name)))) {
            lines.push(aws(&["apigateway", "update-account", "--patch-operations", "op=replace,path=/cloudwatchRoleArn,value="]));
        }
        for role in &self.roles {
            lines.extend(
                role.attached.iter().map(|arn| aws(&["iam", "detach-role-policy", "--role-name", &role.name, "--policy-arn", arn])),
            );
            lines.extend(
                role.inline.iter().map(|name| aws(&["iam", "delete-role-policy", "--role-name", &role.name, "--policy-name", name])),
            );
            lines.push(aws(&["iam", "delete-role", "--role-name", &role.name]));
        }
        part(
            &mut page,
            "Roles",
            "A role goes after its policies, and after the account that writes API Gateway's logs with it has let go of it.",
            &self.roles.iter().map(|role| role.name.clone()).collect::<Vec<_>>(),
            lines,
        );
        let mut lines = Vec::new();
        for UserListed { name, access_keys, groups, attached, inline } in &self.users {
            let of_user = |operation: &str, option: &str, value: &String| aws(&["iam", operation, "--user-name", name, option, value]);
            lines.extend(access_keys.iter().map(|id| of_user("delete-access-key", "--access-key-id", id)));
            lines.extend(groups.iter().map(|group| of_user("remove-user-from-group", "--group-name", group)));
            lines.extend(attached.iter().map(|arn| of_user("detach-user-policy", "--policy-arn", arn)));
            lines.extend(inline.iter().map(|policy| of_user("delete-user-policy", "--policy-name", policy)));
            lines.push(aws(&["iam", "delete-user", "--user-name", name]));
        }
        part(
            &mut page,
            "Users",
            "A user goes after its access keys, its memberships and its policies; whoever signs with such a key is nobody from then on.",
            &self.users.iter().map(|user| user.name.clone()).collect::<Vec<_>>(),
            lines,
        );
        let mut lines = Vec::new();
        for GroupListed { name, attached, inline } in &self.groups {
            let of_group = |operation: &str, option: &str, value: &String| aws(&["iam", operation, "--group-name", name, option, value]);
            lines.extend(attached.iter().map(|arn| of_group("detach-group-policy", "--policy-arn", arn)));
            lines.extend(inline.iter().map(|policy| of_group("delete-group-policy", "--policy-name", policy)));
            lines.push(aws(&["iam", "delete-group", "--group-name", name]));
        }
        part(
            &mut page,
            "Groups",
            "A group goes after its members and its policies.",
            &self.groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>(),
            lines,
        );
        let mut lines = Vec::new();
        for PolicyListed { arn, other_versions } in &self.policies {
            // DeletePolicy refuses while another version than the default one is left.
            lines.extend(other_versions.iter().map(|id| aws(&["iam", "delete-policy-version", "--policy-arn", arn, "--version-id", id])));
            lines.push(aws(&["iam", "delete-policy", "--policy-arn", arn]));
        }
        part(
            &mut page,
            "Policies",
            "A policy goes after its other versions.",
            &self.policies.iter().map(|policy| policy.arn.clone()).collect::<Vec<_>>(),
            lines,
        );
        let lines = self.agents.iter().map(|name| format!("frontdesk destroy -a {name} --force")).collect();
        part(&mut page, "Agents", "Their sessions end.", &self.agents, lines);

        let lines = self.log_groups.iter().map(|name| aws(&["logs", "delete-log-group", "--log-group-name", name])).collect();
        let names: Vec<String> = self.log_groups.iter().map(|name| format!("`{name}`")).collect();
        part(&mut page, "Log groups", "Last, since what is called meanwhile writes into them.", &names, lines);

        page.push_str("\n## The host itself\n\n");
        let own: Vec<String> = self
            .keys
            .iter()
            .filter(|key| is_own_key(key))
            .map(|key| format!("the key {}", named(&key.name, &key.id)))
            .chain(own_plans.iter().map(|plan| format!("the plan {}", named(&plan.name, &plan.id))))
            .collect();
        let _ = writeln!(
            page,
            "The API `{}` in front of the agent, {}and all logs, figures and secrets are in the data folder. Stop the host (Ctrl-C where it runs), then:\n\n```sh\nrm -r -- {}\n```",
            self.own_api,
            own.iter().map(|what| format!("{what}, ")).collect::<String>(),
            crate::diagnosis::remedy::quoted(&self.data_folder)
        );
        if !self.unread.is_empty() {
            page.push_str("\n## What could not be looked at\n\n");
            self.unread.iter().for_each(|(what, why)| page.push_str(&format!("- {what}: {why}\n")));
        }
        page
    }
}

fn named(name: &str, id: &str) -> String {
    if name.is_empty() { format!("`{id}`") } else { format!("{name} (`{id}`)") }
}

fn part(page: &mut String, title: &str, said: &str, what: &[String], lines: Vec<String>) {
    let _ = writeln!(page, "\n## {title}\n");
    if what.is_empty() {
        page.push_str("None but the host's own.\n");
        return;
    }
    let _ = writeln!(page, "{}. {said}\n\n```sh\n{}\n```", what.join(", "), lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_before_what_it_needs() {
        let own = PlanListed {
            id: "p0".to_owned(),
            stages: vec![("own".to_owned(), "prod".to_owned())],
            key_ids: vec!["k0".to_owned()],
            ..PlanListed::default()
        };
        let plan = PlanListed { id: "p1".to_owned(), stages: vec![("a1".to_owned(), "prod".to_owned())], ..PlanListed::default() };
        let of = |id: &str| Named { id: id.to_owned(), name: String::new() };
        let inventory = Inventory {
            region: "us-east-1".to_owned(),
            data_folder: "/my data".to_owned(),
            own_api: "own".to_owned(),
            apis: vec![of("own"), of("a1")],
            keys: vec![of("k0"), of("k1")],
            plans: vec![own, plan],
            roles: vec![RoleListed { name: "r".to_owned(), attached: vec!["arn:p".to_owned()], inline: vec!["i".to_owned()] }],
            users: vec![UserListed {
                name: "u".to_owned(),
                access_keys: vec!["AKIA1".to_owned()],
                groups: vec!["g".to_owned()],
                attached: vec!["arn:p".to_owned()],
                inline: vec!["i".to_owned()],
            }],
            groups: vec![GroupListed { name: "g".to_owned(), attached: vec!["arn:p".to_owned()], inline: vec!["i".to_owned()] }],
            policies: vec![PolicyListed { arn: "arn:p".to_owned(), other_versions: vec!["v2".to_owned()] }],
            agents: vec!["echo".to_owned()],
            alarms: vec!["too many".to_owned()],
            log_groups: vec!["/aws/lambda/f".to_owned()],
            writes_logs_as: Some("arn:aws:iam::1:role/r".to_owned()),
            ..Inventory::default()
        };
        let guide = inventory.guide();
        let order = [
            "delete-alarms --alarm-names 'too many'",
            "value=a1:prod",
            "delete-usage-plan --usage-plan-id p1",
            "delete-api-key --api-key k1",
            "delete-rest-api --rest-api-id a1",
            "update-account --patch-operations op=replace,path=/cloudwatchRoleArn,value=",
            "detach-role-policy --role-name r --policy-arn arn:p",
            "delete-role-policy --role-name r --policy-name i",
            "delete-role --role-name r",
            "delete-access-key --user-name u --access-key-id AKIA1",
            "remove-user-from-group --user-name u --group-name g",
            "detach-user-policy --user-name u --policy-arn arn:p",
            "delete-user-policy --user-name u --policy-name i",
            "delete-user --user-name u",
            "detach-group-policy --group-name g --policy-arn arn:p",
            "delete-group-policy --group-name g --policy-name i",
            "delete-group --group-name g",
            "delete-policy-version --policy-arn arn:p --version-id v2",
            "delete-policy --policy-arn arn:p",
            "frontdesk destroy -a echo --force",
            "delete-log-group --log-group-name /aws/lambda/f",
            "rm -r -- '/my data'",
        ];
        let places: Vec<usize> = order.iter().map(|command| guide.find(command).unwrap_or_else(|| panic!("{command}: {guide}"))).collect();
        assert!(places.is_sorted(), "{guide}");
        for kept in ["--usage-plan-id p0", "--api-key k0", "--rest-api-id own"] {
            assert!(!guide.contains(kept), "{kept} is the host's own: {guide}");
        }
    }
}
