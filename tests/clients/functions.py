"""Makes Lambda functions on a running host with boto3 and the aws CLI, calls them, and checks what callers see.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face; DATA_DIR is its data folder.
"""

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile

import boto3
from botocore.config import Config

from checks import expect, logged, refused

REGION = os.environ["AWS_DEFAULT_REGION"]
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUSTING = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
ROLE = boto3.client("iam").create_role(RoleName="of-function", AssumeRolePolicyDocument=TRUSTING)["Role"]["Arn"]
functions = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}, read_timeout=300))

SOURCE = """
import os, boto3
def handler(event, context):
    print("asked", event)
    if event == "raise":
        raise ValueError("no good")
    if event == "outside":
        return [os.access("/", os.W_OK), sorted(os.listdir(os.environ["DATA_DIR"]))]
    return {"event": event, "version": context.function_version, "word": os.environ.get("WORD"), "id": context.aws_request_id}
"""


def package(source):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", source)
    return packed.getvalue()


def invoke(name, event, **arguments):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), **arguments)
    return answer, json.loads(answer["Payload"].read() or b"null")


def cli(*arguments):
    ran = subprocess.run(["aws", "lambda", *arguments], capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"aws lambda {arguments}: {ran.stderr}")
    return json.loads(ran.stdout) if ran.stdout.strip() else None


# Made, waited for, described.
made = functions.create_function(
    FunctionName="teller",
    Runtime="python3.12",
    Role=ROLE,
    Handler="app.handler",
    Code={"ZipFile": package(SOURCE)},
    Timeout=60,
    MemorySize=256,
    Environment={"Variables": {"WORD": "one", "DATA_DIR": os.environ["DATA_DIR"]}},
    Tags={"team": "desk"},
)
expect("state", (made["State"], made["LastUpdateStatus"], made["Version"]), ("Pending", "InProgress", "$LATEST"))
functions.get_waiter("function_active_v2").wait(FunctionName="teller", WaiterConfig={"MaxAttempts": 300})
described = functions.get_function(FunctionName="teller")
expect("active", described["Configuration"]["State"], "Active")
expect("tags", described["Tags"], {"team": "desk"})
expect("arn", described["Configuration"]["FunctionArn"], f"arn:aws:lambda:{REGION}:000000000000:function:teller")

# A role that may not write leaves no log, although its caller is shown the end of it; once it may, it does.
answer, unheard = invoke("teller", "unheard", LogType="Tail")
expect("an answer without a log", ("asked unheard" in base64.b64decode(answer["LogResult"]).decode(), unheard["event"]), (True, "unheard"))
MAY_LOG = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
boto3.client("iam").attach_role_policy(RoleName="of-function", PolicyArn=MAY_LOG)

# Called in every way.
answer, told = invoke("teller", {"a": 1}, LogType="Tail")
expect("answer", (answer["StatusCode"], told["event"], told["version"], told["word"]), (200, {"a": 1}, "$LATEST", "one"))
expect("request id", answer["ResponseMetadata"]["RequestId"], told["id"])
log = base64.b64decode(answer["LogResult"]).decode()
for line in (f"START RequestId: {told['id']} Version: $LATEST", "asked {'a': 1}", f"END RequestId: {told['id']}", f"REPORT RequestId: {told['id']}\tDuration: "):
    if line not in log:
        sys.exit(f"{line!r} is not in the log: {log!r}")
lines = logged("/aws/lambda/teller", lambda messages: any(told["id"] in line and line.startswith("REPORT") for line in messages))
expect("the log group", ["asked {'a': 1}" in line for line in lines].count(True), 1)
expect("lines from before the role could write them", [line for line in lines if unheard["id"] in line], [])
expect("executed version", answer["ExecutedVersion"], "$LATEST")
answer, told = invoke("teller", "raise")
expect("function error", (answer["FunctionError"], told["errorType"], told["errorMessage"]), ("Unhandled", "ValueError", "no good"))
answer, told = invoke("teller", "outside")
expect("data folder", told["errorType"] if isinstance(told, dict) else told, "PermissionError")
expect("event", functions.invoke(FunctionName="teller", InvocationType="Event", Payload=b"1")["StatusCode"], 202)
expect("dry run", functions.invoke(FunctionName="teller", InvocationType="DryRun")["StatusCode"], 204)

# Changed.
functions.update_function_configuration(FunctionName="teller", Environment={"Variables": {"WORD": "two"}})
functions.get_waiter("function_updated_v2").wait(FunctionName="teller")
expect("changed", invoke("teller", 1)[1]["word"], "two")
one = functions.publish_version(FunctionName="teller", Description="the first")
expect("published", (one["Version"], one["Description"]), ("1", "the first"))
functions.create_alias(FunctionName="teller", Name="live", FunctionVersion="1")
code = functions.update_function_code(FunctionName="teller", ZipFile=package("def handler(event, context):\n    return 'new'\n"))
expect("another code", code["CodeSha256"] != one["CodeSha256"], True)
functions.get_waiter("function_updated_v2").wait(FunctionName="teller")
expect("new code", invoke("teller", 1)[1], "new")
expect("alias", invoke("teller:live", 1)[1]["version"], "1")
expect("by ARN", invoke(f"arn:aws:lambda:{REGION}:000000000000:function:teller", 1, Qualifier="live")[1]["version"], "1")
expect("versions", [version["Version"] for version in functions.list_versions_by_function(FunctionName="teller")["Versions"]], ["$LATEST", "1"])
expect("aliases", [alias["Name"] for alias in functions.list_aliases(FunctionName="teller")["Aliases"]], ["live"])
functions.update_alias(FunctionName="teller", Name="live", FunctionVersion="$LATEST")
expect("alias moved", functions.get_alias(FunctionName="teller", Name="live")["FunctionVersion"], "$LATEST")

# Permissions, concurrency, tags.
source = f"arn:aws:execute-api:{REGION}:000000000000:abc/*/POST/invoke"
permission = {"FunctionName": "teller", "StatementId": "gateway", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com", "SourceArn": source}
statement = json.loads(functions.add_permission(**permission)["Statement"])
expect("principal", statement["Principal"], {"Service": "apigateway.amazonaws.com"})
expect("condition", statement["Condition"], {"ArnLike": {"AWS:SourceArn": source}})
expect("policy", [one["Sid"] for one in json.loads(functions.get_policy(FunctionName="teller")["Policy"])["Statement"]], ["gateway"])
refused("again", "ResourceConflictException", "already exists", functions.add_permission, **permission)
functions.remove_permission(FunctionName="teller", StatementId="gateway")
refused("no policy", "ResourceNotFoundException", "does not exist", functions.get_policy, FunctionName="teller")
functions.put_function_concurrency(FunctionName="teller", ReservedConcurrentExecutions=0)
response = refused("throttled", "TooManyRequestsException", "Rate Exceeded", functions.invoke, FunctionName="teller")
expect("reason", response["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
functions.delete_function_concurrency(FunctionName="teller")
expect("concurrency", "ReservedConcurrentExecutions" in functions.get_function_concurrency(FunctionName="teller"), False)
arn = described["Configuration"]["FunctionArn"]
functions.tag_resource(Resource=arn, Tags={"stage": "prod"})
functions.untag_resource(Resource=arn, TagKeys=["team"])
expect("tags", functions.list_tags(Resource=arn)["Tags"], {"stage": "prod"})

# What AWS says to wrong ones.
new = {"FunctionName": "wrong", "Runtime": "python3.12", "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": package(SOURCE)}}
refused("twice", "ResourceConflictException", "Function already exist: teller", functions.create_function, **{**new, "FunctionName": "teller"})
refused("runtime", "InvalidParameterValueException", "Value cobol at 'runtime'", functions.create_function, **{**new, "Runtime": "cobol"})
refused("zip", "InvalidParameterValueException", "Could not unzip uploaded file", functions.create_function, **{**new, "Code": {"ZipFile": b"no zip"}})
refused("role", "ValidationException", "at 'role'", functions.create_function, **{**new, "Role": "me"})
refused("timeout", "ValidationException", "less than or equal to 900", functions.create_function, **{**new, "Timeout": 901})
refused("layers", "InvalidParameterValueException", "Layers is not supported", functions.create_function, **{**new, "Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"]})
refused("nobody", "ResourceNotFoundException", "Function not found: arn:aws:lambda:", functions.get_function, FunctionName="nobody")
refused("no version", "ResourceNotFoundException", "function:teller:9", functions.invoke, FunctionName="teller", Qualifier="9")
refused("no JSON", "InvalidRequestContentException", "Could not parse request body into json", functions.invoke, FunctionName="teller", Payload=b"{")
refused("revision", "PreconditionFailedException", "Revision Id", functions.update_function_configuration, FunctionName="teller", Timeout=5, RevisionId="x")

# The aws CLI, as the FAQ guide uses it.
with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/function.zip", "wb") as file:
        file.write(package(SOURCE))
    cli("create-function", "--function-name", "by-cli", "--runtime", "python3.12", "--role", ROLE, "--handler", "app.handler", "--zip-file",
        f"fileb://{folder}/function.zip", "--timeout", "60", "--memory-size", "256", "--environment", "Variables={WORD=cli}")
    cli("wait", "function-active-v2", "--function-name", "by-cli")
    told = cli("invoke", "--function-name", "by-cli", "--payload", '{"body": "hi"}', f"{folder}/response.json")
    expect("CLI", told["StatusCode"], 200)
    with open(f"{folder}/response.json") as file:
        expect("CLI's answer", json.load(file)["word"], "cli")
    cli("update-function-configuration", "--function-name", "by-cli", "--timeout", "90")
    cli("wait", "function-updated-v2", "--function-name", "by-cli")
    expect("CLI's list", [one["FunctionName"] for one in cli("list-functions")["Functions"]], ["by-cli", "teller"])
    cli("delete-function", "--function-name", "by-cli")

expect("paging", [one["FunctionName"] for page in functions.get_paginator("list_functions").paginate() for one in page["Functions"]], ["teller"])
functions.delete_function(FunctionName="teller")
refused("deleted", "ResourceNotFoundException", "Function not found", functions.invoke, FunctionName="teller")
print("all functions answered as they should")
