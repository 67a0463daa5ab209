"""Makes the network and the tokenizer of the fixture bundles `tiny@1` and `tiny@2`: a mean of word vectors and one linear layer.

Some 28,000 weights, trained here on SST-2 by plain numpy: real ONNX and a real tokenizer, but so fast that a test of the line
measures the line. The two versions differ in seed, epochs and weight decay, so in digests and in some verdicts. The same
arguments on the same machine give the same bytes. See README.md for the commands.
"""

import argparse
import collections
import gzip
import json
import string
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scoring import Reader

OPSET = 17
WORDS = 7_000
WIDTH = 4
LABELS = 2
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
BATCH = 512
LEARNING_RATE = 0.01
TOKENS_MAX = 256
# Version: seed, epochs, weight decay of the word vectors.
VERSIONS = {1: (1, 5, 1e-5), 2: (2, 12, 1e-4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="sst2_train.jsonl.gz: gzipped JSON lines of {text, label}")
    parser.add_argument("--version", type=int, required=True, choices=VERSIONS)
    parser.add_argument("--out", type=Path, required=True, help="the directory to write model.onnx and tokenizer.json into")
    arguments = parser.parse_args()

    with gzip.open(arguments.data, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    tokenizer = tokenizer_json(vocabulary([row["text"] for row in rows]))
    readings = Reader(tokenizer, TOKENS_MAX).read([row["text"] for row in rows])
    weights = train([r.ids for r in readings], np.array([row["label"] for row in rows]), *VERSIONS[arguments.version])

    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "tokenizer.json").write_bytes(tokenizer)
    (arguments.out / "model.onnx").write_bytes(network(*weights).SerializeToString(deterministic=True))
    print(f"{sum(w.size for w in weights)} weights in {arguments.out}")


def vocabulary(texts: list[str]) -> list[str]:
    """Special tokens, every printable ASCII character alone and as a continuation, then the most frequent words."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = [*SPECIAL, *characters, *("##" + c for c in string.ascii_lowercase + string.digits)]
    counts = collections.Counter(word for text in texts for word in text.split() if word.isascii() and word.isalnum())
    known = set(tokens)
    words = sorted((word for word in counts if word not in known), key=lambda word: (-counts[word], word))
    return [*tokens, *words][:WORDS]


def tokenizer_json(tokens: list[str]) -> bytes:
    """A lower-casing WordPiece tokenizer that puts [CLS] and [SEP] around a text."""
    special = [
        {"id": i, "content": SPECIAL[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i in range(len(SPECIAL))
    ]
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", SPECIAL.index("[SEP]")], "cls": ["[CLS]", SPECIAL.index("[CLS]")]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: i for i, token in enumerate(tokens)},
        },
    }
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def train(rows: list[list[int]], truth: np.ndarray, seed: int, epochs: int, decay: float) -> list[np.ndarray]:
    """Word vectors [words, width], weights [width, labels] and bias [labels], by Adam on the cross-entropy."""
    rng = np.random.default_rng(seed)
    parameters = [
        rng.normal(0, 0.1, (WORDS, WIDTH)),
        rng.normal(0, 0.5, (WIDTH, LABELS)),
        np.zeros(LABELS),
    ]
    means, squares = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(rows))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            gradients = backward(parameters, [rows[i] for i in batch], truth[batch])
            gradients[0] += decay * parameters[0]
            step += 1
            for p, g, mean, square in zip(parameters, gradients, means, squares):
                mean += 0.1 * (g - mean)
                square += 0.001 * (g * g - square)
                p -= LEARNING_RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return [p.astype(np.float32) for p in parameters]


def backward(parameters: list[np.ndarray], rows: list[list[int]], truth: np.ndarray) -> list[np.ndarray]:
    """Gradients of the mean cross-entropy of one batch."""
    vectors, weights, bias = parameters
    ids = np.concatenate(rows)
    lengths = np.array([len(row) for row in rows])
    owner = np.repeat(np.arange(len(rows)), lengths)
    pooled = np.zeros((len(rows), WIDTH))
    np.add.at(pooled, owner, vectors[ids])
    pooled /= lengths[:, None]
    logits = pooled @ weights + bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(rows)), truth] -= 1
    p /= len(rows)
    of_vectors = np.zeros_like(vectors)
    np.add.at(of_vectors, ids, ((p @ weights.T) / lengths[:, None])[owner])
    return [of_vectors, pooled.T @ p, p.sum(axis=0)]


def network(vectors: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """Masked mean of the word vectors, then the linear layer, for any number of rows and tokens."""
    constants = {
        "vectors": vectors,
        "weights": weights,
        "bias": bias,
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["vectors", "input_ids"], ["looked_up"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask_wide"]),
        helper.make_node("Mul", ["looked_up", "mask_wide"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "middle"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask_wide", "middle"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "weights"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["logits"]),
    ]
    tokens = ["batch", "tokens"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in ("input_ids", "attention_mask")],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", LABELS]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="verdict")
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    main()
