"""An agent that does what it is told, the worst included. It keeps AgentCore's contract by itself, with nothing but Python.

MISBEHAVE in its environment says what it does at its start; `{"do": ...}` in a call, what it does then.
"""

import http.server
import json
import os
import signal
import sys
import threading
import time


def fork_without_end():
    while True:
        try:
            if os.fork() == 0:
                time.sleep(3600)
                os._exit(0)
        except OSError as error:
            print("fork:", error, flush=True)
            time.sleep(1)


def eat_memory():
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1 << 20)) * 16)


class Agent(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"status": "Healthy", "time_of_last_update": 0})

    def do_POST(self):
        wanted = json.loads(self.rfile.read(int(self.headers["content-length"])))
        match wanted.get("do"):
            case "never answer":
                threading.Event().wait()
            case "answer rubbish":
                self.wfile.write(b"\x00\xffthis is no HTTP\r\n\r\n")
                self.close_connection = True
                return
            case "exit in mid-answer":
                self.begin("application/json", 1000)
                self.wfile.write(b'{"result": "half')
                self.wfile.flush()
                print("last words", file=sys.stderr, flush=True)
                os._exit(3)
            case "stream for ever":
                self.begin("text/event-stream")
                number = 0
                while True:
                    number += 1
                    self.wfile.write(f'data: {{"number": {number}}}\n\n'.encode())
                    self.wfile.flush()
                    time.sleep(0.001)
            case "write a gigabyte of log":
                line = "x" * 1023
                for _ in range(1 << 20):
                    print(line)
            case "fork without end":
                threading.Thread(target=fork_without_end, daemon=True).start()
                threading.Event().wait(3)
            case "eat memory":
                eat_memory()
        self.answer({"result": wanted.get("prompt"), "pid": os.getpid()})

    def begin(self, content_type, length=None):
        self.send_response(200)
        self.send_header("content-type", content_type)
        if length is None:
            self.send_header("connection", "close")
            self.close_connection = True
        else:
            self.send_header("content-length", str(length))
        self.end_headers()

    def answer(self, document):
        text = json.dumps(document).encode()
        self.begin("application/json", len(text))
        self.wfile.write(text)

    def log_message(self, *_):
        pass


at_start = os.environ.get("MISBEHAVE")
if at_start == "never listen":
    print("I shall not listen", flush=True)
    threading.Event().wait()
if at_start == "end at once":
    sys.exit("there is no key for the model")
if at_start == "ignore SIGTERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Agent).serve_forever()
