"""What the clients' scripts share: what they expect and see, what is refused and how, and the host's own API, which no client of AWS's speaks."""

import json
import os
import sys
import time

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError


def expect(what, seen, wanted):
    if seen != wanted:
        sys.exit(f"{what}: saw {seen!r}, wanted {wanted!r}")


def refused(what, code, message, call, **arguments):
    """Makes a call that must be refused with this code, in a message that holds this text. Returns the refusal."""
    try:
        call(**arguments)
    except ClientError as error:
        expect(f"{what}: code ({error})", error.response["Error"]["Code"], code)
        if message not in error.response["Error"]["Message"]:
            sys.exit(f"{what}: {error.response['Error']['Message']!r} does not say {message!r}")
        return error.response
    sys.exit(f"{what}: was not refused")


def refused_with(what, status, code, message, call, **arguments):
    """As `refused`, with this HTTP status."""
    response = refused(what, code, message, call, **arguments)
    expect(f"{what}: status", response["ResponseMetadata"]["HTTPStatusCode"], status)


def logged(group, is_all, **wanted):
    """Waits until the events of a log group are all that is wanted. Returns their messages, by time."""
    logs = boto3.client("logs")
    messages = []
    for _ in range(600):
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **wanted)
            messages = [event["message"] for page in pages for event in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            pass
        if is_all(messages):
            return messages
        time.sleep(0.05)
    sys.exit(f"{group} never held what was wanted: {messages!r}")


def host_api(verb, path, body=None):
    """Calls the host's own API, signed."""
    url = f"{os.environ['AWS_ENDPOINT_URL']}/_frontdesk/{path}"
    request = AWSRequest(verb, url, data=json.dumps(body) if body is not None else b"", headers={"content-type": "application/json"})
    SigV4Auth(boto3.Session().get_credentials(), "frontdesk", os.environ["AWS_DEFAULT_REGION"]).add_auth(request)
    return requests.request(verb, url, data=request.data, headers=dict(request.headers), timeout=120)


def launch(name="echo", executable=sys.executable, agent=None, **more):
    """Has the host serve the tests' agent, or another Python program, under a name. Returns what the host says of it."""
    agent = agent or os.environ["AGENT"]
    readable = [os.path.dirname(agent), *([sys.prefix, sys.base_prefix] if executable == sys.executable else [])]
    wanted = {"program": {"executable": executable, "arguments": ["-u", agent], "readable": readable}, **more}
    answer = host_api("PUT", f"agents/{name}", wanted)
    expect(f"launch {name}: {answer.text}", answer.status_code, 200)
    return answer.json()


def let_stages_log():
    """Gives the account the role without which API Gateway lets no stage log."""
    trust = {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = boto3.client("iam").create_role(RoleName="gateway-logs", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    boto3.client("apigateway").update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": role}])
