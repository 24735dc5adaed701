"""Calls an agent that takes tokens of an OpenID provider, with a provider of its own, and checks whom the host lets in.

The environment names the host: AWS_ENDPOINT_URL and the root's credentials, AGENT_ARN for the host's own agent, which takes signatures, AGENT for the program of
another, which takes tokens. Keys are made and used by openssl.
"""

import base64
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from checks import expect, launch

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
AGENT = os.environ["AGENT"]
OWN_ARN = os.environ["AGENT_ARN"]
REGION = os.environ["AWS_DEFAULT_REGION"]


def encode(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


class Key:
    """A key pair of the provider's."""

    def __init__(self, kid, kind):
        self.kid, self.kind, self.file = kid, kind, f"{kid}.pem"
        options = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if kind == "RS256" else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("genpkey", "-algorithm", *options, "-out", self.file)

    def published(self):
        about = {"kid": self.kid, "use": "sig", "alg": self.kind}
        if self.kind == "RS256":
            modulus = openssl("rsa", "-in", self.file, "-noout", "-modulus").decode().strip().split("=")[1]
            return {**about, "kty": "RSA", "n": encode(bytes.fromhex(modulus)), "e": "AQAB"}
        # The last 64 bytes of the encoded public key are its point.
        point = openssl("pkey", "-in", self.file, "-pubout", "-outform", "DER")[-64:]
        return {**about, "kty": "EC", "crv": "P-256", "x": encode(point[:32]), "y": encode(point[32:])}

    def sign(self, text):
        signature = openssl("dgst", "-sha256", "-sign", self.file, data=text.encode())
        if self.kind == "RS256":
            return encode(signature)
        # Two numbers in DER, of which a token has the bytes alone.
        numbers, rest = [], signature[2:]
        while rest:
            numbers.append(rest[2 : 2 + rest[1]][-32:].rjust(32, b"\0"))
            rest = rest[2 + rest[1] :]
        return encode(b"".join(numbers))

    def token(self, claims, **header):
        text = f"{encode({'alg': self.kind, 'typ': 'JWT', 'kid': self.kid, **header})}.{encode(claims)}"
        return f"{text}.{self.sign(text)}"


class Provider(http.server.BaseHTTPRequestHandler):
    keys = []
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/.well-known/openid-configuration":
            document = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        else:
            document = {"keys": [{"kty": "unheard-of"}, *[key.published() for key in self.keys]]}
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
ISSUER = f"http://127.0.0.1:{server.server_port}"


def launch_with(name, rules):
    authorizer = {"customJWTAuthorizer": {"discoveryUrl": f"{ISSUER}/.well-known/openid-configuration", **rules}}
    return launch(name, authorizerConfiguration=authorizer, requestHeaderAllowlist=["Authorization"])["agentRuntimeArn"]


def url_of(arn, rest="invocations"):
    return f"{ENDPOINT}/runtimes/{urllib.parse.quote(arn, safe='')}/{rest}"


def call(arn, token=None, **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return requests.post(url_of(arn), params={"qualifier": "DEFAULT"}, json={"do": "answer"}, headers=headers, timeout=60)


def refused(what, answer, status, message, challenge=None):
    said = answer.json()
    seen = said["error"]["message"] if "error" in said else said["message"]
    if answer.status_code != status or message not in seen:
        sys.exit(f"{what}: {answer.status_code} {answer.text}")
    header = answer.headers.get("www-authenticate", "")
    if (challenge is None) != (header == "") or (challenge or "") not in header:
        sys.exit(f"{what}: WWW-Authenticate is {header!r}, wanted {challenge!r}")


def claims(**more):
    now = int(time.time())
    return {"iss": ISSUER, "sub": "ann", "client_id": "app", "aud": "agents", "scope": "openid ask", "iat": now, "exp": now + 600, **more}


def main():
    one, two, elliptic, stranger = Key("one", "RS256"), Key("two", "RS256"), Key("three", "ES256"), Key("one-of-others", "RS256")
    Provider.keys = [one, elliptic]
    group = {
        "inboundTokenClaimName": "groups",
        "inboundTokenClaimValueType": "STRING_ARRAY",
        "authorizingClaimMatchValue": {"claimMatchValue": {"matchValueStringList": ["staff", "admin"]}, "claimMatchOperator": "CONTAINS_ANY"},
    }
    rules = {"allowedClients": ["app"], "allowedAudience": ["agents"], "allowedScopes": ["ask"], "customClaims": [group]}
    arn = launch_with("with_tokens", rules)
    good = claims(groups=["staff"])

    answer = call(arn, one.token(good))
    expect(f"a good token: {answer.text}", answer.status_code, 200)
    expect("the agent sees the token, as its runtime allows", answer.json()["authorization"], f"Bearer {one.token(good)}")
    expect("an elliptic one", call(arn, elliptic.token(good)).status_code, 200)
    expect("keys were fetched once", Provider.asked, ["/.well-known/openid-configuration", "/keys"])

    metadata = f'Bearer resource_metadata="{url_of(arn, "invocations/.well-known/oauth-protected-resource")}?qualifier=DEFAULT"'
    refused("nothing", call(arn), 401, "Missing Authentication Token", metadata)
    document = requests.get(metadata.split('"')[1], timeout=60).json()
    expect("who gives tokens", (document["authorization_servers"], document["scopes_supported"]), ([ISSUER], ["ask"]))
    expect("for what", document["resource"], f"{url_of(arn)}?qualifier=DEFAULT")
    refused("no token", call(arn, "not.a.token"), 403, "Failed to parse token")
    refused("another's signature", call(arn, stranger.token(good, kid="one")), 401, "signature", "invalid_token")
    refused("no signature", call(arn, f"{encode({'alg': 'none'})}.{encode(good)}."), 403, "Failed to parse token")
    refused("altered claims", call(arn, one.token(good).replace(encode(good), encode({**good, "sub": "eve"}))), 401, "signature", "invalid_token")
    refused("expired", call(arn, one.token({**good, "exp": good["iat"] - 61})), 401, "expired", 'error="invalid_token"')
    refused("too early", call(arn, one.token({**good, "nbf": good["iat"] + 300})), 401, "not valid yet", "invalid_token")
    for name, value in [("iss", "http://other"), ("aud", "others"), ("client_id", "other"), ("groups", ["guests"])]:
        refused(name, call(arn, one.token({**good, name: value})), 401, f"Claim '{name}' value mismatch with configuration.", "invalid_token")
    refused("scope", call(arn, one.token({**good, "scope": "openid"})), 403, "insufficient_scope", "insufficient_scope")
    named = {"X-Amzn-Bedrock-AgentCore-Runtime-User-Id": "eve"}
    refused("a user's name beside a token", call(arn, one.token(good), **named), 400, "runtimeUserId is for signed calls")

    # The provider changes its keys: a token of the new one is good at once, once the pause since the last look is over.
    Provider.keys = [two]
    deadline = time.time() + 60
    while (status := call(arn, two.token(good)).status_code) != 200 and time.time() < deadline:
        time.sleep(0.2)
    expect("a new key", status, 200)
    refused("a key that was withdrawn", call(arn, one.token(good)), 401, "signature", "invalid_token")
    if (times := Provider.asked.count("/keys")) > 4:
        sys.exit(f"the provider was asked for its keys {times} times")

    # Signatures and tokens do not stand for each other.
    data = boto3.client("bedrock-agentcore", config=Config(retries={"total_max_attempts": 1}))
    try:
        data.invoke_agent_runtime(agentRuntimeArn=arn, payload=b"{}")
        sys.exit("a signature where tokens are taken was not refused")
    except ClientError as error:
        expect("a signature where tokens are taken", error.response["ResponseMetadata"]["HTTPStatusCode"], 403)
        expect("why", error.response["Error"]["Message"].startswith("Authorization method mismatch."), True)
    refused("a token where signatures are taken", call(OWN_ARN, two.token(good)), 403, "Authorization method mismatch.")
    refused("nothing where signatures are taken", call(OWN_ARN), 403, "Missing Authentication Token")

    websocket(arn, two.token(good))
    server.shutdown()
    server.server_close()
    expect("a provider that is away is believed", call(arn, two.token(good)).status_code, 200)
    print("all tokens were judged as they should be")


def websocket(arn, token):
    """A browser's handshake, which has the token among the protocols."""
    host = urllib.parse.urlsplit(ENDPOINT)
    for what, protocols, status in [
        ("with the token", f"base64UrlBearerAuthorization.{encode(token.encode())}, base64UrlBearerAuthorization", "101"),
        ("with another", f"base64UrlBearerAuthorization.{encode(b'a.b.c')}, base64UrlBearerAuthorization", "403"),
    ]:
        with socket.create_connection((host.hostname, host.port), timeout=60) as connection:
            path = urllib.parse.urlsplit(url_of(arn, "ws")).path
            lines = [
                f"GET {path} HTTP/1.1",
                f"host: {host.netloc}",
                "connection: Upgrade",
                "upgrade: websocket",
                "sec-websocket-version: 13",
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
                f"sec-websocket-protocol: {protocols}",
            ]
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            expect(f"a WebSocket {what}", connection.recv(65536).split(b" ")[1].decode(), status)


main()
