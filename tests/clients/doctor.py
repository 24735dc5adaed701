"""Produces each of the guide's five issues on a running host, has `frontdesk doctor` recognise and mend it, and calls again.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face, GATEWAY for the public one, PROXY_ARN for the host's own function,
FRONTDESK for the executable. The argument names the part to play.
"""

import io
import json
import os
import subprocess
import sys
import zipfile

import boto3
import requests
from botocore.config import Config

from checks import expect, launch

GATEWAY = os.environ["GATEWAY"]
REGION = os.environ["AWS_DEFAULT_REGION"]
ACCOUNT = os.environ["AGENT_ARN"].split(":")[4]
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=120)
api = boto3.client("apigateway", config=ONCE)
functions = boto3.client("lambda", config=ONCE)
iam = boto3.client("iam", config=ONCE)
MOODY = os.path.join(os.path.dirname(__file__), "moody_agent.py")
QUESTION = {"prompt": "How do I activate roaming?"}
# The commands are pasted as they are printed, so `frontdesk` has to be on the path.
PATHS = os.pathsep.join([os.path.dirname(os.environ["FRONTDESK"]), os.environ["PATH"]])


def function_uri(arn):
    return f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}/invocations"


class Front:
    """An API with one method, a key and a plan, as the guide builds them."""

    def __init__(self, name, path, verb="POST", **integration):
        self.path = path
        self.id = api.create_rest_api(name=name)["id"]
        root = api.get_resources(restApiId=self.id)["items"][0]["id"]
        self.resource = api.create_resource(restApiId=self.id, parentId=root, pathPart=path)["id"]
        self.method = dict(restApiId=self.id, resourceId=self.resource, httpMethod=verb)
        api.put_method(**self.method, authorizationType="NONE", apiKeyRequired=True)
        api.put_integration(**self.method, integrationHttpMethod="POST", **integration)
        api.create_deployment(restApiId=self.id, stageName="prod")
        self.stage = dict(restApiId=self.id, stageName="prod")
        self.key = api.create_api_key(name=f"{name}-key", enabled=True)
        stages = [{"apiId": self.id, "stage": "prod"}]
        throttle = {"rateLimit": 50, "burstLimit": 100}
        self.plan = api.create_usage_plan(name=f"{name}-plan", apiStages=stages, throttle=throttle)["id"]
        self.member = dict(usagePlanId=self.plan, keyId=self.key["id"])
        api.create_usage_plan_key(**self.member, keyType="API_KEY")

    def call(self):
        url = f"{GATEWAY}/restapis/{self.id}/prod/_user_request_/{self.path}"
        return requests.post(url, json=QUESTION, headers={"x-api-key": self.key["value"]}, timeout=60)

    def patch_plan(self, *operations):
        api.update_usage_plan(usagePlanId=self.plan, patchOperations=[dict(zip(("op", "path", "value"), one, strict=False)) for one in operations])


def doctor(front, *arguments):
    """What the doctor finds, and its exit code. It needs no question to be asked but where the answer is the matter."""
    command = [os.environ["FRONTDESK"], "doctor", "--api", front.id, "--key", front.key["id"], "--json", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(ran.stdout), ran.returncode
    except ValueError:
        sys.exit(f"{command}: {ran.stdout} {ran.stderr}")


def is_recognised(front, issue, said, *arguments):
    findings, code = doctor(front, *arguments)
    bad = [one for one in findings if one["verdict"] == "bad"]
    named = [one for one in bad if one.get("issue") == issue and said in one["said"]]
    if code != 1 or not named:
        sys.exit(f"issue {issue}, {said!r} is not recognised ({code}): {json.dumps(bad, indent=1)}")
    return named[0].get("remedy", [])


def is_mended(what, front, spoil, issue, said, ill, well=200, call=None, arguments=("--no-question",), paste=True):
    """Twice the same issue: once the command is pasted, once `--fix` runs it."""
    call = call or (lambda: front.call().status_code)
    expect(f"{what}: before", call(), well)
    if paste:
        spoil()
        expect(f"{what}: spoilt", call(), ill)
        remedy = is_recognised(front, issue, said, *arguments)
        if not remedy:
            sys.exit(f"{what}: no command is named")
        for line in remedy:
            ran = subprocess.run(["bash", "-euo", "pipefail", "-c", line], capture_output=True, text=True, env={**os.environ, "PATH": PATHS})
            expect(f"{what}: {line}: {ran.stderr}", ran.returncode, 0)
        settled(front)
        expect(f"{what}: after the command", call(), well)
    spoil()
    expect(f"{what}: spoilt again", call(), ill)
    findings, code = doctor(front, "--fix", "--yes", *arguments)
    left = [one for one in findings if one["verdict"] == "bad"]
    mended = [one for one in findings if one["verdict"] == "mended" and one.get("issue") == issue]
    expect(f"{what}: left ({json.dumps(findings, indent=1)})", (left, code, bool(mended)), ([], 0, True))
    expect(f"{what}: after --fix", call(), well)
    print(f"{what}: issue {issue} was recognised and mended")


def settled(front):
    """A function that was changed is not called before the change is in effect."""
    for name in [one["FunctionName"] for one in functions.list_functions()["Functions"]]:
        functions.get_waiter("function_updated_v2").wait(FunctionName=name)


def forbidden():
    """Issue 1, each of its causes."""
    front = Front("forbidden", "invoke", type="AWS_PROXY", uri=function_uri(os.environ["PROXY_ARN"]))
    findings, code = doctor(front)
    expect(f"nothing is bad ({json.dumps(findings, indent=1)})", code, 0)
    off = [{"op": "replace", "path": "/enabled", "value": "false"}]
    is_mended("a key that is disabled", front, lambda: api.update_api_key(apiKey=front.key["id"], patchOperations=off), 1, "disabled", 403)
    is_mended("a key without a plan", front, lambda: api.delete_usage_plan_key(**front.member), 1, "in no usage plan", 403)
    is_mended("a plan without the stage", front, lambda: front.patch_plan(("remove", "/apiStages", f"{front.id}:prod")), 1, "does not open the stage", 403)

    def not_deployed():
        front.patch_plan(("remove", "/apiStages", f"{front.id}:prod"))
        api.delete_stage(**front.stage)

    # The plan cannot open what is not there: two causes, of which one hides the command for the other.
    is_mended("no stage", front, not_deployed, 1, "it does not exist", 403, paste=False)

    def no_integration():
        api.delete_integration(**front.method)
        not_deployed()

    is_mended("a method without an integration", front, no_integration, 1, "has no integration", 403, paste=False)
    everybody = subprocess.run([os.environ["FRONTDESK"], "doctor", "--json", "--no-question"], capture_output=True, text=True)
    expect(f"the host's own API ({everybody.stdout})", everybody.returncode, 0)


def straight_to(name, path, **variables):
    """An API with AgentCore behind its method, and the moody agent there."""
    arn = launch("moody", agent=MOODY, environment=variables)["agentRuntimeArn"]
    uri = f"https://bedrock-agentcore.{REGION}.amazonaws.com/runtimes/{requests.utils.quote(arn, safe='')}/invocations?qualifier=DEFAULT"
    return Front(name, path, type="HTTP_PROXY", uri=uri, credentials=f"arn:aws:iam::{ACCOUNT}:role/frontdesk/FrontdeskGatewayRole")


def late():
    """Issue 2: the gateway's timeout, then the function's."""
    front = straight_to("late", "slow", MOOD="slow")

    def hurry():
        short = [{"op": "replace", "path": "/timeoutInMillis", "value": "100"}]
        api.update_integration(**front.method, patchOperations=short)
        api.create_deployment(**front.stage)

    is_mended("a gateway that does not wait", front, hurry, 2, "the gateway waits 100 ms", 504)

    source = "import time\ndef handler(event, context):\n    time.sleep(2)\n    return {'statusCode': 200, 'body': '{}'}\n"
    role = a_role("sleeper-role")
    allowed = {"Effect": "Allow", "Action": "bedrock-agentcore:InvokeAgentRuntime", "Resource": "*"}
    iam.put_role_policy(RoleName="sleeper-role", PolicyName="invoke", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    arn = a_function("sleeper", source, role, 20, AGENT_ARN=os.environ["AGENT_ARN"])
    front = Front("sleepy", "invoke", type="AWS_PROXY", uri=function_uri(arn))
    let_in(front, "sleeper")

    def shorten():
        functions.update_function_configuration(FunctionName="sleeper", Timeout=1)
        settled(front)

    is_mended("a function that is ended", front, shorten, 2, "Lambda ends it after 1 s", "Sandbox.Timedout", call=lambda: invoked("sleeper"))
    expect("its timeout", functions.get_function_configuration(FunctionName="sleeper")["Timeout"], 28)

    # Issue 1's last cause, told by the function's own policy.
    functions.remove_permission(FunctionName="sleeper", StatementId="gateway")
    is_recognised(front, 1, "does not let the gateway call it", "--no-question")
    functions.put_function_concurrency(FunctionName="sleeper", ReservedConcurrentExecutions=0)
    remedy = is_recognised(front, 1, "it is never run", "--no-question")
    expect("an emergency stop is told and not undone", remedy, [])
    functions.delete_function_concurrency(FunctionName="sleeper")
    findings, code = doctor(front, "--fix", "--yes", "--no-question")
    expect(f"the function may be called again ({json.dumps(findings, indent=1)})", code, 0)
    statement = json.loads(functions.get_policy(FunctionName="sleeper")["Policy"])["Statement"][0]
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{front.id}/*/POST/invoke"
    expect("by whom", (statement["Principal"], statement["Condition"]), ({"Service": "apigateway.amazonaws.com"}, {"ArnLike": {"AWS:SourceArn": source}}))
    expect("it is run again", invoked("sleeper"), 200)

    # An alias has a policy of its own; here the stage says which alias it is, and the method takes every verb.
    version = functions.publish_version(FunctionName="sleeper")["Version"]
    functions.create_alias(FunctionName="sleeper", Name="live", FunctionVersion=version)
    front = Front("aliased", "invoke", type="AWS_PROXY", uri=function_uri(arn + ":${stageVariables.alias}"), verb="ANY")
    api.update_stage(**front.stage, patchOperations=[{"op": "replace", "path": "/variables/alias", "value": "live"}])
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{front.id}/*/*/invoke"
    about = dict(FunctionName="sleeper", Qualifier="live")
    functions.add_permission(**about, StatementId="gateway", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com", SourceArn=source)

    def shut_out():
        for statement in json.loads(functions.get_policy(**about)["Policy"])["Statement"]:
            functions.remove_permission(**about, StatementId=statement["Sid"])

    is_mended("an alias that may not be called", front, shut_out, 1, "the policy of sleeper:live does not let the gateway call it", 500)
    expect("for every verb", source in functions.get_policy(**about)["Policy"], True)


def a_role(name):
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]


def a_function(name, source, role, timeout, **variables):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", source)
    about = dict(FunctionName=name, Runtime="python3.12", Role=role, Handler="app.handler", Timeout=timeout)
    made = functions.create_function(**about, Code={"ZipFile": packed.getvalue()}, Environment={"Variables": variables})
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"MaxAttempts": 300})
    return made["FunctionArn"]


def let_in(front, function):
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{front.id}/*/POST/*"
    about = dict(StatementId="gateway", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com", SourceArn=source)
    functions.add_permission(FunctionName=function, **about)


def invoked(name):
    """The status that a function answers with; its error's type where it ends with one."""
    answer = functions.invoke(FunctionName=name, Payload=json.dumps({"body": json.dumps(QUESTION)}))
    document = json.loads(answer["Payload"].read())
    return document.get("statusCode") or document.get("errorType") or document["errorMessage"]


PROXY = """
import json, os, boto3
from botocore.exceptions import ClientError
def handler(event, context):
    try:
        client = boto3.client("bedrock-agentcore")
        answer = client.invoke_agent_runtime(agentRuntimeArn=os.environ["AGENT_ARN"], payload=json.loads(event["body"]) and event["body"])
        return {"statusCode": 200, "body": answer["response"].read().decode()}
    except ClientError as error:
        return {"statusCode": error.response["ResponseMetadata"]["HTTPStatusCode"], "body": str(error)}
"""


def not_permitted():
    """Issue 3: the policy is not attached, or too narrow."""
    role = "AgentCoreLambdaProxyRole"
    arn = a_function("AgentCoreProxy", PROXY, a_role(role), 28, AGENT_ARN=os.environ["AGENT_ARN"])
    front = Front("signed", "invoke", type="AWS_PROXY", uri=function_uri(arn))
    let_in(front, "AgentCoreProxy")

    def document(resource):
        statement = {"Effect": "Allow", "Action": "bedrock-agentcore:InvokeAgentRuntime", "Resource": resource}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    policy = iam.create_policy(PolicyName="AgentCoreLambdaProxyPolicy", PolicyDocument=document("*"))["Policy"]["Arn"]
    attached = dict(RoleName=role, PolicyArn=policy)
    iam.attach_role_policy(**attached)
    call = lambda: invoked("AgentCoreProxy")
    is_mended("a policy that is not attached", front, lambda: iam.detach_role_policy(**attached), 3, "is not attached", 403, call=call)

    def narrow():
        other = document(f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/other-0123456789")
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=other, SetAsDefault=True)

    is_mended("a policy that is too narrow", front, narrow, 3, "but not on", 403, call=call)
    iam.detach_role_policy(**attached)
    for version in iam.list_policy_versions(PolicyArn=policy)["Versions"]:
        if not version["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=policy, VersionId=version["VersionId"])
    iam.delete_policy(PolicyArn=policy)
    findings, code = doctor(front, "--fix", "--yes", "--no-question")
    expect(f"a policy of its own ({json.dumps(findings, indent=1)})", (code, call()), (0, 200))
    expect("its name", iam.list_role_policies(RoleName=role)["PolicyNames"], ["InvokeAgentRuntime"])


def too_many():
    """Issue 4: the quota, then the speed."""
    front = Front("limited", "invoke", type="AWS_PROXY", uri=function_uri(os.environ["PROXY_ARN"]))
    # What was used is used: each time the quota is spent anew, by calls that are let in.
    front.patch_plan(("replace", "/quota/limit", "3"), ("replace", "/quota/period", "MONTH"))

    def spend():
        while front.call().status_code == 200:
            pass
        expect("spent", front.call().json(), {"message": "Limit Exceeded"})

    is_mended("a quota that is spent", front, spend, 4, "spent: 0 of 3 requests left this month", 429)
    front.patch_plan(("remove", "/quota"))

    def stop():
        front.patch_plan(("replace", "/throttle/burstLimit", "0"), ("replace", "/throttle/rateLimit", "0"))

    is_mended("a plan that lets nothing through", front, stop, 4, "429 Too Many Requests", 429)


def otherwise():
    """Issue 5: an answer that is not what was expected, and one that does not come."""
    front = straight_to("moody", "ask")

    def call():
        answer = front.call()
        return answer.status_code if answer.status_code != 200 or answer.text.startswith("{") else "no JSON"

    def in_mood(mood):
        launch("moody", agent=MOODY, environment={"MOOD": mood})
        if call() == 200:
            sys.exit(f"the new version is not served yet: {mood}")

    is_mended("an answer that is no JSON", front, lambda: in_mood("plain"), 5, "the agent's answer is no JSON: no JSON at all", "no JSON", call=call, arguments=())
    is_mended("an agent that dies", front, lambda: in_mood("gone"), 5, "these are my last words", 424, call=call, arguments=())


{"forbidden": forbidden, "late": late, "not_permitted": not_permitted, "too_many": too_many, "otherwise": otherwise}[sys.argv[1]]()
print(f"{sys.argv[1]}: all was mended")
