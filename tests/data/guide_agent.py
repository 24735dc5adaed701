"""Stands in for the FAQ guide's `01_agentcore_runtime.py`, whose libraries (torch among them) are too heavy for a test: the same entry point, the same
answers' form, the same loop of model and tool, with the standard library alone. BASE_URL is where the model is."""

import csv
import json
import os
import re
import urllib.request

from bedrock_agentcore import BedrockAgentCoreApp

BASE_URL = "@BASE_URL@"
TOOL = {
    "type": "function",
    "function": {
        "name": "search_faq",
        "description": "Searches the FAQ",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}

app = BedrockAgentCoreApp()
with open("lauki_qna.csv", encoding="utf-8") as file:
    FAQ = [f"question: {row['question']}\nanswer: {row['answer']}" for row in csv.DictReader(file)]


def words(text):
    return set(re.findall(r"[a-z]{4,}", text.lower()))


def search_faq(query):
    return "\n\n".join(sorted(FAQ, key=lambda entry: -len(words(query) & words(entry)))[:3])


def complete(messages):
    body = {"model": "openai/gpt-oss-20b", "temperature": 0, "messages": messages, "tools": [TOOL]}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['GROQ_API_KEY']}"}
    request = urllib.request.Request(f"{BASE_URL}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)["choices"][0]["message"]


def ask(question):
    messages = [{"role": "system", "content": "Answer by the FAQ."}, {"role": "user", "content": question}]
    while (message := complete(messages)).get("tool_calls"):
        messages.append(message)
        for call in message["tool_calls"]:
            found = search_faq(json.loads(call["function"]["arguments"])["query"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": found})
    return message["content"]


@app.entrypoint
def agent_invocation(payload, context):
    print("Received payload:", payload)
    return {
        "result": ask(payload.get("prompt", "No prompt found in input")),
        "actor_id": payload.get("actor_id", "default-user"),
        "thread_id": payload.get("thread_id", "default-session"),
    }
