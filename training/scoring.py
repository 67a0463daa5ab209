"""Text to logits by a runtime that shares nothing with the product: tokenizers and ONNX Runtime in Python.

The rules of reading (normalisation, truncation, what counts as an unknown token) stand here once and are explained in
README.md; the product follows the same ones in Rust, and the golden cases hold the two together.
"""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

# Unicode's White_Space, spelled out: Python's `str.isspace` also takes U+001C..U+001F, which the product removes as controls.
WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
SPACES = re.compile(f"[{WHITE_SPACE}]+")
CONTROLS = re.compile(f"(?![{WHITE_SPACE}])[\x00-\x1f\x7f-\x9f]")

PADDED_TOKENS_MAX = 2048


@dataclass(frozen=True)
class Reading:
    """What the model is given for one review: token ids with [CLS] and [SEP], and what was lost on the way."""

    ids: list[int]
    truncated: bool
    unknown: int


def normalise(text: str) -> str:
    """Removes control characters, applies NFC, folds each run of white space into one space and trims."""
    return SPACES.sub(" ", unicodedata.normalize("NFC", CONTROLS.sub("", text))).strip(" ")


class Reader:
    """Text to token ids, keeping the first and the last half of the limit."""

    def __init__(self, tokenizer_json: bytes, max_tokens: int):
        self.tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.max_tokens = max_tokens
        self.unknown_id = self.tokenizer.token_to_id("[UNK]")

    def read(self, texts: list[str]) -> list[Reading]:
        return [self.cut(e.ids) for e in self.tokenizer.encode_batch([normalise(t) for t in texts])]

    def cut(self, ids: list[int]) -> Reading:
        truncated = self.max_tokens < len(ids)
        if truncated:
            first = self.max_tokens // 2
            ids = ids[:first] + ids[-(self.max_tokens - first) :]
        return Reading(ids, truncated, sum(i == self.unknown_id for i in ids))


class Classifier:
    """The ONNX file on one thread, so that the same machine gives the same bytes twice."""

    def __init__(self, onnx_bytes: bytes):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Weights are stored as int8 and dequantised; left to itself the runtime would compute in int8 as well, which is another
        # model: probabilities differ by up to 0.015.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self.session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])

    def one(self, ids: list[int]) -> np.ndarray:
        """Logits (float32, [2]) of one review alone: no padding, so nothing of a neighbour in it."""
        return self.run([ids])[0]

    def all(self, readings: list[Reading]) -> np.ndarray:
        """Logits (float32, [n, 2]) in the order given; batches are made by length to waste little padding."""
        logits = np.zeros((len(readings), 2), np.float32)
        for batch in by_length([len(r.ids) for r in readings]):
            logits[batch] = self.run([readings[i].ids for i in batch])
        return logits

    def run(self, rows: list[list[int]]) -> np.ndarray:
        longest = max(map(len, rows))
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def by_length(lengths: list[int]) -> list[list[int]]:
    """Positions grouped so that rows x longest row stays within PADDED_TOKENS_MAX."""
    groups: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if groups and (len(groups[-1]) + 1) * lengths[position] <= PADDED_TOKENS_MAX:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / temperature) along the last axis, in float64."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
