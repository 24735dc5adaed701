"""Streams its answer, speaks WebSocket, and serves by itself, on the SDK's own port; here it gets its session's."""

import asyncio

from bedrock_agentcore import BedrockAgentCoreApp

app = BedrockAgentCoreApp()


@app.entrypoint
async def answer(payload, context):
    for word in payload["prompt"].split():
        await asyncio.sleep(0)
        yield {"word": word, "session": context.session_id}


@app.websocket
async def converse(websocket, context):
    await websocket.accept()
    async for message in websocket.iter_json():
        await websocket.send_json({"echo": message, "session": context.session_id})


if __name__ == "__main__":
    app.run()
