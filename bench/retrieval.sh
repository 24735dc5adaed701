#!/usr/bin/env bash
# Installs ONNX Runtime and FAISS from PyPI and compares.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${CARGO_TARGET_DIR:?make sets it}/bench-venv
model=${FRONTDESK_MODEL_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/frontdesk/models/all-MiniLM-L6-v2}

[ -x "$venv/bin/python3" ] || python3 -m venv "$venv"
"$venv/bin/python3" -m pip install --quiet --requirement "$here/requirements.txt"

# Labelled sets where there are some, else the questions of our own.
texts=("$here/../tests/data/lauki_questions.jsonl")
if [ -n "${FRONTDESK_EVAL_DATA:-}" ]; then
    texts=("$FRONTDESK_EVAL_DATA"/*/*.jsonl)
else
    echo "FRONTDESK_EVAL_DATA names no folder of labelled questions: the vectors come from the sample's questions alone."
fi
exec "$venv/bin/python3" "$here/retrieval.py" --model "$model" --embedding-speed "$CARGO_TARGET_DIR/release/examples/embedding_speed" \
    --search-speed "$CARGO_TARGET_DIR/release/examples/search_speed" "${texts[@]}"
