"""Asks agents with a network of their own what they reach, by themselves and through the host's relay; and agents of a host that is root which users they are.

The environment names the host: AWS_ENDPOINT_URL and the root's credentials, GATEWAY for its other door, AGENT for the agents' program, RELAYED for whether there is a
relay. The argument names the part to play.
"""

import json
import os
import shutil
import sys
import tempfile
import urllib.parse

import boto3

from checks import expect, launch

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
AGENT = os.environ["AGENT"]
REGION = os.environ["AWS_DEFAULT_REGION"]


def ask(arn, session="e" * 40, **wanted):
    data = boto3.client("bedrock-agentcore")
    answer = data.invoke_agent_runtime(agentRuntimeArn=arn, payload=json.dumps(wanted), runtimeSessionId=session)
    return json.loads(answer["response"].read())


def reach(arn, host, port):
    return ask(arn, do="reach", host=host, port=port)


def users():
    """Where the host is root, each session has a user of its own, if its program is open to others."""
    python = os.path.realpath(shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin"))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        copied = shutil.copy(AGENT, folder)
        os.chmod(copied, 0o644)
        for isolation in ["process", "namespace"]:
            arn = launch(f"open_{isolation}", python, copied, isolation=isolation)["agentRuntimeArn"]
            seen = [ask(arn, letter * 40)["uid"] for letter in "abc"]
            if os.geteuid() == 0:
                expect(f"{isolation}: users are different and nobody else's", (len(set(seen)), min(seen) >= 1_900_000_000), (3, True))
            else:
                expect(f"{isolation}: who is not root has one user", set(seen), {os.geteuid()})
        os.chmod(folder, 0o700)
        expect("a program that is closed to others", ask(launch("closed", python, copied, isolation="process")["agentRuntimeArn"])["uid"], os.geteuid())
    print("sessions are the users that they should be")


def network():
    apart = launch("apart", isolation="namespace")["agentRuntimeArn"]
    doors = [urllib.parse.urlsplit(url) for url in (ENDPOINT, os.environ["GATEWAY"])]
    for door in doors:
        seen = reach(apart, door.hostname, door.port)
        expect("a door of the host's, directly", seen["directly"], "ConnectionRefusedError")
        if os.environ["RELAYED"] == "no":
            expect("without a rule there is no relay", seen["by_proxy"], "no proxy")
        elif not seen["by_proxy"].startswith("HTTP/1.1 403"):
            sys.exit(f"a door of the host's, by the relay: {seen['by_proxy']}")
    if os.environ["RELAYED"] == "no":
        print("nothing was reached")
        return
    for host, port, status, message in [
        ("other.invalid", 443, 403, "other.invalid:443 is not among the hosts that runtime.egress_allow names"),
        ("allowed.invalid", 22, 403, "is not among the hosts"),
        # Allowed, but there is no such host.
        ("allowed.invalid", 443, 502, "allowed.invalid:443 cannot be reached"),
        # Named by a careless owner, and never reached all the same.
        ("127.0.0.1", 443, 403, "127.0.0.1 has no address that may be reached"),
        ("localhost", 80, 403, "localhost has no address that may be reached"),
        ("169.254.169.254", 80, 403, "169.254.169.254 has no address that may be reached"),
    ]:
        said = reach(apart, host, port)["by_proxy"]
        if not said.startswith(f"HTTP/1.1 {status}") or message not in said:
            sys.exit(f"{host}:{port}: {said}")
    beside = launch("beside", isolation="process")["agentRuntimeArn"]
    expect("who shares the host's network needs no relay", reach(beside, doors[0].hostname, doors[0].port)["directly"], "connected")
    expect("and has none", reach(beside, "allowed.invalid", 443)["by_proxy"], "no proxy")
    print("only what is allowed was reached")


{"network": network, "users": users}[sys.argv[1]]()
