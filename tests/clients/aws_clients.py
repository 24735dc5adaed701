"""Calls a running host with the clients that its users have, and checks what each of them sees.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face, AGENT_ARN, API_ENDPOINT and API_KEY for the front door.
"""

import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore.loaders
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from checks import expect

ARN = os.environ["AGENT_ARN"]
REGION = os.environ["AWS_DEFAULT_REGION"]
QUESTION = "How do I activate roaming?"


def answered(what, document):
    expect(f"{what}: fields", sorted(document), ["actor_id", "result", "thread_id"])
    if "roaming" not in document["result"].lower():
        sys.exit(f"{what}: the answer is about something else: {document['result']!r}")


def aws_cli():
    check_aws_cli("aws")


def aws_cli_2():
    # An older one does not know AgentCore: it is given the service's model, as `aws configure add-model` would. Nor AWS_ENDPOINT_URL, before 2.13.
    model = botocore.loaders.Loader().load_service_model("bedrock-agentcore", "service-2")
    folder = pathlib.Path("models/bedrock-agentcore") / model["metadata"]["apiVersion"]
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps(model), encoding="utf-8")
    check_aws_cli(os.environ["AWS_CLI_2"], AWS_DATA_PATH=str(folder.parent.parent.absolute()))


def check_aws_cli(program, **variables):
    command = [program, "bedrock-agentcore", "invoke-agent-runtime", "--agent-runtime-arn", ARN, "--content-type", "application/json"]
    command += ["--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "--payload", json.dumps({"prompt": QUESTION})]

    def run(*options):
        return subprocess.run([*command, *options, "out.json"], capture_output=True, text=True, env={**os.environ, **variables})

    options = []
    if subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.startswith("aws-cli/2"):
        ran = run()
        expect(f"aws CLI: a payload that is no base64 ({ran.stderr})", ("Invalid base64" in ran.stderr, ran.returncode == 0), (True, False))
        options = ["--cli-binary-format", "raw-in-base64-out"]
    ran = run(*options)
    expect("aws CLI: exit code", (ran.returncode, ran.stderr), (0, ""))
    with open("out.json", encoding="utf-8") as answer:
        answered("aws CLI", json.load(answer))
    pathlib.Path("out.json").unlink()


def boto3_client(**overrides):
    return boto3.client("bedrock-agentcore", config=Config(retries={"total_max_attempts": 1}), **overrides)


def boto3_invokes():
    session = "a-session-id-of-at-least-33-characters"
    answer = boto3_client().invoke_agent_runtime(
        agentRuntimeArn=ARN, runtimeSessionId=session, qualifier="DEFAULT", payload=json.dumps({"prompt": QUESTION})
    )
    expect("boto3: status", answer["statusCode"], 200)
    expect("boto3: content type", answer["contentType"], "application/json")
    expect("boto3: session", answer["runtimeSessionId"], session)
    answered("boto3", json.loads(answer["response"].read()))


def boto3_is_refused():
    def code(client, **arguments):
        try:
            client.invoke_agent_runtime(payload=b"{}", **arguments)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "no error"

    stranger = boto3_client(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="wrong")
    expect("boto3: a stranger", code(stranger, agentRuntimeArn=ARN), "UnrecognizedClientException")
    impostor = boto3_client(aws_secret_access_key="wrong", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"])
    expect("boto3: an impostor", code(impostor, agentRuntimeArn=ARN), "InvalidSignatureException")
    nobody = ARN[:-10] + "0000000000"
    expect("boto3: no such runtime", code(boto3_client(), agentRuntimeArn=nobody), "ResourceNotFoundException")
    expect("boto3: no such endpoint", code(boto3_client(), agentRuntimeArn=ARN, qualifier="beta"), "ResourceNotFoundException")


def signed_by_hand():
    """As a function in front of AgentCore does it: botocore signs, urllib sends."""
    url = f"{os.environ['AWS_ENDPOINT_URL']}/runtimes/{urllib.parse.quote(ARN, safe='')}/invocations?qualifier=DEFAULT"
    body = json.dumps({"prompt": QUESTION, "actor_id": "a", "thread_id": "t"})
    request = AWSRequest(method="POST", url=url, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(boto3.Session().get_credentials(), "bedrock-agentcore", REGION).add_auth(request)
    headers = dict(request.headers)
    with urllib.request.urlopen(urllib.request.Request(url, data=body.encode(), headers=headers), timeout=60) as response:
        answered("signed by hand", json.load(response))
    try:
        urllib.request.urlopen(urllib.request.Request(url, data=body.upper().encode(), headers=headers), timeout=60)
        sys.exit("signed by hand: an altered body came through")
    except urllib.error.HTTPError as error:
        expect("signed by hand: altered", (error.code, error.headers["x-amzn-errortype"]), (403, "InvalidSignatureException"))


def third_party():
    headers = {"Content-Type": "application/json", "x-api-key": os.environ["API_KEY"]}
    answer = requests.post(os.environ["API_ENDPOINT"], headers=headers, json={"prompt": QUESTION, "actor_id": "user-123"}, timeout=30)
    answer.raise_for_status()
    answered("requests", answer.json())
    expect("requests: actor", (answer.json()["actor_id"], answer.json()["thread_id"]), ("user-123", "api-session"))


if __name__ == "__main__":
    for check in (aws_cli, aws_cli_2, boto3_invokes, boto3_is_refused, signed_by_hand, third_party):
        check()
        print(f"{check.__name__}: as expected")
    print("all clients were answered")
