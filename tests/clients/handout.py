"""Checks what `frontdesk share` wrote: that the OpenAPI description is one and says what the endpoint does, and that the clean-up guide's commands leave nothing.

The argument names the part to play; OPENAPI names the description, API_KEY is the key that it is for, FRONTDESK the executable.
"""

import json
import os
import re
import subprocess
import sys

import boto3
import requests

from checks import expect, launch


def description():
    from openapi_schema_validator import OAS31Validator
    from openapi_spec_validator import validate

    with open(os.environ["OPENAPI"], encoding="utf-8") as file:
        spec = json.load(file)
    validate(spec)
    base = spec["servers"][0]["url"]
    expect("paths", sorted(spec["paths"]), ["/invoke", "/stream"])
    scheme = spec["components"]["securitySchemes"]["apiKey"]
    expect("the key's place", (scheme["in"], scheme["name"]), ("header", "x-api-key"))
    key = {"x-api-key": os.environ["API_KEY"]}
    responses = spec["paths"]["/invoke"]["post"]["responses"]

    def agrees(what, status, **arguments):
        answer = requests.post(f"{base}/invoke", timeout=60, **arguments)
        expect(f"{what}: {answer.text}", answer.status_code, status)
        told = responses[str(status)]
        schema = {**told["content"]["application/json"]["schema"], "components": spec["components"]}
        OAS31Validator(schema).validate(answer.json())
        missing = [name for name in told["headers"] if name not in answer.headers and name != "Retry-After"]
        expect(f"{what}: headers that are not there", missing, [])

    agrees("an answer", 200, headers=key, json={"prompt": "How do I activate roaming?", "actor_id": None})
    agrees("no prompt", 400, headers=key, json={})
    agrees("no JSON", 400, headers=key, data="{")
    agrees("no key", 403, json={"prompt": "x"})
    too_long = "x" * (10 * 1024 * 1024 + 1)
    agrees("a body that is too large", 413, headers=key, data=too_long)
    with requests.post(f"{base}/stream", headers=key, json={"prompt": "How do I activate roaming?"}, stream=True, timeout=60) as answer:
        kind = next(iter(spec["paths"]["/stream"]["post"]["responses"]["200"]["content"]))
        expect("the stream's type", answer.headers["content-type"].split(";")[0], kind)


def clean_up():
    api, iam, functions = (boto3.client(name) for name in ("apigateway", "iam", "lambda"))
    own = [one["id"] for one in api.get_rest_apis()["items"]]
    api_id = api.create_rest_api(name="theirs")["id"]
    root = api.get_resources(restApiId=api_id)["items"][0]["id"]
    api.put_method(restApiId=api_id, resourceId=root, httpMethod="GET", authorizationType="NONE")
    api.put_integration(restApiId=api_id, resourceId=root, httpMethod="GET", type="MOCK")
    api.create_deployment(restApiId=api_id, stageName="prod")
    plan = api.create_usage_plan(name="their plan", apiStages=[{"apiId": api_id, "stage": "prod"}])["id"]
    key = api.create_api_key(name="their key", enabled=True)["id"]
    api.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]})
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": ["lambda.amazonaws.com", "apigateway.amazonaws.com"]}, "Action": "sts:AssumeRole"}]})
    role = iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    policy = iam.create_policy(PolicyName="theirs", PolicyDocument=document)["Policy"]["Arn"]
    # The second version is what the guide's own clean-up stumbles over.
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=document, SetAsDefault=True)
    iam.attach_role_policy(RoleName="theirs", PolicyArn=policy)
    iam.put_role_policy(RoleName="theirs", PolicyName="own", PolicyDocument=document)
    iam.create_group(GroupName="their.group")
    iam.create_user(UserName="their.user")
    iam.add_user_to_group(GroupName="their.group", UserName="their.user")
    for attach, put, of in [(iam.attach_user_policy, iam.put_user_policy, {"UserName": "their.user"}), (iam.attach_group_policy, iam.put_group_policy, {"GroupName": "their.group"})]:
        attach(PolicyArn=policy, **of)
        put(PolicyName="own", PolicyDocument=document, **of)
    their_key = iam.create_access_key(UserName="their.user")["AccessKey"]["AccessKeyId"]
    expect("the role", role.endswith("role/theirs"), True)
    launch("theirs")
    alarms, logs = boto3.client("cloudwatch"), boto3.client("logs")
    about = dict(Namespace="AWS/ApiGateway", MetricName="Count", Statistic="Sum", Period=60, EvaluationPeriods=1)
    alarms.put_metric_alarm(AlarmName="theirs, too many", Threshold=1, ComparisonOperator="GreaterThanThreshold", **about)
    logs.create_log_group(logGroupName="/theirs/log")
    api.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": role}])

    subprocess.run([os.environ["FRONTDESK"], "share", "--clean-up"], check=True)
    with open("CLEAN-UP.md", encoding="utf-8") as file:
        guide = file.read()
    for named in (api_id, plan, key, "theirs", policy, own[0], "their.user", "their.group", their_key):
        if named not in guide:
            sys.exit(f"{named} is not in the guide: {guide}")
    if os.environ["AWS_ACCESS_KEY_ID"] in guide:
        sys.exit(f"the root's access key is in the guide: {guide}")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.S) for line in block.splitlines()]
    expect("the last command", commands[-1].startswith("rm -r -- "), True)
    environment = {**os.environ, "PATH": os.pathsep.join([os.path.dirname(os.environ["FRONTDESK"]), os.environ["PATH"]])}
    for command in commands[:-1]:
        ran = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, env=environment)
        expect(f"{command}: {ran.stderr}", ran.returncode, 0)
    expect("APIs", [one["id"] for one in api.get_rest_apis()["items"]], own)
    expect("plans", [one["name"] for one in api.get_usage_plans()["items"]], ["ThirdPartyUsagePlan"])
    expect("keys", [one["name"] for one in api.get_api_keys()["items"]], ["ThirdPartyServerKey"])
    left = [one["RoleName"] for one in iam.list_roles()["Roles"] if not one["Path"].startswith("/frontdesk/")]
    expect("roles", left, [])
    expect("users and groups", (iam.list_users()["Users"], iam.list_groups()["Groups"]), ([], []))
    expect("policies", iam.list_policies(Scope="Local")["Policies"], [])
    expect("alarms", alarms.describe_alarms()["MetricAlarms"], [])
    expect("log groups", [one["logGroupName"] for one in logs.describe_log_groups(logGroupNamePrefix="/theirs")["logGroups"]], [])
    expect("the role of API Gateway's logs", api.get_account().get("cloudwatchRoleArn"), None)
    expect("functions", functions.list_functions()["Functions"], [])
    listed = subprocess.run([os.environ["FRONTDESK"], "sessions", "--json"], capture_output=True, text=True, check=True)
    expect("agents", "theirs" in listed.stdout, False)


{"description": description, "clean_up": clean_up}[sys.argv[1]]()
print(f"{sys.argv[1]}: as it should be")
