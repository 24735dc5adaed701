"""An agent for the doctor's test: the variable MOOD says whether it answers as third parties are promised, slowly, otherwise, or not at all."""

import http.server
import json
import os
import sys
import threading


class Agent(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(json.dumps({"status": "Healthy", "time_of_last_update": 0}))

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        mood = os.environ.get("MOOD", "good")
        print("in this mood:", mood, flush=True)
        if mood == "gone":
            print("these are my last words", file=sys.stderr, flush=True)
            os._exit(3)
        if mood == "slow":
            threading.Event().wait(1)
        self.answer("no JSON at all" if mood == "plain" else json.dumps({"result": asked["prompt"]}))

    def answer(self, text):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Agent).serve_forever()
