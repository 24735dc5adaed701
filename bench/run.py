"""Measures a self-hosted Frontdesk as a whole: start, memory, latency and throughput, beside nginx in front of the same agent, in one run.

Prints one Markdown table; each figure is the median of several runs. The load comes from wrk on the last core; everything else may use all cores, as on a small
machine in use.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
FAQ = HERE.parent / "examples" / "lauki_qna.csv"
UNLIMITED = {"FRONTDESK_USAGE_PLAN_RATE_LIMIT": "0", "FRONTDESK_USAGE_PLAN_QUOTA_LIMIT": "0"}
CORES = sorted(os.sched_getaffinity(0))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(extra=None):
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY") and not name.startswith("FRONTDESK_AGENT")}
    return clean | UNLIMITED | (extra or {})


def post(url, key=None, question="How do I activate roaming?"):
    headers = {"Content-Type": "application/json"} | ({"x-api-key": key} if key else {})
    request = urllib.request.Request(url, data=json.dumps({"prompt": question}).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


class Host:
    """A running `frontdesk up` in a folder."""

    def __init__(self, frontdesk, folder, extra=None, is_asked=True):
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        began = time.monotonic()
        listen = ["--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]
        command = [frontdesk, "up", "--data-dir", folder / "data", "--faq", FAQ, "--ready-file", ready, *listen]
        self.process = subprocess.Popen(command, env=environment(extra), stdout=subprocess.DEVNULL, cwd=folder)
        while not ready.exists():
            if self.process.poll() is not None:
                sys.exit(f"the host ended with {self.process.returncode}")
            time.sleep(0.002)
        self.ready = json.loads(ready.read_text())
        key_file = folder / "key"
        if self.ready["api_key"]:
            key_file.write_text(self.ready["api_key"])
        self.key = key_file.read_text()
        self.endpoint = self.ready["endpoint"]
        if is_asked:
            post(self.endpoint, self.key)
        self.first_answer_ms = (time.monotonic() - began) * 1000
        status = subprocess.run([frontdesk, "status", "--json", "--data-dir", folder / "data"], capture_output=True, check=True, cwd=folder)
        self.status = json.loads(status.stdout)

    def pss_mb(self):
        pids = [self.process.pid, self.status["agent_pid"]]
        return [pss_mb(pid) for pid in pids]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


def pss_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.contextmanager
def agent(frontdesk, folder, extra=None):
    """The agent alone, as the runtime starts it. Yields its address."""
    port = free_port()
    settings = {"FRONTDESK_AGENT_FAQ": str(FAQ), "FRONTDESK_AGENT_CACHE_DIR": str(folder / "data" / "cache")} | (extra or {})
    process = subprocess.Popen([frontdesk, "agent", "--port", str(port)], env=environment(settings), stderr=subprocess.DEVNULL, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/ping")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def nginx(folder, upstream):
    """nginx as a plain reverse proxy with kept-alive upstream connections, one worker a core. Yields its address."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
worker_processes {len(CORES)};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    upstream agent {{ server {upstream.removeprefix("http://")}; keepalive 128; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://agent; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
""")
    process = subprocess.Popen(["nginx", "-p", folder, "-c", config], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/ping")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def llm_double(binary):
    """A language model that answers at once. Yields the settings that point the agent at it."""
    port = free_port()
    process = subprocess.Popen([binary, "--listen", f"127.0.0.1:{port}", "--mode", "instant"], stdout=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.01)
        model = {"FRONTDESK_AGENT_MODEL": "openai:stand-in", "FRONTDESK_AGENT_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        yield model | {"OPENAI_API_KEY": "stand-in"}
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(url):
    for _ in range(3000):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.01)
    sys.exit(f"{url} does not answer")


seed = 0


def load(url, key, connections, seconds):
    """One run of wrk: requests a second, and the 50th and 99th percentile in milliseconds."""
    global seed
    seed += 10_000_000
    command = ["taskset", "-c", str(CORES[-1]), "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s", "--latency", "-s", HERE / "questions.lua", url]
    variables = os.environ | {"KEY": key or "", "SEED": str(seed)}
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    result = next(line for line in ran.stdout.splitlines() if line.startswith("RESULT")).split()
    requests, duration_us, p50_us, p99_us, errors = (float(number) for number in result[1:])
    if errors:
        sys.exit(f"{errors:.0f} of {requests:.0f} requests to {url} failed\n{ran.stdout}")
    return requests / duration_us * 1e6, p50_us / 1000, p99_us / 1000


def measure(targets, connections, runs, seconds):
    """Runs the targets in turn, A B C A B C …, so that a machine that changes speed changes it for all; returns the medians."""
    results = {name: [] for name in targets}
    for _ in range(runs):
        for name, (url, key) in targets.items():
            results[name].append(load(url, key, connections, seconds))
    return {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frontdesk", required=True)
    parser.add_argument("--llm-double", required=True)
    parser.add_argument("--embedding-speed", required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="frontdesk-bench-"))
    try:
        rows = run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"\n{len(CORES)} cores; wrk on core {CORES[-1]}, everything else on all; medians of {options.runs} runs of {options.seconds} s; questions do not repeat\n")
    print("| what | figure |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")


def run(options, work):
    rows = []
    for line in subprocess.run([options.embedding_speed], capture_output=True, text=True, check=True).stdout.splitlines():
        if "median" in line:
            texts, median = line.split("median")
            rows.append((f"embedding {texts.strip()}, one thread", f"{median.split()[0]} ms (median of its own runs)"))
    first, later = [], []
    for number in range(options.runs):
        folder = work / f"start-{number}"
        folder.mkdir()
        for times in (first, later):
            host = Host(options.frontdesk, folder)
            times.append(host.first_answer_ms)
            host.end()
    rows.append(("very first start to first answer (model there, embeddings not)", f"{statistics.median(first):.0f} ms"))
    rows.append(("later start to first answer", f"{statistics.median(later):.0f} ms"))

    folder = work / "load"
    folder.mkdir()
    host = Host(options.frontdesk, folder)
    with agent(options.frontdesk, folder) as alone, nginx(folder, alone) as fronted:
        whole, direct, proxied = "whole chain", "agent alone", "nginx before the agent"
        targets = {whole: (host.endpoint, host.key), direct: (f"{alone}/invocations", None), proxied: (f"{fronted}/invocations", None)}
        rows += compare("built-in model", targets, whole, proxied, options)
    host_mb, agent_mb = host.pss_mb()
    rows.append(("memory (PSS) after the load: host + agent", f"{host_mb:.0f} + {agent_mb:.0f} = {host_mb + agent_mb:.0f} MB"))
    host.end()

    with llm_double(options.llm_double) as model:
        folder = work / "llm"
        folder.mkdir()
        host = Host(options.frontdesk, folder, model)
        with agent(options.frontdesk, folder, model) as alone, nginx(folder, alone) as fronted:
            targets = {whole: (host.endpoint, host.key), direct: (f"{alone}/invocations", None), proxied: (f"{fronted}/invocations", None)}
            rows += compare("stand-in LLM", targets, whole, proxied, options)
        host_mb, agent_mb = host.pss_mb()
        rows.append(("memory (PSS) after the load, stand-in LLM: host + agent", f"{host_mb:.0f} + {agent_mb:.0f} = {host_mb + agent_mb:.0f} MB"))
        host.end()
    return rows


def compare(model, targets, whole, proxied, options):
    rows = []
    for url, key in targets.values():
        load(url, key, 8, 1)
    for connections in (1, 8, 64):
        medians = measure(targets, connections, options.runs, options.seconds)
        for name, (rate, p50, p99) in medians.items():
            rows.append((f"{model}, {name}, {connections} connections", f"{rate:.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms"))
        ratio = medians[whole][0] / medians[proxied][0]
        rows.append((f"{model}, whole chain : nginx, {connections} connections", f"{ratio:.2f} of its requests/s"))
    return rows


if __name__ == "__main__":
    main()
