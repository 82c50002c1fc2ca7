"""What an observation and an adaptation cost at D = 1280, in time and in memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from edgetl_runtime.adapt import (
    ADAPTERS,
    Buffer,
    Likeness,
    Situation,
    adapt,
    choose_questions,
    clusters,
    fitness,
    recalibrated,
)
from edgetl_runtime.drift import Adwin, Reference, diagnose
from edgetl_runtime.heads import fit_head
from edgetl_runtime.outliers import fit_outliers
from edgetl_runtime.statistics import Statistics

__all__ = ["cost"]

D, K, BUFFER, HELD = 1280, 10, 300, 300


def cost(repeats: int = 5) -> dict[str, dict[str, float]]:
    """Medians in ms, their ratio to one product of two (D, D) matrices in this run, and the peak of new memory."""
    here = _situation()
    head, reference = here.head, here.reference
    score = reference.score
    buffer = Buffer(D, 2 * D * BUFFER)
    adwin, stamp = Adwin(), iter(range(10**9))

    def observe() -> None:
        row = here.rows[:1]
        confidence = float(head.predict_proba(row).max())
        score.score(row)
        buffer.add(row[0], float(next(stamp)))
        adwin.update(confidence)

    unknown = here.rows[:200]
    likeness = Likeness.of(here.source, here.rows[:100], [0] * 100)
    matrix = np.random.default_rng(0).normal(size=(D, D))
    actions: dict[str, Callable[[], object]] = {
        "one product (D, D) x (D, D)": lambda: matrix @ matrix,
        "observe one sample: probabilities, outlier score, buffer, ADWIN": observe,
        "reference: directions and held-out samples": lambda: Reference.of(
            head, here.source, here.rows, [0] * len(here.rows), score
        ),
        "diagnose": lambda: diagnose(reference, reference.see(here.rows)),
        "fitness of the buffer": lambda: fitness(here),
        "questions": lambda: choose_questions(
            head.predict_proba(here.rows), here.rows, 10, np.random.Generator(np.random.PCG64(0))
        ),
        "clusters of 200 unknown": lambda: clusters(unknown, likeness),
    }
    # Answers of a batchwise head are its cost; the others are as fast as the head was.
    lame = adapt("lame", here).head
    actions["answer a batch of 64 by LAME"] = lambda: lame.predict(here.rows[:64])
    actions.update({f"adapt: {name}": lambda name=name: adapt(name, here) for name in ADAPTERS})
    rows = {}
    for name, act in actions.items():
        few = 200 if name.startswith("observe") else repeats if "adapt" not in name else max(1, repeats // 2)
        rows[name] = {"ms": 1000.0 * _median(act, few), "peak_mib": _peak(act)}
    unit = rows["one product (D, D) x (D, D)"]["ms"]
    for row in rows.values():
        row["products"] = row["ms"] / unit
    held = len(here.reference.sight)
    rows["kept"] = {
        "buffer_mib": sum(array.nbytes for array in buffer.state().values()) / 2**20,
        "reference_mib": (reference.basis.nbytes + held * 8 * (reference.basis.shape[1] + K + 1)) / 2**20,
        "buffer_samples": BUFFER,
        "reference_samples": held,
    }
    return rows


def _situation() -> Situation:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(K, D))

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        codes = np.arange(count) % K
        return centres[codes] + 2.0 * rng.normal(size=(count, D)), codes

    (x, y), (held, held_codes), (rows, _) = drawn(2000), drawn(HELD), drawn(BUFFER)
    source = Statistics(D, shift=x.mean(axis=0))
    source.add(x, y)
    head = fit_head("slda", Statistics(D, shift=source.shift), prior=source)
    score = fit_outliers(Statistics(D, shift=source.shift), source, head)
    head = recalibrated(head, held, held_codes, biases=False)
    plain = Situation(head, source, rows[rng.permutation(BUFFER)])
    return replace(plain, reference=Reference.of(head, source, held, held_codes, score))


def _median(act: Callable[[], object], repeats: int) -> float:
    act()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _peak(act: Callable[[], object]) -> float:
    tracemalloc.start()
    act()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20
