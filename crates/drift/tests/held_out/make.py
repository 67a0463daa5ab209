"""Makes the features that the proofs of tests/suite/held_out draw their streams from: no texts, so that none are shipped.

    python3 make.py --verdict ../../../../target/release/verdict --models ../../../../models --data DATA

DATA holds sst2_dev.jsonl.gz and imdb_test_5000.jsonl.gz (training/README.md). sst2.csv and imdb.csv are written by
`verdict model reference --features`, which scores these texts in any case; here they are modified, the seeds are fixed, and each
is scored once by `verdict score` with sentiment@1. What drift counts of a verdict becomes a line of a file. german.txt and
french.txt are short film reviews, made for this.
"""

import argparse
import csv
import gzip
import json
import random
import string
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SAMPLE = 500  # of the long reviews, which take their time, so many are modified
NEW_WORD = "zoltracine"
CUT_CHARACTERS = 280


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verdict", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", action="append", help="make only these files")
    arguments = parser.parse_args()
    for name, rows in sets(arguments.data).items():
        if arguments.only is None or name in arguments.only:
            write(name, rows, score(arguments, rows))


def sets(data: Path) -> dict[str, list[dict]]:
    sst2, imdb = (read(data / file) for file in ["sst2_dev.jsonl.gz", "imdb_test_5000.jsonl.gz"])
    few = imdb[:SAMPLE]
    return {
        "german": foreign("german.txt"),
        "french": foreign("french.txt"),
        "sst2_garbled": garbled(sst2),
        "sst2_doubled": doubled(sst2),
        "sst2_new_word": new_word(sst2),
        "imdb_cut": [row | {"text": row["text"][:CUT_CHARACTERS]} for row in few],
        "imdb_garbled": garbled(few),
        "imdb_doubled": doubled(few),
        "imdb_new_word": new_word(few),
    }


def read(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def foreign(file: str) -> list[dict]:
    """Nobody labelled them; the proofs do not ask."""
    return [{"text": line, "label": 0} for line in (HERE / file).read_text(encoding="utf-8").splitlines()]


def garbled(rows: list[dict]) -> list[dict]:
    """One word in twenty becomes as many letters at random."""
    rng = random.Random(1)

    def word(one: str) -> str:
        return "".join(rng.choices(string.ascii_lowercase, k=len(one))) if rng.random() < 0.05 else one

    return [row | {"text": " ".join(word(one) for one in row["text"].split())} for row in rows]


def doubled(rows: list[dict]) -> list[dict]:
    """Each with another one of its label behind it, so that length changes and shares of labels do not."""
    rng = random.Random(2)
    by_label = {label: [row["text"] for row in rows if row["label"] == label] for label in {row["label"] for row in rows}}
    return [row | {"text": row["text"] + " " + rng.choice(by_label[row["label"]])} for row in rows]


def new_word(rows: list[dict]) -> list[dict]:
    """A word that nobody knew stands somewhere in each."""
    rng = random.Random(3)

    def text(words: list[str]) -> str:
        place = rng.randint(0, len(words))
        return " ".join([*words[:place], NEW_WORD, *words[place:]])

    return [row | {"text": text(row["text"].split())} for row in rows]


def score(arguments: argparse.Namespace, rows: list[dict]) -> list[dict]:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": row["text"]}, ensure_ascii=False) + "\n" for row in rows)
        file.flush()
        command = [arguments.verdict, "score", file.name, "--model", "sentiment@1", "--models", arguments.models]
        scored = subprocess.run(command, check=False, stdout=subprocess.PIPE, encoding="utf-8").stdout
    return [json.loads(line) for line in scored.splitlines()]


def write(name: str, rows: list[dict], verdicts: list[dict]) -> None:
    assert len(rows) == len(verdicts)
    with (HERE / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["truth", "label", "confidence", "tokens", "truncated", "unknown", "cross_entropy", "projection", "language", "words"])
        # A text that became longer than the line accepts has no verdict.
        judged = [(row, verdict) for row, verdict in zip(rows, verdicts) if "error" not in verdict]
        lines.writerows(line(row, verdict) for row, verdict in judged)
    print(name, len(judged))


def line(row: dict, verdict: dict) -> list:
    drift = verdict["drift"]
    return [
        ["negative", "positive"][row["label"]],
        verdict["label"],
        verdict["confidence"],
        verdict["tokens"],
        int(verdict["truncated"]),
        drift["unknown_tokens"],
        drift["cross_entropy"],
        bytes(x & 0xFF for x in drift["projection"]).hex(),
        drift.get("language", ""),
        "".join(f"{bucket:03x}" for bucket in drift["words"]),
    ]


if __name__ == "__main__":
    main()
