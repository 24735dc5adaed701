#!/usr/bin/env bash
# Installs wrk and nginx (from Debian) and measures what the whole way costs in front of an agent that answers at once. Takes the executable as its argument.
set -euo pipefail
frontdesk=$1
here=$(cd "$(dirname "$0")" && pwd)

if ! command -v wrk >/dev/null || ! command -v nginx >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk nginx-light
fi
exec python3 "$here/runtime.py" --frontdesk "$frontdesk" --echo "$(dirname "$frontdesk")/examples/echo" "${@:2}"
