"""What other tools say of the very windows that tests/suite/held_out judges: same files, same seeds, same draws.

    python3 -m venv VENV && VENV/bin/pip install -r ../golden/requirements.txt && VENV/bin/python compare.py

Three rules, each on label, confidence, tokens, truncation, vocabulary cross-entropy and language, one window at a time, as each is
used by default:

- evidently: the test that evidently itself picks for the column and the size of the reference (Kolmogorov-Smirnov, chi-square or
  z at p < 0.05 up to 1,000 rows, else Wasserstein or Jensen-Shannon distance of at least 0.1), where any column has drifted, and
  where half of them have, which is its own rule for a data set;
- tabular: Kolmogorov-Smirnov for numbers, chi-square for categories, p < 0.05 over the number of columns, as alibi-detect's
  TabularDrift has it (the two tests are scipy's, not its own code);
- psi: the stability index on the reference's deciles, 0.2 and above.

For clean windows the share of windows that each rule calls drifted, of 1,000; for each drift the share of first drifted windows.
"""

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from scipy import stats

HERE = Path(__file__).parent
MASK = (1 << 64) - 1
WINDOW, STREAMS, STREAM = 500, 100, 10
DRIFT_STREAMS, CLEAN, PATIENCE = 50, 2, 6
CATEGORIES, NUMBERS = ["label", "truncated", "language"], ["confidence", "tokens", "cross_entropy"]


class Random:
    """SplitMix64, and draws as the proofs have them."""

    def __init__(self, seed: int):
        self.state = seed

    def below(self, bound: int) -> int:
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % bound

    def draw(self, population: pd.DataFrame, n: int) -> pd.DataFrame:
        return population.iloc[[self.below(len(population)) for _ in range(n)]]


def reviews(name: str) -> pd.DataFrame:
    frame = pd.read_csv(HERE / f"{name}.csv", keep_default_na=False)
    return frame.astype({"truncated": str})


def evidently(reference: pd.DataFrame, window: pd.DataFrame) -> int:
    def drifted(column: str, kind: ColumnType) -> bool:
        test = get_stattest(reference[column], window[column], kind, None)
        return bool(test(reference[column], window[column], kind, None).drifted)

    kinds = {column: ColumnType.Categorical for column in CATEGORIES} | {column: ColumnType.Numerical for column in NUMBERS}
    return sum(drifted(column, kind) for column, kind in kinds.items())


def tabular(reference: pd.DataFrame, window: pd.DataFrame) -> bool:
    ps = [stats.ks_2samp(reference[column], window[column]).pvalue for column in NUMBERS]
    for column in CATEGORIES:
        table = pd.concat([reference[column].value_counts(), window[column].value_counts()], axis=1).fillna(0).to_numpy()
        ps.append(stats.chi2_contingency(table.T, correction=False).pvalue if 1 < len(table) else 1.0)
    return min(ps) < 0.05 / len(ps)


def psi(reference: pd.DataFrame, window: pd.DataFrame) -> bool:
    return any(0.2 <= index(*shares(reference[column], window[column], column)) for column in CATEGORIES + NUMBERS)


def shares(reference: pd.Series, window: pd.Series, column: str) -> tuple[np.ndarray, np.ndarray]:
    if column in CATEGORIES:
        names = sorted(set(reference) | set(window))
        counts = [series.value_counts().reindex(names, fill_value=0).to_numpy() for series in (reference, window)]
    else:
        inner = np.unique(np.quantile(reference, np.arange(1, 10) / 10))
        counts = [np.bincount(np.searchsorted(inner, series, side="right"), minlength=len(inner) + 1) for series in (reference, window)]
    return counts[0] / counts[0].sum(), counts[1] / counts[1].sum()


def index(reference: np.ndarray, window: np.ndarray) -> float:
    reference, window = np.maximum(reference, 1e-4), np.maximum(window, 1e-4)
    return float(((window - reference) * np.log(window / reference)).sum())


RULES = ["evidently", "evidently, half of the columns", "tabular", "psi"]


def judged(reference: pd.DataFrame, window: pd.DataFrame) -> list[bool]:
    """By each of RULES."""
    columns = evidently(reference, window)
    return [0 < columns, len(CATEGORIES + NUMBERS) / 2 <= columns, tabular(reference, window), psi(reference, window)]


def clean(name: str, seed: int) -> None:
    population, random = reviews(name), Random(seed)
    tally = dict.fromkeys(RULES, 0)
    for _ in range(STREAMS):
        reference = random.draw(population, len(population))
        for _ in range(STREAM):
            window = random.draw(population, WINDOW)
            for rule, drifted in zip(RULES, judged(reference, window)):
                tally[rule] += drifted
    say(f"{name}, clean", tally, STREAMS * STREAM)


def drift(name: str, seed: int, held_out: int, before: pd.DataFrame, after: pd.DataFrame, percent: int = 100) -> None:
    random, tally = Random(seed), dict.fromkeys(RULES, 0)
    for _ in range(DRIFT_STREAMS):
        reference = random.draw(before, held_out)
        for _ in range(CLEAN):
            random.draw(before, WINDOW)
        for number in range(PATIENCE):
            new = WINDOW * percent // 100
            window = pd.concat([random.draw(after, new), random.draw(before, WINDOW - new)])
            if number == 0:
                for rule, drifted in zip(RULES, judged(reference, window)):
                    tally[rule] += drifted
    say(name, tally, DRIFT_STREAMS)


def with_negatives(frame: pd.DataFrame, percent: int) -> pd.DataFrame:
    random, n = Random(99), 10_000
    of = {label: frame[frame["truth"] == label] for label in ["negative", "positive"]}
    return pd.concat([random.draw(of["negative"], n * percent // 100), random.draw(of["positive"], n - n * percent // 100)])


def unsure(frame: pd.DataFrame) -> pd.DataFrame:
    confidence = frame["confidence"].clip(upper=0.999999)
    return frame.assign(confidence=1 / (1 + np.exp(-np.log(confidence / (1 - confidence)) / 3)))


def say(name: str, tally: dict, windows: int) -> None:
    print(f"{name}: " + ", ".join(f"{rule} {count} of {windows}" for rule, count in tally.items()), flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    print(", ".join(f"{name} {version(name)}" for name in ["evidently", "scipy", "pandas", "numpy"]))
    sst2, imdb = reviews("sst2"), reviews("imdb")
    clean("sst2", 11)
    clean("imdb", 12)
    for name, frame, seed in [("sst2", sst2, 21), ("imdb", imdb, 22)]:
        drift(f"{name}, negative reviews from 50 % to 65 %", seed, len(frame), with_negatives(frame, 50), with_negatives(frame, 65))
    drift("sst2 becomes imdb", 23, len(sst2), sst2, imdb)
    drift("imdb becomes sst2", 24, len(imdb), imdb, sst2)
    for name, frame, seed in [("sst2", sst2, 25), ("imdb", imdb, 26)]:
        for language in ["german", "french"]:
            drift(f"{name}, 10 % {language}", seed, len(frame), frame, reviews(language), 10)
    for name, frame, seed in [("sst2", sst2, 27), ("imdb", imdb, 28)]:
        drift(f"{name}, 5 % of words garbled", seed, len(frame), frame, reviews(f"{name}_garbled"))
    drift("sst2, length doubled", 29, len(sst2), sst2, reviews("sst2_doubled"))
    drift("imdb, length doubled", 30, len(imdb), imdb, reviews("imdb_doubled"))
    drift("imdb, length cut", 31, len(imdb), imdb, reviews("imdb_cut"))
    for name, frame, seed in [("sst2", sst2, 32), ("imdb", imdb, 36)]:
        drift(f"{name}, a new word in 5 %", seed, len(frame), frame, reviews(f"{name}_new_word"), 5)
    drift("sst2, a new word in all", 33, len(sst2), sst2, reviews("sst2_new_word"))
    for name, frame, seed in [("sst2", sst2, 34), ("imdb", imdb, 35)]:
        drift(f"{name}, confidence collapses", seed, len(frame), frame, unsure(frame))


if __name__ == "__main__":
    main()
