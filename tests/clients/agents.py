"""Makes, calls, changes and ends agents on a running host with boto3 and with the host's own API, and checks what callers see.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face, AGENT_ARN for the host's own agent, AGENT for the program of another.
The argument names the part to play.
"""

import base64
import concurrent.futures
import hashlib
import json
import os
import socket
import sys
import time
import urllib.parse

import boto3
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from checks import expect, host_api, launch, refused_with as refused

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
OWN_ARN = os.environ["AGENT_ARN"]
AGENT = os.environ["AGENT"]
REGION = os.environ["AWS_DEFAULT_REGION"]
ACCOUNT = OWN_ARN.split(":")[4]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/AgentRole"
IMAGE = {"containerConfiguration": {"containerUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/agent:1"}}
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=120)
control = boto3.client("bedrock-agentcore-control", config=ONCE)
data = boto3.client("bedrock-agentcore", config=ONCE)


def until(what, wanted, look):
    """Looks until it sees what is wanted; statuses follow one another within a moment."""
    for _ in range(600):
        seen = look()
        if seen == wanted:
            return
        time.sleep(0.05)
    sys.exit(f"{what}: saw {seen!r} last, wanted {wanted!r}")


def session(name):
    return f"{name}-" + "0" * 33


def invoke(arn, name=None, payload=b"{}", **more):
    if name:
        more["runtimeSessionId"] = session(name)
    answer = data.invoke_agent_runtime(agentRuntimeArn=arn, payload=payload, contentType="application/json", **more)
    if name:
        expect("the session's id", answer["runtimeSessionId"], session(name))
    return json.loads(answer["response"].read())


def control_plane():
    create = control.create_agent_runtime
    good = {"agentRuntimeName": "one", "agentRuntimeArtifact": IMAGE, "roleArn": ROLE}
    refused("a bad name", 400, "ValidationException", "'agentRuntimeName'", create, **{**good, "agentRuntimeName": "1-x"})
    refused("a bad role", 400, "ValidationException", "'roleArn'", create, **{**good, "roleArn": "arn:aws:iam::1:user/x"})
    docker = {"containerConfiguration": {"containerUri": "docker.io/x"}}
    refused("a bad image", 400, "ValidationException", "containerUri", create, **{**good, "agentRuntimeArtifact": docker})
    many = {str(number): "" for number in range(51)}
    refused("many variables", 400, "ValidationException", "environmentVariables", create, **{**good, "environmentVariables": many})

    made = create(
        **good,
        clientToken="t" * 40,
        description="for a test",
        environmentVariables={"KEY": "value"},
        protocolConfiguration={"serverProtocol": "MCP"},
        lifecycleConfiguration={"idleRuntimeSessionTimeout": 60, "maxLifetime": 600},
        requestHeaderConfiguration={"requestHeaderAllowlist": ["X-Team"]},
        networkConfiguration={"networkMode": "VPC", "networkModeConfig": {"securityGroups": ["sg-12345678"], "subnets": ["subnet-12345678"]}},
        tags={"team": "a"},
    )
    runtime_id, arn = made["agentRuntimeId"], made["agentRuntimeArn"]
    expect("create", (made["status"], made["agentRuntimeVersion"]), ("CREATING", "1"))
    expect("the ARN", arn, f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/{runtime_id}")
    # No container engine is attached, so it ends as AWS's would with an image that cannot be pulled.
    until("an image", "CREATE_FAILED", lambda: control.get_agent_runtime(agentRuntimeId=runtime_id)["status"])
    got = control.get_agent_runtime(agentRuntimeId=runtime_id, agentRuntimeVersion="1")
    for member, wanted in {
        "agentRuntimeName": "one",
        "roleArn": ROLE,
        "description": "for a test",
        "agentRuntimeArtifact": IMAGE,
        "environmentVariables": {"KEY": "value"},
        "protocolConfiguration": {"serverProtocol": "MCP"},
        "lifecycleConfiguration": {"idleRuntimeSessionTimeout": 60, "maxLifetime": 600},
        "requestHeaderConfiguration": {"requestHeaderAllowlist": ["X-Team"]},
    }.items():
        expect(f"get: {member}", got[member], wanted)
    expect("get: network", got["networkConfiguration"]["networkModeConfig"]["subnets"], ["subnet-12345678"])
    if "no container engine" not in got["failureReason"]:
        sys.exit(f"the reason of the failure: {got['failureReason']!r}")

    refused("the same name", 409, "ConflictException", "already exists", create, **good)
    refused("other parameters", 400, "ValidationException", "clientToken", create, **good, clientToken="t" * 40)
    refused("no such runtime", 404, "ResourceNotFoundException", "nobody", control.get_agent_runtime, agentRuntimeId="nobody-0123456789")
    refused("no such version", 404, "ResourceNotFoundException", "7", control.get_agent_runtime, agentRuntimeId=runtime_id, agentRuntimeVersion="7")

    updated = control.update_agent_runtime(agentRuntimeId=runtime_id, agentRuntimeArtifact=IMAGE, roleArn=ROLE)
    expect("update", (updated["agentRuntimeVersion"], updated["status"]), ("2", "UPDATING"))
    until("an update", "UPDATE_FAILED", lambda: control.get_agent_runtime(agentRuntimeId=runtime_id)["status"])
    versions = control.list_agent_runtime_versions(agentRuntimeId=runtime_id)["agentRuntimes"]
    expect("versions", [one["agentRuntimeVersion"] for one in versions], ["2", "1"])
    first = control.list_agent_runtimes(maxResults=1)
    rest = control.list_agent_runtimes(nextToken=first["nextToken"])
    names = sorted(one["agentRuntimeName"] for one in first["agentRuntimes"] + rest["agentRuntimes"])
    expect("runtimes", names, sorted(["one", OWN_ARN.split("/")[1].rsplit("-", 1)[0]]))

    # Endpoints, of the host's own agent: that one is ready.
    own_id = OWN_ARN.split("/")[1]
    expect("the own agent", control.get_agent_runtime(agentRuntimeId=own_id)["status"], "READY")
    made = control.create_agent_runtime_endpoint(agentRuntimeId=own_id, name="stable", agentRuntimeVersion="1", description="d")
    expect("create an endpoint", (made["targetVersion"], made["status"], made["endpointName"]), ("1", "CREATING", "stable"))
    expect("the endpoint's ARN", made["agentRuntimeEndpointArn"], f"{OWN_ARN}/runtime-endpoint/stable")
    read = control.get_agent_runtime_endpoint
    until("an endpoint", "READY", lambda: read(agentRuntimeId=own_id, endpointName="stable")["status"])
    got = read(agentRuntimeId=own_id, endpointName="stable")
    expect("an endpoint", (got["liveVersion"], got["description"], got["name"]), ("1", "d", "stable"))
    refused("the same endpoint", 409, "ConflictException", "already exists", control.create_agent_runtime_endpoint, agentRuntimeId=own_id, name="stable")
    names = [one["name"] for one in control.list_agent_runtime_endpoints(agentRuntimeId=own_id)["runtimeEndpoints"]]
    expect("endpoints", names, ["DEFAULT", "stable"])
    changed = control.update_agent_runtime_endpoint(agentRuntimeId=own_id, endpointName="stable", description="e")
    expect("update an endpoint", (changed["status"], changed["targetVersion"]), ("UPDATING", "1"))
    refused("to delete DEFAULT", 409, "ConflictException", "DEFAULT", control.delete_agent_runtime_endpoint, agentRuntimeId=own_id, endpointName="DEFAULT")
    deleted = control.delete_agent_runtime_endpoint(agentRuntimeId=own_id, endpointName="stable")
    expect("delete an endpoint", deleted["status"], "DELETING")
    refused("a deleted endpoint", 404, "ResourceNotFoundException", "stable", read, agentRuntimeId=own_id, endpointName="stable")
    refused("to delete the own agent", 409, "ConflictException", "frontdesk up", control.delete_agent_runtime, agentRuntimeId=own_id)

    refused("to change the own agent", 409, "ConflictException", "settings", control.update_agent_runtime, agentRuntimeId=own_id, agentRuntimeArtifact=IMAGE, roleArn=ROLE)

    expect("delete", control.delete_agent_runtime(agentRuntimeId=runtime_id)["status"], "DELETING")

    def left():
        return [one["agentRuntimeName"] for one in control.list_agent_runtimes()["agentRuntimes"] if one["agentRuntimeName"] == "one"]

    until("a deleted runtime", [], left)
    print("the control plane answered as it should")


def sessions():
    made = launch(environment={"GREETING": "one"})
    arn, runtime_id = made["agentRuntimeArn"], made["agentRuntimeId"]
    expect("launch", (made["status"], made["agentRuntimeVersion"]), ("READY", "1"))
    expect("launch again", launch(environment={"GREETING": "one"})["agentRuntimeVersion"], "1")

    one, two = invoke(arn, "one"), invoke(arn, "two")
    expect("two sessions", one["pid"] != two["pid"], True)
    expect("the session that the agent sees", one["session"], session("one"))
    expect("a session again", invoke(arn, "one")["pid"], one["pid"])
    by_id = invoke(runtime_id, "one", accountId=ACCOUNT)
    expect("an agent's id and an account", by_id["pid"], one["pid"])
    refused("an id alone", 400, "ValidationException", "accountId", data.invoke_agent_runtime, agentRuntimeArn=runtime_id, payload=b"{}")

    # Large payloads go through a file, and arrive whole.
    expect("20 MB", invoke(arn, "one", b"x" * 20_000_000)["bytes"], 20_000_000)

    # Failures carry the words of this session's process, and of no other.
    failed = {"agentRuntimeArn": arn, "runtimeSessionId": session("one"), "contentType": "application/json"}
    refused("a failure", 424, "RuntimeClientError", "boom", data.invoke_agent_runtime, payload=b'{"do": "fail"}', **failed)
    refused("an end", 424, "RuntimeClientError", "last words", data.invoke_agent_runtime, payload=b'{"do": "exit"}', **failed)
    expect("after its end", invoke(arn, "one")["pid"] != one["pid"], True)
    expect("the others", invoke(arn, "two")["pid"], two["pid"])

    # Running sessions finish on their version; new ones begin on the newest; an endpoint pins one; going back is one call.
    launch(environment={"GREETING": "two"})
    expect("a running session", invoke(arn, "two")["greeting"], "one")
    expect("a new session", invoke(arn, "three")["greeting"], "two")
    control.create_agent_runtime_endpoint(agentRuntimeId=runtime_id, name="pinned", agentRuntimeVersion="2")
    until("an endpoint", "READY", lambda: control.get_agent_runtime_endpoint(agentRuntimeId=runtime_id, endpointName="pinned")["status"])
    back = host_api("PUT", "agents/echo/version", {"version": "1"}).json()
    expect("going back", back["agentRuntimeVersion"], "3")
    expect("after going back", invoke(arn, "four")["greeting"], "one")
    expect("a pinned version", invoke(arn, "five", qualifier="pinned")["greeting"], "two")
    refused("no such endpoint", 404, "ResourceNotFoundException", "nowhere", data.invoke_agent_runtime, payload=b"{}", qualifier="nowhere", **failed)

    # Many sessions at once.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        pids = list(pool.map(lambda number: invoke(arn, f"many{number}")["pid"], range(8)))
    expect("eight sessions", len(set(pids)), 8)

    listed = host_api("GET", "sessions?agent=echo").json()["sessions"]
    mine = next(one for one in listed if one["sessionId"] == session("two"))
    expect("a listed session", (mine["state"], mine["pid"], mine["version"]), ("READY", two["pid"], "1"))
    expect("its memory", mine["residentBytes"] > 0, True)

    stopped = data.stop_runtime_session(agentRuntimeArn=arn, runtimeSessionId=session("two"))
    expect("stop", stopped["runtimeSessionId"], session("two"))
    expect("a stopped session's next call", invoke(arn, "two")["pid"] != two["pid"], True)
    refused("to stop nobody", 404, "ResourceNotFoundException", "nobody", data.stop_runtime_session, agentRuntimeArn=arn, runtimeSessionId=session("nobody"))
    expect("end a session", host_api("DELETE", f"sessions/{session('three')}").status_code, 200)
    expect("end it again", host_api("DELETE", f"sessions/{session('three')}").status_code, 404)

    broken = launch("broken", environment={"BROKEN": "1"})
    refused("a broken agent", 424, "RuntimeClientError", "there is no key for the model", data.invoke_agent_runtime, agentRuntimeArn=broken["agentRuntimeArn"], payload=b"{}")

    a2a = launch("card", protocol="A2A")
    card = data.get_agent_card(agentRuntimeArn=a2a["agentRuntimeArn"], runtimeSessionId=session("card"))
    expect("a card", card["agentCard"], {"name": "card"})
    expect("A2A", invoke(a2a["agentRuntimeArn"], "card")["path"], "/")
    refused("a card of HTTP", 400, "ValidationException", "A2A", data.get_agent_card, agentRuntimeArn=arn)

    for name in ["echo", "broken", "card"]:
        expect(f"delete {name}", host_api("DELETE", f"agents/{name}").status_code, 200)
        until(f"deleted {name}", 404, lambda: host_api("GET", f"agents/{name}").status_code)
    refused("a deleted agent", 404, "ResourceNotFoundException", "No agent runtime", data.invoke_agent_runtime, payload=b"{}", **failed)
    expect("its sessions", host_api("GET", "sessions?agent=echo").json()["sessions"], [])
    print("all sessions answered as they should")


def handshake(url, headers=()):
    """Sends a WebSocket's handshake. Returns the status, the answer's head and the connection."""
    parts = urllib.parse.urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=120)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(1)
        if not piece:
            sys.exit(f"the connection closed in its handshake: {head!r}")
        head += piece
    proof = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    status = int(head.split()[1])
    if status == 101 and base64.b64encode(proof) not in head:
        sys.exit(f"the handshake proves nothing: {head!r}")
    return status, head, connection


def websocket():
    arn = launch()["agentRuntimeArn"]
    plain = f"{ENDPOINT}/runtimes/{urllib.parse.quote(arn, safe='')}/ws"
    credentials = boto3.Session().get_credentials()

    def presigned(url):
        request = AWSRequest("GET", url)
        SigV4QueryAuth(credentials, "bedrock-agentcore", REGION, expires=300).add_auth(request)
        return request.url

    def carries(connection):
        sent = os.urandom(300_000)
        received = b""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sending = pool.submit(connection.sendall, sent)
            while len(received) < len(sent):
                received += connection.recv(65536)
            sending.result()
        expect("the bytes", received == sent, True)
        connection.close()

    named = f"{plain}?X-Amzn-Bedrock-AgentCore-Runtime-Session-Id={session('socket')}"
    status, head, connection = handshake(presigned(named))
    expect("a presigned handshake", status, 101)
    expect("the session's id", session("socket").encode() in head, True)
    listed = host_api("GET", "sessions?agent=echo").json()["sessions"]
    expect("the session at work", [(one["sessionId"], one["state"]) for one in listed], [(session("socket"), "BUSY")])
    carries(connection)

    request = AWSRequest("GET", plain)
    SigV4Auth(credentials, "bedrock-agentcore", REGION).add_auth(request)
    signed = [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "host"]
    status, _, connection = handshake(plain, signed)
    expect("a signed handshake", status, 101)
    carries(connection)

    status, head, _ = handshake(plain)
    expect("an unsigned handshake", (status, b"MissingAuthenticationTokenException" in head), (403, True))
    status, _, _ = handshake(presigned(named).replace("socket-", "bucket-"))
    expect("an altered handshake", status, 403)
    print("all sockets carried what they should")


def full():
    arn = launch()["agentRuntimeArn"]
    invoke(arn, "one")
    call = {"agentRuntimeArn": arn, "payload": b"{}", "runtimeSessionId": session("two")}
    refused("one too many", 429, "ThrottlingException", "too many sessions", data.invoke_agent_runtime, **call)
    host_api("DELETE", f"sessions/{session('one')}")
    invoke(arn, "two")
    print("one too many was turned away")


def launch_one():
    print("pid", invoke(launch()["agentRuntimeArn"], "one")["pid"])


def found_again():
    got = host_api("GET", "agents/echo").json()
    expect("the agent", (got["status"], got["agentRuntimeVersion"], got["sessions"]), ("READY", "1", 0))
    invoke(got["agentRuntimeArn"], "one")
    print("found again")


PARTS = {"control_plane": control_plane, "sessions": sessions, "websocket": websocket, "full": full, "launch": launch_one, "found_again": found_again}
PARTS[sys.argv[1]]()
