"""Writes all-MiniLM-L6-v2 as an ONNX model from its `model.safetensors`: BERT's encoder with mean pooling and normalisation, so that ONNX Runtime computes what
our encoder does. The layers are those of Devlin et al., "BERT" (2019), the sizes those of the model's published configuration.

Usage: minilm_onnx.py MODEL_FOLDER OUT.onnx
"""

import json
import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


def read_safetensors(path):
    """The tensors of a safetensors file: 8 bytes of header length, a JSON header, the data."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F32":
            begin, end = about["data_offsets"]
            tensors[name] = numpy.frombuffer(data[8 + length + begin : 8 + length + end], numpy.float32).reshape(about["shape"])
    return tensors


HEADS, HIDDEN, LAYERS, EPSILON = 12, 384, 6, 1e-12


class Graph:
    def __init__(self, tensors):
        self.tensors, self.nodes, self.constants, self.count = tensors, [], {}, 0

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(numpy.asarray(value, order="C"), name)
        return name

    def add(self, op, *inputs, **attributes):
        self.count += 1
        output = f"x{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def linear(self, x, name):
        product = self.add("MatMul", x, self.constant(self.tensors[f"{name}.weight"].T))
        return self.add("Add", product, self.constant(self.tensors[f"{name}.bias"]))

    def norm(self, x, name):
        weight, bias = (self.constant(self.tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=EPSILON)


def build(folder):
    graph = Graph(read_safetensors(folder / "model.safetensors"))
    embedding = lambda name, ids: graph.add("Gather", graph.constant(graph.tensors[f"embeddings.{name}.weight"]), ids)
    one = graph.constant(numpy.array([1], numpy.int64))
    length = graph.add("Gather", graph.add("Shape", "input_ids"), graph.constant(numpy.array(1, numpy.int64)))
    places = graph.add("Range", graph.constant(numpy.array(0, numpy.int64)), length, graph.constant(numpy.array(1, numpy.int64)))
    x = graph.add("Add", embedding("word_embeddings", "input_ids"), embedding("position_embeddings", places))
    x = graph.add("Add", x, graph.constant(graph.tensors["embeddings.token_type_embeddings.weight"][0]))
    x = graph.norm(x, "embeddings.LayerNorm")
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden_keys = graph.add("Mul", graph.add("Sub", graph.constant(numpy.float32(1)), mask), graph.constant(numpy.float32(-1e9)))
    hidden_keys = graph.add("Unsqueeze", hidden_keys, graph.constant(numpy.array([1, 2], numpy.int64)))
    split = graph.constant(numpy.array([0, 0, HEADS, HIDDEN // HEADS], numpy.int64))
    joined = graph.constant(numpy.array([0, 0, HIDDEN], numpy.int64))
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        part = lambda which, order: graph.add("Transpose", graph.add("Reshape", graph.linear(x, f"{name}.attention.self.{which}"), split), perm=order)
        query, key, value = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
        scores = graph.add("Mul", graph.add("MatMul", query, key), graph.constant(numpy.float32((HIDDEN // HEADS) ** -0.5)))
        weights = graph.add("Softmax", graph.add("Add", scores, hidden_keys), axis=-1)
        seen = graph.add("Reshape", graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3]), joined)
        x = graph.norm(graph.add("Add", graph.linear(seen, f"{name}.attention.output.dense"), x), f"{name}.attention.output.LayerNorm")
        inner = graph.add("Gelu", graph.linear(x, f"{name}.intermediate.dense"))
        x = graph.norm(graph.add("Add", graph.linear(inner, f"{name}.output.dense"), x), f"{name}.output.LayerNorm")
    counted = graph.add("Unsqueeze", mask, graph.constant(numpy.array([2], numpy.int64)))
    total = graph.add("ReduceSum", graph.add("Mul", x, counted), one, keepdims=0)
    mean = graph.add("Div", total, graph.add("ReduceSum", counted, one, keepdims=0))
    size = graph.add("ReduceL2", mean, one, keepdims=1)
    graph.nodes.append(helper.make_node("Div", [mean, size], ["embedding"]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])
    made = helper.make_graph(graph.nodes, "minilm", inputs, [output], initializer=list(graph.constants.values()))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


if __name__ == "__main__":
    onnx.save(build(pathlib.Path(sys.argv[1])), sys.argv[2])
