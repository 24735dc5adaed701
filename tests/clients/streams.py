"""Streams through HTTP_PROXY integrations on a host whose own timeout is short (INTEGRATION_TIMEOUT_MS): what waits how long, and how it ends."""

import http.server
import os
import socketserver
import sys
import threading
import time

import boto3
import requests

from checks import expect

GATEWAY = os.environ["GATEWAY"]
TIMEOUT_S = int(os.environ["INTEGRATION_TIMEOUT_MS"]) / 1000
api = boto3.client("apigateway")
ENDED = threading.Event()


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        if self.path == "/never":
            ENDED.wait(60)
            return
        if self.path == "/late":
            # Longer than the gateway waits for an answer that is whole.
            time.sleep(TIMEOUT_S * 2)
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        self.wfile.flush()
        if self.path == "/cut":
            return
        self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


backend = Server(("127.0.0.1", 0), Backend)
threading.Thread(target=backend.serve_forever, daemon=True).start()
BACKEND = f"http://127.0.0.1:{backend.server_port}"

api_id = api.create_rest_api(name="streams")["id"]
root = api.get_resources(restApiId=api_id)["items"][0]["id"]
for part, way, path, timeout_ms in [
    ("whole", "BUFFERED", "/late", 29000),
    ("streamed", "STREAM", "/late", 60000),
    ("impatient", "STREAM", "/never", 300),
    ("cut", "STREAM", "/cut", 29000),
]:
    resource = api.create_resource(restApiId=api_id, parentId=root, pathPart=part)["id"]
    about = dict(restApiId=api_id, resourceId=resource, httpMethod="GET")
    api.put_method(**about, authorizationType="NONE")
    api.put_integration(**about, type="HTTP_PROXY", integrationHttpMethod="GET", uri=BACKEND + path, responseTransferMode=way, timeoutInMillis=timeout_ms)
api.create_deployment(restApiId=api_id, stageName="v1")


def call(part):
    return requests.get(f"{GATEWAY}/restapis/{api_id}/v1/_user_request_/{part}", timeout=60)


late = {"message": "Endpoint request timed out"}
whole = call("whole")
expect("a whole answer that is late", (whole.status_code, whole.json()), (504, late))
streamed = call("streamed")
expect("a stream that begins as late", (streamed.status_code, streamed.text), (200, "firstsecond"))
impatient = call("impatient")
expect("a stream that never begins", (impatient.status_code, impatient.json()), (504, late))
try:
    call("cut")
except requests.exceptions.ChunkedEncodingError:
    pass
else:
    sys.exit("a stream that breaks off ended as if it were whole")
ENDED.set()

# What the settings say of the agent's stream stands in its integration.
seeded = next(one for one in api.get_rest_apis()["items"] if one["id"] != api_id)["id"]
methods = {one["path"]: one["resourceMethods"] for one in api.get_resources(restApiId=seeded, embed=["methods"])["items"] if "resourceMethods" in one}
timeouts = {path: methods[path]["POST"]["methodIntegration"]["timeoutInMillis"] for path in ["/invoke", "/stream"]}
expect("the seeded integrations", timeouts, {"/invoke": 29000, "/stream": 600000})
print("all streams ended as they should")
