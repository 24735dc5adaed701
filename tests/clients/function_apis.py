"""Puts functions behind methods of a REST API on a running host with boto3 and the aws CLI, calls them through the gateway, and checks what callers and functions see.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face, GATEWAY for the public one.
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
import requests
from botocore.config import Config

from checks import expect, let_stages_log, logged, refused

GATEWAY = os.environ["GATEWAY"]
REGION = os.environ["AWS_DEFAULT_REGION"]
ACCOUNT = boto3.client("sts").get_caller_identity()["Account"]
NAME = "Desk"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{NAME}"
once = Config(retries={"total_max_attempts": 1}, read_timeout=300)
api = boto3.client("apigateway", config=once)
functions = boto3.client("lambda", config=once)
iam = boto3.client("iam", config=once)

# What the function does is its caller's to choose: the body of a proxied request, the event itself otherwise.
SOURCE = """
import json, time
def handler(event, context):
    if "requestContext" not in event:
        if event.get("fail"):
            raise ValueError(event["fail"])
        return {"event": event}
    wish = json.loads(event["body"]) if event["body"] and not event["isBase64Encoded"] else {}
    if "raise" in wish:
        raise ValueError(wish["raise"])
    if "hang" in wish:
        time.sleep(wish["hang"])
    if "answer" in wish:
        return wish["answer"]
    return {"statusCode": 200, "body": json.dumps({"event": event, "version": context.function_version})}
"""


def package(source):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", source)
    return packed.getvalue()


def aws(*arguments):
    ran = subprocess.run(["aws", *arguments, "--output", "text"], capture_output=True, text=True)
    expect(f"aws {arguments[:2]}: exit code", (ran.returncode, ran.stderr), (0, ""))
    return ran.stdout.strip()


def invocation_uri(function):
    return f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"


def call(api_id, path, verb="POST", **arguments):
    return requests.request(verb, f"{GATEWAY}/restapis/{api_id}/prod/_user_request_{path}", timeout=120, **arguments)


def wish(api_id, **what):
    return call(api_id, "/invoke", json=what)


def make_function():
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName="of-desk", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.attach_role_policy(RoleName="of-desk", PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/function.zip", "wb") as file:
            file.write(package(SOURCE))
        aws("lambda", "create-function", "--function-name", NAME, "--runtime", "python3.12", "--role", role, "--handler", "app.handler",
            "--zip-file", f"fileb://{folder}/function.zip", "--timeout", "60", "--memory-size", "256")
    functions.get_waiter("function_active_v2").wait(FunctionName=NAME, WaiterConfig={"MaxAttempts": 300})
    functions.publish_version(FunctionName=NAME)
    functions.create_alias(FunctionName=NAME, Name="live", FunctionVersion="1")


def by_the_cli():
    """The way a person builds it: a key before a function, first without the function's leave."""
    api_id = aws("apigateway", "create-rest-api", "--name", "desk", "--query", "id")
    root = aws("apigateway", "get-resources", "--rest-api-id", api_id, "--query", "items[0].id")
    aws("apigateway", "create-resource", "--rest-api-id", api_id, "--parent-id", root, "--path-part", "invoke")
    resource = aws("apigateway", "get-resources", "--rest-api-id", api_id, "--query", "items[?pathPart=='invoke'].id")
    here = ["--rest-api-id", api_id, "--resource-id", resource, "--http-method", "POST"]
    aws("apigateway", "put-method", *here, "--authorization-type", "NONE", "--api-key-required")
    aws("apigateway", "put-integration", *here, "--type", "AWS_PROXY", "--integration-http-method", "POST", "--uri", invocation_uri(FUNCTION_ARN))
    aws("apigateway", "create-deployment", "--rest-api-id", api_id, "--stage-name", "prod", "--query", "id")
    key_id = aws("apigateway", "create-api-key", "--name", "partner", "--enabled", "--query", "id")
    key = aws("apigateway", "get-api-key", "--api-key", key_id, "--include-value", "--query", "value")
    plan = aws("apigateway", "create-usage-plan", "--name", "desk-plan", "--api-stages", f"apiId={api_id},stage=prod", "--query", "id")
    aws("apigateway", "create-usage-plan-key", "--usage-plan-id", plan, "--key-id", key_id, "--key-type", "API_KEY")

    headers = {"x-api-key": key, "User-Agent": "a-partner/1"}
    expect("without a key", call(api_id, "/invoke", json={}).status_code, 403)
    answer = call(api_id, "/invoke", json={}, headers=headers)
    expect("without the function's leave", (answer.status_code, answer.json()), (500, {"message": "Internal server error"}))
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api_id}/*/POST/"
    permit = ["lambda", "add-permission", "--function-name", NAME, "--action", "lambda:InvokeFunction", "--principal", "apigateway.amazonaws.com"]
    aws(*permit, "--statement-id", "elsewhere", "--source-arn", f"{source}elsewhere")
    expect("with leave for another method", call(api_id, "/invoke", json={}, headers=headers).status_code, 500)
    aws(*permit, "--statement-id", "invoke", "--source-arn", f"{source}invoke")
    answer = call(api_id, "/invoke?size=1&size=2&name=a%20b", json={"a": "ä"}, headers=headers)
    expect("with it", answer.status_code, 200)

    event = answer.json()["event"]
    expect("resource and path", (event["resource"], event["path"], event["httpMethod"]), ("/invoke", "/invoke", "POST"))
    expect("query", event["queryStringParameters"], {"size": "2", "name": "a b"})
    expect("whole query", event["multiValueQueryStringParameters"], {"size": ["1", "2"], "name": ["a b"]})
    expect("body", (json.loads(event["body"]), event["isBase64Encoded"]), ({"a": "ä"}, False))
    expect("nothing", (event["pathParameters"], event["stageVariables"]), (None, None))
    expect("headers", (event["headers"]["Content-Type"], event["headers"]["x-api-key"], event["headers"]["X-Forwarded-For"]), ("application/json", key, "127.0.0.1"))
    expect("all headers", event["multiValueHeaders"]["User-Agent"], ["a-partner/1"])
    about = event["requestContext"]
    known = ("accountId", "apiId", "stage", "resourceId", "resourcePath", "httpMethod", "path", "protocol", "requestId", "extendedRequestId")
    expect("context", tuple(about[name] for name in known),
           (ACCOUNT, api_id, "prod", resource, "/invoke", "POST", "/prod/invoke", "HTTP/1.1", answer.headers["x-amzn-requestid"], answer.headers["x-amz-apigw-id"]))
    expect("time", isinstance(about["requestTimeEpoch"], int) and about["requestTime"].endswith(" +0000"), True)
    who = about["identity"]
    expect("identity", (who["apiKey"], who["apiKeyId"], who["sourceIp"], who["userAgent"], who["userArn"]), (key, key_id, "127.0.0.1", "a-partner/1", None))
    aws("lambda", "remove-permission", "--function-name", NAME, "--statement-id", "invoke")
    expect("leave taken back", call(api_id, "/invoke", json={}, headers=headers).status_code, 500)
    return api_id


def method(api_id, part, verb="POST", **integration):
    """Adds a method below the root. Returns its resource."""
    resources = api.get_resources(restApiId=api_id, limit=500)["items"]
    root = next(one["id"] for one in resources if one["path"] == "/")
    known = [one["id"] for one in resources if one.get("pathPart") == part]
    resource = known[0] if known else api.create_resource(restApiId=api_id, parentId=root, pathPart=part)["id"]
    about = dict(restApiId=api_id, resourceId=resource, httpMethod=verb)
    api.put_method(**about, authorizationType="NONE")
    api.put_integration(**about, integrationHttpMethod="POST", **integration)
    return resource


def how_answers_are_read():
    api_id = api.create_rest_api(name="answers", binaryMediaTypes=["image/*"])["id"]
    proxied = dict(type="AWS_PROXY", uri=invocation_uri(FUNCTION_ARN))
    method(api_id, "invoke", **proxied)
    method(api_id, "{order}", verb="ANY", **proxied)
    method(api_id, "short", **proxied, timeoutInMillis=1000)
    method(api_id, "alias", type="AWS_PROXY", uri=invocation_uri(FUNCTION_ARN + ":${stageVariables.alias}"))
    api.create_deployment(restApiId=api_id, stageName="prod", variables={"alias": "live"})
    log = f"/desk/{api_id}"
    fields = ["status", "requestId", "integration.status", "integration.integrationStatus", "integration.requestId", "integration.error"]
    line = "{" + ",".join(f'"{field}":"$context.{field}"' for field in fields) + "}"
    destination = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{log}"
    change = [{"op": "replace", "path": f"/accessLogSettings/{name}", "value": value} for name, value in [("destinationArn", destination), ("format", line)]]
    let_stages_log()
    api.update_stage(restApiId=api_id, stageName="prod", patchOperations=change)
    leave = dict(FunctionName=NAME, Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com", SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api_id}/*")
    functions.add_permission(**leave, StatementId="answers")

    def answered(what, answer, *expected):
        told = wish(api_id, answer=answer)
        expect(what, (told.status_code, told.text, *(told.headers.get(name) for name, _ in expected[2:])), (*expected[:2], *(value for _, value in expected[2:])))

    answered("an answer", {"statusCode": 201, "headers": {"X-Made": True}, "body": "made"}, 201, "made", ("x-made", "true"), ("content-type", "application/json"))
    answered("a status that is a text", {"statusCode": "202", "body": None}, 202, "")
    answered("both maps", {"headers": {"a": "2", "Content-Type": "text/plain"}, "multiValueHeaders": {"a": ["1"]}}, 200, "", ("a", "1, 2"), ("content-type", "text/plain"))
    answered("names that are the gateway's", {"headers": {"Date": "today", "Content-Length": "7"}, "body": "hi"}, 200, "hi", ("x-amzn-remapped-date", "today"))
    answered("base64 for who wants text", {"body": "aGk=", "isBase64Encoded": True}, 200, "aGk=")
    for what in [{}, [], "text", None, {"statusCode": "ok"}, {"statusCode": 200, "more": 1}, {"body": {"a": 1}}, {"multiValueHeaders": {"a": "1"}}]:
        answered(f"no answer: {what}", what, 502, '{"message":"Internal server error"}')
    expect("a failed function", (wish(api_id, **{"raise": "no good"}).status_code, wish(api_id, **{"raise": "x"}).json()), (502, {"message": "Internal server error"}))

    def told_of(request_id):
        found = json.loads(logged(log, bool, filterPattern=f'"{request_id}"')[0])
        return tuple(found[name] for name in ("status", "integration.status", "integration.integrationStatus")), found["integration.requestId"], found["integration.error"]

    told = wish(api_id, answer={"statusCode": 418, "body": "tea"})
    statuses, invocation, error = told_of(told.headers["x-amzn-requestid"])
    expect("an access log's line", (statuses, error), (("418", "418", "200"), "-"))
    logged(f"/aws/lambda/{NAME}", lambda messages: any(f"REPORT RequestId: {invocation}" in message for message in messages))
    statuses, _, error = told_of(wish(api_id, **{"raise": "x"}).headers["x-amzn-requestid"])
    expect("a failure's line", (statuses, error), (("502", "-", "200"), "the function failed"))

    picture = call(api_id, "/invoke", data=b"\xff\x00", headers={"content-type": "image/png"}).json()["event"]
    expect("bytes", (picture["body"], picture["isBase64Encoded"]), (base64.b64encode(b"\xff\x00").decode(), True))
    told = call(api_id, "/invoke", json={"answer": {"body": "/wA=", "isBase64Encoded": True}}, headers={"accept": "image/png, */*"})
    expect("bytes back", (told.status_code, told.content), (200, b"\xff\x00"))
    event = call(api_id, "/A%207", verb="PUT").json()["event"]
    expect("a path's parameter", (event["resource"], event["pathParameters"], event["httpMethod"], event["body"]), ("/{order}", {"order": "A 7"}, "PUT", None))
    late = call(api_id, "/short", json={"hang": 30})
    expect("a function that is late", (late.status_code, late.json()), (504, {"message": "Endpoint request timed out"}))
    long = call(api_id, "/invoke", data=json.dumps({"x": "y" * 7_000_000}), headers={"content-type": "text/plain"})
    expect("an event that is too long", (long.status_code, long.json()), (413, {"message": "Request Too Long"}))

    expect("an alias without leave", call(api_id, "/alias", json={}).status_code, 500)
    functions.add_permission(**leave, StatementId="answers", Qualifier="live")
    told = call(api_id, "/alias", json={}).json()
    expect("an alias", (told["version"], told["event"]["stageVariables"]), ("1", {"alias": "live"}))
    change = [{"op": "replace", "path": "/variables/alias", "value": "nowhere"}]
    api.update_stage(restApiId=api_id, stageName="prod", patchOperations=change)
    expect("an alias that is not there", call(api_id, "/alias", json={}).status_code, 500)
    functions.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=0)
    expect("a function that is held back", wish(api_id).status_code, 500)
    functions.delete_function_concurrency(FunctionName=NAME)
    return api_id


def what_a_role_may():
    api_id = api.create_rest_api(name="roles")["id"]
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName="of-gateway", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    method(api_id, "invoke", type="AWS_PROXY", uri=invocation_uri(FUNCTION_ARN), credentials=role)
    api.create_deployment(restApiId=api_id, stageName="prod")
    expect("a role that may nothing", wish(api_id).status_code, 500)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": FUNCTION_ARN}]}
    iam.put_role_policy(RoleName="of-gateway", PolicyName="invoke", PolicyDocument=json.dumps(policy))
    expect("a role that may", wish(api_id).status_code, 200)
    api.delete_rest_api(restApiId=api_id)


def mapped(api_id):
    """AWS integrations: templates make the function's event, and its answer or its error's message the method's."""
    templates = {"application/json": '{"word": $input.json("$.word"), "fail": $input.json("$.fail"), "stage": "$context.stage"}'}
    resource = method(api_id, "mapped", type="AWS", uri=invocation_uri(FUNCTION_ARN), requestTemplates=templates)
    about = dict(restApiId=api_id, resourceId=resource, httpMethod="POST")
    api.put_method_response(**about, statusCode="200")
    api.put_method_response(**about, statusCode="404")
    api.put_integration_response(**about, statusCode="200")
    api.put_integration_response(**about, statusCode="404", selectionPattern="no such.*", responseTemplates={"application/json": '{"sorry": $input.json("$.errorMessage")}'})
    api.create_deployment(restApiId=api_id, stageName="prod")
    told = call(api_id, "/mapped", json={"word": "hi", "fail": ""})
    expect("a mapped call", (told.status_code, told.json()), (200, {"event": {"word": "hi", "fail": "", "stage": "prod"}}))
    told = call(api_id, "/mapped", json={"word": "hi", "fail": "no such order"})
    expect("a mapped error", (told.status_code, told.json()), (404, {"sorry": "no such order"}))
    told = call(api_id, "/mapped", json={"word": "hi", "fail": "another"})
    expect("an error without a pattern", (told.status_code, told.json()["errorType"]), (200, "ValueError"))


def what_is_refused(api_id):
    resource = next(one["id"] for one in api.get_resources(restApiId=api_id)["items"] if one["path"] == "/invoke")
    api.put_method(restApiId=api_id, resourceId=resource, httpMethod="GET", authorizationType="NONE")
    about = dict(restApiId=api_id, resourceId=resource, httpMethod="GET")
    agentcore = f"https://bedrock-agentcore.{REGION}.amazonaws.com/runtimes/x/invocations"
    service = f"arn:aws:apigateway:{REGION}:bedrock-agentcore:path/runtimes/x/invocations"

    def wrong(what, message, **integration):
        refused(what, "BadRequestException", message, api.put_integration, **about, **integration)

    wrong("a URL for an ARN", "Invalid ARN specified in the request", type="AWS", integrationHttpMethod="POST", uri=agentcore)
    wrong("a service that has no such way", "AWS Service of type bedrock-agentcore not supported", type="AWS", integrationHttpMethod="POST", uri=service)
    wrong("the same proxied", "Integrations of type 'AWS_PROXY' currently only supports Lambda function", type="AWS_PROXY", integrationHttpMethod="POST", uri=service)
    wrong("a bare function", "AWS ARN for integration must contain path or action", type="AWS_PROXY", integrationHttpMethod="POST", uri=FUNCTION_ARN)
    wrong("no method", "Enumeration value for HttpMethod must be non-empty", type="AWS_PROXY", uri=invocation_uri(FUNCTION_ARN))
    wrong("a stream", "cannot be streamed", type="AWS_PROXY", integrationHttpMethod="POST", uri=invocation_uri(FUNCTION_ARN), responseTransferMode="STREAM")
    ran = subprocess.run(["aws", "apigateway", "put-integration", "--rest-api-id", api_id, "--resource-id", resource, "--http-method", "GET", "--type", "AWS",
                          "--integration-http-method", "POST", "--uri", agentcore], capture_output=True, text=True)
    if ran.returncode == 0 or "Invalid ARN specified in the request" not in ran.stderr:
        sys.exit(f"the aws CLI said {ran.stderr!r}")


make_function()
keyed = by_the_cli()
plain = how_answers_are_read()
what_a_role_may()
mapped(plain)
what_is_refused(plain)
functions.delete_function(FunctionName=NAME)
expect("a function that is gone", wish(plain).status_code, 500)
for api_id in (keyed, plain):
    api.delete_rest_api(restApiId=api_id)
print("all functions behind methods answered as they should")
