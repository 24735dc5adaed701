"""Makes users, roles, policies and sessions on a running host with the aws CLI and boto3, and checks what each may do and what is refused.

The environment names the host: AWS_ENDPOINT_URL and the root's credentials, AGENT_ARN for an agent to call. The argument names the part to play.
"""

import datetime
import json
import os
import subprocess
import sys

import boto3
import requests
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from checks import expect, refused_with as refused

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
ARN = os.environ["AGENT_ARN"]
REGION = os.environ["AWS_DEFAULT_REGION"]
ACCOUNT = ARN.split(":")[4]
# The host is to refuse what is wrong, not the client.
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=60, parameter_validation=False)
PROMPT = json.dumps({"prompt": "How do I activate roaming?"})
INVOKE = "bedrock-agentcore:InvokeAgentRuntime"
iam = boto3.client("iam", config=ONCE)
sts = boto3.client("sts", config=ONCE)


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {**allow(action, resource, **more), "Effect": "Deny"}


def trust(principal, effect="Allow", **more):
    return {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", **more}


LAMBDA_TRUST = policy(trust({"Service": "lambda.amazonaws.com"}))
ANYTHING = policy(allow("*"))


def client_of(service, credentials):
    return boto3.client(
        service,
        config=ONCE,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials.get("SessionToken"),
    )


def user(name, *documents):
    """A user with inline policies, and its credentials."""
    iam.create_user(UserName=name)
    for number, document in enumerate(documents):
        iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=document)
    return iam.create_access_key(UserName=name)["AccessKey"]


def invokes(credentials, **more):
    answer = client_of("bedrock-agentcore", credentials).invoke_agent_runtime(agentRuntimeArn=ARN, payload=PROMPT, **more)
    expect("invoke: status", answer["statusCode"], 200)


def may_not_invoke(what, credentials, message, **more):
    call = client_of("bedrock-agentcore", credentials).invoke_agent_runtime
    refused(what, 403, "AccessDeniedException", message, call, agentRuntimeArn=ARN, payload=PROMPT, **more)


def bash(script, code=0):
    ran = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True)
    expect(f"{script}: exit code ({ran.stderr})", ran.returncode, code)
    return ran.stdout if code == 0 else ran.stderr


def guide():
    """The guide's own commands, in the aws CLI, and the role's session before and after its policy is attached."""
    os.environ["AWS_REGION"] = REGION
    os.environ["AWS_ACCOUNT_ID"] = bash("aws sts get-caller-identity --query Account --output text").strip()
    expect("get-caller-identity", os.environ["AWS_ACCOUNT_ID"], ACCOUNT)
    with open("lambda-trust-policy.json", "w", encoding="utf-8") as file:
        # The caller too, so that the test can be the role.
        file.write(policy(trust({"Service": "lambda.amazonaws.com"}), trust({"AWS": ACCOUNT})))
    with open("lambda-policy.json", "w", encoding="utf-8") as file:
        logs = allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "arn:aws:logs:*:*:*", Sid="CloudWatchLogs")
        file.write(policy(logs, allow(INVOKE, Sid="InvokeAgentCore")))
    made = json.loads(
        bash(
            "aws iam create-role --role-name AgentCoreLambdaProxyRole "
            "--assume-role-policy-document file://lambda-trust-policy.json --region $AWS_REGION"
        )
    )["Role"]
    expect("create-role: ARN", made["Arn"], f"arn:aws:iam::{ACCOUNT}:role/AgentCoreLambdaProxyRole")
    bash(
        "aws iam create-policy --policy-name AgentCoreLambdaProxyPolicy --policy-document file://lambda-policy.json --region $AWS_REGION"
    )
    bash("aws iam wait role-exists --role-name AgentCoreLambdaProxyRole --region $AWS_REGION")
    got = json.loads(bash("aws iam get-role --role-name AgentCoreLambdaProxyRole --region $AWS_REGION"))["Role"]
    statements = got["AssumeRolePolicyDocument"]["Statement"]
    expect("get-role: trust", statements[0]["Principal"], {"Service": "lambda.amazonaws.com"})

    key = user("caller", policy(allow("sts:AssumeRole")))
    session = client_of("sts", key).assume_role(RoleArn=made["Arn"], RoleSessionName="AgentCoreProxy")
    expect("assume-role: ARN", session["AssumedRoleUser"]["Arn"], f"arn:aws:sts::{ACCOUNT}:assumed-role/AgentCoreLambdaProxyRole/AgentCoreProxy")
    expect("assume-role: id", session["AssumedRoleUser"]["AssumedRoleId"], f"{made['RoleId']}:AgentCoreProxy")
    credentials = session["Credentials"]
    before = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/AgentCoreLambdaProxyRole/AgentCoreProxy is not authorized to perform: {INVOKE} "
        f"on resource: {ARN} because no identity-based policy allows the {INVOKE} action"
    )
    may_not_invoke("before the policy is attached", credentials, before)
    attach = (
        "aws iam attach-role-policy --role-name AgentCoreLambdaProxyRole "
        "--policy-arn arn:aws:iam::$AWS_ACCOUNT_ID:policy/AgentCoreLambdaProxyPolicy --region $AWS_REGION"
    )
    bash(attach)
    invokes(credentials)
    attached = json.loads(bash("aws iam list-attached-role-policies --role-name AgentCoreLambdaProxyRole --region $AWS_REGION"))
    expect("list-attached-role-policies", [one["PolicyName"] for one in attached["AttachedPolicies"]], ["AgentCoreLambdaProxyPolicy"])
    bash(
        "aws iam create-policy-version --policy-arn arn:aws:iam::$AWS_ACCOUNT_ID:policy/AgentCoreLambdaProxyPolicy "
        "--policy-document file://lambda-policy.json --set-as-default --region $AWS_REGION"
    )
    invokes(credentials)
    # The guide's clean-up: its delete-policy stumbles over the second version, as it does on AWS.
    bash(attach.replace("attach", "detach", 1))
    may_not_invoke("after the policy is detached", credentials, "because no identity-based policy allows")
    delete = "aws iam delete-policy --policy-arn arn:aws:iam::$AWS_ACCOUNT_ID:policy/AgentCoreLambdaProxyPolicy --region $AWS_REGION"
    said = bash(delete, 255 if cli_is_2() is False else 254)
    if "DeleteConflict" not in said or "This policy has more than one version." not in said:
        sys.exit(f"delete-policy with two versions: {said}")
    bash(
        "aws iam delete-policy-version --policy-arn arn:aws:iam::$AWS_ACCOUNT_ID:policy/AgentCoreLambdaProxyPolicy --version-id v1"
    )
    bash(delete)
    bash("aws iam delete-role --role-name AgentCoreLambdaProxyRole --region $AWS_REGION")
    refused("a session of a deleted role", 403, "UnrecognizedClientException", "", client_of("bedrock-agentcore", credentials).invoke_agent_runtime, agentRuntimeArn=ARN, payload=PROMPT)
    print("the guide's role was made, used and deleted")


def cli_is_2():
    return bash("aws --version 2>&1").startswith("aws-cli/2")


def roles():
    made = iam.create_role(
        RoleName="R",
        Path="/team/a/",
        AssumeRolePolicyDocument=LAMBDA_TRUST,
        Description="for <tests> & more",
        MaxSessionDuration=7200,
        Tags=[{"Key": "team", "Value": "a b"}],
    )["Role"]
    expect("role: ARN", made["Arn"], f"arn:aws:iam::{ACCOUNT}:role/team/a/R")
    expect("role: description", made["Description"], "for <tests> & more")
    expect("role: id", (made["RoleId"][:4], len(made["RoleId"])), ("AROA", 21))
    expect("role: age", abs((datetime.datetime.now(datetime.UTC) - made["CreateDate"]).total_seconds()) < 60, True)
    got = iam.get_role(RoleName="r")["Role"]
    expect("role: found in any case", (got["RoleName"], got["MaxSessionDuration"], got["Tags"]), ("R", 7200, [{"Key": "team", "Value": "a b"}]))
    expect("role: trust", got["AssumeRolePolicyDocument"], json.loads(LAMBDA_TRUST))
    refused("a second role", 409, "EntityAlreadyExists", "Role with name r already exists.", iam.create_role, RoleName="r", AssumeRolePolicyDocument=LAMBDA_TRUST)
    iam.update_role(RoleName="R", Description="new", MaxSessionDuration=3600)
    iam.update_assume_role_policy(RoleName="R", PolicyDocument=policy(trust({"AWS": ACCOUNT})))
    got = iam.get_role(RoleName="R")["Role"]
    expect("role: updated", (got["Description"], got["MaxSessionDuration"]), ("new", 3600))
    expect("role: new trust", got["AssumeRolePolicyDocument"]["Statement"][0]["Principal"], {"AWS": ACCOUNT})
    iam.tag_role(RoleName="R", Tags=[{"Key": "TEAM", "Value": "b"}, {"Key": "cost", "Value": ""}])
    iam.untag_role(RoleName="R", TagKeys=["cost"])
    expect("role: tags", iam.list_role_tags(RoleName="R")["Tags"], [{"Key": "TEAM", "Value": "b"}])
    listed = iam.list_roles(PathPrefix="/team/")["Roles"]
    expect("role: listed by path", [role["RoleName"] for role in listed], ["R"])
    iam.put_role_policy(RoleName="R", PolicyName="inline", PolicyDocument=ANYTHING)
    expect("role: inline", iam.get_role_policy(RoleName="R", PolicyName="inline")["PolicyDocument"], json.loads(ANYTHING))
    expect("role: inline names", iam.list_role_policies(RoleName="R")["PolicyNames"], ["inline"])
    refused("a role with an inline policy", 409, "DeleteConflict", "must delete policies first", iam.delete_role, RoleName="R")
    iam.delete_role_policy(RoleName="R", PolicyName="inline")
    refused("a policy twice deleted", 404, "NoSuchEntity", "The role policy with name inline cannot be found.", iam.delete_role_policy, RoleName="R", PolicyName="inline")
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName="R", PolicyArn=basic)
    refused("a role with an attached policy", 409, "DeleteConflict", "must detach all policies first", iam.delete_role, RoleName="R")
    iam.detach_role_policy(RoleName="R", PolicyArn=basic)
    refused("a policy twice detached", 404, "NoSuchEntity", f"Policy {basic} was not found.", iam.detach_role_policy, RoleName="R", PolicyArn=basic)
    expect("role: instance profiles", iam.list_instance_profiles_for_role(RoleName="R")["InstanceProfiles"], [])
    iam.delete_role(RoleName="R")
    refused("a deleted role", 404, "NoSuchEntity", "The role with name R cannot be found.", iam.get_role, RoleName="R")
    # The host's own role is there to be seen and not to be changed.
    own = iam.get_role(RoleName="FrontdeskProxyRole")["Role"]
    expect("the host's own role", own["Path"], "/frontdesk/")
    refused("deleting it", 400, "UnmodifiableEntity", "protected role 'FrontdeskProxyRole'", iam.delete_role, RoleName="FrontdeskProxyRole")
    refused("changing it", 400, "UnmodifiableEntity", "", iam.put_role_policy, RoleName="FrontdeskProxyRole", PolicyName="p", PolicyDocument=ANYTHING)


def policies():
    made = iam.create_policy(PolicyName="P", Path="/x/", PolicyDocument=policy(allow("s3:Get*")), Description="d", Tags=[{"Key": "k", "Value": "v"}])["Policy"]
    arn = made["Arn"]
    expect("policy: ARN", arn, f"arn:aws:iam::{ACCOUNT}:policy/x/P")
    expect("policy: counts", (made["AttachmentCount"], made["DefaultVersionId"], made["IsAttachable"]), (0, "v1", True))
    refused("a second policy", 409, "EntityAlreadyExists", "A policy called P already exists. Duplicate names are not allowed.", iam.create_policy, PolicyName="P", PolicyDocument=ANYTHING)
    for number in range(2, 6):
        version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=ANYTHING, SetAsDefault=number == 3)["PolicyVersion"]
        expect("policy version", (version["VersionId"], version["IsDefaultVersion"]), (f"v{number}", number == 3))
    refused("a sixth version", 409, "LimitExceeded", "A managed policy can have up to 5 versions.", iam.create_policy_version, PolicyArn=arn, PolicyDocument=ANYTHING)
    expect("policy: versions", [one["VersionId"] for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]], ["v5", "v4", "v3", "v2", "v1"])
    expect("policy: a version's document", iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"], json.loads(policy(allow("s3:Get*"))))
    refused("the default version", 409, "DeleteConflict", "Cannot delete the default version of a policy.", iam.delete_policy_version, PolicyArn=arn, VersionId="v3")
    refused("an unknown version", 404, "NoSuchEntity", "version v9", iam.get_policy_version, PolicyArn=arn, VersionId="v9")
    refused("a policy with versions", 409, "DeleteConflict", "This policy has more than one version.", iam.delete_policy, PolicyArn=arn)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v5")
    again = iam.create_policy_version(PolicyArn=arn, PolicyDocument=ANYTHING)["PolicyVersion"]
    expect("policy: a number is used once", again["VersionId"], "v6")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    expect("policy: default", iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"], "v1")
    iam.create_role(RoleName="Holder", AssumeRolePolicyDocument=LAMBDA_TRUST)
    iam.attach_role_policy(RoleName="Holder", PolicyArn=arn)
    iam.attach_role_policy(RoleName="Holder", PolicyArn=arn)
    expect("policy: attached once", iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"], 1)
    expect("policy: holders", [role["RoleName"] for role in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]], ["Holder"])
    expect("policies: attached", [one["PolicyName"] for one in iam.list_policies(Scope="Local", OnlyAttached=True)["Policies"]], ["P"])
    for number in ["v2", "v3", "v4", "v6"]:
        iam.delete_policy_version(PolicyArn=arn, VersionId=number)
    refused("a policy in use", 409, "DeleteConflict", "Cannot delete a policy attached to entities.", iam.delete_policy, PolicyArn=arn)
    iam.detach_role_policy(RoleName="Holder", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    refused("a deleted policy", 404, "NoSuchEntity", f"Policy {arn} was not found.", iam.get_policy, PolicyArn=arn)
    refused("attaching it", 404, "NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", iam.attach_role_policy, RoleName="Holder", PolicyArn=arn)
    admin = iam.get_policy(PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")["Policy"]
    expect("AWS's own policies", admin["PolicyName"], "AdministratorAccess")
    refused("deleting AWS's own", 400, "InvalidInput", "", iam.delete_policy, PolicyArn=admin["Arn"])
    iam.delete_role(RoleName="Holder")


def users():
    key = user("ann", policy(allow(INVOKE, ARN)))
    may_not_invoke("a policy for the runtime, called for a user", key, f"{INVOKE}ForUser", runtimeUserId="somebody")
    invokes(key)
    whoami = client_of("sts", key).get_caller_identity()
    expect("a user's ARN", (whoami["Arn"], whoami["UserId"][:4]), (f"arn:aws:iam::{ACCOUNT}:user/ann", "AIDA"))
    refused("a user without a policy for IAM", 403, "AccessDenied", f"is not authorized to perform: iam:GetUser on resource: user/ann".replace("user/ann", f"arn:aws:iam::{ACCOUNT}:user/ann"), client_of("iam", key).get_user)
    iam.put_user_policy(UserName="ann", PolicyName="self", PolicyDocument=policy(allow("iam:*", f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}")))
    expect("a user by itself", client_of("iam", key).get_user()["User"]["UserName"], "ann")
    refused("another user by it", 403, "AccessDenied", "iam:GetUser", client_of("iam", key).get_user, UserName="bob")
    # Conditions, one after the other.
    cases = [
        ("region", {"StringEquals": {"aws:RequestedRegion": REGION}}, True),
        ("another region", {"StringEquals": {"aws:RequestedRegion": "eu-north-1"}}, False),
        ("source", {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ("another source", {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ("principal", {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/*"}}, True),
        ("another name", {"StringNotEquals": {"aws:username": "ann"}}, False),
        ("a date to come", {"DateLessThan": {"aws:CurrentTime": "2999-01-01T00:00:00Z"}}, True),
        ("a date gone by", {"DateLessThan": {"aws:CurrentTime": "2001-01-01T00:00:00Z"}}, False),
        ("an endpoint's ARN", None, True),
    ]
    for what, condition, is_allowed in cases:
        statement = allow(INVOKE, Condition=condition) if condition else allow(INVOKE, f"{ARN}/runtime-endpoint/DEFAULT")
        iam.put_user_policy(UserName="ann", PolicyName="p0", PolicyDocument=policy(statement))
        if is_allowed:
            invokes(key)
        else:
            may_not_invoke(what, key, "because no identity-based policy allows")
    iam.put_user_policy(UserName="ann", PolicyName="p0", PolicyDocument=policy(allow("*"), deny(INVOKE)))
    may_not_invoke("an explicit deny", key, f"on resource: {ARN} with an explicit deny in an identity-based policy")
    iam.put_user_policy(UserName="ann", PolicyName="p0", PolicyDocument=policy(allow([INVOKE, f"{INVOKE}ForUser"])))
    invokes(key, runtimeUserId="somebody")
    # A boundary takes away what it does not name.
    boundary = iam.create_policy(PolicyName="Bound", PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="ann", PermissionsBoundary=boundary)
    may_not_invoke("a boundary", key, f"because no permissions boundary allows the {INVOKE} action")
    refused("deleting a boundary in use", 409, "DeleteConflict", "Cannot delete a policy attached to entities.", iam.delete_policy, PolicyArn=boundary)
    iam.delete_user_permissions_boundary(UserName="ann")
    invokes(key)
    iam.delete_policy(PolicyArn=boundary)

    second = iam.create_access_key(UserName="ann")["AccessKey"]
    refused("a third access key", 409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2", iam.create_access_key, UserName="ann")
    invokes(second)
    iam.update_access_key(UserName="ann", AccessKeyId=second["AccessKeyId"], Status="Inactive")
    refused("an inactive key", 403, "UnrecognizedClientException", "security token", client_of("bedrock-agentcore", second).invoke_agent_runtime, agentRuntimeArn=ARN, payload=PROMPT)
    refused("an inactive key for IAM", 403, "InvalidClientTokenId", "security token", client_of("iam", second).get_user)
    statuses = {one["AccessKeyId"]: one["Status"] for one in iam.list_access_keys(UserName="ann")["AccessKeyMetadata"]}
    expect("statuses", statuses, {key["AccessKeyId"]: "Active", second["AccessKeyId"]: "Inactive"})
    used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    expect("last used", (used["UserName"], used["AccessKeyLastUsed"]["ServiceName"]), ("ann", "bedrock-agentcore"))
    iam.delete_access_key(UserName="ann", AccessKeyId=second["AccessKeyId"])
    refused("a user with a key", 409, "DeleteConflict", "must delete access keys first", iam.delete_user, UserName="ann")
    refused("a key of somebody else's", 404, "NoSuchEntity", "", iam.delete_access_key, UserName="ann", AccessKeyId=second["AccessKeyId"])
    iam.update_user(UserName="ann", NewUserName="anna", NewPath="/people/")
    expect("renamed", client_of("sts", key).get_caller_identity()["Arn"], f"arn:aws:iam::{ACCOUNT}:user/people/anna")
    iam.delete_access_key(UserName="anna", AccessKeyId=key["AccessKeyId"])
    refused("a deleted key", 403, "InvalidClientTokenId", "", client_of("sts", key).get_caller_identity)
    for name in iam.list_user_policies(UserName="anna")["PolicyNames"]:
        iam.delete_user_policy(UserName="anna", PolicyName=name)
    iam.delete_user(UserName="anna")
    expect("the root", iam.get_user()["User"]["Arn"], f"arn:aws:iam::{ACCOUNT}:root")


def passing():
    """Who gives a role to a runtime must be allowed to."""
    key = user("maker", policy(allow("bedrock-agentcore:*")))
    image = {"containerConfiguration": {"containerUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/agent:1"}}
    role = f"arn:aws:iam::{ACCOUNT}:role/AgentRole"
    make = dict(agentRuntimeName="passed", agentRuntimeArtifact=image, roleArn=role, networkConfiguration={"networkMode": "PUBLIC"})
    control = client_of("bedrock-agentcore-control", key)
    refused("a role that is not to be passed", 403, "AccessDeniedException", f"iam:PassRole on resource: {role}", control.create_agent_runtime, **make)
    only_to = {"StringEquals": {"iam:PassedToService": "bedrock-agentcore.amazonaws.com"}}
    iam.put_user_policy(UserName="maker", PolicyName="pass", PolicyDocument=policy(allow("iam:PassRole", role, Condition=only_to)))
    made = control.create_agent_runtime(**make)
    control.delete_agent_runtime(agentRuntimeId=made["agentRuntimeId"])


def groups():
    key = user("bob")
    iam.create_group(GroupName="callers")
    iam.put_group_policy(GroupName="callers", PolicyName="p", PolicyDocument=policy(allow(INVOKE)))
    may_not_invoke("before the group", key, "because no identity-based policy allows")
    iam.add_user_to_group(GroupName="callers", UserName="bob")
    invokes(key)
    expect("the group's users", [one["UserName"] for one in iam.get_group(GroupName="callers")["Users"]], ["bob"])
    expect("the user's groups", [one["GroupName"] for one in iam.list_groups_for_user(UserName="bob")["Groups"]], ["callers"])
    refused("a group with users", 409, "DeleteConflict", "", iam.delete_group, GroupName="callers")
    iam.remove_user_from_group(GroupName="callers", UserName="bob")
    may_not_invoke("after the group", key, "because no identity-based policy allows")
    iam.delete_group_policy(GroupName="callers", PolicyName="p")
    iam.delete_group(GroupName="callers")


def raw(service, body, credentials=None, **headers):
    session = boto3.Session()
    request = AWSRequest("POST", f"{ENDPOINT}/", data=body, headers={"content-type": "application/x-www-form-urlencoded", **headers})
    SigV4Auth(credentials or session.get_credentials(), service, REGION).add_auth(request)
    return requests.post(f"{ENDPOINT}/", data=body, headers=dict(request.headers), timeout=60)


def is_refused(what, answer, status, code, message):
    if answer.status_code != status or f"<Code>{code}</Code>" not in answer.text or message not in answer.text:
        sys.exit(f"{what}: {answer.status_code} {answer.text}")


def refused_calls():
    make = dict(RoleName="X", AssumeRolePolicyDocument=LAMBDA_TRUST)
    malformed = [
        ("no JSON", "{", "This policy contains invalid Json"),
        ("no principal", policy({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
        ("a resource", policy(trust("*", Resource="*")), "Has prohibited field Resource"),
        ("another action", policy({**trust("*"), "Action": "s3:*"}), "AssumeRole policy may only specify STS AssumeRole actions."),
        ("no principal's ARN", policy(trust({"AWS": "arn:aws:iam::1:user/x"})), "Invalid principal in policy"),
    ]
    for what, document, message in malformed:
        refused(what, 400, "MalformedPolicyDocument", message, iam.create_role, RoleName="X", AssumeRolePolicyDocument=document)
    malformed = [
        ("no action", policy({"Effect": "Allow", "Resource": "*"}), "Policy statement must contain actions."),
        ("a principal", policy(allow("s3:*", Principal="*")), "Policy document should not specify a principal."),
        ("no ARN", policy(allow("s3:*", "bucket")), 'Resource bucket must be in ARN format or "*".'),
        ("no service", policy(allow("GetObject")), "Actions/Conditions must be prefaced by a vendor"),
        ("an operator", policy(allow("s3:*", Condition={"Is": {"k": "v"}})), "Invalid Condition type : Is."),
        ("a version", json.dumps({"Version": "2020-01-01", "Statement": []}), "Syntax errors in policy."),
    ]
    for what, document, message in malformed:
        refused(what, 400, "MalformedPolicyDocument", message, iam.create_policy, PolicyName="X", PolicyDocument=document)
    refused("a long policy", 409, "LimitExceeded", "Cannot exceed quota for PolicySize: 6144", iam.create_policy, PolicyName="X", PolicyDocument=policy(allow("s3:" + "x" * 6200)))
    refused("a name", 400, "ValidationError", "The specified value for roleName is invalid.", iam.create_role, **{**make, "RoleName": "a/b"})
    refused("a long name", 400, "ValidationError", "Member must have length less than or equal to 64", iam.create_role, **{**make, "RoleName": "a" * 65})
    refused("a path", 400, "ValidationError", "The specified value for path is invalid.", iam.create_role, **make, Path="team")
    refused("a duration", 400, "ValidationError", "greater than or equal to 3600", iam.create_role, **make, MaxSessionDuration=3599)
    refused("a boundary that is not there", 404, "NoSuchEntity", "", iam.create_role, **make, PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/none")
    refused("a role that is not there", 404, "NoSuchEntity", "The role with name none cannot be found.", iam.get_role, RoleName="none")
    refused("a user that is not there", 404, "NoSuchEntity", "The user with name none cannot be found.", iam.get_user, UserName="none")
    # The host's own roles have a path of their own.
    expect("nothing was made", [role["RoleName"] for role in iam.list_roles()["Roles"] if role["Path"] != "/frontdesk/"], [])
    refused("an unknown operation", 400, "InvalidAction", "CreateSAMLProvider", iam.create_saml_provider, Name="x", SAMLMetadataDocument="x" * 1000)

    is_refused("no action", raw("iam", "Version=2010-05-08"), 400, "InvalidAction", "")
    is_refused("a required parameter", raw("iam", "Action=GetRole&Version=2010-05-08"), 400, "ValidationError", "&apos;roleName&apos;".replace("&apos;", "'"))
    is_refused("an altered body", requests.post(f"{ENDPOINT}/", data="Action=ListRoles", headers=signed_for_nothing(), timeout=60), 403, "SignatureDoesNotMatch", "")
    other = boto3.Session(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x").get_credentials()
    is_refused("an unknown key", raw("sts", "Action=GetCallerIdentity&Version=2011-06-15", other), 403, "InvalidClientTokenId", "")
    unsigned = requests.post(f"{ENDPOINT}/", data="Action=ListRoles", timeout=60)
    expect("unsigned", unsigned.status_code in (403, 404), True)
    # STS answers a presigned URL, by which other services prove who somebody is.
    request = AWSRequest("GET", f"{ENDPOINT}/?Action=GetCallerIdentity&Version=2011-06-15")
    SigV4QueryAuth(boto3.Session().get_credentials(), "sts", REGION, expires=60).add_auth(request)
    answer = requests.get(request.url, timeout=60)
    expect("a presigned URL", (answer.status_code, f"<Arn>arn:aws:iam::{ACCOUNT}:root</Arn>" in answer.text), (200, True))


def signed_for_nothing():
    request = AWSRequest("POST", f"{ENDPOINT}/", data="", headers={"content-type": "application/x-www-form-urlencoded"})
    SigV4Auth(boto3.Session().get_credentials(), "iam", REGION).add_auth(request)
    return dict(request.headers)


def pages():
    names = [f"paged-{number:02}" for number in range(25)]
    for name in names:
        iam.create_role(RoleName=name, Path="/paged/", AssumeRolePolicyDocument=LAMBDA_TRUST)
    first = iam.list_roles(PathPrefix="/paged/", MaxItems=10)
    expect("the first page", (len(first["Roles"]), first["IsTruncated"]), (10, True))
    seen = []
    for page in iam.get_paginator("list_roles").paginate(PathPrefix="/paged/", PaginationConfig={"PageSize": 10}):
        seen.append([role["RoleName"] for role in page["Roles"]])
    expect("pages", ([len(page) for page in seen], sum(seen, [])), ([10, 10, 5], names))
    refused("a marker", 400, "ValidationError", "Marker", iam.list_roles, Marker="x")
    iam.get_waiter("role_exists").wait(RoleName=names[0])
    for name in names:
        iam.delete_role(RoleName=name)


def simulated():
    iam.create_user(UserName="sim")
    iam.put_user_policy(UserName="sim", PolicyName="p", PolicyDocument=policy(allow("s3:Get*", "arn:aws:s3:::a/*"), deny("s3:*", "arn:aws:s3:::a/secret", Condition={"StringEquals": {"x:key": "v"}})))
    source = f"arn:aws:iam::{ACCOUNT}:user/sim"

    def decisions(actions, resources, **more):
        results = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=actions, ResourceArns=resources, **more)["EvaluationResults"]
        return [result["EvalDecision"] for result in results]

    expect("simulated", decisions(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::a/x"]), ["allowed", "implicitDeny"])
    entry = {"ContextKeyName": "x:key", "ContextKeyType": "string", "ContextKeyValues": ["v"]}
    expect("simulated with a key", decisions(["s3:GetObject"], ["arn:aws:s3:::a/secret"], ContextEntries=[entry]), ["explicitDeny"])
    custom = iam.simulate_custom_policy(PolicyInputList=[ANYTHING], ActionNames=["x:y"])["EvaluationResults"]
    expect("a policy of nobody's", custom[0]["EvalDecision"], "allowed")
    iam.delete_user_policy(UserName="sim", PolicyName="p")
    iam.delete_user(UserName="sim")


def sessions():
    ann, bob = user("ann"), user("bob", policy(allow("sts:AssumeRole")))
    ann_arn = f"arn:aws:iam::{ACCOUNT}:user/ann"

    def role(name, *statements, **more):
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(*statements), **more)["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow([INVOKE, "sts:AssumeRole", "iam:GetRole"])))
        return made["Arn"]

    def assume(credentials, arn, **more):
        return client_of("sts", credentials).assume_role(RoleArn=arn, RoleSessionName="test", **more)["Credentials"]

    def may_not_assume(what, credentials, arn, message="is not authorized to perform: sts:AssumeRole", **more):
        refused(what, 403, "AccessDenied", message, client_of("sts", credentials).assume_role, RoleArn=arn, RoleSessionName="test", **more)

    for_ann = role("ForAnn", trust({"AWS": ann_arn}))
    for_all = role("ForAll", trust({"AWS": ACCOUNT}), MaxSessionDuration=7200)
    for_lambda = role("ForLambda", trust({"Service": "lambda.amazonaws.com"}))
    with_id = role("WithId", trust({"AWS": ACCOUNT}, Condition={"StringEquals": {"sts:ExternalId": "seven"}}))
    but_bob = role("ButBob", trust("*"), trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"}, effect="Deny"))
    invokes(assume(ann, for_ann))
    may_not_assume("a role that trusts another", bob, for_ann, "because no role trust policy allows the sts:AssumeRole action")
    invokes(assume(bob, for_all))
    may_not_assume("a user whose account alone is trusted", ann, for_all, "because no identity-based policy allows the sts:AssumeRole action")
    may_not_assume("a role for a service", bob, for_lambda)
    may_not_assume("without the external id", bob, with_id)
    assume(bob, with_id, ExternalId="seven")
    assume(ann, but_bob)
    may_not_assume("a trust policy's deny", bob, but_bob, "with an explicit deny in the role trust policy")
    may_not_assume("a role that is not there", bob, f"arn:aws:iam::{ACCOUNT}:role/none")
    refused("the root", 403, "AccessDenied", "Roles may not be assumed by root accounts.", sts.assume_role, RoleArn=for_all, RoleSessionName="test")
    refused("too long", 400, "ValidationError", "exceeds the MaxSessionDuration", client_of("sts", bob).assume_role, RoleArn=for_all, RoleSessionName="test", DurationSeconds=7201)
    refused("too short", 400, "ValidationError", "greater than or equal to 900", client_of("sts", bob).assume_role, RoleArn=for_all, RoleSessionName="test", DurationSeconds=899)
    refused("a session's name", 400, "ValidationError", "roleSessionName", client_of("sts", bob).assume_role, RoleArn=for_all, RoleSessionName="a b")

    session = assume(bob, for_all, DurationSeconds=7200)
    left = (session["Expiration"] - datetime.datetime.now(datetime.UTC)).total_seconds()
    expect("two hours", 7100 < left <= 7201, True)
    refused("a chained session of two hours", 400, "ValidationError", "role chaining", client_of("sts", session).assume_role, RoleArn=for_all, RoleSessionName="test", DurationSeconds=7200)
    chained = assume(session, for_all)
    expect("a chained session", client_of("sts", chained).get_caller_identity()["Arn"], f"arn:aws:sts::{ACCOUNT}:assumed-role/ForAll/test")

    # A session's own policies take away, and never add.
    narrow = assume(bob, for_all, Policy=policy(allow("iam:*")))
    may_not_invoke("a session policy", narrow, f"because no session policy allows the {INVOKE} action")
    client_of("iam", narrow).get_role(RoleName="ForAll")
    refused("what the role itself may not", 403, "AccessDenied", "because no identity-based policy allows the iam:ListRoles action", client_of("iam", narrow).list_roles)
    invokes(assume(bob, for_all, PolicyArns=[{"arn": "arn:aws:iam::aws:policy/AdministratorAccess"}]))
    denying = assume(bob, for_all, Policy=policy(allow("*"), deny(INVOKE)))
    may_not_invoke("a session policy's deny", denying, "with an explicit deny in a session policy")
    refused("no policy", 400, "MalformedPolicyDocument", "", client_of("sts", bob).assume_role, RoleArn=for_all, RoleSessionName="test", Policy="{}")
    refused("a large policy", 400, "PackedPolicyTooLarge", "", client_of("sts", bob).assume_role, RoleArn=for_all, RoleSessionName="test", Policy=policy(allow("s3:" + "x" * 2040)))

    # Session tags are the principal's tags, and need their own permission.
    tags = [{"Key": "team", "Value": "red"}]
    may_not_assume("tags", bob, for_all, "sts:TagSession", Tags=tags)
    iam.update_assume_role_policy(RoleName="ForAll", PolicyDocument=policy({**trust({"AWS": ACCOUNT}), "Action": ["sts:AssumeRole", "sts:TagSession"]}))
    iam.put_user_policy(UserName="bob", PolicyName="p0", PolicyDocument=policy(allow("sts:*")))
    iam.put_role_policy(RoleName="ForAll", PolicyName="p", PolicyDocument=policy(allow(INVOKE, Condition={"StringEquals": {"aws:PrincipalTag/team": "red"}})))
    invokes(assume(bob, for_all, Tags=tags))
    may_not_invoke("without the tag", assume(bob, for_all), "because no identity-based policy allows")

    # Altered tokens, keys and tokens of two sessions.
    one, two = assume(bob, for_all, Tags=tags), assume(bob, for_all, Tags=tags)
    for what, wrong in [("two sessions", {**one, "SessionToken": two["SessionToken"]}), ("a token", {**one, "SessionToken": one["SessionToken"][:-8] + "AAAAAAA="}), ("none", {**one, "SessionToken": None})]:
        refused(what, 403, "InvalidClientTokenId", "security token included in the request is invalid", client_of("sts", wrong).get_caller_identity)

    # A user's own temporary credentials are the user's, but not for IAM.
    iam.put_user_policy(UserName="ann", PolicyName="p0", PolicyDocument=policy(allow([INVOKE, "iam:GetUser"])))
    token = client_of("sts", ann).get_session_token(DurationSeconds=900)["Credentials"]
    expect("a user's session", client_of("sts", token).get_caller_identity()["Arn"], ann_arn)
    invokes(token)
    refused("a session's session", 403, "AccessDenied", "Cannot call GetSessionToken with session credentials", client_of("sts", token).get_session_token)
    refused("IAM by a user's session", 403, "InvalidClientTokenId", "", client_of("iam", token).get_user)
    iam.delete_user_policy(UserName="ann", PolicyName="p0")
    may_not_invoke("a user's session once the policy is gone", token, "because no identity-based policy allows")


def leave():
    key = user("stays", policy(allow("sts:AssumeRole")))
    made = iam.create_role(RoleName="Stays", AssumeRolePolicyDocument=policy(trust({"AWS": ACCOUNT})))["Role"]
    arn = iam.create_policy(PolicyName="Stays", PolicyDocument=policy(allow(INVOKE)))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="Stays", PolicyArn=arn)
    session = client_of("sts", key).assume_role(RoleArn=made["Arn"], RoleSessionName="stays")["Credentials"]
    invokes(session)
    with open("left.json", "w", encoding="utf-8") as file:
        json.dump({"key": key, "session": session}, file, default=str)


def found_again():
    with open("left.json", encoding="utf-8") as file:
        left = json.load(file)
    expect("the user", client_of("sts", left["key"]).get_caller_identity()["Arn"], f"arn:aws:iam::{ACCOUNT}:user/stays")
    invokes(left["session"])
    expect("the attachment", iam.list_attached_role_policies(RoleName="Stays")["AttachedPolicies"][0]["PolicyName"], "Stays")
    print("found again")


PARTS = {
    "guide": guide,
    "roles": roles,
    "policies": policies,
    "users": users,
    "groups": groups,
    "passing": passing,
    "refused": refused_calls,
    "pages": pages,
    "simulated": simulated,
    "sessions": sessions,
    "leave": leave,
    "found_again": found_again,
}
PARTS[sys.argv[1]]()
print(f"{sys.argv[1]}: answered as they should")
