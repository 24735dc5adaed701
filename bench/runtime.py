"""Measures what the whole way (gateway, proxy, signature, verification, policies, routing to a session) adds to an agent that answers at once, beside nginx as a
plain proxy before the same agent, in one run; then what idle sessions cost the host, and how soon a new process answers.

The agent is the SDK's echo example. Three processes of it: one called directly, one behind nginx, one hosted and called at the endpoint with a key, every check on.
Prints Markdown tables; figures are medians of rounds in which the three take turns.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

from run import CORES, Host, environment, free_port, measure, nginx, post, pss_mb, wait_for

UNTHROTTLED = {
    "FRONTDESK_GATEWAY_AGENT": "echo",
    "FRONTDESK_GATEWAY_RATE_LIMIT": "1000000",
    "FRONTDESK_GATEWAY_BURST_LIMIT": "1000000",
    "FRONTDESK_RUNTIME_SESSIONS_MAX": "2000",
}


class EchoHost(Host):
    """A host with the echo agent behind its key."""

    def __init__(self, frontdesk, echo, folder, sessions):
        self.frontdesk, self.folder = frontdesk, folder
        folder.mkdir()
        # The agent comes after the host: the host's own first question would find none.
        super().__init__(frontdesk, folder, UNTHROTTLED, is_asked=False)
        self.run("configure", "-e", echo, "--name", "echo", "--sessions", sessions)
        self.run("launch")
        post(self.endpoint, self.key)

    def run(self, *arguments):
        command = [self.frontdesk, *arguments, "--data-dir", self.folder / "data"]
        ran = subprocess.run(command, cwd=self.folder, env=environment(), capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"{arguments} ended with {ran.returncode}: {ran.stderr}")
        return ran.stdout

    def sessions(self):
        return json.loads(self.run("sessions", "--json"))["sessions"]


class Direct:
    """The agent alone."""

    def __init__(self, echo):
        self.port = free_port()
        self.process = subprocess.Popen([echo], env=os.environ | {"PORT": str(self.port)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.address = f"http://127.0.0.1:{self.port}"
        wait_for(f"{self.address}/ping")

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def added(options, work):
    host = EchoHost(options.frontdesk, options.echo, work / "shared", "shared")
    alone, behind = Direct(options.echo), Direct(options.echo)
    with nginx(work, behind.address) as fronted:
        targets = {
            "the agent alone": (f"{alone.address}/invocations", None),
            "nginx before it": (f"{fronted}/invocations", None),
            "Frontdesk before it": (host.endpoint, host.key),
        }
        print("| | connections | requests/s | p50 | p99 | added at p50 |\n|---|---|---|---|---|---|")
        ratios = []
        for connections in (1, 64):
            measure(targets, connections, 1, 1)
            medians = measure(targets, connections, options.runs, options.seconds)
            base = medians["the agent alone"]
            for name, (rate, p50, p99) in medians.items():
                more = "–" if name == "the agent alone" else f"{p50 - base[1]:.3f} ms"
                print(f"| {name} | {connections} | {rate:.0f} | {p50:.3f} ms | {p99:.3f} ms | {more} |", flush=True)
            nginx_row, ours = medians["nginx before it"], medians["Frontdesk before it"]
            latency = (ours[1] - base[1]) / max(nginx_row[1] - base[1], 1e-6)
            ratios.append(f"{connections} connections: {latency:.2f} times the latency that nginx adds, {ours[0] / nginx_row[0]:.2f} of its requests/s")
        print("\n" + "\n".join(ratios))
    for process in (alone, behind, host):
        process.end()


def ask_in_thread(host, thread):
    url = urllib.parse.urlsplit(host.endpoint)
    connection = http.client.HTTPConnection(url.netloc, timeout=120)
    body = json.dumps({"prompt": "x", "thread_id": f"thread-{thread}"})
    began = time.monotonic()
    connection.request("POST", url.path, body, {"x-api-key": host.key, "content-type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        sys.exit(f"session {thread}: {response.status}")
    return (time.monotonic() - began) * 1000


def idle_sessions(options, work):
    host = EchoHost(options.frontdesk, options.echo, work / "sessions", "process")
    before = pss_mb(host.process.pid)
    starts = [ask_in_thread(host, number) for number in range(20)]
    warm = [ask_in_thread(host, number) for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: ask_in_thread(host, number), range(20, options.sessions)))
    found = host.sessions()
    after = pss_mb(host.process.pid)
    own = {int(path.name) for path in pathlib.Path("/proc").iterdir() if path.name.isdigit()}
    keepers = 0.0
    agents = {session["pid"] for session in found}
    for pid in own - agents - {host.process.pid}:
        try:
            if str(host.process.pid) in ancestors(pid):
                keepers += pss_mb(pid)
        except OSError:
            continue
    print(f"\n{len(found)} sessions, each a process: the host's memory (PSS) went from {before:.1f} to {after:.1f} MB; what keeps the sandboxes has {keepers:.1f} MB besides")
    print(f"first answer of a new session {statistics.median(starts):.1f} ms, of one that is there {statistics.median(warm):.1f} ms (medians of 20, one after another, new connections)")
    host.end()


def ancestors(pid):
    found = []
    while pid not in ("0", "1", 0, 1) and len(found) < 8:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        pid = next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:"))
        found.append(pid)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frontdesk", required=True)
    parser.add_argument("--echo", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--sessions", type=int, default=1000)
    options = parser.parse_args()
    options.frontdesk, options.echo = (pathlib.Path(path).resolve() for path in (options.frontdesk, options.echo))
    work = pathlib.Path(tempfile.mkdtemp(prefix="frontdesk-runtime-"))
    print(f"\n{len(CORES)} cores; wrk on core {CORES[-1]}, everything else on all; medians of {options.runs} rounds of {options.seconds} s\n")
    try:
        added(options, work)
        idle_sessions(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
