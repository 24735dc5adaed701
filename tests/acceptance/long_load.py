"""Asks without pause for ten minutes, rotates the key again and again meanwhile, and checks that no request fails and that the host's memory does not grow.

Answers come from the gateway's cache: the door is loaded, not the agent. Usage: long_load.py FRONTDESK FAQ [SECONDS]
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
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 600
WORKERS = 8
ROTATION_SECONDS = 10
#: How long after a rotation callers go on with the former value: less than the overlap.
SWITCH_SECONDS = 3
OVERLAP = "6s"
#: The first part of the run fills pools and caches; growth is what comes after it.
WARM_UP_SHARE = 0.2
GROWTH_MB_MAX = 3

folder = pathlib.Path(tempfile.mkdtemp(prefix="frontdesk-long-"))
variables = os.environ | {
    "FRONTDESK_USAGE_PLAN_RATE_LIMIT": "0",
    "FRONTDESK_USAGE_PLAN_QUOTA_LIMIT": "0",
    "FRONTDESK_GATEWAY_CACHE_TTL_S": "3600",
    "FRONTDESK_GATEWAY_CACHE_SCOPE": "shared",
    "FRONTDESK_AGENT_SEARCH": "keyword",
}
ready = folder / "ready.json"
listen = ["--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]
host = subprocess.Popen([frontdesk, "up", "--faq", faq, "--ready-file", ready, *listen], env=variables, cwd=folder, stdout=subprocess.DEVNULL)
while not ready.exists():
    assert host.poll() is None, "the host ended"
    time.sleep(0.01)
told = json.loads(ready.read_text())
url, key = urllib.parse.urlsplit(told["endpoint"]), told["api_key"]
statuses, lock, is_on = collections.Counter(), threading.Lock(), True


def work(number):
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    count = 0
    while is_on:
        count += 1
        body = json.dumps({"prompt": f"How do I activate roaming? {number} {count % 50}"})
        connection.request("POST", url.path, body, {"x-api-key": key, "content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        with lock:
            statuses[response.status] += 1


def pss_mb():
    lines = pathlib.Path(f"/proc/{host.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def run(*arguments):
    return json.loads(subprocess.run([frontdesk, *arguments, "--json"], cwd=folder, capture_output=True, check=True).stdout)


workers = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
for worker in workers:
    worker.start()
began, rotations, former, samples = time.monotonic(), 0, [], []
while (elapsed := time.monotonic() - began) < SECONDS:
    value = run("keys", "rotate", "ThirdPartyServerKey", "--overlap", OVERLAP)["value"]
    time.sleep(SWITCH_SECONDS)
    former.append(key)
    key = value
    rotations += 1
    samples.append((elapsed, pss_mb()))
    time.sleep(ROTATION_SECONDS - SWITCH_SECONDS)
is_on = False
for worker in workers:
    worker.join()

connection = http.client.HTTPConnection(url.netloc, timeout=60)
retired = collections.Counter()
for value in former[-5:]:
    connection.request("POST", url.path, "{}", {"x-api-key": value})
    response = connection.getresponse()
    response.read()
    retired[response.status] += 1
counted = sum(row["used"] for row in run("usage")["keys"])
host.send_signal(signal.SIGINT)
host.wait(timeout=60)

warm = [megabytes for elapsed, megabytes in samples if elapsed >= SECONDS * WARM_UP_SHARE]
print(f"{sum(statuses.values())} requests in {SECONDS} s, {rotations} rotations: {dict(statuses)}; counted {counted}")
print(f"former values afterwards: {dict(retired)}")
print(f"memory of the host: {samples[0][1]:.1f} MB at first, {warm[0]:.1f} MB when warm, {warm[-1]:.1f} MB at the end, {max(warm):.1f} MB at most")
assert set(statuses) == {200}, "a request failed"
assert set(retired) == {403}, "a former value still works"
assert counted == statuses[200], "the counts do not agree"
assert warm[-1] - warm[0] <= GROWTH_MB_MAX, "the host grows"
print("ok")
