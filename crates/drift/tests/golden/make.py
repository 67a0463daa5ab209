"""Makes the golden numbers that tests/golden.rs compares with: what the field's own tools say of seeded inputs.

    python -m venv VENV && VENV/bin/pip install -r requirements.txt && VENV/bin/python make.py

Each file names its source. Where a tool rounds, smooths or asks for raw data, it is given what makes it compute exactly the
formula in question. River's ADWIN is asked below its Python class, which forgets its window after a change; the paper's
keeps what is left of it. Formulas that no tool has (features, null distribution, histogram binning) are computed with numpy
and scipy from the papers, by a way other than the crate's where there is one.
"""

import json
import math
import warnings
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests.jensenshannon import _jensenshannon
from evidently.legacy.calculations.stattests.psi import _psi
from evidently.legacy.core import ColumnType
from nannyml.drift.univariate.methods import CategoricalJensenShannonDistance, LInfinityDistance
from nannyml.performance_estimation.confidence_based.metrics import estimate_accuracy
from nannyml.sampling_error.binary_classification import accuracy_sampling_error, accuracy_sampling_error_components
from river._river_rust.drift import AdaptiveWindowing
from river.drift.binary import DDM
from scipy import integrate, special, stats
from scipy.spatial import distance

HERE = Path(__file__).parent
MASK = (1 << 64) - 1


def write(name: str, source: str, **content) -> None:
    text = json.dumps({"source": source, **content}, separators=(",", ":"), allow_nan=False)
    (HERE / f"{name}.json").write_text(text.replace('"cases":', '\n"cases":').replace("},{", "},\n{") + "\n")


def series(counts: list[int]) -> pd.Series:
    """Raw categories with these counts; only labels matter to the tools."""
    return pd.Series(np.repeat([f"bin{i:02}" for i in range(len(counts))], counts))


def count_pairs(rng: np.random.Generator) -> list[tuple[list[int], list[int]]]:
    pairs = [([60, 40], [50, 50]), ([100, 200, 300], [30, 20, 10]), ([500, 480, 20], [260, 240, 0])]
    for bins, reference, window in [(2, 5872, 500), (10, 5872, 500), (10, 1000, 100), (12, 20000, 5000)]:
        shares = rng.dirichlet(np.full(bins, 20.0))
        moved = rng.dirichlet(np.full(bins, 20.0))
        clean = rng.multinomial(window, shares).tolist()
        pairs.append((rng.multinomial(reference, shares).tolist(), clean))
        pairs.append((rng.multinomial(reference, shares).tolist(), rng.multinomial(window, moved).tolist()))
    return pairs


def stability(pairs) -> None:
    cases = []
    for reference, observed in pairs:
        index, _ = _psi(series(reference), series(observed), ColumnType.Categorical, 0.1)
        scatter = 1 / sum(observed) + 1 / sum(reference)
        freedom = len(reference) - 1
        cases.append({
            "reference": reference,
            "observed": observed,
            "index": float(index),
            "threshold": float(stats.chi2.ppf(0.999, freedom) * scatter),
            "p": float(stats.chi2.sf(index / scatter, freedom)),
        })
    write("stability", "evidently 0.7.23 (index), scipy 1.17.1 (threshold and p after Yurdakul 2018)", cases=cases)


def divergence(pairs) -> None:
    cases = []
    for reference, observed in pairs:
        raw, now = series(reference), series(observed)
        apart, _ = _jensenshannon(raw, now, ColumnType.Categorical, 0.1, base=2)
        known = {"chunker": None, "threshold": nannyml.thresholds.ConstantThreshold(), "upper_threshold_limit": 1}
        methods = {}
        for name, method in [("distance", CategoricalJensenShannonDistance), ("l_infinity", LInfinityDistance)]:
            methods[name] = float(method(**known)._fit(raw)._calculate(now))
        assert math.isclose(apart, methods["distance"], abs_tol=1e-12), "evidently and nannyml differ"
        assert math.isclose(apart, distance.jensenshannon(reference, observed, 2), abs_tol=1e-12), "scipy differs"
        cases.append({"reference": reference, "observed": observed, "divergence": float(apart) ** 2, **methods})
    write("divergence", "evidently 0.7.23, nannyml 0.13.1 and scipy 1.17.1, which agree; base 2", cases=cases)


def chi_square(pairs) -> None:
    cases = []
    for reference, observed in pairs:
        table = np.array([reference, observed])
        result = stats.chi2_contingency(table[:, table.sum(axis=0) > 0], correction=False)
        cases.append({
            "reference": reference,
            "observed": observed,
            "statistic": float(result.statistic),
            "freedom": int(result.dof),
            "p": float(result.pvalue),
            "threshold": float(stats.chi2.ppf(0.999, result.dof)),
        })
    write("chi_square", "scipy 1.17.1, chi2_contingency without correction", cases=cases)


def kolmogorov_smirnov(rng, pairs) -> None:
    def limit(statistic, n, m):
        return float(stats.kstwobign.sf(statistic * math.sqrt(n * m / (n + m))))

    samples = []
    for n, m, shift, digits in [(50, 40, 0.0, 6), (200, 300, 0.4, 6), (120, 80, 0.2, 1), (30, 30, 3.0, 6)]:
        left = np.round(rng.normal(size=n), digits)
        right = np.round(rng.normal(shift, size=m), digits)
        statistic = stats.ks_2samp(left, right).statistic
        case = {"reference": left.tolist(), "observed": right.tolist(), "distance": float(statistic)}
        samples.append({**case, "p": limit(statistic, n, m)})
    histograms = []
    for reference, observed in pairs:
        # All values of a bin as ties at its index: the raw test then looks between bins only.
        left = np.repeat(np.arange(len(reference)), reference)
        right = np.repeat(np.arange(len(observed)), observed)
        statistic = stats.ks_2samp(left, right).statistic
        case = {"reference": reference, "observed": observed, "distance": float(statistic)}
        histograms.append({**case, "p": limit(statistic, len(left), len(right))})
    source = "scipy 1.17.1, ks_2samp (distance) and kstwobign (asymptotic p)"
    write("kolmogorov_smirnov", source, samples=samples, histograms=histograms)


def tails() -> None:
    chi = [(x, k) for k in (1, 2.5, 9, 11, 40) for x in (0.01, 0.5, 3.0, 12.0, 30.0, 80.0)]
    critical = [(alpha, k) for k in (1, 2.5, 9, 11, 40) for alpha in (0.5, 0.05, 0.001, 0.0001)]
    write(
        "tails",
        "scipy 1.17.1",
        chi_square=[{"x": x, "freedom": k, "p": float(stats.chi2.sf(x, k))} for x, k in chi],
        chi_square_critical=[{"alpha": a, "freedom": k, "x": float(stats.chi2.isf(a, k))} for a, k in critical],
        normal=[{"x": x, "p": float(2 * stats.norm.sf(x))} for x in (0.0, 0.3, 1.0, 1.96, 3.0, 3.29, 6.0)],
        normal_critical=[{"alpha": a, "x": float(stats.norm.isf(a / 2))} for a in (0.5, 0.05, 0.0027, 0.001, 1e-5)],
        kolmogorov=[{"x": x, "p": float(special.kolmogorov(x))} for x in (0.2, 0.4, 0.7, 0.99, 1.0, 1.36, 1.95, 3.0)],
        binomial=[
            {"successes": s, "n": n, "chance": c, "p": float(stats.binom.sf(s - 1, n, c))}
            for n, successes in ((1, (1,)), (6, (1, 4, 6)), (32, (12, 27)), (500, (120, 180, 260)), (60_000, (5_700, 6_000)))
            for s in successes
            for c in (500 / 1372, 500 / 5499, 0.5)
        ],
    )


def cross_entropy(rng) -> None:
    counts = rng.poisson(rng.gamma(0.5, 40, size=50)).tolist()
    smoothed = (np.array(counts) + 1) / (sum(counts) + len(counts))
    cases = []
    for length in (1, 5, 40, 200):
        ids = rng.integers(0, 50, size=length)
        own = np.bincount(ids, minlength=50) / length
        # H(p, q) = H(p) + KL(p | q).
        bits = stats.entropy(own, base=2) + stats.entropy(own, smoothed, base=2)
        cases.append({"ids": ids.tolist(), "bits": float(bits)})
    write("cross_entropy", "scipy 1.17.1, entropy plus relative entropy", counts=counts, cases=cases)


def means(rng) -> None:
    cases = []
    for n, m, shift, scale in [(500, 5872, 0.0, 1.0), (500, 5872, 0.5, 2.0), (30, 60, -1.0, 0.5)]:
        left, right = rng.normal(9, 1.5, size=m), rng.normal(9 + shift, 1.5 * scale, size=n)
        test = stats.ttest_ind(right, left, equal_var=False)
        effect = (right.mean() - left.mean()) / left.std(ddof=1)
        sums = [[len(x), float(x.sum()), float((x * x).sum())] for x in (left, right)]
        case = {"reference": sums[0], "observed": sums[1], "deviations": float(test.statistic)}
        cases.append({**case, "p": float(2 * stats.norm.sf(abs(test.statistic))), "effect": float(effect)})
    ratios = []
    for reviews in (20, 500):
        tokens = rng.integers(5, 250, size=reviews)
        unknown = rng.binomial(tokens, rng.beta(0.5, 50, size=reviews))
        ratio = unknown.sum() / tokens.sum()
        residuals = unknown - ratio * tokens
        variance = residuals.var(ddof=1) * reviews / tokens.sum() ** 2
        case = {"tokens": tokens.tolist(), "unknown": unknown.tolist(), "ratio": float(ratio)}
        ratios.append({**case, "variance": float(variance)})
    write("means", "scipy 1.17.1 (ttest_ind), numpy 2.4.6 (ratio by residuals)", cases=cases, ratios=ratios)


class SplitMix64:
    def __init__(self, seed: int):
        self.state = seed

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        return ((self.next() >> 11) + 1) / (1 << 53)

    def normal(self) -> float:
        radius = math.sqrt(-2 * math.log(self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())


def project(seed: int, embedding: np.ndarray) -> list[int]:
    generator = SplitMix64(seed)
    signs = [generator.next() >> 48 for _ in embedding]
    matrix = np.array([[1 if row >> j & 1 else -1 for j in range(16)] for row in signs])
    projected = embedding @ matrix / np.linalg.norm(embedding) * 32
    return np.clip(np.round(projected), -128, 127).astype(int).tolist()


def fourier(seed: int, features: int, bandwidth: float, x: np.ndarray) -> np.ndarray:
    generator, waves, phases = SplitMix64(seed), [], []
    for _ in range(features):
        waves.append([generator.normal() / bandwidth for _ in range(16)])
        phases.append(2 * math.pi * generator.uniform())
    return math.sqrt(2 / features) * np.cos(x @ np.array(waves).T + np.array(phases))


def quadratic_form_tail(x: float, weights: np.ndarray) -> float:
    """P(sum_i weights_i chi2(1) > x), exact: Imhof 1961, eq. 3.2."""

    def integrand(u):
        theta = 0.5 * np.arctan(weights * u).sum() - 0.5 * x * u
        rho = np.exp(0.25 * np.log1p((weights * u) ** 2).sum())
        return math.sin(theta) / (u * rho)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value, _ = integrate.quad(integrand, 0, np.inf, limit=2000, epsabs=1e-10)
    return 0.5 + value / math.pi


def discrepancy(rng) -> None:
    seed, features, bandwidth = 11, 64, 90.0
    centre = rng.normal(0, 15, size=16)
    spread = np.linspace(30, 8, 16)
    draw = lambda n, shift: np.clip(np.round(rng.normal(centre + shift, spread, size=(n, 16))), -128, 127)
    reference = draw(200, 0.0)
    mapped = fourier(seed, features, bandwidth, reference)
    covariance = np.cov(mapped, rowvar=False)
    eigenvalues = np.linalg.eigvalsh(covariance)
    eigenvalues = eigenvalues[eigenvalues > 1e-12]
    cases = []
    for n, shift in [(50, 0.0), (80, 3.0), (80, 20.0)]:
        window = draw(n, shift)
        squared = ((fourier(seed, features, bandwidth, window).mean(axis=0) - mapped.mean(axis=0)) ** 2).sum()
        gaussian = lambda x, y: np.exp(-distance.cdist(x, y, "sqeuclidean") / (2 * bandwidth**2)).mean()
        kernel = gaussian(window, window) + gaussian(reference, reference) - 2 * gaussian(window, reference)
        scatter = 1 / n + 1 / len(reference)
        tails = []
        for factor in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
            x = factor * eigenvalues.sum() * scatter
            tails.append({"squared": float(x), "p": quadratic_form_tail(x, eigenvalues * scatter)})
        case = {"window": window.astype(int).tolist(), "squared": float(squared), "kernel": float(kernel)}
        cases.append({**case, "null": tails})
    embedding = np.round(rng.normal(size=24), 3)
    write(
        "mmd",
        "numpy 2.4.6 and scipy 1.17.1: features and traces from the papers, exact Gaussian kernel, exact null (Imhof 1961)",
        settings={"seed": seed, "features": features, "bandwidth": bandwidth},
        projection={"seed": 5, "embedding": embedding.tolist(), "projected": project(5, embedding)},
        reference=reference.astype(int).tolist(),
        first_features=mapped[0].tolist(),
        mean=mapped.mean(axis=0).tolist(),
        covariance_traces=[float((eigenvalues**k).sum()) for k in (1, 2, 3)],
        cases=cases,
    )


def adwin(rng) -> None:
    steps = np.concatenate([rng.random(1200) < 0.2, rng.random(800) < 0.5, rng.random(700) < 0.45]).astype(float)
    levels = np.round(np.concatenate([rng.normal(0.9, 0.02, 150), rng.normal(0.65, 0.02, 150)]), 4)
    cases = []
    for values, settings in [
        (steps, {"delta": 0.002, "clock": 32, "buckets_max": 5, "part_min": 5, "grace": 10}),
        (levels, {"delta": 0.002, "clock": 1, "buckets_max": 5, "part_min": 5, "grace": 10}),
        (steps[:1600], {"delta": 0.05, "clock": 8, "buckets_max": 3, "part_min": 8, "grace": 30}),
    ]:
        window = AdaptiveWindowing(
            delta=settings["delta"],
            clock=settings["clock"],
            max_buckets=settings["buckets_max"],
            min_window_length=settings["part_min"],
            grace_period=settings["grace"],
        )
        changes, states = [], []
        for index, value in enumerate(values):
            if window.update(float(value)):
                changes.append(index)
            if index % 25 == 24:
                width = window.get_width()
                states.append([int(width), window.get_total() / width, window.get_variance()])
        case = {"settings": settings, "values": values.tolist(), "changes": changes}
        cases.append({**case, "states": states})
    write("adwin", "river 0.26.1, every 25 values: width, mean, sum of squared deviations", cases=cases)


def ddm(rng) -> None:
    errors = np.concatenate([rng.random(800) < 0.1, rng.random(600) < 0.25, rng.random(400) < 0.25, rng.random(600) < 0.5])
    detector = DDM()
    warned, drifted = [], []
    for index, error in enumerate(errors):
        detector.update(bool(error))
        if detector.warning_detected:
            warned.append(index)
        if detector.drift_detected:
            drifted.append(index)
    write("ddm", "river 0.26.1", errors=errors.astype(int).tolist(), warnings=warned, drifts=drifted)


def accuracy(rng) -> None:
    """Binary probabilities that are calibrated by construction; NannyML is told so, lest it fit an isotone curve to them."""
    rows = 6000
    probability = np.round(rng.beta(0.7, 0.7, size=rows), 4)
    truth = (rng.random(rows) < probability).astype(int)
    predicted = (0.5 <= probability).astype(int)
    confidence = np.maximum(probability, 1 - probability)
    split = 5000
    components = accuracy_sampling_error_components(truth[:split], predicted[:split])
    frame = pd.DataFrame({"p": probability, "predicted": predicted, "truth": truth})
    reference, window = frame[:split].reset_index(drop=True), frame[split:].reset_index(drop=True)
    estimator = nannyml.CBPE(
        metrics=["accuracy"], y_pred="predicted", y_pred_proba="p", y_true="truth",
        problem_type="classification_binary", chunk_size=rows - split,
    )
    estimator.fit(reference)
    estimator.needs_calibration = False
    result = estimator.estimate(window).filter(period="analysis").to_df()
    value = float(result[("accuracy", "value")].iloc[0])
    error = float(result[("accuracy", "sampling_error")].iloc[0])
    assert math.isclose(value, estimate_accuracy(predicted[split:], probability[split:]), abs_tol=1e-12)
    assert math.isclose(error, accuracy_sampling_error(components, window), abs_tol=1e-12)
    edges = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    count = lambda mask: np.histogram(confidence[mask], edges)[0].tolist()
    right, is_reference = predicted == truth, np.arange(rows) < split
    labelled = (~is_reference) & (np.arange(rows) % 2 == 0)
    counts, correct = np.array(count(is_reference)), np.array(count(is_reference & right))
    seen, some = np.array(count(~is_reference)), np.array(count(labelled))
    share = correct / counts
    realised = right[labelled].mean()
    succession = (correct + 1) / (counts + 2)
    noise = succession * (1 - succession)
    binned = float((seen * share).sum() / seen.sum())
    unknown = (seen / seen.sum()) ** 2 * noise / counts
    gap_unknown = (some / some.sum()) ** 2 * noise / counts
    write(
        "accuracy",
        "nannyml 0.13.1 (mean confidence), numpy 2.4.6 (histogram binning, gap)",
        confidence_sum=float(confidence[~is_reference].sum()),
        n=rows - split,
        reference_correct=int(right[is_reference].sum()),
        reference_n=split,
        estimated={"value": value, "standard_error": error},
        calibration={"counts": counts.tolist(), "correct": correct.tolist()},
        window=seen.tolist(),
        binned={
            "value": binned,
            "standard_error": float(np.sqrt(binned * (1 - binned) / seen.sum() + unknown.sum())),
        },
        labelled=some.tolist(),
        labelled_correct=int(right[labelled].sum()),
        realised={"value": float(realised), "standard_error": float(right[labelled].std() / np.sqrt(labelled.sum()))},
        gap={
            "estimated": float((some * share).sum() / some.sum()),
            "realised": float(realised),
            "standard_error": float(np.sqrt((some * noise).sum() / some.sum() ** 2 + gap_unknown.sum())),
        },
    )


def main() -> None:
    pairs = count_pairs(np.random.default_rng(1))
    stability(pairs)
    divergence(pairs)
    chi_square(pairs)
    kolmogorov_smirnov(np.random.default_rng(2), pairs)
    tails()
    cross_entropy(np.random.default_rng(3))
    means(np.random.default_rng(4))
    discrepancy(np.random.default_rng(5))
    adwin(np.random.default_rng(6))
    ddm(np.random.default_rng(7))
    accuracy(np.random.default_rng(8))


if __name__ == "__main__":
    main()
