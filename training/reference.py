"""The reference profile: how the held-out data looks to one exact version, as counts that add up.

Drift compares live windows with it. Everything is a count or a sum, so two profiles merge by addition and a share has its n
beside it. Readers ignore keys they do not know: what drift needs later is added, nothing is renamed.
"""

import numpy as np

from scoring import probabilities

TOKEN_EDGES = [0, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256]
CONFIDENCE_BINS = 10
SPECIAL_TOKENS = 2


def confidence_edges(logits: np.ndarray, temperature: float) -> list[float]:
    """Deciles of the confidence of all held-out data together: every bin of a clean window expects a tenth."""
    confidence = probabilities(logits, temperature).max(axis=1)
    inner = np.quantile(confidence, np.arange(1, CONFIDENCE_BINS) / CONFIDENCE_BINS)
    return [0.5, *(round(float(e), 6) for e in inner), 1.0]


def profile(name: str, source: str, labels: list[str], edges: list[float], scored: dict, temperature: float) -> dict:
    """One domain. `scored` holds `logits` [n, 2], `truth` [n] and `readings` [n]."""
    logits, truth, readings = scored["logits"], scored["truth"], scored["readings"]
    p = probabilities(logits, temperature)
    predicted, confidence = p.argmax(axis=1), p.max(axis=1)
    correct = predicted == truth
    lengths = np.array([len(r.ids) for r in readings])
    return {
        "name": name,
        "source": source,
        "n": len(truth),
        "labels": {label: int((predicted == i).sum()) for i, label in enumerate(labels)},
        "true_labels": {label: int((truth == i).sum()) for i, label in enumerate(labels)},
        "correct": int(correct.sum()),
        "confidence_sum": round(float(confidence.sum()), 4),
        "truncated": sum(r.truncated for r in readings),
        "text_tokens": int(lengths.sum()) - SPECIAL_TOKENS * len(readings),
        "unknown_tokens": sum(r.unknown for r in readings),
        "histograms": {
            "confidence": {
                "edges": edges,
                "counts": histogram(confidence, edges),
                "correct": histogram(confidence[correct], edges),
            },
            "tokens": {"edges": TOKEN_EDGES, "counts": histogram(lengths, TOKEN_EDGES)},
        },
    }


def histogram(values: np.ndarray, edges: list[float]) -> list[int]:
    """Counts of edge[i] <= value < edge[i + 1]; the last bin takes its right edge too."""
    bins = np.searchsorted(np.array(edges[1:-1]), values, side="right")
    return [int(c) for c in np.bincount(bins, minlength=len(edges) - 1)]


def together(domains: list[dict]) -> dict:
    """All domains as one, row after row."""
    return {
        "logits": np.concatenate([d["logits"] for d in domains]),
        "truth": np.concatenate([d["truth"] for d in domains]),
        "readings": [r for d in domains for r in d["readings"]],
    }
