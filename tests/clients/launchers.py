"""Runs agents by the launchers and calls them: several of one file at once, files that serve and files that do not, other frameworks, and files that fail.

    python3 launchers.py LAUNCHER.py LAUNCHER.cjs EXAMPLES_FOLDER
"""

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import websockets

from checks import expect

PYTHON_LAUNCHER, NODE_LAUNCHER, EXAMPLES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
SESSION = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id"

SERVES_ITSELF = """
from bedrock_agentcore import BedrockAgentCoreApp
app = BedrockAgentCoreApp()
@app.entrypoint
def answer(payload):
    return {"main": __name__, "file": __file__}
app.run()
"""
SLOW = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import xml.dom.minidom, urllib.request, asyncio, email.mime.text"])
""" + SERVES_ITSELF
ASGI = """
async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"by": "asgi"}'})
"""
STARLETTE = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def answer(request):
    return JSONResponse({"by": "starlette"})
served = Starlette(routes=[Route("/ping", answer), Route("/invocations", answer, methods=["POST"])])
if __name__ == "__main__":
    uvicorn.run(served, host="0.0.0.0", port=8080)
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("content-type", "application/json")])
    return [b'{"by": "wsgi"}']
"""
OWN_SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"by": "http.server"}')
    do_GET = do_POST = answer
if __name__ == "__main__":
    HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
TWO_APPLICATIONS = ASGI + """
app = None
from bedrock_agentcore import BedrockAgentCoreApp
mine = BedrockAgentCoreApp()
@mine.entrypoint
def answer(payload):
    return {"by": "mine"}
"""
BESIDE = """
import helper
from bedrock_agentcore import BedrockAgentCoreApp
app = BedrockAgentCoreApp()
@app.entrypoint
def answer(payload):
    return {"by": helper.NAME, "data": open("data.txt").read()}
"""
NODE_COMMONJS = """
const http = require('node:http');
const answer = (request, response) => response.end(JSON.stringify({ main: require.main === module, arguments: process.argv.length }));
if (require.main === module) http.createServer(answer).listen({ port: 8080 });
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def command(file):
    if str(file).endswith(("js", "cjs")):
        return ["node", str(NODE_LAUNCHER), "HTTP", str(file)]
    return [sys.executable, "-u", str(PYTHON_LAUNCHER), "HTTP", str(file)]


class Agent:
    """A running agent; its end is waited for."""

    def __init__(self, file, folder):
        self.port = free_port()
        environment = {**os.environ, "PORT": str(self.port)}
        self.process = subprocess.Popen(command(file), env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        while True:
            try:
                self.get("/ping")
                return self
            except urllib.error.HTTPError:
                return self
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"the agent ended: {self.process.stdout.read().decode()}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return response.read()

    def invoke(self, payload, session=None):
        headers = {"content-type": "application/json", **({SESSION: session} if session else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/invocations", json.dumps(payload).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read().decode()


def several_at_once(folder):
    example = EXAMPLES / "echo_agent.py"
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(Agent(example, folder)) for _ in range(3)]
        for number, agent in enumerate(agents):
            answer = json.loads(agent.invoke({"prompt": f"{number}"}, session=f"session-{number}"))
            expect("several at once", answer, {"result": f"{number}", "session": f"session-{number}"})


def streaming_and_websocket(folder):
    with Agent(EXAMPLES / "streaming_agent.py", folder) as agent:
        events = agent.invoke({"prompt": "one two"}, session="s")
        expect("streaming", events, 'data: {"word": "one", "session": "s"}\n\ndata: {"word": "two", "session": "s"}\n\n')

        async def converse():
            async with websockets.connect(f"ws://127.0.0.1:{agent.port}/ws", additional_headers={SESSION: "w"}) as socket:
                await socket.send(json.dumps({"n": 1}))
                return json.loads(await socket.recv())

        expect("websocket", asyncio.run(converse()), {"echo": {"n": 1}, "session": "w"})


def answers(what, text, wanted, name="agent.py", beside=()):
    def check(folder):
        file = pathlib.Path(folder, name)
        file.write_text(text)
        for other, contents in beside:
            pathlib.Path(folder, other).write_text(contents)
        with Agent(file, folder) as agent:
            seen = json.loads(agent.invoke({"prompt": "x"}))
            expect(what, seen, {key: value.replace("FILE", str(file)) if isinstance(value, str) else value for key, value in wanted.items()})

    check.__name__ = what
    return check


def fails(what, text, wanted):
    def check(folder):
        file = pathlib.Path(folder, "agent.py")
        file.write_text(text)
        ran = subprocess.run(command(file), env={**os.environ, "PORT": str(free_port())}, cwd=folder, capture_output=True, text=True)
        expect(f"{what}: exit code", ran.returncode, 1)
        for part in wanted:
            if part not in ran.stderr:
                sys.exit(f"{what}: {part!r} is missing in {ran.stderr!r}")
        if "launcher" in ran.stderr or PYTHON_LAUNCHER.name in ran.stderr:
            sys.exit(f"{what}: the launcher stands in the agent's traceback: {ran.stderr}")

    check.__name__ = what
    return check


CHECKS = [
    several_at_once,
    streaming_and_websocket,
    answers("runs as the program it is", SERVES_ITSELF, {"main": "__main__", "file": "FILE"}),
    answers("a slow import", SLOW, {"main": "__main__", "file": "FILE"}),
    answers("an ASGI application", ASGI, {"by": "asgi"}),
    answers("a Starlette application by uvicorn", STARLETTE, {"by": "starlette"}),
    answers("a WSGI application", WSGI, {"by": "wsgi"}),
    answers("a server of its own", OWN_SERVER, {"by": "http.server"}),
    answers("the SDK's application goes before others", TWO_APPLICATIONS, {"by": "mine"}),
    answers("files beside it", BESIDE, {"by": "me", "data": "d"}, beside=[("helper.py", 'NAME = "me"'), ("data.txt", "d")]),
    answers("plain Node", (EXAMPLES / "echo_agent.mjs").read_text(), {"result": "x"}, name="agent.mjs"),
    answers("Node's main module", NODE_COMMONJS, {"main": True, "arguments": 2}, name="agent.cjs"),
    fails("an import error", "import not_there_at_all", ["line 1", "ModuleNotFoundError: No module named 'not_there_at_all'", "requirements.txt"]),
    fails("an exception", "def f():\n    raise ValueError('no key')\nf()", ["line 2, in f", "ValueError: no key"]),
    fails("a syntax error", "def (:", ["SyntaxError"]),
    fails("nothing to serve", "x = 1", ["serves nothing", "BedrockAgentCoreApp"]),
]

if __name__ == "__main__":
    for check in CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            check(folder)
        print(f"{check.__name__}: as expected", flush=True)
    print("all agents were as expected")
