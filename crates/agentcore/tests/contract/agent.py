"""The twin of agent.rs, written with the Python SDK. The port is the first argument."""

import sys

from bedrock_agentcore import BedrockAgentCoreApp, PingStatus
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

app = BedrockAgentCoreApp()


def stream():
    yield from ["one", {"number": 2}, ["three", None]]


def stream_error():
    yield "first"
    raise RuntimeError("mid")


@app.entrypoint
def every_way(payload, context):
    what = payload.get("do") if isinstance(payload, dict) else None
    if what == "stream":
        return stream()
    if what == "stream error":
        return stream_error()
    if what == "error":
        raise RuntimeError("boom")
    if what == "http error":
        raise HTTPException(status_code=418, detail="short and stout")
    if what == "context":
        return {"session": context.session_id, "headers": sorted(name.lower() for name in context.request_headers or {})}
    if what == "busy":
        app.force_ping_status(PingStatus.HEALTHY_BUSY)
        return None
    if what == "idle":
        app.clear_forced_ping_status()
        return None
    return {"echo": payload}


@app.websocket
async def echo(websocket, context):
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            if text == "fail":
                raise RuntimeError("boom")
            await websocket.send_text(text)
    except WebSocketDisconnect:
        pass


app.run(port=int(sys.argv[1]))
