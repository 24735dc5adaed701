#!/usr/bin/env bash
# Installs what the tests need beyond a Rust toolchain, Python 3 and Node: clients and comparison programs from PyPI (into the virtual environment named by
# the first argument), a browser, curl, openssl, zip and unzip, PostgreSQL, Java, version 2 of the aws CLI (PyPI has version 1) and what the client of Node functions is
# compiled with from Debian, the browser's driver from npm.
# Does nothing when everything is there.
set -euo pipefail
venv=$1
here=$(cd "$(dirname "$0")" && pwd)

if [ ! -x "$venv/bin/python3" ]; then
    python3 -m venv "$venv"
fi
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    "$venv/bin/python3" -m pip install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

missing=()
[ -n "${CHROMIUM:-}" ] || [ -n "$(command -v chromium)" ] || missing+=(chromium)
for program in automake cmake curl openssl unzip zip; do
    [ -n "$(command -v "$program")" ] || missing+=("$program")
done
[ -n "$(command -v autoreconf)" ] || missing+=(autoconf)
[ -n "$(command -v libtoolize)" ] || missing+=(libtool)
# Debian keeps the server's programs out of the path, by version.
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
# A program of one file is run by the compiler, which a runtime alone does not have.
[ -n "$(command -v javac)" ] || missing+=(default-jdk-headless)
# It stays behind the other one in the path; the tests look for it by what it says of itself.
has_cli_2() {
    local aws
    for aws in $(type -ap aws); do
        case $("$aws" --version) in aws-cli/2*) return 0 ;; esac
    done
    return 1
}
has_cli_2 || missing+=(awscli)
if [ ${#missing[@]} -gt 0 ]; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
if ! [ "$here/browser/node_modules/.package-lock.json" -nt "$here/browser/package-lock.json" ]; then
    npm --prefix "$here/browser" ci --silent --no-audit --no-fund
    touch "$here/browser/node_modules/.package-lock.json"
fi
