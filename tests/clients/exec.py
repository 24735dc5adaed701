"""Calls AWS by its own names, as a program with hard-coded URLs does, under `frontdesk exec`: with requests, urllib, boto3, curl and Node.

The environment is `exec`'s; API_KEY opens the host's own API, AGENT_ARN names its agent.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from checks import expect

REGION = os.environ["AWS_REGION"]
KEY = os.environ["API_KEY"]
QUESTION = {"prompt": "How do I activate roaming?", "actor_id": "a", "thread_id": "t"}
# Nothing is asked of these; the variable is for SDKs, and what is shown here must not need it.
os.environ.pop("AWS_ENDPOINT_URL", None)
[API] = boto3.client("apigateway").get_rest_apis()["items"]
ENDPOINT = f"https://{API['id']}.execute-api.{REGION}.amazonaws.com/prod/invoke"


def run(*command, env=None, code=0):
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if ran.returncode != code:
        sys.exit(f"{command}: exit code {ran.returncode}, wanted {code}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def check_answer(what, status, answer):
    expect(f"{what}: status of {answer}", status, 200)
    if "roaming" not in answer["result"].lower():
        sys.exit(f"{what}: {answer} is no answer about roaming")
    expect(f"{what}: actor", answer["actor_id"], "a")


# The gateway under an API's own name: answered with the key, refused without it.
answer = requests.post(ENDPOINT, headers={"x-api-key": KEY}, json=QUESTION, timeout=60)
check_answer("requests", answer.status_code, answer.json())
refused = requests.post(ENDPOINT, json=QUESTION, timeout=60)
expect("no key", (refused.status_code, refused.json()), (403, {"message": "Forbidden"}))
elsewhere = requests.get(f"https://nobodysapi.execute-api.{REGION}.amazonaws.com/prod/x", timeout=60)
expect("an API that is not here", (elsewhere.status_code, elsewhere.json()), (403, {"message": "Forbidden"}))
request = urllib.request.Request(ENDPOINT, json.dumps(QUESTION).encode(), {"x-api-key": KEY, "content-type": "application/json"})
with urllib.request.urlopen(request, timeout=60) as answer:
    check_answer("urllib", answer.status, json.load(answer))
for protocol, seen in [("--http1.1", "1.1"), ("--http2", "2")]:
    said = run("curl", "-sS", protocol, "-w", "\n%{http_version}", ENDPOINT, "-H", f"x-api-key: {KEY}", "--json", json.dumps(QUESTION))
    body, version = said.rsplit("\n", 1)
    check_answer("curl", 200, json.loads(body))
    expect("curl: protocol", version, seen)
    # Who is refused before the body was read gets to read the refusal, whatever the protocol.
    for _ in range(20):
        said = run("curl", "-sS", protocol, ENDPOINT, "--json", json.dumps(QUESTION))
        expect("curl, no key", said, '{"message":"Forbidden"}')
        said = run("curl", "-sS", protocol, "https://sts.us-east-1.amazonaws.com/", "-d", "Action=GetCallerIdentity&Version=2011-06-15")
        expect("curl, no signature", "<Code>MissingAuthenticationToken</Code>" in said, True)
        said = run("curl", "-sS", protocol, "https://dynamodb.us-east-1.amazonaws.com/", "--json", "{}")
        expect("curl, a service that is not there", "Frontdesk has no dynamodb" in said, True)

# AgentCore by a URL that stands in the code, signed as the guide's function does; and with a signature that is wrong.
url = f"https://bedrock-agentcore.{REGION}.amazonaws.com/runtimes/{urllib.parse.quote(os.environ['AGENT_ARN'], safe='')}/invocations?qualifier=DEFAULT"


def signed(body, credentials):
    signing = AWSRequest(method="POST", url=url, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials, "bedrock-agentcore", REGION).add_auth(signing)
    return urllib.request.Request(url, data=body.encode(), headers=dict(signing.headers))


session = boto3.Session()
with urllib.request.urlopen(signed(json.dumps(QUESTION), session.get_credentials()), timeout=60) as answer:
    check_answer("signed", answer.status, json.load(answer))
stranger = boto3.Session(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="wrong").get_credentials()
try:
    urllib.request.urlopen(signed(json.dumps(QUESTION), stranger), timeout=60)
    sys.exit("a stranger's signature was let in")
except urllib.error.HTTPError as error:
    expect("a stranger", (error.code, error.headers["x-amzn-errortype"]), (403, "UnrecognizedClientException"))

# SDKs under AWS's own names. What is not here says so.
once = Config(retries={"total_max_attempts": 1})
expect("sts", boto3.client("sts").get_caller_identity()["Account"], "000000000000")
expect("sts, for all regions", boto3.client("sts", endpoint_url="https://sts.amazonaws.com").get_caller_identity()["Account"], "000000000000")
boto3.client("iam").list_roles()
boto3.client("lambda").list_functions()
boto3.client("bedrock-agentcore-control").list_agent_runtimes()
absent = [
    ("s3", lambda client: client.list_buckets(), "NotImplemented", "s3"),
    ("dynamodb", lambda client: client.list_tables(), "UnknownOperationException", "dynamodb"),
    ("sqs", lambda client: client.list_queues(), "UnknownOperationException", "sqs"),
    ("ec2", lambda client: client.describe_vpcs(), "InvalidAction", "ec2"),
    ("sns", lambda client: client.list_topics(), "InvalidAction", "sns"),
]
for name, call, code, service in absent:
    try:
        call(boto3.client(name, config=once))
        sys.exit(f"{name} is not here, and answered")
    except ClientError as error:
        expect(f"{name}: code ({error})", error.response["Error"]["Code"], code)
        if f"Frontdesk has no {service}" not in error.response["Error"]["Message"]:
            sys.exit(f"{name}: {error} does not name it")
expect("aws", json.loads(run("aws", "sts", "get-caller-identity"))["Arn"], "arn:aws:iam::000000000000:root")

# Live Tail has a host of its own, `stream-logs…`. A line is put until one is shown: which is the first that the session hears of, nobody knows.
logs = boto3.client("logs")
TAILED = f"/exec/tailed-{os.getpid()}"
logs.create_log_group(logGroupName=TAILED)
logs.create_log_stream(logGroupName=TAILED, logStreamName="s")
tail = subprocess.Popen(
    ["aws", "logs", "start-live-tail", "--log-group-identifiers", f"arn:aws:logs:{REGION}:000000000000:log-group:{TAILED}", "--log-event-filter-pattern", "shown"],
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
)
shown = []
reading = threading.Thread(target=lambda: shown.append(tail.stdout.readline()))
reading.start()
while reading.is_alive():
    now = int(time.time() * 1000)
    logs.put_log_events(logGroupName=TAILED, logStreamName="s", logEvents=[{"timestamp": now, "message": message} for message in ("hidden", "shown")])
    reading.join(0.2)
tail.terminate()
_, errors = tail.communicate()
expect(f"a tail ({errors})", shown, ["shown\n"])

# Node: a tunnel made by hand, as proxy agents do; and a whole URL sent to the proxy, as axios does for https.
node = """
const http = require('http'), https = require('https'), tls = require('tls');
const [endpoint, proxy, key, body, way] = process.argv.slice(1);
const target = new URL(endpoint), door = new URL(proxy);
const authorization = 'Basic ' + Buffer.from(door.username + ':' + door.password).toString('base64');
const headers = { 'content-type': 'application/json', 'x-api-key': key, 'content-length': Buffer.byteLength(body) };
const told = answer => { let text = ''; answer.on('data', piece => text += piece); answer.on('end', () => console.log(answer.statusCode + ' ' + text)); };
if (way === 'whole') {
  const all = { ...headers, host: target.host, 'proxy-authorization': authorization };
  http.request({ host: door.hostname, port: door.port, method: 'POST', path: endpoint, headers: all }, told).end(body);
} else {
  const connect = http.request({ host: door.hostname, port: door.port, method: 'CONNECT', path: target.host + ':443', headers: { 'proxy-authorization': authorization } });
  connect.on('connect', (answer, socket) => {
    const tunnel = tls.connect({ socket, servername: target.host }, () => {
      https.request({ createConnection: () => tunnel, host: target.host, path: target.pathname, method: 'POST', headers }, told).end(body);
    });
  });
  connect.end();
}
"""
for way in ["tunnel", "whole"]:
    status, text = run("node", "-e", node, ENDPOINT, os.environ["HTTPS_PROXY"], KEY, json.dumps(QUESTION), way).split(" ", 1)
    check_answer(f"node, {way}", int(status), json.loads(text))

print("every client reached this host under AWS's names")
