"""Asks two agents the same things and compares what they answer: status, content type and body. The arguments are their ports.

Details of an error are compared by their presence: they quote two different JSON parsers. The data of an event is compared as JSON.
"""

import asyncio
import json
import sys
import urllib.error
import urllib.request

import websockets

SESSION = {"X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": "a-session-of-thirty-three-characters"}
HEADERS = SESSION | {"X-Amzn-Bedrock-AgentCore-Runtime-Custom-Shop": "42", "Authorization": "Bearer t", "X-Other": "too", "Cookie": "no", "X-Amz-Other": "no"}

CASES = [
    ("a value", "POST", "/invocations", b'{"a": 1}', {}),
    ("no content type is asked for", "POST", "/invocations", b'{"a": "\xc3\xa4"}', {"Content-Type": "text/plain"}),
    ("a stream", "POST", "/invocations", b'{"do": "stream"}', {}),
    ("an error in mid-stream", "POST", "/invocations", b'{"do": "stream error"}', {}),
    ("an exception", "POST", "/invocations", b'{"do": "error"}', {}),
    ("an HTTP error", "POST", "/invocations", b'{"do": "http error"}', {}),
    ("the context", "POST", "/invocations", b'{"do": "context"}', HEADERS),
    ("no session", "POST", "/invocations", b'{"do": "context"}', {}),
    ("an empty body", "POST", "/invocations", b"", {}),
    ("broken JSON", "POST", "/invocations", b"{", {}),
    ("a bad encoding", "POST", "/invocations", b'"\xff"', {}),
    ("a ping at rest", "GET", "/ping", None, {}),
    ("a head", "HEAD", "/ping", None, {}),
    ("busy", "POST", "/invocations", b'{"do": "busy"}', {}),
    ("a ping when busy", "GET", "/ping", None, {}),
    ("idle", "POST", "/invocations", b'{"do": "idle"}', {}),
    ("a ping when idle", "GET", "/ping", None, {}),
    ("an unknown path", "GET", "/nothing", None, {}),
    ("an unknown verb", "GET", "/invocations", None, {}),
    ("no handshake", "GET", "/ws", None, {}),
]


def ask(port, verb, path, body, headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, method=verb, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    text = response.read().decode()
    content_type = response.headers.get("content-type", "")
    if content_type.startswith("text/event-stream"):
        lines = [line.partition(": ") for line in text.split("\n") if line]
        return response.status, content_type, [(field, json.loads(value)) for field, _, value in lines]
    try:
        document = json.loads(text)
    except ValueError:
        return response.status, content_type, text
    if isinstance(document, dict):
        for varying in ("details", "time_of_last_update"):
            if varying in document:
                document[varying] = type(document[varying]).__name__
    return response.status, content_type, document


async def talk(port):
    said = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as connection:
        for text in ("hello", '{"number": 1}', "fail"):
            await connection.send(text)
            try:
                said.append(await connection.recv())
            except websockets.ConnectionClosed as closed:
                said.append(closed.rcvd.code)
    return said


def main():
    ports = sys.argv[1:3]
    different = 0
    for name, *case in CASES:
        first, second = (ask(port, *case) for port in ports)
        if first != second:
            different += 1
            print(f"{name}:\n  {first}\n  {second}")
    first, second = (asyncio.run(talk(port)) for port in ports)
    if first != second:
        different += 1
        print(f"a websocket:\n  {first}\n  {second}")
    print(f"{len(CASES) + 1} compared, {different} different")
    sys.exit(bool(different))


main()
