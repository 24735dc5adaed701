"""Kills the agent, and then the whole host, in the middle of a load, and checks what is left: answers of the documented table, keys, and counts that are exact to
within a second and never too high.

Usage: kill_under_load.py FRONTDESK FAQ
"""

import collections
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

frontdesk, faq = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
folder = pathlib.Path(tempfile.mkdtemp(prefix="frontdesk-kill-"))
variables = os.environ | {"FRONTDESK_USAGE_PLAN_RATE_LIMIT": "0", "FRONTDESK_USAGE_PLAN_QUOTA_LIMIT": "1000000"}
WORKERS = 8


def start():
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    listen = ["--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]
    process = subprocess.Popen([frontdesk, "up", "--faq", faq, "--ready-file", ready, *listen], env=variables, cwd=folder, stdout=subprocess.DEVNULL)
    while not ready.exists():
        assert process.poll() is None, "the host ended"
        time.sleep(0.01)
    return process, json.loads(ready.read_text())


def ask_json(*arguments):
    return json.loads(subprocess.run([frontdesk, *arguments, "--json"], cwd=folder, capture_output=True, check=True).stdout)


class Load:
    """Workers that ask without pause; remembers when each answer came and what it was."""

    def __init__(self, endpoint, key):
        self.url, self.key = urllib.parse.urlsplit(endpoint), key
        self.answers, self.sent, self.lock, self.on = [], 0, threading.Lock(), True
        self.workers = [threading.Thread(target=self.work, args=(number,)) for number in range(WORKERS)]
        for worker in self.workers:
            worker.start()

    def work(self, number):
        connection = http.client.HTTPConnection(self.url.netloc, timeout=60)
        count = 0
        while self.on:
            count += 1
            body = json.dumps({"prompt": f"How do I activate roaming for {number * 1000000 + count} days?"})
            with self.lock:
                self.sent += 1
            try:
                connection.request("POST", self.url.path, body, {"x-api-key": self.key, "content-type": "application/json"})
                response = connection.getresponse()
                response.read()
                status = response.status
            except OSError:
                connection.close()
                status = "connection lost"
            except http.client.HTTPException:
                connection.close()
                status = "connection lost"
            with self.lock:
                self.answers.append((time.monotonic(), status))
            if status == "connection lost":
                time.sleep(0.05)

    def answered(self):
        with self.lock:
            return collections.Counter(status for _, status in self.answers)

    def end(self):
        self.on = False
        for worker in self.workers:
            worker.join()


host, ready = start()
key = ready["api_key"]

load = Load(ready["endpoint"], key)
time.sleep(3)
for _ in range(3):
    os.kill(ask_json("status")["agent_pid"], signal.SIGKILL)
    time.sleep(3)
load.end()
counts = load.answered()
print(f"agent killed three times under load: {dict(counts)}")
assert set(counts) <= {200, 424}, counts
assert counts[200] > 0 and counts[424] <= 3 * WORKERS, counts
time.sleep(1)
used = ask_json("keys", "list")["keys"][0]["used_today"]
print(f"sent {load.sent}, counted {used}")
assert used == load.sent

load = Load(ready["endpoint"], key)
time.sleep(4)
# A machine that stands still for a second lets nobody write: the kill comes while answers do.
seen = len(load.answers)
while len(load.answers) < seen + 2 * WORKERS:
    time.sleep(0.001)
host.kill()
killed_at = time.monotonic()
host.wait()
load.end()
host, ready = start()
counted = ask_json("keys", "list")["keys"][0]["used_today"] - used
acknowledged = sum(status == 200 for _, status in load.answers)
older = sum(status == 200 and at < killed_at - 1 for at, status in load.answers)
reached = sum(status == 200 for _, status in load.answers) + WORKERS
print(f"host killed under load: acknowledged {acknowledged}, of these older than a second {older}, counted after the restart {counted}")
assert older <= counted <= reached, (older, counted, reached)
load = Load(ready["endpoint"], key)
time.sleep(1)
load.end()
print(f"after the restart, the same key: {dict(load.answered())}")
assert set(load.answered()) == {200}
host.send_signal(signal.SIGINT)
assert host.wait(timeout=60) == 0
print("ok")
