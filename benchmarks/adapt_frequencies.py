"""Label-shift estimation on real features, by how the head was calibrated; and what skewed or broken buffers do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from edgetl_runtime.adapt import ADAPTERS, Situation, adapt, challengers, recalibrated
from edgetl_runtime.adapt.choosing import chosen
from edgetl_runtime.drift import Diagnosis, Reference, diagnose
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics

from benchmarks import fewshot_data
from benchmarks.adapt_domains import domains, drawn_share, mixed, situation

__all__ = ["dirichlet", "self_taught_labels", "skewed"]

ALPHAS = (0.1, 1.0, 10.0)


def dirichlet(runs: int = 20) -> dict[str, dict[str, dict[str, float]]]:
    """Median points gained by EM on streams of held-out source samples at Dirichlet frequencies: set -> alpha."""
    makers: dict[str, Callable[[], fewshot_data.Shift]] = {
        "myo": lambda: fewshot_data.myo(5),
        "borealtc": fewshot_data.borealtc,
        "spsw": lambda: fewshot_data.spsw("sp"),
        "fsdd": lambda: fewshot_data.fsdd("theo"),
    }
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, make in makers.items():
        shift = make()
        for alpha in ALPHAS:
            gains: dict[str, list[float]] = {}
            for seed in range(runs):
                for key, value in _frequencies(shift.source, shift.source_labels, alpha, seed).items():
                    gains.setdefault(key, []).append(value)
            result.setdefault(name, {})[str(alpha)] = {key: float(np.median(v)) for key, v in gains.items()}
    return result


def _frequencies(x: np.ndarray, y: np.ndarray, alpha: float, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    fitted = drawn_share(y, 0.5, rng)
    held = rng.permutation(np.flatnonzero(~fitted))
    guard, rest = held[: len(held) // 2][:500], held[len(held) // 2 :]
    source = Statistics(x.shape[1], shift=x[fitted].mean(axis=0))
    source.add(x[fitted], y[fitted])
    bare = fit_head("slda", Statistics(source.dim, shift=source.shift), prior=source)
    classes = np.unique(y)
    shares = dict(zip(classes.tolist(), rng.dirichlet(np.full(len(classes), alpha)) + 1e-9, strict=True))
    chance = np.array([shares[label] / (y[rest] == label).sum() for label in y[rest].tolist()])
    stream = rest[rng.choice(len(rest), min(1000, len(rest)), p=chance / chance.sum())]
    heads = {
        "not calibrated": bare,
        "temperature": recalibrated(bare, x[guard], y[guard], biases=False),
        "temperature and biases": recalibrated(bare, x[guard], y[guard]),
    }
    row = {}
    before = float((bare.predict(x[stream]) == y[stream]).mean())
    for name, head in heads.items():
        here = Situation(head, source, x[stream].astype(float), Reference.of(head, source, x[guard], y[guard]))
        for method in ("label_shift", "label_shift_bbse"):
            right = float((adapt(method, here).head.predict(x[stream]) == y[stream]).mean())
            row[f"{method}, {name}"] = 100.0 * (right - before)
    return row


def _spoilt(plain: Situation, labels: np.ndarray, rows: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(labels))
    rows = rows.astype(np.float64)
    one = rows[rng.integers(len(rows))][None]
    noise = 0.05 * rows.std(axis=0)
    yield "whole", rows
    yield "one class absent", rows[labels != classes[0]]
    yield "half of the classes", rows[np.isin(labels, classes[: (len(classes) + 1) // 2])]
    yield "one class", rows[labels == classes[0]]
    yield "200 frames of one scene", one + noise * rng.normal(size=(200, rows.shape[1]))
    yield "a dead sensor", np.repeat(one, 200, axis=0)


def skewed(seeds: int = 3, labels: int = 100) -> list[dict[str, Any]]:
    """Every domain, buffers that show a part of it: what an adapter alone, and what the whole chain does.

    A row a buffer: mean change in points and share of runs more than a point worse, for always taking
    restandardise and prototypes, and for fitness + diagnosis + `labels` judged samples; and how often anything was
    offered at all.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for name, makers in domains().items():
        # D = 1280 takes minutes a run, most of them in eigendecompositions: once.
        for make in makers if name != "grocery" else makers[:1]:
            shift = make()
            for seed in range(seeds if name != "grocery" else 1):
                cut = mixed(shift, seed)
                plain = situation(cut, seed)
                for buffer, rows in _spoilt(plain, cut.pool_labels, cut.pool, seed):
                    for key, value in _spoilt_run(cut, plain, rows, seed, labels).items():
                        found.setdefault(buffer, {}).setdefault(key, []).append(value)
    return [
        {
            "buffer": name,
            "runs": len(row["chain"]),
            "offered %": 100.0 * float(np.mean(row["offered"])),
            **{
                f"{method}{what}": float(value)
                for method in ("restandardise", "prototypes", "chain")
                for what, value in (
                    (" mean change", np.mean(row[method])),
                    (" worse by more than a point %", 100.0 * np.mean(np.array(row[method]) < -1.0)),
                )
            },
        }
        for name, row in found.items()
    ]


def _spoilt_run(
    cut: fewshot_data.Shift, plain: Situation, rows: np.ndarray, seed: int, labels: int
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))[:1000] if len(np.unique(rows[:, 0])) > 1 else np.arange(len(rows))
    here = replace(plain, rows=rows[order])
    found: Diagnosis = diagnose(here.reference, here.reference.see(here.rows))
    offered = {one.adapter: one.head for one in challengers(found, here).adapted}
    judges = rng.choice(len(cut.pool), min(labels, len(cut.pool)), replace=False)
    live = plain.head.predict(cut.pool[judges]) == cut.pool_labels[judges]
    right = {name: head.predict(cut.pool[judges]) == cut.pool_labels[judges] for name, head in offered.items()}
    winner = chosen(live, right)
    base = float((plain.head.predict(cut.test) == cut.test_labels).mean())

    def change(head: Any) -> float:
        return 100.0 * (float((head.predict(cut.test) == cut.test_labels).mean()) - base)

    alone = {name: change(offered.get(name) or adapt(name, here).head) for name in ("restandardise", "prototypes")}
    assert set(alone) <= set(ADAPTERS)
    return {**alone, "chain": change(offered[winner]) if winner else 0.0, "offered": float(bool(offered))}


def self_taught_labels(draws: int = 3) -> dict[str, dict[str, dict[str, float]]]:
    """Few labels on a new task, without any source: in the device's own principal components, plain and whitened."""
    from edgetl_runtime.adapt.self_taught import device_basis

    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, makers in domains().items():
        found: dict[str, dict[str, list[float]]] = {}
        for make in makers[:3]:
            shift = make()
            unlabelled = Statistics(shift.pool.shape[1], shift=shift.pool.mean(axis=0))
            unlabelled.add_unlabelled(shift.pool)
            bases = {
                "all features": None,
                "own components": device_basis(unlabelled.unlabelled, unlabelled.shift),
                "own components, whitened": device_basis(unlabelled.unlabelled, unlabelled.shift, power=-0.5),
            }
            for count in (1, 3, 5, 10):
                for seed in range(draws if shift.pool.shape[1] < 1000 else 1):
                    rows = _few(shift.pool_labels, count, np.random.default_rng(seed))
                    for key, basis in bases.items():
                        right = _fresh(shift, rows, (lambda x: x) if basis is None else basis.apply)
                        found.setdefault(str(count), {}).setdefault(key, []).append(right)
        result[name] = {count: {key: float(np.mean(v)) for key, v in row.items()} for count, row in found.items()}
    return result


def _few(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:count] for label in np.unique(labels)])


def _fresh(shift: fewshot_data.Shift, rows: np.ndarray, through: Callable[[np.ndarray], np.ndarray]) -> float:
    x = through(shift.pool[rows])
    learnt = Statistics(x.shape[1])
    learnt.add(x, shift.pool_labels[rows])
    return 100.0 * float((fit_head("slda", learnt).predict(through(shift.test)) == shift.test_labels).mean())
