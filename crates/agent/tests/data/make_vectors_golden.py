# /// script
# dependencies = ["sentence-transformers==6.2.0", "torch==2.15.0"]
# ///
"""Writes the vectors that sentence-transformers makes of our sample texts:

    HF_HUB_OFFLINE=1 python3 make_vectors_golden.py FOLDER_OF_ALL_MINILM_L6_V2 > vectors.json

The folder is a snapshot of sentence-transformers/all-MiniLM-L6-v2 whose model.safetensors has the SHA-256 that
`frontdesk model pull` checks. `crates/agent/tests/retrieval_vectors.rs` compares the encoder with the result.
"""

import json
import sys

from sentence_transformers import SentenceTransformer

TEXTS = [
    "How do I activate roaming?",
    "question: How do I activate roaming?\nanswer: Dial *123#, choose Roaming, then On. It takes up to ten minutes.",
    "my phone was stolen, what now",
    "",
    "?",
    "PUK",
    "Do you have those digital SIMs (eSIM) for a 2021 tablet?",
    "Wie aktiviere ich das Roaming für München und Zürich?",
    "ÀÉÎÕÜ çñ ß Łódź",
    "漫游服务需要在出国前开通。",
    "📶 no bars 😡 since 6 a.m.!!! #outage @lauki",
    "supercalifragilisticexpialidocious" * 4,
    "control\u0000characters\u200band\u00adsoft\ufeffmarks\ttabs\r\nlines",
    "[CLS] special [SEP] tokens [MASK] in [PAD] text [UNK]",
    " ".join(f"Step {number}: open the menu, choose line {number} and confirm with the green key." for number in range(1, 41)),
]


def main():
    model = SentenceTransformer(sys.argv[1], device="cpu")
    vectors = [model.encode(text, normalize_embeddings=True) for text in TEXTS]
    cases = [{"text": text, "vector": [round(float(x), 7) for x in vector]} for text, vector in zip(TEXTS, vectors)]
    print("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]")


if __name__ == "__main__":
    main()
