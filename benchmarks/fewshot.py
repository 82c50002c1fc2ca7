"""Every head at 0, 1, 3, 5 and 10 labels a class on the real domain shifts, with its baselines.

    python -m benchmarks.fewshot            prints the table and writes build/evidence/fewshot.json

The device has the source statistics (no source sample) and learns labels of the pool; the test part of the
target judges. Draws are the same for all heads. Features are extracted once and cached under build/features.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import HEADS, fit_head, random_layer
from edgetl_runtime.learner import Learner
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics

from benchmarks.evidence import data_folder, write_evidence
from benchmarks.fewshot_data import Shift, shifts
from edgetl.building.factory_head import make_head_member
from edgetl.extraction import ExtractedPart

LABELS = (0, 1, 3, 5, 10)
CONTROL = "spsw control"
INF = float("inf")


class Job:
    """One shift with all that the heads need of its source, computed once."""

    def __init__(self, shift: Shift) -> None:
        self.shift, self.dim = shift, shift.source.shape[1]
        self.source = self.counted(shift.source, shift.source_labels)
        # What 8 MiB hold: a layer that a small board takes.
        self.layer = random_layer(self.source, size_bytes=8 * 2**20)
        projected = self.layer.apply(shift.source)
        self.projected = Statistics(self.layer.width, projected.mean(axis=0))
        self.projected.add(projected, shift.source_labels)
        self.members: dict[str, HeadMember] = {}

    def shipped(self, name: str, **options: object) -> HeadMember:
        """What a bundle with that head carries, made once."""
        if name not in self.members:
            x, y = self.shift.source, [str(label) for label in self.shift.source_labels]
            nothing = ExtractedPart(x[:0], [], [], [], 0)
            self.members[name] = make_head_member(name, options, "fewshot", ExtractedPart(x, y, [], [], 0), nothing)
        return self.members[name]

    def counted(self, x: np.ndarray, y: np.ndarray) -> Statistics:
        result = Statistics(self.dim, shift=self.shift.source.mean(axis=0))
        if len(x):
            result.add(x, y)
        return result

    def drawn(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng, y = np.random.default_rng(seed), self.shift.pool_labels
        known = [c for c in np.unique(y) if c in self.shift.source_labels]
        chosen = [rng.permutation(np.flatnonzero(y == c))[:count] for c in known]
        rows = np.concatenate(chosen) if count else np.zeros(0, int)
        return self.shift.pool[rows], y[rows]

    def accuracy(self, head) -> float:
        found = np.asarray(head.predict(self.shift.test)).astype(str)
        return 100.0 * float((found == self.shift.test_labels.astype(str)).mean())


def stored(x: np.ndarray, y: np.ndarray) -> Reservoir:
    store = Reservoir(x.shape[1], max(1, len(x)) * 2 * x.shape[1], same=1.1)
    store.add(x, y, np.random.default_rng(0))
    return store


def from_prior(name: str, **options):
    return lambda job, x, y: fit_head(name, job.counted(x, y), job.source, **options)


def from_target(name: str, **options):
    return lambda job, x, y: fit_head(name, job.counted(x, y), **options)


def from_reservoir(name: str, **options):
    return lambda job, x, y: fit_head(name, job.counted(x, y), job.source, reservoir=stored(x, y), **options)


def as_shipped(name: str, **options):
    """A bundle with that head, and the device that learns on it: source features in a reservoir of 4 MiB."""

    def fit(job: Job, x: np.ndarray, y: np.ndarray):
        learner = Learner(job.shipped(name, **options))
        learner.add(x, [str(label) for label in y])
        return learner.fit().head

    return fit


def behind_layer(job: Job, x: np.ndarray, y: np.ndarray):
    learnt = Statistics(job.layer.width, job.projected.shift)
    if len(x):
        learnt.add(job.layer.apply(x), y)
    return fit_head("ridge_rp", learnt, job.projected, layer=job.layer)


CONTESTANTS: dict[str, Callable] = {
    "slda": from_prior("slda"),
    "slda, plain MAP n0=5": from_prior("slda", common=INF, trust=INF),
    "slda, plain MAP n0=1": from_prior("slda", n0=1.0, common=INF, trust=INF),
    "slda, own means on source covariance": from_prior("slda", n0=0.0, common=INF, trust=INF),
    "ncm": from_prior("ncm"),
    "ncm, cosine (imprinting)": from_prior("ncm", metric="cosine"),
    "ridge": from_prior("ridge"),
    "ridge, balanced": from_prior("ridge", balanced=True),
    "ridge_rp, 8 MiB": behind_layer,
    "gaussian_nb": from_prior("gaussian_nb"),
    "auto": from_reservoir("auto"),
    "softmax, source features in the bundle": as_shipped("softmax", strength=0.1),
    "mlp, source features in the bundle": as_shipped("mlp", width=32, steps=100),
    "knn, source features in the bundle": as_shipped("knn"),
    "target only: ncm": from_target("ncm"),
    "target only: slda": from_target("slda"),
    "target only: ridge": from_target("ridge"),
    "target only: softmax": from_reservoir("softmax", strength=0.1),
    "target only: mlp": from_reservoir("mlp", width=32, steps=100),
    "target only: knn": from_reservoir("knn"),
}
assert all(any(name.startswith(row) or f": {row}" in name for name in CONTESTANTS) for row in HEADS)


def measure(name: str, makers: list, draws: int) -> dict:
    """Accuracy of every contestant on one set: mean over its shifts and draws, with the error of that mean."""
    figures: dict[str, dict[str, list[float]]] = {key: {} for key in CONTESTANTS}
    untouched, oracle = [], []
    for make in makers:
        job = Job(make())
        untouched.append(job.accuracy(fit_head("slda", Statistics(job.dim), job.source)))
        oracle.append(job.accuracy(fit_head("slda", job.counted(job.shift.pool, job.shift.pool_labels))))
        for count in LABELS:
            for seed in range(draws if count else 1):
                x, y = job.drawn(count, seed)
                for key, fit in CONTESTANTS.items():
                    if count == 0 and key.startswith("target only"):
                        continue
                    if seed > 0 and job.dim > 1000 and ("mlp" in key or "softmax" in key):
                        continue
                    figures[key].setdefault(str(count), []).append(job.accuracy(fit(job, x, y)))
    return {
        "untouched": float(np.mean(untouched)),
        "oracle": float(np.mean(oracle)),
        "heads": {
            key: {
                count: {"mean": float(np.mean(values)), "error": float(np.std(values) / np.sqrt(len(values)))}
                for count, values in by_count.items()
            }
            for key, by_count in figures.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4, help="draws of labels for each figure (2 on large features)")
    parser.add_argument("--sets", nargs="*", default=None, help=f"of {list(shifts())}")
    options = parser.parse_args()
    data_folder()
    began, results = time.perf_counter(), {}
    for name, makers in shifts().items():
        if options.sets is not None and name not in options.sets:
            continue
        results[name] = measure(name, makers, 2 if name == "grocery" else options.draws)
        figures = results[name]
        print(f"\n{name}: source head untouched {figures['untouched']:.1f}, all of the pool {figures['oracle']:.1f}")
        print_rows({key: {c: v["mean"] for c, v in rows.items()} for key, rows in figures["heads"].items()})
    mean = {}
    judged = [name for name in results if name != CONTROL]
    for key in CONTESTANTS:
        mean[key] = {
            str(c): float(np.mean([results[name]["heads"][key][str(c)]["mean"] for name in judged]))
            for c in LABELS
            if judged and all(str(c) in results[name]["heads"][key] for name in judged)
        }
    print(f"\nmean of {', '.join(judged)}")
    print_rows(mean)
    few = {key: float(np.mean([rows[str(c)] for c in LABELS[1:]])) for key, rows in mean.items() if rows}
    best = max(few, key=lambda key: few[key])
    gap = few[best] - few["slda"]
    print(f"\nmean over 1, 3, 5 and 10 labels: slda {few['slda']:.2f}; best {best} {few[best]:.2f}, {gap:.2f} ahead")
    harm = None
    if CONTROL in results:
        control = results[CONTROL]
        harm = {c: control["heads"]["slda"][str(c)]["mean"] - control["untouched"] for c in LABELS}
        print("without a shift slda changes by " + ", ".join(f"{harm[c]:+.1f} at {c}" for c in LABELS))
    seconds = time.perf_counter() - began
    evidence = {"sets": results, "mean": mean, "few_shot_mean": few, "best": best, "control": harm, "seconds": seconds}
    path = write_evidence("fewshot", evidence)
    print(f"{seconds:.0f} s; written to {path}")


def print_rows(rows: dict) -> None:
    print(f"{'labels a class':40s}" + "".join(f"{c:7d}" for c in LABELS))
    for key, by_count in rows.items():
        cells = [f"{by_count[str(c)]:7.1f}" if str(c) in by_count else "      -" for c in LABELS]
        print(f"{key:40s}" + "".join(cells))


if __name__ == "__main__":
    main()
