"""Lets agents do their worst beside one that works under a steady load, and prints a table: what the caller of the bad one got, how long it took, and what the
others noticed meanwhile. Fails when a caller of the good one got anything but its answer, or when anything outlives the host.

Usage: bad_agents.py FRONTDESK ECHO (Python needs boto3)
"""

import collections
import concurrent.futures
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

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

frontdesk, echo = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
here = pathlib.Path(__file__).resolve().parent
folder = pathlib.Path(tempfile.mkdtemp(prefix="frontdesk-bad-agents-"))
variables = os.environ | {
    "FRONTDESK_USAGE_PLAN_RATE_LIMIT": "0",
    "FRONTDESK_USAGE_PLAN_QUOTA_LIMIT": "0",
    "FRONTDESK_GATEWAY_AGENT": "echo",
    # The mark by which what outlives the host is found.
    "FRONTDESK_PROGRAMS_DIR": str(folder / "programs"),
}
LOAD_WORKERS = 4
#: A caller's patience, where the agent says nothing for ever.
PATIENCE_S = 5


def start_host():
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    listen = ["--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]
    log = open(folder / "host.log", "ab")
    process = subprocess.Popen([frontdesk, "up", "--ready-file", ready, *listen], env=variables, cwd=folder, stdout=subprocess.DEVNULL, stderr=log)
    while not ready.exists():
        assert process.poll() is None, "the host ended"
        time.sleep(0.01)
    return process, json.loads(ready.read_text())


def run(*arguments):
    ran = subprocess.run([frontdesk, *arguments], cwd=folder, env=variables, capture_output=True, text=True)
    assert ran.returncode == 0, (arguments, ran.stdout, ran.stderr)
    return ran.stdout


def launch(name, *flags, misbehave=""):
    run("configure", "-e", "misbehaving_agent.py", "--name", name, *flags)
    return json.loads(run("launch", "-a", name, "--env", f"MISBEHAVE={misbehave}", "--json"))["agentRuntimeArn"]


class Load:
    """Workers that ask the good agent without pause, each in a session of its own."""

    def __init__(self, ready, key):
        self.url, self.key = urllib.parse.urlsplit(ready["endpoint"]), key
        self.lock, self.on, self.took, self.statuses = threading.Lock(), True, [], collections.Counter()
        self.workers = [threading.Thread(target=self.work, args=(number,)) for number in range(LOAD_WORKERS)]
        for worker in self.workers:
            worker.start()

    def work(self, number):
        connection = http.client.HTTPConnection(self.url.netloc, timeout=60)
        body = json.dumps({"prompt": "x", "thread_id": f"good-{number}"})
        while self.on:
            began = time.monotonic()
            try:
                connection.request("POST", self.url.path, body, {"x-api-key": self.key, "content-type": "application/json"})
                response = connection.getresponse()
                text = response.read()
                status = response.status if b'"echo"' in text else f"{response.status} without its answer: {text[:200]}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                status = repr(error)
            with self.lock:
                self.took.append(time.monotonic() - began)
                self.statuses[status] += 1
            # A load that leaves the machine room for the bad ones.
            time.sleep(0.01)

    def seen(self):
        """Since the last look: how many were answered, what else came, and the 99th percentile in milliseconds."""
        with self.lock:
            took, statuses = sorted(self.took), self.statuses
            self.took, self.statuses = [], collections.Counter()
        good = statuses.pop(200, 0)
        return good, dict(statuses), took[int(len(took) * 0.99)] * 1000 if took else 0.0

    def end(self):
        self.on = False
        for worker in self.workers:
            worker.join()


def session(name):
    return f"{name}-" + "0" * 33


class Bad:
    def __init__(self, ready):
        self.data = boto3.client(
            "bedrock-agentcore",
            endpoint_url=ready["control"],
            region_name=ready["region"],
            aws_access_key_id=ready["access_key_id"],
            aws_secret_access_key=ready["secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}, read_timeout=PATIENCE_S),
        )

    def call(self, arn, name, **wanted):
        payload = json.dumps(wanted).encode()
        try:
            answer = self.data.invoke_agent_runtime(agentRuntimeArn=arn, runtimeSessionId=session(name), payload=payload)
            read = bytearray()
            began = time.monotonic()
            for piece in answer["response"].iter_chunks():
                read += piece
                if time.monotonic() - began > 2:
                    answer["response"].close()
                    return f"200, {len(read):,} bytes in 2 s, then the caller left"
            return f"200, {len(read)} bytes"
        except ClientError as error:
            said = error.response["Error"]["Message"].splitlines()
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return f"{status} {error.response['Error']['Code']}: {said[0]}" + (f" … {said[-1]}" if len(said) > 1 else "")
        except BotoCoreError as error:
            return f"{type(error).__name__} in the caller"


def half_a_body(ready, arn):
    """A call whose body stops half-way; its signature cannot be checked, for the hash needs the whole body."""
    url = urllib.parse.urlsplit(ready["control"])
    connection = http.client.HTTPConnection(url.netloc, timeout=120)
    connection.putrequest("POST", f"/runtimes/{urllib.parse.quote(arn, safe='')}/invocations")
    connection.putheader("content-length", "1000")
    connection.endheaders()
    connection.send(b'{"prompt": "ha')
    connection.sock.shutdown(1)
    try:
        response = connection.getresponse()
        return f"{response.status}, {response.read()[:80].decode()}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: the connection is closed"


def processes():
    """Whoever runs a file of this test's folder, or has it for working folder."""
    found = {}
    for path in pathlib.Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if str(folder) in command or (echo in command and "bad_agents" not in command):
            found[int(path.name)] = f"{state} {command[:100]}"
    return found


def main():
    for name in ("misbehaving_agent.py",):
        (folder / name).write_bytes((here / name).read_bytes())
    host, ready = start_host()
    key = ready["api_key"]
    run("configure", "-e", echo, "--name", "echo")
    run("launch", "-a", "echo")
    failures = []
    load = Load(ready, key)
    time.sleep(2)
    good, others, p99 = load.seen()
    print(f"\nthe load alone: {good} answers, {others or 'nothing else'}, p99 {p99:.1f} ms\n")
    print("| bad day | what its caller got | after | others meanwhile | their p99 |\n|---|---|---|---|---|")

    def day(what, play):
        load.seen()
        began = time.monotonic()
        got = play()
        took = time.monotonic() - began
        time.sleep(0.5)
        good, others, p99 = load.seen()
        if others or not good:
            failures.append(f"{what}: {others}")
        print(f"| {what} | {got} | {took:.1f} s | {good} answered, {others or 'nothing else'} | {p99:.1f} ms |", flush=True)

    bad = Bad(ready)
    arn = launch("bad", "--memory", "512M", "--processes", "64")
    day("ends at its start", lambda: bad.call(launch("broken", misbehave="end at once"), "broken", prompt="x"))
    day("never listens", lambda: bad.call(launch("deaf", misbehave="never listen"), "deaf", prompt="x"))
    day("never answers", lambda: bad.call(arn, "never", do="never answer"))
    day("answers rubbish", lambda: bad.call(arn, "rubbish", do="answer rubbish"))
    day("exits in mid-answer", lambda: bad.call(arn, "mid", do="exit in mid-answer"))
    day("streams for ever", lambda: bad.call(arn, "stream", do="stream for ever"))
    day("writes a gigabyte of log", lambda: bad.call(arn, "log", do="write a gigabyte of log"))
    logs = sum(path.stat().st_size for path in (folder / ".frontdesk/logs/agents").glob("bad.jsonl*"))
    print(f"| (what is kept of that log) | {logs / 1e6:.0f} MB | | | |")
    day("forks without end", lambda: bad.call(arn, "fork", do="fork without end"))
    day("eats memory", lambda: bad.call(arn, "memory", do="eat memory"))
    stubborn = launch("stubborn", misbehave="ignore SIGTERM")
    day("ignores SIGTERM: called", lambda: bad.call(stubborn, "stubborn", prompt="x"))
    day("… and is ended", lambda: run("sessions", "stop", session("stubborn")).strip())
    day("a body stops half-way", lambda: half_a_body(ready, arn))

    def deleted_while_called():
        doomed = launch("doomed")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            called = pool.submit(bad.call, doomed, "doomed", do="never answer")
            time.sleep(1)
            run("destroy", "-a", "doomed", "--force")
            return called.result()

    day("deleted while it is called", deleted_while_called)
    load.end()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = collections.Counter(pool.map(lambda number: bad.call(arn, f"open-{number}", prompt="x"), range(50)))
    listed = json.loads(run("sessions", "--json"))["sessions"]
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    deadline = time.monotonic() + 30
    while (left := processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    gone_s = time.monotonic() - deadline + 30
    if left:
        failures.append(f"left after kill -9: {left}")
    print(f"\nkill -9 of the host with {len(listed)} processes ({dict(got)}): {f'{len(left)} left' if left else f'all gone after {gone_s:.2f} s'}")
    host, ready = start_host()
    again = Bad(ready).call(arn, "open-1", prompt="x")
    print(f"started again: the same session's next call: {again}")
    if not again.startswith("200"):
        failures.append(f"after the restart: {again}")
    host.send_signal(signal.SIGINT)
    host.wait(timeout=60)
    if left := processes():
        failures.append(f"left after the end: {left}")
    if failures:
        sys.exit("\n".join(failures))
    print("ok")


main()
