"""Drift detectors: equal to river and SciPy, false alarms on correlated streams, power, and what is diagnosed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from edgetl_runtime.adapt import recalibrated
from edgetl_runtime.drift import (
    DETECTORS,
    Adwin,
    PageHinkley,
    Reference,
    Sight,
    chi_square,
    diagnose,
    kolmogorov_smirnov,
)
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics

from benchmarks import fewshot_data
from benchmarks.adapt_domains import drawn_share

__all__ = ["equal_to_references", "false_alarms", "named", "power"]

ALPHA = 0.05
COUNTS = (50, 100, 200, 500)


def equal_to_references() -> dict[str, Any]:
    """ADWIN and Page-Hinkley beside river on 100 streams, value by value; KS and chi-square beside SciPy."""
    result: dict[str, Any] = {}
    try:
        from river.drift import ADWIN
        from river.drift import PageHinkley as RiverPageHinkley
    except ImportError:
        result["river"] = "not installed: pip install river (its alarms are stored in tests/runtime/drift)"
    else:
        alarms = {"adwin": 0, "page_hinkley": 0}
        other = dict(alarms)
        for index in range(100):
            threshold = (5.0, 20.0, 50.0)[index % 3]
            pairs = {
                "adwin": (Adwin(), ADWIN()),
                "page_hinkley": (PageHinkley(threshold=threshold), RiverPageHinkley(threshold=threshold)),
            }
            for value in _numbers(index):
                for name, (mine, theirs) in pairs.items():
                    fired = mine.update(value)
                    theirs.update(value)
                    alarms[name] += fired
                    other[name] += fired != theirs.drift_detected
        result["river"] = {"streams": 100, "values": 2000, "alarms": alarms, "different": other}
    try:
        from scipy.stats import chi2_contingency, ks_2samp
    except ImportError:
        result["scipy"] = "not installed here: pip install scipy"
        return result
    rng, worst = np.random.default_rng(0), {"ks": 0.0, "chi_square": 0.0}
    for index in range(200):
        m, n = rng.integers(5, 400, 2)
        a, b = rng.normal(size=m), rng.normal(rng.choice([0.0, 0.3]), 1.1, n)
        if index % 3 == 0:
            a, b = a.round(1), b.round(1)
        theirs, mine = ks_2samp(a, b, method="exact"), kolmogorov_smirnov(a[:, None], b[:, None])
        gap = max(abs(theirs.pvalue - mine.p_value), abs(theirs.statistic - mine.statistic))
        worst["ks"] = max(worst["ks"], float(gap))
        k = int(rng.integers(2, 30))
        table = np.array([rng.multinomial(300, np.ones(k) / k), rng.multinomial(90, rng.dirichlet(np.full(k, 5.0)))])
        theirs, mine = chi2_contingency(table[:, table.sum(0) > 0], correction=False), chi_square(table[0], table[1])
        gap = max(abs(theirs.pvalue - mine.p_value), abs(theirs.statistic - mine.statistic) / max(1.0, mine.statistic))
        worst["chi_square"] = max(worst["chi_square"], float(gap))
    result["scipy"] = worst
    return result


def _numbers(index: int) -> Iterator[float]:
    """Errors, normal values, confidences or a walk, most with a jump."""
    rng = np.random.default_rng(index)
    cut, place = int(rng.integers(300, 1700)), np.arange(2000)
    late = place >= cut
    if index % 4 == 0:
        values = (rng.random(2000) < np.where(late, rng.uniform(0.1, 0.6), 0.1)).astype(float)
    elif index % 4 == 1:
        values = rng.normal(size=2000) + np.where(late, rng.uniform(-3, 3), 0.0)
    elif index % 4 == 2:
        values = rng.beta(8, 2, 2000) * np.where(late, rng.uniform(0.5, 1.0), 1.0)
    else:
        values = 0.1 * rng.normal(size=2000).cumsum()
    yield from (float(value) for value in values)


# ---------------------------------------------------------------- false alarms


def false_alarms(streams: int = 1000) -> dict[str, Any]:
    """Share of streams without change that are called changed, by how slow they are; promised: at most ALPHA.

    Gaussian classes (K = 5, D = 20): noise autoregressive with coefficient rho, classes that last `dwell`
    samples on average; 200 or 1,000 samples. The reference are 300 independent held-out samples.
    """
    kinds = [(0.0, 1), (0.2, 1), (0.5, 1), (0.8, 1), (0.9, 5), (0.95, 20), (0.0, 20), (0.3, 3), (0.7, 5), (0.98, 40)]
    rows = []
    for place, (rho, dwell) in enumerate(kinds):
        for count in (200, 1000):
            rng = np.random.default_rng(1000 * place + count)
            fired = naive = 0
            independent = []
            runs = streams // (2 * len(kinds))
            for run in range(runs):
                if run % 10 == 0:
                    reference, centres, mix = _world(rng)
                x = _stream(rng, centres, mix, count, rho, dwell)
                sight = reference.see(x)
                found = diagnose(reference, sight, alpha=ALPHA)
                fired += found.kind != "none"
                independent.append(found.independent)
                naive += diagnose(reference, sight.taken(rng.permutation(count)), alpha=ALPHA).kind != "none"
            row = {"rho": rho, "dwell": dwell, "samples": count, "streams": runs, "alarms": fired}
            rows.append({**row, "independent": float(np.mean(independent)), "alarms_without_thinning": naive})
    total, fired = sum(row["streams"] for row in rows), sum(row["alarms"] for row in rows)
    naive = sum(row["alarms_without_thinning"] for row in rows)
    share = {"promised": ALPHA, "share": fired / total, "share_without_thinning": naive / total}
    return {"rows": rows, "streams": total, "alarms": fired, **share}


def _world(rng: np.random.Generator, k: int = 5, dim: int = 20) -> tuple[Reference, np.ndarray, np.ndarray]:
    centres, mix = 0.7 * rng.normal(size=(k, dim)), rng.normal(size=(dim, dim)) / np.sqrt(dim)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        codes = rng.integers(0, k, count)
        return centres[codes] + rng.normal(size=(count, dim)) @ mix, codes

    (x, y), (held, held_codes) = drawn(2000), drawn(300)
    source = Statistics(dim, shift=x.mean(axis=0))
    source.add(x, y)
    return _reference(source, held, held_codes), centres, mix


def _reference(source: Statistics, held: np.ndarray, labels: np.ndarray) -> Reference:
    head = fit_head("slda", Statistics(source.dim, shift=source.shift), prior=source)
    return Reference.of(recalibrated(head, held, labels, biases=False), source, held, labels)


def _stream(
    rng: np.random.Generator, centres: np.ndarray, mix: np.ndarray, count: int, rho: float, dwell: int
) -> np.ndarray:
    codes, noise = rng.integers(0, len(centres), count), rng.normal(size=(count, len(mix)))
    stays = rng.random(count) >= 1.0 / dwell
    for place in range(1, count):
        codes[place] = codes[place - 1] if stays[place] else codes[place]
        noise[place] = rho * noise[place - 1] + np.sqrt(1.0 - rho**2) * noise[place]
    return centres[codes] + noise @ mix


# ---------------------------------------------------------------- power and diagnosis on real features


def _sources() -> dict[str, Callable[[], fewshot_data.Shift]]:
    return {
        "grocery": fewshot_data.grocery,
        "spsw": lambda: fewshot_data.spsw("sp"),
        "fsdd": lambda: fewshot_data.fsdd("theo"),
        "myo": lambda: fewshot_data.myo(5),
        "borealtc": fewshot_data.borealtc,
    }


def _split(shift: fewshot_data.Shift, seed: int, without: int) -> tuple[Reference, np.ndarray, np.ndarray, np.ndarray]:
    """A reference, held-out rows with labels, and rows of `without` classes that nobody was shown."""
    rng = np.random.default_rng(seed)
    x, y = shift.source, shift.source_labels
    known = ~np.isin(y, rng.permutation(np.unique(y))[:without])
    fitted = drawn_share(y, 0.5, rng) & known
    source = Statistics(x.shape[1], shift=x[fitted].mean(axis=0))
    source.add(x[fitted], y[fitted])
    held = rng.permutation(np.flatnonzero(~fitted & known))
    half = min(len(held) // 2, 400)
    reference = _reference(source, x[held[:half]], y[held[:half]])
    return reference, x[held[half:]].astype(np.float64), y[held[half:]], x[~known].astype(np.float64)


def _changed(
    reference: Reference, x: np.ndarray, y: np.ndarray, new: np.ndarray, count: int, rng: np.random.Generator
) -> dict[str, Sight]:
    """Windows of `count` held-out samples after each change; drawn without replacement."""

    def drawn(weights: np.ndarray | None = None) -> np.ndarray:
        if weights is None:
            return x[rng.permutation(len(x))[:count]]
        chance = weights[y] / weights[y].sum()
        return x[rng.choice(len(x), min(count, int((chance > 1e-6).sum()) // 2), replace=False, p=chance)]

    classes, most = np.unique(y), int(y.max()) + 1
    gone, halved, other = np.ones(most), np.ones(most), 1e-6 + rng.dirichlet(np.full(most, 0.5))
    gone[classes[0]], halved[classes[0]] = 0.0, 0.5
    plain, offset = drawn(), 0.5 * x.std(axis=0) * rng.normal(size=x.shape[1])
    share = max(1, int(0.3 * len(plain)))
    with_new = np.concatenate([plain[share:], new[rng.permutation(len(new))[:share]]])
    sight = reference.see(plain)
    hotter = reference.head.with_temperature(1.7 * reference.head.metadata()["temperature"])
    return {
        "nothing": sight,
        "one class gone": reference.see(drawn(gone)),
        "one class halved": reference.see(drawn(halved)),
        "other class frequencies": reference.see(drawn(other)),
        "confidence / 1.7": Sight(sight.features, hotter.predict_proba(plain), sight.outliers),
        "gain 1.3": reference.see(1.3 * plain),
        "random offset of half a spread": reference.see(plain + offset),
        "30 % of unknown classes": reference.see(with_new[rng.permutation(len(with_new))]),
        "one frame for ever": reference.see(np.repeat(plain[:1], count, axis=0)),
    }


def power(runs: int = 30) -> dict[str, dict[str, dict[str, float]]]:
    """Share of windows in which each test fires at 5 %, alone: change -> samples -> test. Gestures (myo)."""
    shift, fired = fewshot_data.myo(5), {}
    for seed in range(runs):
        reference, x, y, new = _split(shift, seed, 1)
        for count in COUNTS:
            rng = np.random.default_rng(10_000 + seed)
            for change, sight in _changed(reference, x, y, new, count, rng).items():
                row = fired.setdefault(change, {}).setdefault(str(count), Counter())
                for name, detector in DETECTORS.items():
                    outcome = detector.test(reference.sight, sight, np.random.Generator(np.random.PCG64(seed)))
                    row[name] += outcome.p_value <= ALPHA
    return {
        change: {count: {name: row[name] / runs for name in DETECTORS} for count, row in by_count.items()}
        for change, by_count in fired.items()
    }


def named(runs: int = 12, count: int = 200) -> dict[str, dict[str, dict[str, int]]]:
    """What each change of held-out source samples is called: set -> change -> kind -> times."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for name, make in _sources().items():
        shift = make()
        for seed in range(runs):
            without = max(1, len(np.unique(shift.source_labels)) // 10)
            reference, x, y, new = _split(shift, seed, without)
            changed = _changed(reference, x, y, new, count, np.random.default_rng(10_000 + seed))
            for change, sight in changed.items():
                found.setdefault(name, {}).setdefault(change, Counter())[diagnose(reference, sight).kind] += 1
    return {name: {change: dict(kinds) for change, kinds in row.items()} for name, row in found.items()}
