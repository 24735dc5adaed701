#!/usr/bin/env bash
# A life on AWS, played by moto and a real registry: planned, deployed, deployed again unchanged, with another FAQ, removed. Prints the transcript, with what each push
# sent and how long each run took. Takes the executable and the FAQ; the program inside of the images is a stand-in of some bytes, which
# nobody starts here (tests/acceptance/image.sh runs a real one).
set -euo pipefail
frontdesk=$1
faq=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
registry= moto=
trap '[ -z "$registry" ] || kill "$registry"; [ -z "$moto" ] || kill "$moto"; rm -rf "$work"' EXIT

[ -n "$(command -v docker-registry)" ] || { echo "docker-registry is missing (Debian: docker-registry)"; exit 1; }
mkdir "$work/registry"
cat > "$work/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:0"}
END
docker-registry serve "$work/registry.yml" > "$work/registry.log" 2>&1 &
registry=$!
mkfifo "$work/moto"
python3 "$here/../clients/moto_server.py" < "$work/moto" > "$work/moto.url" 2> "$work/moto.log" &
moto=$!
exec 9> "$work/moto"
wait_for() {
    until "$@"; do
        kill -0 "$registry" && kill -0 "$moto" || { cat "$work"/*.log; exit 1; }
        read -rt 0.1 <> <(:) || true
    done
}
wait_for grep -q 'listening on 127.0.0.1:[0-9]*' "$work/registry.log"
wait_for test -s "$work/moto.url"
host=$(grep -o '127.0.0.1:[0-9]*' "$work/registry.log" | head -n 1)
endpoint=$(cat "$work/moto.url")

cd "$work"
cp "$faq" faq.csv
python3 - <<'END'
import struct
# An ELF header for a static program of 64-bit ARM.
header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)
# And the name by which a program is known that can fetch its model's key.
open("program", "wb").write(header + b"secretsmanager.GetSecretValue")
END
printf '[agent]\nfaq = "faq.csv"\nmodel = "groq:openai/gpt-oss-20b"\n[deploy]\nstack_name = "acceptance"\n' > frontdesk.toml
export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_REGION=eu-west-1 GROQ_API_KEY=gsk-acceptance-secret
run() {
    echo "== frontdesk $*"
    local began=$EPOCHREALTIME
    "$frontdesk" "$@" --endpoint "$endpoint" --pause-ms 20 2>&1 | tee "$work/said"
    echo "-- $(python3 -c 'import sys; print(f"{float(sys.argv[2]) - float(sys.argv[1]):.1f} s")' "$began" "$EPOCHREALTIME")"
}
deploy() { run deploy --agent-binary program --push-to "$host" --no-question "$@"; }
said() { grep -q -- "$1" "$work/said" || { echo "it did not say: $1"; exit 1; }; }

deploy --plan
said 'new layers: .*knowledge'
said 'Estimated cost'
deploy
said 'CREATE_COMPLETE'
deploy
said 'is unchanged'
echo 'Do you sell umbrellas?,"Yes: the Lauki umbrella costs 12 euros."' >> faq.csv
deploy
said 'Image of the agent: .* new layers: knowledge$'
said 'UPDATE_COMPLETE'
run status --aws
said 'READY (version [2-9])'
run undeploy --yes
said 'Removed: image repository acceptance/agent'
said 'Removed: secret acceptance/model-key'

# The key was handed to Secrets Manager, and stands nowhere else.
if grep -r gsk-acceptance-secret "$work" --include='said' --include='*.env' --include='*.log' -l; then echo "the model's key was shown"; exit 1; fi
echo "ok"
