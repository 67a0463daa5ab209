"""Temperature scaling (Guo et al. 2017): one number that makes confidence mean accuracy and changes no label.

Fitted on one half of the held-out data and reported on the other. A review's half depends on nothing but its text.
"""

import hashlib
import math

import numpy as np

from scoring import probabilities

ECE_BINS = 15
TEMPERATURE_MIN, TEMPERATURE_MAX = 0.2, 10.0


def fit_half(texts: list[str]) -> np.ndarray:
    """True for the texts whose SHA-256 is even: they fit, the others report."""
    return np.array([hashlib.sha256(t.encode()).digest()[-1] % 2 == 0 for t in texts])


def fit_temperature(domains: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The temperature of least negative log-likelihood over (logits, labels), each domain weighing the same.

    Rounded to four decimals, so that the manifest holds exactly the number that was used everywhere else.
    """

    def loss(log_temperature: float) -> float:
        return float(np.mean([nll(x, y, math.exp(log_temperature)) for x, y in domains]))

    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(TEMPERATURE_MIN), math.log(TEMPERATURE_MAX)
    while 1e-7 < high - low:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return round(math.exp((low + high) / 2), 4)


def nll(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of the true label, in nats."""
    return float(-np.log(probabilities(logits, temperature)[np.arange(len(labels)), labels]).mean())


def ece(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Expected calibration error of the predicted label over ECE_BINS equal-width bins, 0 to 1."""
    p = probabilities(logits, temperature)
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(confidence[bins == b].sum() - correct[bins == b].sum()) for b in range(ECE_BINS)]
    return float(sum(gaps) / len(labels))


def report(name: str, logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict:
    """What calibration did to data it was not fitted on."""
    return {
        "data": name,
        "n": len(labels),
        "ece_before": round(ece(logits, labels, 1.0), 4),
        "ece_after": round(ece(logits, labels, temperature), 4),
        "nll_before": round(nll(logits, labels, 1.0), 4),
        "nll_after": round(nll(logits, labels, temperature), 4),
    }
