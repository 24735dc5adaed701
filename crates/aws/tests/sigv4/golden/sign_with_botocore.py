#!/usr/bin/env python3
"""Writes botocore.json: requests as botocore signs them, for the verifier to accept.

Run it by hand where botocore is installed (`python3 sign_with_botocore.py`); the tests read the JSON alone.
"""

import datetime
import json
import pathlib
from unittest import mock
from urllib.parse import quote, urlsplit

import botocore
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 3, 14, 15, 9, 26)
ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLXdlc3QtMiJ+/=="

RUNTIME = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/faq_agent-a1B2c3D4e5"
DATA = "https://bedrock-agentcore.us-west-2.amazonaws.com"
CONTROL = "https://bedrock-agentcore-control.us-west-2.amazonaws.com"
INVOKE = f"/runtimes/{quote(RUNTIME, safe='')}/invocations?qualifier=DEFAULT"
PROMPT = json.dumps({"prompt": "Wie lädt man Guthaben auf?", "actor_id": "a"}, ensure_ascii=False)
JSON = ("Content-Type", "application/json")
SESSION = ("X-Amzn-Bedrock-AgentCore-Runtime-Session-Id", "0123456789-0123456789-0123456789-0123")


def case(name, method, url, headers=(), body="", service="bedrock-agentcore", token=None, auth=SigV4Auth, **arguments):
    """One request, signed, as it goes over the wire."""
    request = AWSRequest(method=method, url=url, data=body.encode())
    for header in headers:
        request.headers.add_header(*header)
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW):
        auth(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, token), service, "us-west-2", **arguments).add_auth(request)
    parts = urlsplit(request.url)
    return {
        "name": name,
        "service": service,
        "session_token": token,
        "method": method,
        "uri": parts.path + (f"?{parts.query}" if parts.query else ""),
        # The HTTP client adds the host, which botocore has signed from the URL.
        "headers": [["Host", parts.netloc], *map(list, request.headers.items())],
        "body": body,
    }


CASES = [
    case("invoke, the short way", "POST", DATA + INVOKE, [JSON], PROMPT),
    case(
        "invoke with all of an SDK's headers and temporary credentials", "POST", DATA + INVOKE,
        [JSON, ("Accept", "application/json"), SESSION, ("User-Agent", "Boto3/1.43 md/x"),
         ("amz-sdk-invocation-id", "f7"), ("X-Amzn-Trace-Id", "Root=1-5759e988")],
        PROMPT, token=SESSION_TOKEN,
    ),
    case("invoke at an address with a port", "POST", "http://127.0.0.1:4566" + INVOKE, [JSON], PROMPT),
    case("invoke with the ARN barely quoted", "POST", f"{DATA}/runtimes/{quote(RUNTIME, safe=':')}/invocations", [JSON], PROMPT),
    case("invoke with an empty body", "POST", DATA + INVOKE, [JSON]),
    case("a date header instead of x-amz-date", "POST", DATA + INVOKE, [JSON, ("Date", "later")], PROMPT),
    case("list, with an encoded query in no order", "POST", f"{CONTROL}/runtimes/?nextToken=a%2Fb%2B%3D&maxResults=10",
         [JSON], "{}", service="bedrock-agentcore-control"),
    case("delete, with a trailing slash", "DELETE", f"{CONTROL}/runtimes/faq_agent-a1B2c3D4e5/?clientToken=c",
         service="bedrock-agentcore-control"),
    case("repeated and padded headers", "GET", f"{DATA}/x?b=2&a=2&a=1&flag",
         [("My-List", "b"), ("My-List", "a"), ("My-Text", "  one   two  "), ("My-Empty", "")]),
    case("dot segments and empty ones", "GET", f"{DATA}/a/./b/../c//d/"),
    case("characters outside of ASCII, encoded", "GET", f"{DATA}/{quote('größe ☎')}?q={quote('ß&=+ /', safe='')}"),
    case("a form", "POST", "https://sts.us-west-2.amazonaws.com/",
         [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
         "Action=GetCallerIdentity&Version=2011-06-15", service="sts"),
    case("S3, whose paths are taken as sent", "PUT", "https://b.s3.us-west-2.amazonaws.com/a%20b//c/../d%2Be", [], "data",
         service="s3", auth=S3SigV4Auth),
    case("a presigned WebSocket", "GET", f"{DATA}/runtimes/{quote(RUNTIME, safe='')}/ws?qualifier=DEFAULT",
         auth=SigV4QueryAuth, expires=300),
    case("a presigned WebSocket with temporary credentials", "GET", f"{DATA}/runtimes/{quote(RUNTIME, safe='')}/ws",
         token=SESSION_TOKEN, auth=SigV4QueryAuth, expires=60),
]

GOLDEN = {
    "botocore": botocore.__version__,
    "now": NOW.strftime("%Y%m%dT%H%M%SZ"),
    "access_key_id": ACCESS_KEY_ID,
    "secret_access_key": SECRET_ACCESS_KEY,
    "cases": CASES,
}

if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("botocore.json")
    path.write_text(json.dumps(GOLDEN, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
