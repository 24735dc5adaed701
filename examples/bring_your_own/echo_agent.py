"""The smallest agent: it has an entry point and never serves; `frontdesk launch` does that."""

from bedrock_agentcore import BedrockAgentCoreApp

app = BedrockAgentCoreApp()


@app.entrypoint
def answer(payload, context):
    print("asked:", payload)
    return {"result": payload.get("prompt", "nothing was asked"), "session": context.session_id}
