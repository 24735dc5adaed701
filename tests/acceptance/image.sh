#!/usr/bin/env bash
# The agent's image, built without Docker: twice, with one digest; pushed to a real registry that wants a login; pushed again; with another FAQ, which sends
# kilobytes. Fetched by skopeo, unpacked by umoci, run as its user in a network of its own, where it answers with the real model.
# Takes the executable, the FAQ and, for another platform than this machine's, its name and an emulator: linux/arm64 /usr/bin/qemu-aarch64-static. Needs root.
set -euo pipefail
frontdesk=$1
faq=$2
case $(uname -m) in aarch64) here=linux/arm64 ;; *) here=linux/amd64 ;; esac
platform=${3:-$here}
emulator=${4:-}
binary=${5:-$frontdesk}
work=$(mktemp -d)
chmod 755 "$work"
registry=
trap '[ -z "$registry" ] || kill "$registry"; rm -rf "$work"' EXIT

missing=()
for program in docker-registry skopeo umoci curl ip; do
    [ -n "$(command -v "$program")" ] || missing+=("$program")
done
[ ${#missing[@]} = 0 ] || { echo "these programs are missing: ${missing[*]} (Debian: docker-registry skopeo umoci curl iproute2)"; exit 1; }
field() { python3 -c 'import json, sys; print(eval("document" + sys.argv[1], {"document": json.load(sys.stdin)}))' "$1"; }
build() { "$frontdesk" image agent --agent-binary "$binary" --platform "$platform" --json "$@"; }

mkdir "$work/registry"
perl -e 'print "AWS:", crypt("sesame", "\$2b\$05\$abcdefghijklmnopqrstuu"), "\n"' > "$work/htpasswd"
cat > "$work/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:0"}
auth: {htpasswd: {realm: acceptance, path: $work/htpasswd}}
END
docker-registry serve "$work/registry.yml" > "$work/registry.log" 2>&1 &
registry=$!
until host=$(grep -o 'listening on 127.0.0.1:[0-9]*' "$work/registry.log"); do
    kill -0 "$registry" || { cat "$work/registry.log"; exit 1; }
    read -rt 0.1 <> <(:) || true
done
host=${host#listening on }
export REGISTRY_PASSWORD=sesame
cp "$faq" "$work/faq.csv"
export FRONTDESK_AGENT_FAQ=$work/faq.csv

echo "-- two builds, from nothing"
first=$(build --into "$work/first")
second=$(build --into "$work/second")
for built in "$first" "$second"; do
    field '["digest"]' <<< "$built"
    python3 -c 'import json, sys
built = json.load(sys.stdin)
for layer in built["layers"]: print("   {name:10} {bytes:>11,} bytes  {digest}".format(**layer))
print("   {:10} {:>11,} bytes, built in {} ms".format("in all", built["bytes"], built["build_ms"]))' <<< "$built"
done
[ "$(field '["digest"]' <<< "$first")" = "$(field '["digest"]' <<< "$second")" ] || { echo "the digests differ"; exit 1; }

push() { build --into "$work/first" --push "$host/frontdesk:agent" --registry-user AWS; }
tell() { python3 -c 'import json, sys
built = json.load(sys.stdin); push = built["push"]
print("   built in {} ms, pushed in {} ms: {:,} bytes, {} blobs new, {} there before".format(
    built["build_ms"], push["push_ms"], push["bytes_sent"], push["blobs_sent"], push["blobs_present"]))'; }
echo "-- pushed, pushed again, pushed with another FAQ"
pushed=$(push)
tell <<< "$pushed"
again=$(push)
tell <<< "$again"
[ "$(field '["push"]["bytes_sent"]' <<< "$again")" = 0 ] || { echo "an unchanged image was sent"; exit 1; }
echo 'Do you sell umbrellas?,"Yes: the Lauki umbrella costs 12 euros."' >> "$work/faq.csv"
changed=$(push)
tell <<< "$changed"
[ "$(field '["push"]["bytes_sent"]' <<< "$changed")" -lt 100000 ] || { echo "a changed FAQ sent more than 100 kB"; exit 1; }
if REGISTRY_PASSWORD=wrong push > /dev/null 2> "$work/denied"; then echo "a wrong password was let in"; exit 1; fi
grep -q 'denies' "$work/denied"

echo "-- fetched by skopeo, unpacked by umoci"
skopeo copy --quiet --src-tls-verify=false --src-creds AWS:sesame "docker://$host/frontdesk:agent" "oci:$work/fetched:agent"
fetched=$(skopeo inspect --raw "oci:$work/fetched:agent" | sha256sum | cut -d ' ' -f 1)
[ "sha256:$fetched" = "$(field '["digest"]' <<< "$changed")" ] || { echo "skopeo fetched another image: $fetched"; exit 1; }
skopeo inspect --config "oci:$work/fetched:agent" > "$work/config.json"
[ "linux/$(field '["architecture"]' < "$work/config.json")" = "$platform" ] || { echo "the image is for another platform"; exit 1; }
umoci unpack --image "$work/fetched:agent" "$work/bundle"
umoci stat --image "$work/fetched:agent" | sed 's/^/   /'

echo "-- run as its user, in a network of its own"
rootfs=$work/bundle/rootfs
[ -z "$emulator" ] || install -D "$emulator" "$rootfs$emulator"
# The configuration's own variables, user and command, as a container runtime takes them.
python3 - "$work/config.json" "$rootfs" "$emulator" > "$work/run" <<'END'
import json, shlex, sys
config = json.load(open(sys.argv[1]))["config"]
command = ["env", "-i", *config["Env"], "/usr/sbin/chroot", "--userspec=" + config["User"], sys.argv[2]]
print(shlex.join(command + ([sys.argv[3]] if sys.argv[3] else []) + config["Entrypoint"]))
END
cat > "$work/inside" <<'END'
set -euo pipefail
work=$1
ip link set lo up
bash -c "exec $(cat "$work/run")" > "$work/agent.log" 2>&1 &
agent=$!
trap 'kill "$agent"; wait "$agent" || true' EXIT
ask() { curl --silent --show-error --fail --noproxy '*' "$@"; }
# An emulated program takes minutes to begin; one that has ended never will.
until ask http://127.0.0.1:8080/ping 2> /dev/null; do
    kill -0 "$agent"
    read -rt 0.5 <> <(:) || true
done
echo
# Busy until every entry is embedded; an answer before that would be found by keywords.
until ask http://127.0.0.1:8080/ping | grep '"Healthy"'; do
    kill -0 "$agent"
    read -rt 0.5 <> <(:) || true
done
grep -q ' 65532 65532 65532' <(sed -n 's/[\t]/ /gp' "/proc/$agent/status" | grep '^Uid')
ask -H 'content-type: application/json' -d '{"prompt": "Is there an umbrella I could buy?"}' http://127.0.0.1:8080/invocations
echo
END
unshare --net bash "$work/inside" "$work" | tee "$work/answers" || { cat "$work/agent.log"; exit 1; }
sed 's/^/   /' "$work/agent.log" | cut -c 1-200
grep -q '"Healthy"' "$work/answers"
grep -q '12 euros' "$work/answers"
grep -Eq '"search":"(vector|hybrid)","entries":[0-9]+,"embedded":[1-9]|"search":"(vector|hybrid)","model"' "$work/agent.log"
echo "-- the image is sound"
