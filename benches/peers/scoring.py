"""Texts to verdicts by ONNX Runtime, for all peers in Python: the bundle's tokenizer, one thread, int8 weights and arithmetic.

`python scoring.py MODEL.onnx INT8.onnx` makes of a bundle's model the one that a careful user of ONNX Runtime would serve: the
weights unpacked, the graph fused by its transformer optimizer, and quantised dynamically with a scale for each output channel.
"""

import json
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Scorer:
    """One model on one thread."""

    def __init__(self, bundle: str, model: str):
        manifest = tomllib.loads(Path(bundle, "model.toml").read_text())
        self.labels = manifest["labels"]
        self.tokens_max = manifest["max_tokens"]
        self.tokenizer = Tokenizer.from_file(str(Path(bundle, "tokenizer.json")))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def ids(self, texts: list[str]) -> list[list[int]]:
        return [self.cut(encoded.ids) for encoded in self.tokenizer.encode_batch(texts)]

    def cut(self, ids: list[int]) -> list[int]:
        """The first and the last half of the limit, as the bundle's manifest has it."""
        if len(ids) <= self.tokens_max:
            return ids
        first = self.tokens_max // 2
        return ids[:first] + ids[-(self.tokens_max - first) :]

    def batch(self, rows: list[list[int]]) -> np.ndarray:
        """Probabilities of one call of the model, in the order of the rows."""
        longest = max(map(len, rows))
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        logits = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)

    def verdict(self, review: dict, probabilities: np.ndarray) -> dict:
        best = int(probabilities.argmax())
        return {
            "id": review["id"],
            "review": review["review"],
            "label": self.labels[best],
            "confidence": float(probabilities[best]),
            "probabilities": dict(zip(self.labels, map(float, probabilities))),
        }

    def one(self, review: dict) -> dict:
        return self.verdict(review, self.batch(self.ids([review["review"]]))[0])

    def many(self, reviews: list[dict], rows_max: int = 32, tokens_max: int = 1024) -> list[dict]:
        """Verdicts in the order of the reviews. Batches are of like length, so that little padding is computed, and bounded as the
        processor's are: by rows, and by tokens with padding."""
        rows = self.ids([review["review"] for review in reviews])
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        verdicts: list[dict] = [{}] * len(rows)
        begun: list[int] = []
        for row in order:
            if begun and (len(begun) == rows_max or tokens_max < (len(begun) + 1) * len(rows[row])):
                self.score(begun, rows, reviews, verdicts)
                begun = []
            begun.append(row)
        self.score(begun, rows, reviews, verdicts)
        return verdicts

    def score(self, batch, rows, reviews, verdicts):
        if batch:
            for row, probabilities in zip(batch, self.batch([rows[row] for row in batch])):
                verdicts[row] = self.verdict(reviews[row], probabilities)


def encode(verdict: dict) -> bytes:
    return json.dumps(verdict, separators=(",", ":")).encode()


def unpacked(source: str, to: str):
    """Weights that are stored as int8 with a scale become float32, as they are when the product loads them."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or not all(name in constants for name in node.input if name):
            kept.append(node)
            continue
        weights, scale = constants[node.input[0]], constants[node.input[1]]
        zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale, weights.dtype)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if scale.ndim == 1:
            shape = [-1 if dimension == axis % weights.ndim else 1 for dimension in range(weights.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        values = (weights.astype(np.float32) - zero.astype(np.float32)) * scale
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    onnx.save(model, to)


def make_int8(source: str, to: str):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    with tempfile.TemporaryDirectory() as folder:
        plain, fused = f"{folder}/plain.onnx", f"{folder}/fused.onnx"
        unpacked(source, plain)
        optimized = optimizer.optimize_model(plain, model_type="bert", opt_level=0)
        print("fused:", {name: count for name, count in optimized.get_fused_operator_statistics().items() if count}, file=sys.stderr)
        optimized.save_model_to_file(fused)
        # The types behind fused operators are not inferred; all of them are floats.
        types = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(fused, to, weight_type=QuantType.QInt8, per_channel=True, extra_options=types)


if __name__ == "__main__":
    make_int8(sys.argv[1], sys.argv[2])
