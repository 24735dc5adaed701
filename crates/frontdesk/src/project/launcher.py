"""Serves an agent's file on the port that the variable PORT names, whatever the file itself does about serving.

    python launcher.py PROTOCOL FILE[:OBJECT]

The file runs as the program that it is in its container, as `__main__`. Who listens on the port that AgentCore's contract gives to the protocol gets this session's
port on 127.0.0.1 instead, so that many sessions live on one host. A file that never serves has its application served: a `BedrockAgentCoreApp`, an ASGI or a WSGI
application, or an MCP server. Only the standard library is needed here; what the agent needs is its own affair.
"""

import functools
import importlib.machinery
import importlib.util
import inspect
import os
import socket
import sys
import threading
import traceback
import types

HOST = "127.0.0.1"
CONTRACT_PORTS = {"HTTP": 8080, "AGUI": 8080, "MCP": 8000, "A2A": 9000}
# Names that an application usually has, asked before all others.
USUAL_NAMES = ("app", "application", "server", "mcp", "api")


class Port:
    """The port of this session, and whether anybody has taken it."""

    def __init__(self, contract, given):
        self.contract = contract
        self.given = given
        self.is_taken = False

    def take(self):
        self.is_taken = True
        return self.given


def turn_listeners(port):
    """Turns every listener on the contract's port to this session's: in plain Python, and in uvicorn, whose event loop may bind in C."""
    bind = socket.socket.bind

    @functools.wraps(bind)
    def turned(self, address):
        if isinstance(address, tuple) and self.type == socket.SOCK_STREAM and len(address) >= 2 and address[1] in (port.contract, port.given):
            if self.family == socket.AF_INET:
                address = (HOST, port.take())
            elif self.family == socket.AF_INET6:
                # One that serves both families must be reachable where the host calls.
                is_alone = self.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                address = ("::1" if is_alone else f"::ffff:{HOST}", port.take(), *address[2:])
        return bind(self, address)

    socket.socket.bind = turned
    if importlib.util.find_spec("uvicorn") is not None:
        turn_uvicorn(port)


def turn_uvicorn(port):
    from uvicorn import Config

    begin = Config.__init__

    @functools.wraps(begin)
    def turned(self, *arguments, **named):
        begin(self, *arguments, **named)
        if self.fd is not None or self.uds is not None:
            return
        is_first = not port.is_taken and threading.current_thread() is threading.main_thread()
        if self.port not in (port.contract, port.given) and is_first:
            print(f"The agent asks for port {self.port}; AgentCore calls {port.contract}. Here it gets this session's.", file=sys.stderr)
        if self.port in (port.contract, port.given) or is_first:
            self.host, self.port = HOST, port.take()

    Config.__init__ = turned


def execute(path):
    """Runs the file as `__main__`, and gives back what it defined."""
    module = types.ModuleType("__main__")
    module.__file__ = path
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    sys.argv = [path]
    # The file's own folder, as Python does it; then the project's, as `python -m` does it.
    sys.path[0:1] = list(dict.fromkeys([os.path.dirname(path), os.getcwd()]))
    with open(path, "rb") as file:
        source = file.read()
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def is_of(value, *packages):
    """Whether a value's class comes from one of these packages, or inherits from one that does."""
    return any(parent.__module__.split(".")[0] in packages for parent in type(value).__mro__)


def is_asgi(value):
    if inspect.isclass(value) or not callable(value):
        return False
    call = value if inspect.isfunction(value) else type(value).__call__
    if not inspect.iscoroutinefunction(call):
        return False
    names = [name for name in inspect.signature(call).parameters if name != "self"]
    return len(names) == 3 and names[1:] == ["receive", "send"]


def is_wsgi(value):
    if inspect.isclass(value) or not callable(value):
        return False
    call = value if inspect.isfunction(value) else type(value).__call__
    try:
        names = [name for name in inspect.signature(call).parameters if name != "self"]
    except (TypeError, ValueError):
        return False
    return len(names) == 2 and names[1] == "start_response"


def server_of(value):
    """How a value is served, or None when it is no application."""
    class_names = {parent.__name__ for parent in type(value).__mro__}
    if "BedrockAgentCoreApp" in class_names:
        return 0, lambda port: value.run()
    if class_names & {"FastMCP", "MCPServer"} and is_of(value, "mcp", "fastmcp"):
        make = getattr(value, "streamable_http_app", None) or value.http_app
        return 1, lambda port: serve_asgi(make(), port)
    if is_of(value, "starlette", "fastapi") and is_asgi(value):
        return 1, lambda port: serve_asgi(value, port)
    if is_asgi(value):
        return 2, lambda port: serve_asgi(value, port)
    if is_wsgi(value):
        return 2, lambda port: serve_wsgi(value, port)
    return None


def find(names, wanted):
    """The application among what the file defined: the named one, else the most telling kind, else the most usual name."""
    named = server_of(names[wanted]) if wanted in names else None
    if named is not None:
        return named[1]
    found = []
    for name, value in names.items():
        # What was only imported is not the file's own: `from asgi_tools import middleware` is no application.
        is_imported = inspect.isfunction(value) and value.__module__ != "__main__"
        server = None if name.startswith("__") or is_imported else server_of(value)
        if server is not None:
            usual = USUAL_NAMES.index(name) if name in USUAL_NAMES else len(USUAL_NAMES)
            found.append((server[0], usual, len(found), server[1]))
    return min(found)[3] if found else None


def serve_asgi(application, port):
    if importlib.util.find_spec("uvicorn") is None:
        sys.exit("This agent is an ASGI application, and its environment has no uvicorn to serve it: name uvicorn in its requirements.")
    import uvicorn

    uvicorn.run(application, host=HOST, port=port.given, access_log=False, log_level="warning")


def serve_wsgi(application, port):
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Handler(WSGIRequestHandler):
        def log_message(self, *_):
            """Says nothing: the host counts the calls."""

    with make_server(HOST, port.given, application, server_class=Server, handler_class=Handler) as server:
        server.serve_forever()


def complain(path):
    """Prints an exception as Python does, without this file's part of it."""
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)
    missing = error.name.split(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else None
    if missing and importlib.util.find_spec(missing) is None:
        print(f"`{missing}` is not installed: name its package in requirements.txt or pyproject.toml beside {path}, then launch again.", file=sys.stderr)


def main():
    protocol, entry = sys.argv[1:3]
    file, _, wanted = entry.rpartition(":") if ".py:" in entry else (entry, "", "")
    path = os.path.abspath(file)
    port = Port(CONTRACT_PORTS[protocol], int(os.environ["PORT"]))
    turn_listeners(port)
    try:
        names = execute(path)
        if port.is_taken:
            return 0  # It has served, or a thread of its own still does.
        serve = find(names, wanted)
        if serve is None:
            print(
                f"{path} serves nothing: it has no BedrockAgentCoreApp, no ASGI or WSGI application and no MCP server, and listens on no port itself.",
                file=sys.stderr,
            )
            return 1
        serve(port)
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception:
        complain(path)
        return 1


if __name__ == "__main__":
    sys.exit(main())
