"""The wrong ways: calls that AWS refuses, by boto3 with its parsing of errors. Each must be refused here with AWS's status and code, in a message that says the same.

The sentences are those of AWS's API references and of exchanges recorded against AWS by public test suites; where only the code is known, no sentence is asked for.
The environment names the host: AWS_ENDPOINT_URL and the root's credentials, AGENT_ARN for its agent.
"""

import io
import json
import os
import sys
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from checks import expect, refused_with

REGION = os.environ["AWS_DEFAULT_REGION"]
ACCOUNT = os.environ["AGENT_ARN"].split(":")[4]
# The host is to refuse what is wrong, not the client.
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=120, parameter_validation=False)
api = boto3.client("apigateway", config=ONCE)
functions = boto3.client("lambda", config=ONCE)
iam = boto3.client("iam", config=ONCE)
sts = boto3.client("sts", config=ONCE)
agents = boto3.client("bedrock-agentcore-control", config=ONCE)
agentcore = boto3.client("bedrock-agentcore", config=ONCE)
counted = 0


def wrong(what, status, code, message, call, **arguments):
    global counted
    refused_with(what, status, code, message, call, **arguments)
    counted += 1


def trust(service):
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def document(resource="*"):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": resource}]})


def package(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return packed.getvalue()


def api_gateway():
    nobody = "nothing123"
    made = api.create_rest_api(name="wrong ways")["id"]
    root = api.get_resources(restApiId=made)["items"][0]["id"]
    here = dict(restApiId=made, resourceId=root, httpMethod="GET")
    missing = "NotFoundException"

    # Ids that nothing has.
    no_api = "Invalid API identifier specified"
    wrong("an API", 404, missing, no_api, api.get_rest_api, restApiId=nobody)
    wrong("an API to delete", 404, missing, no_api, api.delete_rest_api, restApiId=nobody)
    wrong("an API's stages", 404, missing, no_api, api.get_stages, restApiId=nobody)
    wrong("an API's resources", 404, missing, no_api, api.get_resources, restApiId=nobody)
    wrong("an API to deploy", 404, missing, no_api, api.create_deployment, restApiId=nobody, stageName="prod")
    wrong("a resource", 404, missing, "Invalid Resource identifier specified", api.get_resource, restApiId=made, resourceId=nobody)
    wrong("a parent", 404, missing, "Invalid Resource identifier specified", api.create_resource, restApiId=made, parentId=nobody, pathPart="x")
    wrong("a method", 404, missing, "Invalid Method identifier specified", api.get_method, **here)
    wrong("a method's integration", 404, missing, "Invalid Method identifier specified", api.put_integration, **here, type="MOCK")
    wrong("a stage", 404, missing, "Invalid stage identifier specified", api.get_stage, restApiId=made, stageName="none")
    wrong("a deployment", 404, missing, "Invalid Deployment identifier specified", api.get_deployment, restApiId=made, deploymentId=nobody)
    wrong("a key", 404, missing, "Invalid API Key identifier specified", api.get_api_key, apiKey=nobody)
    wrong("a key to change", 404, missing, "Invalid API Key identifier specified", api.update_api_key, apiKey=nobody, patchOperations=[])
    wrong("a plan", 404, missing, "Invalid Usage Plan ID specified", api.get_usage_plan, usagePlanId=nobody)
    wrong("a plan's keys", 404, missing, "Invalid Usage Plan ID specified", api.get_usage_plan_keys, usagePlanId=nobody)

    # What cannot be deployed.
    wrong("an API without methods", 400, "BadRequestException", "The REST API doesn't contain any methods", api.create_deployment, restApiId=made, stageName="prod")
    api.put_method(**here, authorizationType="NONE")
    wrong("a method without an integration", 400, "BadRequestException", "No integration defined for method", api.create_deployment, restApiId=made, stageName="prod")
    wrong("an integration", 404, missing, "Invalid Integration identifier specified", api.get_integration, **here)

    # Twins.
    twin = "ConflictException"
    wrong("a method twice", 409, twin, "Method already exists for this resource", api.put_method, **here, authorizationType="NONE")
    api.create_resource(restApiId=made, parentId=root, pathPart="invoke")
    name = "Another resource with the same parent already has this name: invoke"
    wrong("a resource twice", 409, twin, name, api.create_resource, restApiId=made, parentId=root, pathPart="invoke")
    api.put_integration(**here, type="MOCK")
    deployment = api.create_deployment(restApiId=made, stageName="prod")["id"]
    wrong("a stage twice", 409, twin, "Stage already exists", api.create_stage, restApiId=made, stageName="prod", deploymentId=deployment)
    value = "a-value-of-twenty-or-more"
    key = api.create_api_key(name="k", value=value)["id"]
    wrong("a key's value twice", 409, twin, "API Key already exists", api.create_api_key, name="l", value=value)
    plan = api.create_usage_plan(name="p")["id"]
    api.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    wrong("a plan's key twice", 409, twin, "", api.create_usage_plan_key, usagePlanId=plan, keyId=key, keyType="API_KEY")

    # Values that do not fit.
    bad = "BadRequestException"
    wrong("a key that is too short", 400, bad, "API Key value should be at least 20 characters", api.create_api_key, name="k", value="short")
    wrong("a key that is too long", 400, bad, "API Key value exceeds maximum size of 128 characters", api.create_api_key, name="k", value="x" * 129)
    wrong("a name that is too long", 400, bad, "Invalid API Key name, can be at most 1024 characters.", api.create_api_key, name="x" * 1025)
    wrong("a plan's stage", 404, missing, "Invalid API Stage", api.create_usage_plan, name="q", apiStages=[{"apiId": made, "stage": "none"}])
    wrong("an AWS integration", 400, bad, "Invalid ARN specified", api.put_integration, **here, type="AWS", integrationHttpMethod="POST", uri="https://bedrock-agentcore.us-east-1.amazonaws.com/x")

    # Patches.
    def patched(**operation):
        return dict(usagePlanId=plan, patchOperations=[operation])

    wrong("an operation", 400, bad, "Invalid patch operation specified", api.update_usage_plan, **patched(op="sing", path="/name", value="x"))
    wrong("a path", 400, bad, "specified for op 'replace'. Must be one of: [", api.update_usage_plan, **patched(op="replace", path="/nowhere", value="x"))
    wrong("a path without a slash", 400, bad, "Invalid patch path", api.update_usage_plan, **patched(op="replace", path="name", value="x"))
    wrong("a number", 400, bad, "Invalid patch value", api.update_usage_plan, **patched(op="replace", path="/throttle/rateLimit", value="fast"))
    wrong("no value", 400, bad, "", api.update_usage_plan, **patched(op="replace", path="/name"))
    wrong("a plan's stage that is none", 400, bad, "Invalid API Stage specified", api.update_usage_plan, **patched(op="add", path="/apiStages", value="nonsense"))
    wrong("a plan's stage that is not there", 404, missing, "Invalid API Stage", api.update_usage_plan, **patched(op="add", path="/apiStages", value=f"{made}:none"))
    whether = dict(apiKey=key, patchOperations=[{"op": "replace", "path": "/enabled", "value": "perhaps"}])
    wrong("no truth", 400, bad, "", api.update_api_key, **whether)
    wrong("a key's value", 400, bad, "Must be one of", api.update_api_key, apiKey=key, patchOperations=[{"op": "replace", "path": "/value", "value": value}])

    # Logging without the account's role, and a role that cannot be the account's.
    log = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/apigateway/{made}"
    logged = dict(restApiId=made, stageName="prod", patchOperations=[{"op": "replace", "path": "/accessLogSettings/destinationArn", "value": log}])
    sentence = "CloudWatch Logs role ARN must be set in account settings to enable logging"
    wrong("logging without the account's role", 400, bad, sentence, api.update_stage, **logged)

    def role_of_account(arn):
        return dict(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}])

    arn = iam.create_role(RoleName="only-lambda", AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))["Role"]["Arn"]
    untrusting = "The role ARN does not have required permissions"
    wrong("a role that the gateway may not assume", 400, bad, untrusting, api.update_account, **role_of_account(arn))
    wrong("a role that is not there", 400, bad, untrusting, api.update_account, **role_of_account(arn + "-not"))
    arn = iam.create_role(RoleName="gateway-logs", AssumeRolePolicyDocument=trust("apigateway.amazonaws.com"))["Role"]["Arn"]
    expect("the account's role", api.update_account(**role_of_account(arn))["cloudwatchRoleArn"], arn)
    expect("it is kept", api.get_account()["cloudwatchRoleArn"], arn)
    expect("logging with it", api.update_stage(**logged)["accessLogSettings"]["destinationArn"], log)


def identities():
    missing = "NoSuchEntity"
    name = dict(RoleName="nobody")
    policy = f"arn:aws:iam::{ACCOUNT}:policy/nothing"
    wrong("a role", 404, missing, "The role with name nobody cannot be found.", iam.get_role, **name)
    wrong("a role to delete", 404, missing, "The role with name nobody cannot be found.", iam.delete_role, **name)
    wrong("a role's policies", 404, missing, "The role with name nobody cannot be found.", iam.list_attached_role_policies, **name)
    wrong("a policy", 404, missing, "", iam.get_policy, PolicyArn=policy)
    wrong("a policy to delete", 404, missing, "", iam.delete_policy, PolicyArn=policy)
    iam.create_role(RoleName="wrong", AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))
    role = dict(RoleName="wrong")
    wrong("a role twice", 409, "EntityAlreadyExists", "Role with name wrong already exists.", iam.create_role, **role, AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))
    wrong("a policy that is not there", 404, missing, "does not exist or is not attachable", iam.attach_role_policy, **role, PolicyArn=policy)
    malformed = "MalformedPolicyDocument"
    wrong("a trust that is no JSON", 400, malformed, "invalid Json", iam.create_role, RoleName="x", AssumeRolePolicyDocument="{")
    wrong("a policy that is no JSON", 400, malformed, "", iam.create_policy, PolicyName="x", PolicyDocument="Allow everything")
    wrong("a policy without an effect", 400, malformed, "", iam.create_policy, PolicyName="x", PolicyDocument=document().replace("Effect", "Affect"))
    wrong("a policy of one's own that is no JSON", 400, malformed, "", iam.put_role_policy, **role, PolicyName="x", PolicyDocument="{")
    made = iam.create_policy(PolicyName="wrong", PolicyDocument=document())["Policy"]["Arn"]
    wrong("a policy twice", 409, "EntityAlreadyExists", "A policy called wrong already exists. Duplicate names are not allowed.", iam.create_policy, PolicyName="wrong", PolicyDocument=document())
    wrong("a policy that is not attached", 404, missing, "was not found", iam.detach_role_policy, **role, PolicyArn=made)

    # The guide's clean-up, in the order that does not work.
    conflict = "DeleteConflict"
    iam.attach_role_policy(**role, PolicyArn=made)
    wrong("a policy that is attached", 409, conflict, "Cannot delete a policy attached to entities.", iam.delete_policy, PolicyArn=made)
    wrong("a role with a policy", 409, conflict, "Cannot delete entity, must detach all policies first.", iam.delete_role, **role)
    iam.detach_role_policy(**role, PolicyArn=made)
    iam.put_role_policy(**role, PolicyName="own", PolicyDocument=document())
    wrong("a role with a policy of its own", 409, conflict, "Cannot delete entity, must delete policies first.", iam.delete_role, **role)
    iam.create_policy_version(PolicyArn=made, PolicyDocument=document(), SetAsDefault=True)
    versions = "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."
    wrong("a policy with a second version", 409, conflict, versions, iam.delete_policy, PolicyArn=made)
    wrong("its default version", 409, conflict, "Cannot delete the default version of a policy.", iam.delete_policy_version, PolicyArn=made, VersionId="v2")
    iam.delete_policy_version(PolicyArn=made, VersionId="v1")
    iam.delete_policy(PolicyArn=made)

    wrong("a name with a space", 400, "ValidationError", "roleName", iam.get_role, RoleName="a b")
    wrong("no name", 400, "ValidationError", "Value null at 'roleName'", iam.get_role)
    root = "Roles may not be assumed by root accounts."
    wrong("a role for the root", 403, "AccessDenied", root, sts.assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/wrong", RoleSessionName="me")
    iam.create_user(UserName="somebody")
    iam.put_user_policy(UserName="somebody", PolicyName="p", PolicyDocument=document().replace("logs:*", "sts:*"))
    key = iam.create_access_key(UserName="somebody")["AccessKey"]
    theirs = boto3.client("sts", config=ONCE, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    for what, name in [("a role that nobody is", "nobody"), ("a role that trusts Lambda alone", "wrong")]:
        told = f"User: arn:aws:iam::{ACCOUNT}:user/somebody is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::{ACCOUNT}:role/{name}"
        wrong(what, 403, "AccessDenied", told, theirs.assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}", RoleSessionName="me")


def lambda_functions():
    role = iam.create_role(RoleName="of-functions", AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))["Role"]["Arn"]
    deaf = iam.create_role(RoleName="of-nobody", AssumeRolePolicyDocument=trust("apigateway.amazonaws.com"))["Role"]["Arn"]
    source = "def handler(event, context):\n    return 1\n"
    new = dict(FunctionName="wrong", Runtime="python3.12", Role=role, Handler="app.handler", Code={"ZipFile": package(app=source)})
    invalid, missing = "InvalidParameterValueException", "ResourceNotFoundException"
    unassumable = "The role defined for the function cannot be assumed by Lambda."
    wrong("a role that Lambda may not assume", 400, invalid, unassumable, functions.create_function, **{**new, "Role": deaf})
    wrong("a role that is not there", 400, invalid, unassumable, functions.create_function, **{**new, "Role": role + "-not"})
    wrong("no zip", 400, invalid, "Could not unzip uploaded file. Please check your file, then try to upload again.", functions.create_function, **{**new, "Code": {"ZipFile": b"no zip"}})
    wrong("an empty zip", 400, invalid, "Uploaded file must be a non-empty zip", functions.create_function, **{**new, "Code": {"ZipFile": package()}})
    wrong("a runtime", 400, invalid, "Value cobol at 'runtime' failed to satisfy constraint", functions.create_function, **{**new, "Runtime": "cobol"})
    wrong("a role's ARN", 400, "ValidationException", "at 'role' failed to satisfy constraint", functions.create_function, **{**new, "Role": "me"})
    wrong("a timeout", 400, "ValidationException", "less than or equal to 900", functions.create_function, **{**new, "Timeout": 901})
    nobody = dict(FunctionName="nobody")
    told = f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:nobody"
    wrong("a function", 404, missing, told, functions.get_function, **nobody)
    wrong("a function to call", 404, missing, told, functions.invoke, **nobody)
    wrong("a function to delete", 404, missing, told, functions.delete_function, **nobody)
    wrong("a function's code", 404, missing, told, functions.update_function_code, **nobody, ZipFile=package(app=source))
    permission = dict(StatementId="s", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
    wrong("a function to let in", 404, missing, told, functions.add_permission, **nobody, **permission)

    functions.create_function(**new)
    functions.get_waiter("function_active_v2").wait(FunctionName="wrong", WaiterConfig={"MaxAttempts": 300})
    wrong("a function twice", 409, "ResourceConflictException", "Function already exist: wrong", functions.create_function, **new)
    wrong("another role that Lambda may not assume", 400, invalid, unassumable, functions.update_function_configuration, FunctionName="wrong", Role=deaf)
    wrong("no policy", 404, missing, "", functions.get_policy, FunctionName="wrong")
    functions.add_permission(FunctionName="wrong", **permission)
    twice = "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing statement."
    wrong("a statement twice", 409, "ResourceConflictException", twice, functions.add_permission, FunctionName="wrong", **permission)
    wrong("a statement that is not there", 404, missing, "", functions.remove_permission, FunctionName="wrong", StatementId="t")
    wrong("an event that is no JSON", 400, "InvalidRequestContentException", "Could not parse request body into json", functions.invoke, FunctionName="wrong", Payload=b"{")

    # A zip without the handler is taken, and told of by the call: the module, then the function in it.
    def fails(what, kind, message):
        global counted
        answer = functions.invoke(FunctionName="wrong", Payload=b"{}")
        error = json.loads(answer["Payload"].read())
        expect(f"{what}: {error}", (answer["StatusCode"], answer.get("FunctionError"), error.get("errorType")), (200, "Unhandled", kind))
        expect(f"{what}: {error}", message in error["errorMessage"], True)
        counted += 1

    functions.update_function_code(FunctionName="wrong", ZipFile=package(other=source))
    functions.get_waiter("function_updated_v2").wait(FunctionName="wrong")
    fails("a zip without the module", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'")
    functions.update_function_code(FunctionName="wrong", ZipFile=package(app="x = 1\n"))
    functions.get_waiter("function_updated_v2").wait(FunctionName="wrong")
    fails("a module without the function", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'")


def agent_runtimes():
    missing = "ResourceNotFoundException"
    wrong("a runtime", 404, missing, "", agents.get_agent_runtime, agentRuntimeId="nothing-0123456789")
    wrong("a runtime to delete", 404, missing, "", agents.delete_agent_runtime, agentRuntimeId="nothing-0123456789")
    arn = f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/nothing-0123456789"
    wrong("a runtime to call", 404, missing, "", agentcore.invoke_agent_runtime, agentRuntimeArn=arn, payload=b"{}")
    about = dict(agentRuntimeArn=os.environ["AGENT_ARN"], payload=b"{}")
    wrong("a session's id", 400, "ValidationException", "", agentcore.invoke_agent_runtime, **about, runtimeSessionId="short")
    wrong("an endpoint", 404, missing, "", agentcore.invoke_agent_runtime, **about, qualifier="none")
    strange = boto3.client("bedrock-agentcore", config=ONCE, aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x" * 40)
    wrong("a stranger", 403, "UnrecognizedClientException", "", strange.invoke_agent_runtime, **about)
    artifact = {"containerConfiguration": {"containerUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1"}}
    role = f"arn:aws:iam::{ACCOUNT}:role/x"
    new = dict(agentRuntimeArtifact=artifact, roleArn=role, networkConfiguration={"networkMode": "PUBLIC"})
    wrong("a runtime's name", 400, "ValidationException", "", agents.create_agent_runtime, agentRuntimeName="1-2", **new)


def figures_and_logs():
    cloudwatch, logs, sts = (boto3.client(name, config=ONCE) for name in ("cloudwatch", "logs", "sts"))
    point = dict(Namespace="Wrong", MetricData=[{"MetricName": "m", "Value": float("nan")}])
    wrong("a value that is no number", 400, "InvalidParameterValue", "The value NaN for parameter MetricData.member.1.Value is invalid.", cloudwatch.put_metric_data, **point)
    logs.create_log_group(logGroupName="/wrong")
    told = "1 validation error detected: Value '-5' at 'startTime' failed to satisfy constraint: Member must have value greater than or equal to 0"
    wrong("a moment before all", 400, "InvalidParameterException", told, logs.filter_log_events, logGroupName="/wrong", startTime=-5)
    told = "1 validation error detected: Value '10001' at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 10000"
    wrong("a page of functions", 400, "ValidationException", told, functions.list_functions, MaxItems=10001)
    role = f"arn:aws:iam::{ACCOUNT}:role/x"
    for name, rule in [("a b", "Member must satisfy regular expression pattern: [\\w+=,.@-]*"), ("x" * 65, "Member must have length less than or equal to 64")]:
        told = f"Value '{name}' at 'roleSessionName' failed to satisfy constraint: {rule}"
        wrong("a session's name", 400, "ValidationError", told, sts.assume_role, RoleArn=role, RoleSessionName=name)
    logs.delete_log_group(logGroupName="/wrong")


parts = {"figures_and_logs": figures_and_logs, "api_gateway": api_gateway, "identities": identities, "lambda_functions": lambda_functions, "agent_runtimes": agent_runtimes}
for part in sys.argv[1:] or parts:
    parts[part]()
print(f"{counted} wrong ways were refused as AWS refuses them")
