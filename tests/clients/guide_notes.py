"""Proves the notes on the guide: each of its commands that fails on AWS fails here with AWS's words, and what the notes say to type instead works.

NOTES names the page, from which the commands are taken as they stand; ENDPOINT and API_KEY are the host's own front. The environment names the host beside.
"""

import json
import os
import re
import subprocess

import boto3
import requests

from checks import expect

REGION = os.environ["AWS_DEFAULT_REGION"]
ACCOUNT = os.environ["AGENT_ARN"].split(":")[4]
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock-agentcore:InvokeAgentRuntime", "Resource": "*"}]}
variables = {"AWS_REGION": REGION, "AWS_ACCOUNT_ID": ACCOUNT}


def bash(script):
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, env={**os.environ, **variables})


def succeeds(what, script):
    ran = bash(script)
    expect(f"{what}: {script}: {ran.stderr}", ran.returncode, 0)
    return ran.stdout.strip()


def fails(what, script, said):
    ran = bash(script)
    expect(f"{what}: {script} fails", ran.returncode != 0, True)
    expect(f"{what}: {ran.stderr!r} says {said!r}", said in ran.stderr, True)


def instead(heading, number=0):
    """The block that the notes have under a heading."""
    with open(os.environ["NOTES"], encoding="utf-8") as file:
        section = file.read().split(f"### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.S)[number]


# What the guide has made, by its own commands.
with open("lambda-trust-policy.json", "w", encoding="utf-8") as file:
    json.dump(TRUST, file)
with open("lambda-policy.json", "w", encoding="utf-8") as file:
    json.dump(POLICY, file)
arn = f"arn:aws:iam::{ACCOUNT}:policy/AgentCoreLambdaProxyPolicy"
succeeds("2.2.3", "aws iam create-role --role-name AgentCoreLambdaProxyRole --assume-role-policy-document file://lambda-trust-policy.json")
succeeds("2.2.3", "aws iam create-policy --policy-name AgentCoreLambdaProxyPolicy --policy-document file://lambda-policy.json")
attach = f"aws iam attach-role-policy --role-name AgentCoreLambdaProxyRole --policy-arn {arn}"
succeeds("2.2.3", attach)
variables["API_ID"] = succeeds("2.4.1", "aws apigateway create-rest-api --name AgentCore-FAQ-API --query id --output text")

fails("1.4", "python3 -c 'from 01_agentcore_runtime import agent'", "SyntaxError")

# The root among resources, of which it is not the first.
succeeds("2.4.2", f"aws apigateway create-resource --rest-api-id $API_ID --path-part invoke --parent-id $({instead('Part 2.4.2: the first of the resources')} echo $ROOT_RESOURCE_ID)")
found = succeeds("2.4.2", instead("Part 2.4.2: the first of the resources") + "echo $ROOT_RESOURCE_ID")
api = boto3.client("apigateway")
resources = api.get_resources(restApiId=variables["API_ID"])["items"]
expect("the root", found, next(one["id"] for one in resources if one["path"] == "/"))

invoke = next(one["id"] for one in resources if one["path"] == "/invoke")
here = f"--rest-api-id $API_ID --resource-id {invoke} --http-method POST"
succeeds("2.4.4", f"aws apigateway put-method {here} --authorization-type NONE --api-key-required")
deploy = "aws apigateway create-deployment --rest-api-id $API_ID --stage-name prod"
fails("a method without an integration", deploy, "No integration defined for method")
uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/arn:aws:lambda:{REGION}:{ACCOUNT}:function:frontdesk-proxy/invocations"
succeeds("2.4.5", f"aws apigateway put-integration {here} --type AWS_PROXY --integration-http-method POST --uri {uri}")
succeeds("2.5.1", deploy)
variables["API_KEY_ID"] = succeeds("2.5.2", "aws apigateway create-api-key --name ThirdParty --enabled --query id --output text")
plan = "aws apigateway create-usage-plan --name OfTheGuide --throttle burstLimit=100,rateLimit=50 --query id --output text"
variables["USAGE_PLAN_ID"] = succeeds("2.5.3", plan)
succeeds("2.5.4", "aws apigateway create-usage-plan-key --usage-plan-id $USAGE_PLAN_ID --key-id $API_KEY_ID --key-type API_KEY")
succeeds("2.5.4", "aws apigateway update-usage-plan --usage-plan-id $USAGE_PLAN_ID --patch-operations op=add,path=/apiStages,value=\"${API_ID}:prod\"")

# The access log, before the account has its role and after.
log = (
    "aws apigateway update-stage --rest-api-id $API_ID --stage-name prod --patch-operations op=replace,path=/accessLogSettings/destinationArn,"
    "value=arn:aws:logs:$AWS_REGION:$AWS_ACCOUNT_ID:log-group:/aws/apigateway/$API_ID --region $AWS_REGION"
)
fails("3.3", log, "CloudWatch Logs role ARN must be set in account settings to enable logging")
succeeds("3.3, instead", instead("Part 3.3: `update-stage` that turns the access log on"))
succeeds("3.3, again", log)

# The clean-up: what the guide's own leaves, and that the notes' leaves nothing.
succeeds("Issue 3", f"aws iam create-policy-version --policy-arn {arn} --policy-document file://lambda-policy.json --set-as-default")
succeeds("clean-up", attach.replace("attach", "detach", 1))
delete = f"aws iam delete-policy --policy-arn {arn}"
versions = "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."
fails("clean-up", delete, "DeleteConflict")
fails("clean-up", delete, versions)
succeeds("clean-up, instead", instead("Clean-up: `delete-policy`"))
succeeds("clean-up", "aws iam delete-role --role-name AgentCoreLambdaProxyRole")
left = "Clean-up: what it leaves"
first, rest = instead(left).split("\n", 1)
succeeds("clean-up, instead", first)
succeeds("clean-up", "aws apigateway delete-rest-api --rest-api-id $API_ID")
expect("the guide leaves the key", [one["name"] for one in api.get_api_keys()["items"]], ["ThirdParty", "ThirdPartyServerKey"])
succeeds("clean-up, instead", rest)
expect("keys", [one["name"] for one in api.get_api_keys()["items"]], ["ThirdPartyServerKey"])
expect("plans", [one["name"] for one in api.get_usage_plans()["items"]], ["ThirdPartyUsagePlan"])
expect("APIs", len(api.get_rest_apis()["items"]), 1)
expect("the account's role", "cloudwatchRoleArn" in api.get_account(), False)
iam = boto3.client("iam")
expect("roles", [one["RoleName"] for one in iam.list_roles()["Roles"] if not one["Path"].startswith("/frontdesk/")], [])
expect("policies", iam.list_policies(Scope="Local")["Policies"], [])

# Kinder.
answer = requests.post(os.environ["ENDPOINT"], data="{", headers={"x-api-key": os.environ["API_KEY"]}, timeout=60)
expect("no JSON", (answer.status_code, answer.json()["error"]), (400, "Request body is not valid JSON"))
print("the notes are true")
