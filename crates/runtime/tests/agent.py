"""An agent for the tests: it keeps AgentCore's contract, says what it was sent and by which process, and misbehaves on demand."""

import base64
import hashlib
import http.server
import json
import os
import socket
import sys
import threading
import urllib.parse


def directly(host, port):
    """What comes of a connection of one's own."""
    try:
        socket.create_connection((host, port), timeout=10).close()
        return "connected"
    except OSError as error:
        return type(error).__name__


def by_proxy(host, port):
    """What the proxy of the environment says to a tunnel; its answer as it is."""
    proxy = urllib.parse.urlsplit(os.environ.get("HTTPS_PROXY", ""))
    if not proxy.hostname:
        return "no proxy"
    try:
        with socket.create_connection((proxy.hostname, proxy.port), timeout=10) as connection:
            connection.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
            return answer.decode()
    except OSError as error:
        return type(error).__name__


class Agent(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/.well-known/agent-card.json":
            self.answer(200, {"name": "card"})
        elif self.path == "/ws":
            self.echo_bytes()
        elif os.environ.get("NO_PING"):
            self.answer(404, {})
        else:
            self.answer(200, {"status": "Healthy", "time_of_last_update": 0})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        wanted = json.loads(body) if len(body) < 1000 else {}
        print("asked", json.dumps(wanted), flush=True)
        if wanted.get("do") == "exit":
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        if wanted.get("do") == "fail":
            self.answer(500, {"error": "boom"})
            return
        if wanted.get("do") == "reach":
            self.answer(200, {"directly": directly(wanted["host"], wanted["port"]), "by_proxy": by_proxy(wanted["host"], wanted["port"])})
            return
        if wanted.get("do") == "hang":
            threading.Event().wait()
        self.answer(
            200,
            {
                "pid": os.getpid(),
                "uid": os.getuid(),
                "path": self.path,
                "bytes": len(body),
                "session": self.headers.get("x-amzn-bedrock-agentcore-runtime-session-id"),
                "greeting": os.environ.get("GREETING"),
                "authorization": self.headers.get("authorization"),
                "temporary": os.environ.get("TMPDIR"),
                "inherited": os.environ.get("CARGO_PKG_NAME"),
            },
        )

    def echo_bytes(self):
        """Takes a WebSocket's handshake, and gives back whatever follows as it is."""
        proof = hashlib.sha1((self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(proof).decode())
        self.end_headers()
        while piece := self.connection.recv(65536):
            self.connection.sendall(piece)
        self.close_connection = True

    def answer(self, status, document):
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if os.environ.get("BROKEN"):
    sys.exit("there is no key for the model")
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Agent).serve_forever()
