"""Builds a model bundle: weights, tokenizer, calibration, reference profile, golden cases, and the manifest that holds their digests.

Deterministic: the same arguments on the same machine give the same bytes. See README.md for the command.
"""

import argparse
import gzip
import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import onnx

import calibration
import manifest
import reference
from scoring import Classifier, Reader, probabilities

BUNDLE_FORMAT = 1
FILE_BYTES_MAX = 24 * 1024 * 1024
GOLDEN_TOLERANCE = 0.001


def main() -> None:
    arguments = parse()
    facts = tomllib.loads(arguments.facts.read_text(encoding="utf-8"))
    onnx_bytes = checked_onnx(arguments.onnx, facts)
    tokenizer_json = bare_tokenizer(arguments.tokenizer.read_bytes())
    reader, classifier = Reader(tokenizer_json, facts["max_tokens"]), Classifier(onnx_bytes)

    domains = {name: score(path, reader, classifier) for name, path in arguments.data}
    temperature = calibration.fit_temperature([(d["logits"][d["fit"]], d["truth"][d["fit"]]) for d in domains.values()])
    files = {
        "model.onnx": onnx_bytes,
        "tokenizer.json": tokenizer_json,
        "reference.json": reference_json(facts, domains, temperature),
        "golden.jsonl": golden_jsonl(arguments.golden, facts["labels"], reader, classifier, temperature),
    }
    measured = measure(facts, domains, temperature, files)
    files["model.toml"] = manifest.text(facts, measured).encode()
    write(arguments.out, files)
    print(summary(facts, measured, files["model.toml"]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="the exported network")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its Hugging Face tokenizer.json")
    parser.add_argument("--facts", type=Path, required=True, help="TOML: name, version, labels, training, licence")
    parser.add_argument("--golden", type=Path, required=True, help="JSON lines of {name, text} to become golden cases")
    parser.add_argument("--data", type=domain, action="append", required=True, metavar="NAME=FILE.jsonl.gz", help="held-out {text, label}; repeat")
    parser.add_argument("--out", type=Path, required=True, help="the directory to write, e.g. models/sentiment/1")
    return parser.parse_args()


def domain(argument: str) -> tuple[str, Path]:
    name, _, path = argument.partition("=")
    return name, Path(path)


def checked_onnx(path: Path, facts: dict) -> bytes:
    """The file's bytes, refused if weights lie outside it or its ends are not what the product feeds and reads."""
    network = onnx.load(path, load_external_data=False)
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in network.graph.initializer):
        raise SystemExit(f"{path}: keeps weights in external files; export it as one file")
    ends = ([i.name for i in network.graph.input], [o.name for o in network.graph.output])
    if ends != (["input_ids", "attention_mask"], ["logits", "embedding"]):
        raise SystemExit(f"{path}: has inputs and outputs {ends}; export it with input_ids, attention_mask -> logits, embedding")
    facts["format"]["opset"] = next(o.version for o in network.opset_import if o.domain == "")
    return path.read_bytes()


def bare_tokenizer(original: bytes) -> bytes:
    """The tokenizer without truncation and padding of its own: a reader who forgot to switch them off would cut at 128."""
    tokenizer = json.loads(original)
    tokenizer["truncation"] = tokenizer["padding"] = None
    return (json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def score(path: Path, reader: Reader, classifier: Classifier) -> dict:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    readings = reader.read([r["text"] for r in rows])
    return {
        "readings": readings,
        "truth": np.array([r["label"] for r in rows]),
        "fit": calibration.fit_half([r["text"] for r in rows]),
        "logits": classifier.all(readings),
    }


def reference_json(facts: dict, domains: dict, temperature: float) -> bytes:
    whole = reference.together(list(domains.values()))
    edges = reference.confidence_edges(whole["logits"], temperature)
    named = [*((name, facts["data"][name], d) for name, d in domains.items()), ("all", "all of the above", whole)]
    profiles = [reference.profile(n, source, facts["labels"], edges, d, temperature) for n, source, d in named]
    content = {"format": BUNDLE_FORMAT, "model": {"name": facts["name"], "version": facts["version"]}, "temperature": temperature, "profiles": profiles}
    return (json.dumps(content, indent=1) + "\n").encode()


def golden_jsonl(path: Path, labels: list[str], reader: Reader, classifier: Classifier, temperature: float) -> bytes:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        reading = reader.read([case["text"]])[0]
        logits = classifier.one(reading.ids)
        p = probabilities(logits, temperature)
        case |= {"tokens": len(reading.ids), "unknown": reading.unknown, "truncated": reading.truncated, "label": labels[int(p.argmax())]}
        case |= {"logits": [round(float(x), 5) for x in logits], "probabilities": [round(float(x), 6) for x in p]}
        lines.append(json.dumps(case, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def measure(facts: dict, domains: dict, temperature: float, files: dict[str, bytes]) -> dict:
    held_out = {name: (d["logits"][~d["fit"]], d["truth"][~d["fit"]]) for name, d in domains.items()}
    pooled = tuple(np.concatenate(parts) for parts in zip(*held_out.values()))
    reports = [calibration.report(name, *half, temperature) for name, half in [*held_out.items(), ("all", pooled)]]
    return {
        "bundle_format": BUNDLE_FORMAT,
        "temperature": temperature,
        "fitted_n": int(sum(d["fit"].sum() for d in domains.values())),
        "reports": reports,
        "golden": {"cases": files["golden.jsonl"].count(b"\n"), "tolerance": GOLDEN_TOLERANCE, **facts.get("golden", {})},
        "accuracy": [accuracy(name, facts["data"][name], d) for name, d in domains.items()],
        "digests": {name: digest(content) for name, content in files.items()},
    }


def accuracy(name: str, source: str, scored: dict) -> dict:
    correct = int((scored["logits"].argmax(axis=1) == scored["truth"]).sum())
    n = len(scored["truth"])
    return {"data": name, "source": source, "n": n, "correct": correct, "accuracy": round(correct / n, 4)}


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def write(out: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        if FILE_BYTES_MAX < len(content):
            raise SystemExit(f"{name}: has {len(content)} bytes, at most {FILE_BYTES_MAX} fit a bundle; store the weights smaller")
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)


def summary(facts: dict, measured: dict, manifest_bytes: bytes) -> str:
    lines = [f"{facts['name']}@{facts['version']} {digest(manifest_bytes)} temperature {measured['temperature']}"]
    lines += [f"  accuracy {a['data']}: {a['accuracy']:.2%} ({a['correct']} of {a['n']})" for a in measured["accuracy"]]
    lines += [f"  {r['data']} (n {r['n']}): ECE {r['ece_before']:.4f} -> {r['ece_after']:.4f}, NLL {r['nll_before']:.4f} -> {r['nll_after']:.4f}" for r in measured["reports"]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
