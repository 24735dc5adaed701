"""Builds REST APIs on a running host with boto3 and the aws CLI, calls them, and checks what callers see.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face, GATEWAY for the public one, PROXY_ARN for the host's own function.
A server of this program's own stands behind the HTTP integrations.
"""

import concurrent.futures
import datetime
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
import time

import boto3
import requests
from botocore.config import Config

import checks
from checks import expect, let_stages_log, refused

GATEWAY = os.environ["GATEWAY"]
PROXY_ARN = os.environ["PROXY_ARN"]
REGION = os.environ["AWS_DEFAULT_REGION"]
api = boto3.client("apigateway", config=Config(retries={"total_max_attempts": 1}))


class Backend(http.server.BaseHTTPRequestHandler):
    """Says what it was asked; some paths misbehave."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        if self.path.startswith("/garbage"):
            self.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            self.close_connection = True
            return
        if self.path.startswith("/old"):
            self.wfile.write(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nold")
            self.close_connection = True
            return
        if self.path.startswith("/half"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it")
            self.close_connection = True
            return
        if self.path.startswith("/hang"):
            HANGING.wait(30)
            self.close_connection = True
            return
        status = int(self.path.rsplit("/", 1)[1]) if self.path.startswith("/status/") else 200
        said = {"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body}
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.send_header("x-backend", "one")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


HANGING = threading.Event()
backend = Server(("127.0.0.1", 0), Backend)
threading.Thread(target=backend.serve_forever, daemon=True).start()
BACKEND = f"http://127.0.0.1:{backend.server_port}"


def resource(api_id, *parts):
    """The id of a resource, made with all above it."""
    known = {one["path"]: one["id"] for one in api.get_resources(restApiId=api_id, limit=500)["items"]}
    path, parent = "", known["/"]
    for part in parts:
        path += f"/{part}"
        if path not in known:
            known[path] = api.create_resource(restApiId=api_id, parentId=parent, pathPart=part)["id"]
        parent = known[path]
    return parent


def method(api_id, resource_id, verb, key=False, **integration):
    api.put_method(restApiId=api_id, resourceId=resource_id, httpMethod=verb, authorizationType="NONE", apiKeyRequired=key)
    return api.put_integration(restApiId=api_id, resourceId=resource_id, httpMethod=verb, **integration)


def call(api_id, stage, path, verb="GET", **arguments):
    return requests.request(verb, f"{GATEWAY}/restapis/{api_id}/{stage}/_user_request_{path}", timeout=40, **arguments)


def an_api_in_front_of_a_server():
    made = api.create_rest_api(name="orders", description="for a test", endpointConfiguration={"types": ["REGIONAL"]}, tags={"team": "a"})
    api_id = made["id"]
    expect("create-rest-api", (made["name"], made["endpointConfiguration"]["types"], made["tags"]), ("orders", ["REGIONAL"], {"team": "a"}))
    expect("the age of an API", abs((datetime.datetime.now(datetime.timezone.utc) - made["createdDate"]).total_seconds()) < 120, True)

    anything = resource(api_id, "files", "{proxy+}")
    method(
        api_id,
        anything,
        "ANY",
        type="HTTP_PROXY",
        integrationHttpMethod="ANY",
        uri=BACKEND + "/${stageVariables.folder}/{proxy}",
        requestParameters={
            "integration.request.path.proxy": "method.request.path.proxy",
            "integration.request.header.X-Stage": "context.stage",
            "integration.request.querystring.from": "'gateway'",
        },
    )
    order = resource(api_id, "orders", "{order}")
    mapped = dict(
        type="HTTP",
        integrationHttpMethod="POST",
        uri=BACKEND + "/find",
        requestParameters={"integration.request.header.X-Order": "method.request.path.order"},
        requestTemplates={"application/json": '{"order": "$input.params(\'order\')", "note": $input.json(\'$.note\')}'},
    )
    method(api_id, order, "POST", **mapped)
    about = dict(restApiId=api_id, resourceId=order, httpMethod="POST")
    api.put_method_response(**about, statusCode="201", responseParameters={"method.response.header.X-From": True})
    api.put_integration_response(
        **about,
        statusCode="201",
        responseParameters={"method.response.header.X-From": "integration.response.header.x-backend"},
        responseTemplates={"application/json": "{\"sent\": $input.json('$.body'), \"id\": \"$context.requestId\"}"},
    )
    broken = resource(api_id, "broken", "{how}")
    method(api_id, broken, "GET", type="HTTP_PROXY", integrationHttpMethod="GET", uri=BACKEND + "/{how}", timeoutInMillis=2000)
    picky = resource(api_id, "status", "{code}")
    method(api_id, picky, "GET", type="HTTP", integrationHttpMethod="GET", uri=BACKEND + "/status/{code}")
    for status, pattern in [("200", None), ("404", "4\\d{2}"), ("502", "5..")]:
        here = dict(restApiId=api_id, resourceId=picky, httpMethod="GET", statusCode=status)
        api.put_method_response(**here)
        api.put_integration_response(**here, **({"selectionPattern": pattern} if pattern else {}))
    by_query = {"integration.request.path.how": "method.request.querystring.how"}
    method(api_id, resource(api_id, "by-query"), "GET", type="HTTP_PROXY", integrationHttpMethod="GET", uri=BACKEND + "/in/{how}/end", requestParameters=by_query)
    away = resource(api_id, "away")
    method(api_id, away, "GET", type="HTTP_PROXY", integrationHttpMethod="GET", uri="http://127.0.0.1:9/")

    expect("an API that is not deployed", call(api_id, "v1", "/files/a").status_code, 403)
    deployment = api.create_deployment(restApiId=api_id, stageName="v1", variables={"folder": "first"}, description="one")
    expect("get-deployments", [one["id"] for one in api.get_deployments(restApiId=api_id)["items"]], [deployment["id"]])

    said = call(api_id, "v1", "/files/a%20b/c.txt?q=1&q=2", "PUT", data=b"text", headers={"x-api-key": "k" * 30, "x-mine": "1", "connection": "keep-alive, x-hop", "x-hop": "1"}).json()
    expect("HTTP_PROXY: verb and path", (said["method"], said["path"]), ("PUT", "/first/a%20b/c.txt?q=1&q=2&from=gateway"))
    expect("HTTP_PROXY: body", said["body"], "text")
    headers = said["headers"]
    expect("HTTP_PROXY: headers", (headers["x-stage"], headers["x-mine"], headers["x-forwarded-for"]), ("v1", "1", "127.0.0.1"))
    expect("HTTP_PROXY: the key stays here", "x-api-key" in headers, False)
    expect("HTTP_PROXY: so does what Connection names", ["connection", "x-hop"], [name for name in ["connection", "x-hop"] if name not in headers])
    expect("HTTP_PROXY: the trace goes on", headers["x-amzn-trace-id"].startswith("Root=1-"), True)
    by_host = requests.get(f"{GATEWAY}/v1/files/x", headers={"host": f"{api_id}.execute-api.{REGION}.amazonaws.com"}, timeout=40)
    expect("found by its host", (by_host.status_code, by_host.json()["path"]), (200, "/first/x?from=gateway"))
    expect("an answer's headers", by_host.headers["x-backend"], "one")
    expect("a date is AWS's, not the server's", "x-amzn-remapped-date" in by_host.headers, True)
    out = requests.Session()
    for path in ["/files/..%2Fsecret", "/files/a/%2e%2e/b", "/nothing"]:
        prepared = requests.Request("GET", "http://x").prepare()
        prepared.url = f"{GATEWAY}/restapis/{api_id}/v1/_user_request_{path}"
        expect(f"{path} leads nowhere", out.send(prepared, timeout=40).status_code, 403)

    expect("a part of the path from the query", call(api_id, "v1", "/by-query?how=a/b").json()["path"], "/in/a%2Fb/end?how=a/b")
    for how in ["..", "a/../..", "%2e", "..%5Cb", "a%00"]:
        out = call(api_id, "v1", f"/by-query?how={how}")
        expect(f"{how} leads nowhere", (out.status_code, out.json()), (400, {"message": "Invalid request parameters"}))

    made = call(api_id, "v1", "/orders/A-7", "POST", json={"note": {"text": "soon"}})
    expect("HTTP: status and header", (made.status_code, made.headers["x-from"]), (201, "one"))
    expect("HTTP: the template's body", json.loads(made.json()["sent"]), {"order": "A-7", "note": {"text": "soon"}})
    expect("HTTP: the context", made.json()["id"], made.headers["x-amzn-requestid"])
    for code, wanted in [("200", 200), ("202", 200), ("418", 404), ("503", 502)]:
        expect(f"selection for {code}", call(api_id, "v1", f"/status/{code}").status_code, wanted)

    old = call(api_id, "v1", "/broken/old")
    expect("a server of HTTP/1.0", (old.status_code, old.raw.version, old.text), (200, 11, "old"))
    for how, wanted in [("garbage", 504), ("half", 504), ("hang", 504)]:
        answer = call(api_id, "v1", f"/broken/{how}")
        expect(f"a server with {how}", answer.status_code, wanted)
    expect("a server that hangs", answer.json(), {"message": "Endpoint request timed out"})
    HANGING.set()
    expect("a server that is away", call(api_id, "v1", "/away").json(), {"message": "Network error communicating with endpoint"})

    # An edit is for nobody to see until it is deployed; a stage can go back.
    api.delete_resource(restApiId=api_id, resourceId=away)
    expect("an edit alone", call(api_id, "v1", "/away").status_code, 504)
    api.create_deployment(restApiId=api_id, stageName="v1")
    expect("an edit that is deployed", call(api_id, "v1", "/away").status_code, 403)
    change = [{"op": "replace", "path": "/deploymentId", "value": deployment["id"]}]
    expect("update-stage", api.update_stage(restApiId=api_id, stageName="v1", patchOperations=change)["deploymentId"], deployment["id"])
    expect("a stage put back", call(api_id, "v1", "/away").status_code, 504)
    api.create_stage(restApiId=api_id, stageName="v2", deploymentId=deployment["id"], variables={"folder": "second"})
    expect("a stage of its own", call(api_id, "v2", "/files/x").json()["path"], "/second/x?from=gateway")
    expect("get-stages", [one["stageName"] for one in api.get_stages(restApiId=api_id)["item"]], ["v1", "v2"])
    refused("a deployment in use", "BadRequestException", "Active stages", api.delete_deployment, restApiId=api_id, deploymentId=deployment["id"])
    return api_id


def deployments_drop_nothing(api_id):
    ends = threading.Event()

    def hammer(_):
        seen = {}
        with requests.Session() as session:
            while not ends.is_set():
                answer = session.get(f"{GATEWAY}/restapis/{api_id}/v2/_user_request_/files/x", timeout=40)
                seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        return seen

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        hammers = [pool.submit(hammer, number) for number in range(4)]
        for _ in range(20):
            api.create_deployment(restApiId=api_id, stageName="v2")
        ends.set()
        statuses = {status for done in hammers for status in done.result()}
    expect("statuses while 20 deployments were made", statuses, {200})


def keys_plans_and_speeds(api_id):
    guarded = resource(api_id, "guarded")
    mock = dict(type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    for verb, key in [("GET", True), ("POST", False)]:
        method(api_id, guarded, verb, key, **mock)
        about = dict(restApiId=api_id, resourceId=guarded, httpMethod=verb, statusCode="200")
        api.put_method_response(**about)
        api.put_integration_response(**about, responseTemplates={"application/json": '{"stage": "$context.stage", "who": "$context.identity.apiKeyId"}'})
    own_words = dict(
        statusCode="401",
        responseParameters={"gatewayresponse.header.X-Why": "'key'"},
        responseTemplates={"application/json": '{"said": $context.error.messageString, "type": "$context.error.responseType"}'},
    )
    api.put_gateway_response(restApiId=api_id, responseType="INVALID_API_KEY", **own_words)
    api.create_deployment(restApiId=api_id, stageName="v1")

    nobody = call(api_id, "v1", "/guarded")
    expect("the API's own words", (nobody.status_code, nobody.headers["x-why"], nobody.json()), (401, "key", {"said": "Forbidden", "type": "INVALID_API_KEY"}))
    key = api.create_api_key(name="partner", enabled=True)
    expect("a key's value", len(key["value"]), 40)
    plan = api.create_usage_plan(
        name="small",
        apiStages=[{"apiId": api_id, "stage": "v1"}],
        throttle={"rateLimit": 100, "burstLimit": 50},
        quota={"limit": 5, "period": "DAY"},
    )
    api.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    mine = {"x-api-key": key["value"]}
    said = call(api_id, "v1", "/guarded", headers=mine)
    expect("with a key", (said.status_code, said.json()), (200, {"stage": "v1", "who": key["id"]}))
    for _ in range(4):
        call(api_id, "v1", "/guarded", headers=mine)
    spent = call(api_id, "v1", "/guarded", headers=mine)
    expect("a spent quota", (spent.status_code, spent.json()), (429, {"message": "Limit Exceeded"}))
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    usage = api.get_usage(usagePlanId=plan["id"], startDate=today, endDate=today)
    expect("get-usage", usage["items"], {key["id"]: [[5, 0]]})
    more = [{"op": "replace", "path": "/remaining", "value": "2"}]
    api.update_usage(usagePlanId=plan["id"], keyId=key["id"], patchOperations=more)
    expect("after update-usage", [call(api_id, "v1", "/guarded", headers=mine).status_code for _ in range(3)], [200, 200, 429])
    expect("a plan's keys", [(one["id"], one["value"]) for one in api.get_usage_plan_keys(usagePlanId=plan["id"])["items"]], [(key["id"], key["value"])])
    expect("a key without its value", "value" in api.get_api_key(apiKey=key["id"]), False)
    off = [{"op": "replace", "path": "/enabled", "value": "false"}]
    expect("update-api-key", api.update_api_key(apiKey=key["id"], patchOperations=off)["enabled"], False)
    expect("a key that is off", call(api_id, "v1", "/guarded", headers=mine).status_code, 401)

    slow = [
        {"op": "replace", "path": "/~1guarded/POST/throttling/rateLimit", "value": "0.001"},
        {"op": "replace", "path": "/~1guarded/POST/throttling/burstLimit", "value": "2"},
    ]
    stage = api.update_stage(restApiId=api_id, stageName="v1", patchOperations=slow)
    expect("a method's settings", stage["methodSettings"]["guarded/POST"]["throttlingBurstLimit"], 2)
    expect("a stage's speed, without a key", [call(api_id, "v1", "/guarded", "POST").status_code for _ in range(3)], [200, 200, 429])

    wrong = [{"op": "replace", "path": "/colour", "value": "red"}]
    for what, call_it, arguments in [
        ("a stage", api.update_stage, dict(restApiId=api_id, stageName="v1")),
        ("a key", api.update_api_key, dict(apiKey=key["id"])),
        ("a plan", api.update_usage_plan, dict(usagePlanId=plan["id"])),
        ("an API", api.update_rest_api, dict(restApiId=api_id)),
    ]:
        refused(f"a wrong patch of {what}", "BadRequestException", "Invalid patch path '/colour'", call_it, patchOperations=wrong, **arguments)
    refused("a plan in use", "BadRequestException", "associated with API Stage", api.delete_usage_plan, usagePlanId=plan["id"])
    away = [{"op": "remove", "path": "/apiStages", "value": f"{api_id}:v1"}]
    expect("a stage taken out", api.update_usage_plan(usagePlanId=plan["id"], patchOperations=away)["apiStages"], [])
    api.delete_usage_plan(usagePlanId=plan["id"])
    api.delete_api_key(apiKey=key["id"])
    refused("a key that is gone", "NotFoundException", "Invalid API Key identifier", api.get_api_key, apiKey=key["id"])
    imported = api.import_api_keys(body=b"Name,key,Enabled\nfirst,first-key-of-more-than-20,true\n", format="csv")
    expect("import-api-keys", len(imported["ids"]), 1)
    expect("get-api-keys", [one["name"] for one in api.get_api_keys(nameQuery="fir")["items"]], ["first"])


def a_stage_logs_by_itself(api_id):
    """In the four formats that the console offers, to a log group."""
    group = f"arn:aws:logs:{REGION}:000000000000:log-group:/aws/apigateway/{api_id}"

    def settings(**values):
        return [{"op": "replace", "path": f"/accessLogSettings/{name}", "value": value} for name, value in values.items()]

    def logged(path, log_format, wanted):
        stage = api.update_stage(restApiId=api_id, stageName="v2", patchOperations=settings(format=log_format))
        expect("a log's settings", stage["accessLogSettings"], {"destinationArn": group, "format": log_format})
        answer = call(api_id, "v2", path, headers={"user-agent": 'a,"<b>"'})
        request_id = answer.headers["x-amzn-requestid"]
        found = checks.logged(f"/aws/apigateway/{api_id}", bool, filterPattern=f'"{request_id}"')
        expect(log_format, found[0], wanted.replace("ID", request_id))

    api.update_stage(restApiId=api_id, stageName="v2", patchOperations=settings(destinationArn=group))
    agent = "$context.identity.userAgent"
    logged("/files/x", f'{{"id":"$context.requestId","ua":"{agent}","status":$context.status}}', '{"id":"ID","ua":"a,\\"<b>\\"","status":200}')
    logged("/files/x", f'<line id="$context.requestId" ua="{agent}"/>', '<line id="ID" ua="a,&quot;&lt;b&gt;&quot;"/>')
    logged("/files/x", f"$context.requestId,{agent},$context.stage", 'ID,"a,""<b>""",v2')
    logged("/nothing", '$context.identity.sourceIp "$context.httpMethod $context.path" $context.status $context.requestId', '127.0.0.1 "GET /restapis/API/v2/_user_request_/nothing" 403 ID'.replace("API", api_id))
    for what, values, message in [
        ("an ARN that is none", {"destinationArn": "here"}, "Invalid ARN specified"),
        ("a stream of Firehose", {"destinationArn": f"arn:aws:firehose:{REGION}:000000000000:deliverystream/x"}, "Firehose is not served"),
        ("a format without the request's id", {"format": "$context.status"}, "must contain $context.requestId"),
        ("an unknown variable", {"format": "$context.requestId $context.password"}, "$context.password"),
    ]:
        refused(what, "BadRequestException", message, api.update_stage, restApiId=api_id, stageName="v2", patchOperations=settings(**values))
    away = [{"op": "remove", "path": "/accessLogSettings"}]
    expect("no log any more", "accessLogSettings" in api.update_stage(restApiId=api_id, stageName="v2", patchOperations=away), False)


def a_quota_begins_when_it_is_told():
    # As many plans as one likes may have a name; the host's own has one of the guide's.
    twins = [api.create_usage_plan(name="ThirdPartyUsagePlan")["id"] for _ in range(2)]
    named = [plan["id"] for plan in api.get_usage_plans()["items"] if plan["name"] == "ThirdPartyUsagePlan"]
    expect("plans of one name", (len(named), set(twins) < set(named)), (3, True))
    for twin in twins[1:]:
        api.delete_usage_plan(usagePlanId=twin)
    plan = api.create_usage_plan(name="from-monday", quota={"limit": 5, "period": "WEEK", "offset": 1})
    expect("a quota's offset", plan["quota"], {"limit": 5, "period": "WEEK", "offset": 1})

    def patch(*steps):
        operations = [{"op": "replace", "path": f"/quota/{name}", "value": value} for name, value in steps]
        return dict(usagePlanId=plan["id"], patchOperations=operations)

    monthly = api.update_usage_plan(**patch(("period", "MONTH"), ("offset", "27")))
    expect("another one", monthly["quota"], {"limit": 5, "period": "MONTH", "offset": 27})
    refused("too late in a month", "BadRequestException", "between 0 and 27", api.update_usage_plan, **patch(("offset", "28")))
    refused("too late in a week", "BadRequestException", "between 0 and 6", api.update_usage_plan, **patch(("period", "WEEK")))
    refused("a day's", "BadRequestException", "zero in the DAY period", api.create_usage_plan, name="x", quota={"limit": 5, "period": "DAY", "offset": 1})
    expect("as it was", api.get_usage_plan(usagePlanId=plan["id"])["quota"], monthly["quota"])
    api.delete_usage_plan(usagePlanId=plan["id"])


def agentcore_behind_a_method():
    """AgentCore's data plane as the backend of an HTTP_PROXY, in the name of a role."""
    api_id = api.create_rest_api(name="direct")["id"]
    role = "arn:aws:iam::000000000000:role/frontdesk/FrontdeskGatewayRole"
    session = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id"
    uri = f"https://bedrock-agentcore.{REGION}.amazonaws.com/runtimes/${{stageVariables.agent}}/invocations?qualifier=DEFAULT"
    direct = dict(type="HTTP_PROXY", integrationHttpMethod="POST", uri=uri, credentials=role)
    made = method(api_id, resource(api_id, "ask"), "POST", **direct)
    expect("its credentials", made["credentials"], role)
    method(api_id, resource(api_id, "stream"), "POST", **direct, responseTransferMode="STREAM", timeoutInMillis=60000)
    fixed = {f"integration.request.header.{session}": "'a-session-that-the-integration-chose'"}
    method(api_id, resource(api_id, "fixed"), "POST", **direct, requestParameters=fixed)
    method(api_id, resource(api_id, "nobody"), "POST", **{**direct, "credentials": role + "Not"})
    method(api_id, resource(api_id, "elsewhere"), "POST", **{**direct, "uri": uri.replace(REGION, "eu-north-1")})
    api.create_deployment(restApiId=api_id, stageName="v1", variables={"agent": os.environ["AGENT_ARN"]})

    question = {"prompt": "How do I activate roaming?"}
    mine = "a-session-that-the-caller-would-like-to-have"
    headers = {session: mine, "Authorization": "Bearer of-the-caller", "X-Amz-Date": "20200101T000000Z"}
    answer = call(api_id, "v1", "/ask", "POST", json=question, headers=headers)
    expect("AgentCore's answer", (answer.status_code, "roaming" in answer.json()["result"]), (200, True))
    expect("a caller's say in the session", answer.headers[session] == mine, False)
    answer = call(api_id, "v1", "/fixed", "POST", json=question)
    expect("an integration's", (answer.status_code, answer.headers[session]), (200, "a-session-that-the-integration-chose"))
    with call(api_id, "v1", "/stream", "POST", json={**question, "stream": True}, stream=True) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith(b"data: ")]
    expect("a streamed answer", (answer.status_code, "roaming" in events[-1]["result"], len(events) > 1), (200, True, True))
    for path in ["/nobody", "/elsewhere"]:
        answer = call(api_id, "v1", path, "POST", json=question)
        expect(path, (answer.status_code, answer.json()), (500, {"message": "Internal server error"}))
    change = [{"op": "replace", "path": "/variables/agent", "value": os.environ["AGENT_ARN"][:-10] + "0123456789"}]
    api.update_stage(restApiId=api_id, stageName="v1", patchOperations=change)
    answer = call(api_id, "v1", "/ask", "POST", json=question)
    expect("an agent that is not there", (answer.status_code, answer.headers["x-amzn-errortype"]), (404, "ResourceNotFoundException"))

    about = dict(restApiId=api_id, resourceId=resource(api_id, "ask"), httpMethod="POST", integrationHttpMethod="POST", credentials=role)
    for what, kind, where in [("another service", "HTTP_PROXY", uri.replace("bedrock-agentcore", "sqs")), ("no service", "HTTP_PROXY", BACKEND), ("a mapped call", "HTTP", uri)]:
        refused(what, "BadRequestException", "credentials are for", api.put_integration, **about, type=kind, uri=where)
    aws = f"arn:aws:apigateway:{REGION}:bedrock-agentcore:path/runtimes/x/invocations"
    refused("an AWS integration", "BadRequestException", "AWS Service of type bedrock-agentcore not supported", api.put_integration, **about, type="AWS", uri=aws)
    api.delete_rest_api(restApiId=api_id)


def what_is_refused(api_id):
    root = resource(api_id)
    refused("no such API", "NotFoundException", "Invalid API identifier specified", api.get_rest_api, restApiId="nothing123")
    refused("no such stage", "NotFoundException", "Invalid stage identifier", api.get_stage, restApiId=api_id, stageName="none")
    refused("a part with a slash", "BadRequestException", "path part only allow", api.create_resource, restApiId=api_id, parentId=root, pathPart="a/b")
    refused("a twin", "ConflictException", "already has this name", api.create_resource, restApiId=api_id, parentId=root, pathPart="files")
    odd = resource(api_id, "odd")
    iam = dict(restApiId=api_id, resourceId=odd, httpMethod="GET", authorizationType="AWS_IAM")
    refused("an authorization that is not served", "BadRequestException", "AWS_IAM is not served", api.put_method, **iam)
    api.put_method(restApiId=api_id, resourceId=odd, httpMethod="GET", authorizationType="NONE")
    about = dict(restApiId=api_id, resourceId=odd, httpMethod="GET")
    refused("an AWS service", "BadRequestException", "Invalid ARN specified", api.put_integration, **about, type="AWS", integrationHttpMethod="POST", uri="https://x/")
    refused("a wrong ARN", "BadRequestException", "Invalid ARN specified", api.put_integration, **about, type="AWS_PROXY", integrationHttpMethod="POST", uri="arn:x")
    refused("a wrong address", "BadRequestException", "Invalid HTTP endpoint", api.put_integration, **about, type="HTTP_PROXY", integrationHttpMethod="GET", uri="nowhere")
    templates = {"application/json": "#set($a = 1) {}"}
    refused("a template of Velocity", "BadRequestException", "#set", api.put_integration, **about, type="MOCK", requestTemplates=templates)
    refused("a method without an integration", "BadRequestException", "No integration defined", api.create_deployment, restApiId=api_id, stageName="v1")
    stage = dict(apiStages=[{"apiId": api_id, "stage": "none"}])
    refused("a plan for no stage", "NotFoundException", "Invalid API Stage", api.create_usage_plan, name="x", **stage)
    refused("a key that is too short", "BadRequestException", "at least 20 characters", api.create_api_key, name="k", value="short")
    refused("what is not served", "UnknownOperationException", "no operation answers", api.get_domain_names)


def the_guides_api():
    """The API of the guide, by the aws CLI, in front of the host's own proxy."""

    def aws(*arguments):
        ran = subprocess.run(["aws", "apigateway", *arguments, "--output", "text"], capture_output=True, text=True)
        expect(f"aws apigateway {arguments[0]}: exit code", (ran.returncode, ran.stderr), (0, ""))
        return ran.stdout.strip()

    api_id = aws("create-rest-api", "--name", "guide", "--endpoint-configuration", "types=REGIONAL", "--query", "id")
    root = aws("get-resources", "--rest-api-id", api_id, "--query", "items[?path==`/`].id")
    aws("create-resource", "--rest-api-id", api_id, "--parent-id", root, "--path-part", "invoke")
    invoke = aws("get-resources", "--rest-api-id", api_id, "--query", "items[?pathPart==`invoke`].id")
    here = ["--rest-api-id", api_id, "--resource-id", invoke]
    aws("put-method", *here, "--http-method", "POST", "--authorization-type", "NONE", "--api-key-required")
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{PROXY_ARN}/invocations"
    aws("put-integration", *here, "--http-method", "POST", "--type", "AWS_PROXY", "--integration-http-method", "POST", "--uri", uri)
    aws("put-method", *here, "--http-method", "OPTIONS", "--authorization-type", "NONE")
    aws("put-integration", *here, "--http-method", "OPTIONS", "--type", "MOCK", "--request-templates", '{"application/json": "{\\"statusCode\\": 200}"}')
    cors = {"Access-Control-Allow-Headers": "Content-Type,x-api-key", "Access-Control-Allow-Methods": "POST,OPTIONS", "Access-Control-Allow-Origin": "*"}
    declared = json.dumps({f"method.response.header.{name}": True for name in cors})
    aws("put-method-response", *here, "--http-method", "OPTIONS", "--status-code", "200", "--response-parameters", declared)
    values = json.dumps({f"method.response.header.{name}": f"'{value}'" for name, value in cors.items()})
    aws("put-integration-response", *here, "--http-method", "OPTIONS", "--status-code", "200", "--response-parameters", values)
    aws("create-deployment", "--rest-api-id", api_id, "--stage-name", "prod", "--query", "id")
    expect("the stages", aws("get-stages", "--rest-api-id", api_id, "--query", "length(item)"), "1")

    key_id = aws("create-api-key", "--name", "ThirdPartyServer", "--enabled", "--query", "id")
    key = aws("get-api-key", "--api-key", key_id, "--include-value", "--query", "value")
    plan = ["--name", "GuidePlan", "--throttle", "burstLimit=100,rateLimit=50", "--quota", "limit=10000,period=DAY"]
    plan_id = aws("create-usage-plan", *plan, "--query", "id")
    aws("create-usage-plan-key", "--usage-plan-id", plan_id, "--key-id", key_id, "--key-type", "API_KEY")
    add = f"op=add,path=/apiStages,value={api_id}:prod"
    aws("update-usage-plan", "--usage-plan-id", plan_id, "--patch-operations", add)
    expect("its keys", aws("get-usage-plan-keys", "--usage-plan-id", plan_id, "--query", "length(items)"), "1")
    expect("its stage", aws("get-usage-plan", "--usage-plan-id", plan_id, "--query", f"apiStages[?apiId==`{api_id}`].stage"), "prod")
    logs = f"arn:aws:logs:{REGION}:000000000000:log-group:/aws/apigateway/{api_id}"
    aws("update-stage", "--rest-api-id", api_id, "--stage-name", "prod", "--patch-operations", f"op=replace,path=/accessLogSettings/destinationArn,value={logs}")

    question = {"prompt": "How do I activate roaming?"}
    answer = call(api_id, "prod", "/invoke", "POST", json=question, headers={"x-api-key": key})
    expect("the guide's endpoint", (answer.status_code, sorted(answer.json())), (200, ["actor_id", "result", "thread_id"]))
    expect("without a key", call(api_id, "prod", "/invoke", "POST", json=question).json(), {"message": "Forbidden"})
    expect("a wrong verb", call(api_id, "prod", "/invoke").json(), {"message": "Missing Authentication Token"})
    preflight = call(api_id, "prod", "/invoke", "OPTIONS")
    expect("its preflight", (preflight.status_code, {name: preflight.headers[name] for name in cors}), (200, cors))

    # The guide names no format: every line is JSON with all there is.
    lines = [json.loads(line) for line in checks.logged(f"/aws/apigateway/{api_id}", lambda messages: len(messages) >= 4)]
    expect("the guide's access log", [(line["httpMethod"], line["status"]) for line in lines], [("POST", "200"), ("POST", "403"), ("GET", "403"), ("OPTIONS", "200")])

    # A function that does not exist is the caller's 500 and nobody else's trouble.
    aws("put-integration", *here, "--http-method", "POST", "--type", "AWS_PROXY", "--integration-http-method", "POST", "--uri", uri.replace(PROXY_ARN, PROXY_ARN + "-not"))
    aws("create-deployment", "--rest-api-id", api_id, "--stage-name", "prod", "--query", "id")
    gone = call(api_id, "prod", "/invoke", "POST", json=question, headers={"x-api-key": key})
    expect("a function that does not exist", (gone.status_code, gone.json()), (500, {"message": "Internal server error"}))
    aws("delete-rest-api", "--rest-api-id", api_id)
    expect("an API that is gone", call(api_id, "prod", "/invoke", "POST").status_code, 403)


def trials():
    """Methods are tried before they are deployed: without a key, with path parameters, a query, headers and stage variables of the trial's own."""
    api_id = api.create_rest_api(name="trials")["id"]
    orders = resource(api_id, "orders", "{id}")
    parameters = {"integration.request.path.id": "method.request.path.id", "integration.request.header.x-stage": "stageVariables.colour"}
    http_proxy = dict(type="HTTP_PROXY", integrationHttpMethod="ANY", uri=f"{BACKEND}/of/{{id}}", requestParameters=parameters)
    method(api_id, orders, "ANY", key=True, **http_proxy)
    about = dict(restApiId=api_id, resourceId=orders)
    tried = api.test_invoke_method(
        **about, httpMethod="PUT", pathWithQueryString="/orders/7?size=2", headers={"x-team": "red"}, multiValueHeaders={"x-many": ["1", "2"]}, body="hello",
        stageVariables={"colour": "blue"},
    )
    said = json.loads(tried["body"])
    expect("a trial", (tried["status"], said["method"], said["path"], said["body"]), (200, "PUT", "/of/7?size=2", "hello"))
    expect("its headers", [said["headers"].get(name) for name in ("x-team", "x-stage")], ["red", "blue"])
    expect("its answer's headers", (tried["headers"]["X-Backend"], tried["multiValueHeaders"]["X-Backend"], type(tried["latency"])), ("one", ["one"], int))
    for line in ["Starting execution for request: ", "HTTP Method: PUT, Resource Path: /orders/{id}", "Method request path: {id=7}", "Method request query string: {size=2}",
                 "Method request body before transformations: hello", "Received response. Status: 200, Integration latency: ", "Successfully completed execution", "Method completed with status: 200"]:
        if line not in tried["log"]:
            sys.exit(f"{line!r} is not in the trial's log: {tried['log']}")
    ran = subprocess.run(["aws", "apigateway", "test-invoke-method", "--rest-api-id", api_id, "--resource-id", orders, "--http-method", "GET",
                          "--path-with-query-string", "/orders/8", "--query", "[status, body]", "--output", "json"], capture_output=True, text=True)
    expect("the CLI's trial", (ran.returncode, ran.stderr), (0, ""))
    expect("the CLI's trial", (json.loads(ran.stdout)[0], json.loads(json.loads(ran.stdout)[1])["path"]), (200, "/of/8"))

    # What does not work says why, and is an answer all the same.
    empty = resource(api_id, "empty")
    api.put_method(restApiId=api_id, resourceId=empty, httpMethod="GET", authorizationType="NONE")
    tried = api.test_invoke_method(restApiId=api_id, resourceId=empty, httpMethod="GET")
    expect("nothing behind it", (tried["status"], json.loads(tried["body"])), (500, {"message": "Internal server error"}))
    if "Execution failed due to configuration error: No integration defined for method" not in tried["log"] or "Successfully" in tried["log"]:
        sys.exit(f"a trial's log does not say why: {tried['log']}")
    refused("no method", "NotFoundException", "Invalid Method identifier specified", api.test_invoke_method, restApiId=api_id, resourceId=empty, httpMethod="POST")
    refused("no resource", "NotFoundException", "Invalid Resource identifier specified", api.test_invoke_method, restApiId=api_id, resourceId="nobody", httpMethod="GET")
    refused("another's path", "BadRequestException", "is not one of the resource", api.test_invoke_method, **about, httpMethod="GET", pathWithQueryString="/other")
    refused("no verb", "BadRequestException", "name the one to try", api.test_invoke_method, **about, httpMethod="ANY")
    api.delete_rest_api(restApiId=api_id)


made = an_api_in_front_of_a_server()
trials()
let_stages_log()
deployments_drop_nothing(made)
keys_plans_and_speeds(made)
a_stage_logs_by_itself(made)
a_quota_begins_when_it_is_told()
agentcore_behind_a_method()
what_is_refused(made)
the_guides_api()
api.delete_rest_api(restApiId=made)
expect("what is left", len(api.get_rest_apis()["items"]), 1)
print("all APIs answered as they should")
