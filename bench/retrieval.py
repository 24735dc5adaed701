"""Compares embedding with ONNX Runtime and search with FAISS, on one thread each, in one run.

Prints two Markdown tables. Embedding: the same texts, in turn, ours and ONNX Runtime's f32 (the graph is made by `minilm_onnx.py` from the same weights), the best
and the median of all rounds. Search: the same vectors, made by our example `search_speed`, with FAISS's exact index and, at 100,000, its HNSW graph.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import faiss
import numpy
import onnx
import onnxruntime
import tokenizers

import minilm_onnx

ROUNDS = 5
K = 10


def encoder(folder, out):
    onnx.save(minilm_onnx.build(folder), out)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def embed(texts):
        encoded = tokenizer.encode_batch(texts)
        ids, mask = (numpy.array([getattr(text, part) for text in encoded], numpy.int64) for part in ("ids", "attention_mask"))
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return embed


def times_ms(work, runs):
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def compare_embedding(example, folder, work):
    embed = encoder(folder, work / "minilm.onnx")
    ours, theirs, cosines = {}, {}, {}
    for _ in range(ROUNDS):
        told = subprocess.run([example, "--json"], capture_output=True, text=True, check=True).stdout
        for measured in map(json.loads, told.splitlines()):
            name, texts = measured["name"], [measured["text"]] * measured["batch"]
            ours.setdefault(name, []).append((measured["best_ms"], measured["median_ms"]))
            cosines[name] = float(embed(texts)[0] @ numpy.array(measured["vector"]))
            taken = times_ms(lambda: embed(texts), max(200 // len(texts), 5))
            theirs.setdefault(name, []).append((min(taken), statistics.median(taken)))
    print(f"\nEmbedding, one thread, best and median of {ROUNDS} rounds in turn\n")
    print("| | ours | ONNX Runtime f32 | ours : theirs, best | cosine |\n|---|---|---|---|---|")
    for name in ours:
        rows = [(min(best for best, _ in rounds), statistics.median(median for _, median in rounds)) for rounds in (ours[name], theirs[name])]
        shown = " | ".join(f"{best:.2f}, {median:.2f} ms" for best, median in rows)
        print(f"| {name} | {shown} | {rows[0][0] / rows[1][0]:.2f} | {cosines[name]:.6f} |")


def compare_search(example, texts, work):
    print("\nOurs\n", flush=True)
    subprocess.run([example, work, *texts], check=True)
    queries = numpy.fromfile(work / "queries.f32", numpy.float32).reshape(-1, 384)
    faiss.omp_set_num_threads(1)
    print("\nFAISS, the same vectors\n\n| vectors | index | made in | p50 | recall@10 |\n|---|---|---|---|---|")
    for size in (1_000, 100_000, 1_000_000):
        vectors = numpy.fromfile(work / f"{size}.f32", numpy.float32).reshape(-1, 384)
        exact = faiss.IndexFlatIP(384)
        indexes = [("flat (exact)", exact)]
        if size == 100_000:
            indexes.append(("HNSW 32, efSearch 128", faiss.IndexHNSWFlat(384, 32, faiss.METRIC_INNER_PRODUCT)))
        for name, index in indexes:
            made = times_ms(lambda: index.add(vectors), 1)[0]
            if name.startswith("HNSW"):
                index.hnsw.efSearch = 128
            found, taken = [], []
            for query in queries:
                began = time.perf_counter()
                found.append(index.search(query[None], K)[1][0])
                taken.append((time.perf_counter() - began) * 1000)
            truth = found if index is exact else [exact.search(query[None], K)[1][0] for query in queries]
            recall = statistics.mean(len(set(a) & set(b)) / K for a, b in zip(found, truth))
            print(f"| {size} | {name} | {made:.0f} ms | {statistics.median(taken):.2f} ms | {recall:.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedding-speed", required=True)
    parser.add_argument("--search-speed", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("texts", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as work:
        compare_embedding(options.embedding_speed, options.model, pathlib.Path(work))
        compare_search(options.search_speed, options.texts, pathlib.Path(work))


if __name__ == "__main__":
    sys.exit(main())
