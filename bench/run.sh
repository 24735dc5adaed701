#!/usr/bin/env bash
# Installs what the benchmark needs (wrk and nginx, from Debian) and prints the table.
set -euo pipefail
frontdesk=$1
here=$(cd "$(dirname "$0")" && pwd)

if ! command -v wrk >/dev/null || ! command -v nginx >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk nginx-light
fi
built=$(dirname "$frontdesk")
exec python3 "$here/run.py" --frontdesk "$frontdesk" --llm-double "$built/llm_double" --embedding-speed "$built/examples/embedding_speed" "${@:2}"
