"""The text of model.toml, in the order in which a person wants to read it."""

import json

HEAD = """\
# Made by training/pack_bundle.py; edit training/facts and pack again. The SHA-256 of this file is the bundle's digest.
"""
TABLES = ("inputs", "outputs", "format", "tokenizer", "golden", "calibration", "digests", "training", "licence")


def text(facts: dict, measured: dict) -> str:
    """The manifest as TOML, from what a person stated and what was measured."""
    content = {
        "bundle_format": measured["bundle_format"],
        **{key: facts[key] for key in ("name", "version", "description", "labels", "max_tokens")},
        "truncation": "first-and-last",
        "inputs": {"token_ids": "input_ids", "attention_mask": "attention_mask"},
        "outputs": {"logits": "logits", "embedding": "embedding", "embedding_size": facts["format"]["hidden_size"]},
        "format": {key: value for key, value in facts["format"].items() if key != "hidden_size"},
        "tokenizer": {"special_tokens": 2, "unknown": "[UNK]", "padding": "[PAD]"},
        "golden": measured["golden"],
        "calibration": calibration(measured),
        "digests": measured["digests"],
        "training": facts["training"],
        "licence": facts["licence"],
    }
    lines = [HEAD, *pairs({k: v for k, v in content.items() if k not in TABLES})]
    for name in TABLES:
        reports = content[name].pop("reports", [])
        lines += ["", f"[{name}]", *pairs(content[name])]
        for report in reports:
            lines += ["", f"[[{name}.reports]]", *pairs(report)]
    for row in measured["accuracy"]:
        lines += ["", "[[accuracy]]", *pairs(row)]
    return "\n".join(lines) + "\n"


def calibration(measured: dict) -> dict:
    return {
        "method": "temperature scaling (Guo et al. 2017): softmax(logits / temperature)",
        "temperature": measured["temperature"],
        "fitted_on": "the held-out texts whose SHA-256 is even, each data set weighing the same",
        "fitted_n": measured["fitted_n"],
        "reported_on": "the other held-out texts; ECE over 15 equal-width bins",
        "reports": measured["reports"],
    }


def pairs(table: dict) -> list[str]:
    return [f"{key if key.isidentifier() else json.dumps(key)} = {value(v)}" for key, v in table.items()]


def value(v: object) -> str:
    """A TOML value. JSON's strings, numbers and booleans are TOML's; long lists take a line an entry."""
    if isinstance(v, list) and 80 < sum(len(str(entry)) for entry in v):
        return "[\n" + "".join(f"    {value(entry)},\n" for entry in v) + "]"
    return json.dumps(v, ensure_ascii=False)
