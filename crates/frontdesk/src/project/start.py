"""Starts the agent on AgentCore as a host starts it: with its model's key where it looks for it, and served whether or not the file itself does so.

The stack's variables say which file and which secret. The key is fetched here, once for a session, so that no variable of the runtime shows it.
"""

import json
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


def fetch_key():
    secret, variable = os.environ.get("FRONTDESK_AGENT_API_KEY_SECRET"), os.environ.get("FRONTDESK_AGENT_API_KEY_VARIABLE")
    if not secret or not variable or os.environ.get(variable):
        return
    import boto3

    # arn:aws:secretsmanager:REGION:…
    client = boto3.client("secretsmanager", region_name=secret.split(":")[3])
    os.environ[variable] = field_of(client.get_secret_value(SecretId=secret)["SecretString"], variable)


def field_of(text, name):
    """The text itself; of a JSON object, as the console stores "key/value" secrets, the named field or the only one."""
    try:
        fields = json.loads(text)
    except ValueError:
        return text
    if not isinstance(fields, dict):
        return text
    return fields[name] if name in fields or len(fields) != 1 else next(iter(fields.values()))


def main():
    fetch_key()
    # The agent's folder, as on a host; what it needs lies there, too, and is found from a file in a folder below.
    os.chdir(FOLDER)
    sys.path.append(FOLDER)
    import frontdesk_launcher

    # AgentCore calls from outside of the container, at the port of its contract.
    frontdesk_launcher.HOST = os.environ.get("HOST", "0.0.0.0")
    os.environ.setdefault("PORT", "8080")
    sys.argv[1:] = ["HTTP", os.environ["FRONTDESK_ENTRY_POINT"]]
    return frontdesk_launcher.main()


if __name__ == "__main__":
    sys.exit(main())
