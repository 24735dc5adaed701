"""Compiles and runs what there is in C# against a host: the hand-out's example and, where FRONTDESK_GUIDE names the FAQ guide, the client in its Part 4.

The compiler is Mono's (`mcs`, from Debian); what it compiles against, and what runs it, is .NET itself, of the PyPI package `dotnetcore2`, which brings no compiler. Mono's
knows no statements outside of a class: those in which the guide shows how its client is used are put into one.

Usage: csharp.py FRONTDESK FAQ (Python needs dotnetcore2)
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import dotnetcore2

frontdesk, faq = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
folder = pathlib.Path(tempfile.mkdtemp(prefix="frontdesk-csharp-"))
variables = os.environ | {"FRONTDESK_AGENT_MODEL_DIR": "no-model-here", "NO_PROXY": "*"}
variables.pop("API_KEY", None)
dotnet = pathlib.Path(dotnetcore2.__file__).parent / "bin" / "dotnet"
dotnet.chmod(0o755)
[framework] = dotnet.parent.glob("shared/Microsoft.NETCore.App/*")
#: The parts of .NET that the programs name, and those where its types really are.
ASSEMBLIES = [
    "System.Collections", "System.Console", "System.Memory", "System.Net.Http", "System.Net.Primitives", "System.Private.CoreLib",
    "System.Private.Uri", "System.Runtime", "System.Runtime.Extensions", "System.Text.Json",
]
USED = """
static class Program
{
    static void Main() { Use().GetAwaiter().GetResult(); }

    static async Task Use()
    {
%s
    }
}
"""


def compiled(name, text):
    source, program = folder / f"{name}.cs", folder / f"{name}.dll"
    source.write_text(text, encoding="utf-8")
    references = [f"-r:{framework / assembly}.dll" for assembly in ASSEMBLIES]
    subprocess.run(["mcs", "-nostdlib", "-noconfig", *references, "-target:exe", f"-out:{program}", source], check=True)
    runs_in = {"name": "Microsoft.NETCore.App", "version": framework.name}
    # Without the library for the world's languages, which a small machine does not have.
    options = {"framework": runs_in, "configProperties": {"System.Globalization.Invariant": True}}
    program.with_suffix(".runtimeconfig.json").write_text(json.dumps({"runtimeOptions": options}), encoding="utf-8")
    return program


def check(what, program, *arguments, key=None, code=0, says):
    told = variables | ({"API_KEY": key} if key else {})
    ran = subprocess.run([dotnet, program, *arguments], env=told, capture_output=True, text=True)
    said = ran.stdout + ran.stderr
    assert ran.returncode == code and says in said.lower(), f"{what}: exit code {ran.returncode}, {said}"
    print(f"{what}: {said.splitlines()[0]}")


ready = folder / "ready.json"
command = [frontdesk, "up", "--faq", faq, "--ready-file", ready, "--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]
host = subprocess.Popen(command, env=variables, cwd=folder, stdout=subprocess.DEVNULL)
try:
    while not ready.exists():
        assert host.poll() is None, "the host ended"
        time.sleep(0.01)
    endpoint = json.loads(ready.read_text())
    endpoint, key = endpoint["endpoint"], endpoint["api_key"]
    subprocess.run([frontdesk, "share", "--key", "ThirdPartyServerKey", "--with-key", "--out", "hand-out"], cwd=folder, env=variables, check=True)
    example = compiled("Ask", (folder / "hand-out/examples/csharp/Ask.cs").read_text(encoding="utf-8"))
    check("the hand-out's example", example, 'How do I "activate" roaming?', says="roaming")
    check("with a wrong key", example, key="a-wrong-key-of-a-fit-length", code=1, says='403: {"message":"forbidden"}')
    if "FRONTDESK_GUIDE" in os.environ:
        page = pathlib.Path(os.environ["FRONTDESK_GUIDE"]).read_text(encoding="utf-8")
        [client] = re.findall(r"```csharp\n(.*?)```", page, re.S)
        client, use = client.split("// Example usage\n")
        # What the guide tells its reader to fill in.
        for blank, value in [("https://YOUR_API_ID.execute-api.us-east-1.amazonaws.com/prod/invoke", endpoint), ("your-api-key-here", key)]:
            assert client.count(blank) == 1, blank
            client = client.replace(blank, value)
        check("the guide's client", compiled("Guide", client + USED % use), says="roaming")
        refused = client.replace(key, "a-wrong-key-of-a-fit-length")
        # It ends by an exception that it does not catch: a signal.
        check("with a wrong key", compiled("Refused", refused + USED % use), code=-6, says="request failed: response status code does not indicate success: 403")
    else:
        print("FRONTDESK_GUIDE names no file: the guide's client is compiled nowhere")
finally:
    host.terminate()
    host.wait()
