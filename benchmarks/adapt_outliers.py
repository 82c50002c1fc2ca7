"""Outlier scores on classes held out (near) and on another data set (far), and clusters of what is unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from edgetl_runtime.adapt import Likeness, clusters, recalibrated
from edgetl_runtime.heads import fit_head
from edgetl_runtime.outliers import EnergyScore, NeighbourScore, fit_outliers, outlier_threshold
from edgetl_runtime.statistics import Statistics

from benchmarks import fewshot_data
from benchmarks.adapt_domains import drawn_share
from benchmarks.evidence import data_folder
from benchmarks.fewshot_data import cached

__all__ = ["area", "outliers"]

STORED = 400  # what a reservoir of the device holds for the neighbour score


def area(known: np.ndarray, new: np.ndarray) -> float:
    """AUROC in %: the chance that a new sample scores above a known one, ties count half."""
    both = np.concatenate([known, new])
    order = np.argsort(both, kind="stable")
    ranks = np.empty(len(both))
    ranks[order] = np.arange(1.0, len(both) + 1.0)
    inverse = np.unique(both, return_inverse=True)[1]
    ranks = (np.bincount(inverse, ranks) / np.bincount(inverse))[inverse]
    above = ranks[len(known) :].sum() - len(new) * (len(new) + 1) / 2.0
    return 100.0 * float(above) / (len(known) * len(new))


def _far() -> dict[str, Callable[[], np.ndarray]]:
    """Features of something else altogether, through the same extractor."""
    return {"grocery": _far_pictures, "spsw": _far_motion, "fsdd": _far_sound}


def _far_pictures() -> np.ndarray:
    from benchmarks.steering import drive_features

    return cached("donkey_tub", drive_features)["x"][::4]


def _far_motion() -> np.ndarray:
    """A robot's IMU (borealtc) through the transformer that reads a phone's."""

    def made() -> dict[str, np.ndarray]:
        net = fewshot_data.session("limu_bert_x_features216.onnx")
        rows = []
        with np.load(data_folder() / "borealtc" / "runs.npz", allow_pickle=False) as stored:
            for key in sorted(name for name in stored.files if name.endswith("/imu"))[::3]:
                signal = stored[key].astype(np.float64)[::5, [3, 4, 5, 0, 1, 2]]
                signal[:, :3] /= 9.8
                for start in range(0, len(signal) - 20, 40):
                    tensor = signal[None, start : start + 20].astype(np.float32)
                    rows.append(net.run(["features"], {"imu": tensor})[0][0])
        return {"x": np.array(rows, np.float32)}

    return cached("borealtc_limu", made)["x"]


def _far_sound() -> np.ndarray:
    """Muscle signals (myo) played as sound, half a second each."""

    def made() -> dict[str, np.ndarray]:
        rows = []
        with np.load(data_folder() / "myo_emg" / "myo.npz", allow_pickle=False) as stored:
            for key in sorted(name for name in stored.files if name.endswith("/x"))[::3]:
                signal = stored[key].astype(np.float64).reshape(-1) / 128.0
                for start in range(0, min(len(signal) - 4000, 40_000), 8000):
                    rows.append(fewshot_data.mfcc(signal[start : start + 4000]))
        return {"x": np.array(rows)}

    return cached("myo_sound", made)["x"]


def outliers(runs: int = 5) -> dict[str, Any]:
    """A fifth of the classes held out, `runs` times: AUROC near and far, what a threshold finds, and the clusters."""
    makers: dict[str, Callable[[], fewshot_data.Shift]] = {
        "grocery": fewshot_data.grocery,
        "spsw": lambda: fewshot_data.spsw("sp"),
        "fsdd": lambda: fewshot_data.fsdd("theo"),
        "myo": lambda: fewshot_data.myo(5),
        "borealtc": fewshot_data.borealtc,
    }
    result: dict[str, Any] = {}
    for name, make in makers.items():
        shift, rows = make(), []
        far = _far()[name]() if name in _far() else None
        for seed in range(runs):
            rows.append(_run(shift.source, shift.source_labels, far, seed))
        keys = sorted({key for row in rows for key in row})
        result[name] = {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
    return result


def _run(x: np.ndarray, y: np.ndarray, far: np.ndarray | None, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    classes = np.unique(y)
    hidden = np.isin(y, rng.permutation(classes)[: max(1, len(classes) // 5)])
    fitted = drawn_share(y, 0.6, rng) & ~hidden
    held = rng.permutation(np.flatnonzero(~fitted & ~hidden))
    guard, test = held[: len(held) // 2][:400], held[len(held) // 2 :][:2000]
    source = Statistics(x.shape[1], shift=x[fitted].mean(axis=0))
    source.add(x[fitted], y[fitted])
    head = fit_head("slda", Statistics(source.dim, shift=source.shift), prior=source)
    head = recalibrated(head, x[guard], y[guard], biases=False)
    some = rng.permutation(np.flatnonzero(fitted))[:STORED]
    scores: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "rmds": fit_outliers(Statistics(source.dim, shift=source.shift), source).score,
        "energy": EnergyScore(head).score,
        "neighbour": NeighbourScore.of(x[some], source.shift).score,
        "max softmax": lambda part: -head.predict_proba(part).max(axis=1),
    }
    row: dict[str, float] = {}
    for name, score in scores.items():
        known = score(x[test])
        row[f"near {name}"] = area(known, score(x[hidden]))
        if far is not None:
            row[f"far {name}"] = area(known, score(far))
    score = scores["rmds"]
    threshold = outlier_threshold(score(x[guard]))
    row["known called unknown %"] = 100.0 * float((score(x[test]) > threshold).mean())
    row["new called unknown %"] = 100.0 * float((score(x[hidden]) > threshold).mean())
    row.update(_clustered(x, y, source, guard, test, hidden, score, threshold, rng))
    return row


def _clustered(
    x: np.ndarray,
    y: np.ndarray,
    source: Statistics,
    guard: np.ndarray,
    test: np.ndarray,
    hidden: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    threshold: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Clusters of the unknown half of a stream, each then taught by the label of its most typical member."""
    new = rng.permutation(np.flatnonzero(hidden))
    stream, later = np.concatenate([new[: len(new) // 2], test]), new[len(new) // 2 :]
    beyond = stream[score(x[stream]) > threshold]
    beyond = rng.permutation(beyond)[:300]
    found = clusters(x[beyond], Likeness.of(source, x[guard], y[guard]))
    row = {"clusters": float(len(found))}
    if not found:
        return row
    members = [beyond[list(cluster.members)] for cluster in found]
    row["samples in a cluster %"] = 100.0 * sum(map(len, members)) / len(beyond)
    same = sum(int((y[part] == y[part[0]]).sum()) for part in members)
    row["of the class of the first %"] = 100.0 * same / sum(map(len, members))
    learnt = Statistics(source.dim, shift=source.shift)
    single = Statistics(source.dim, shift=source.shift)
    for part in members:
        learnt.add(x[part], [int(y[part[0]])] * len(part))
        single.add(x[part[:1]], [int(y[part[0]])])
    for name, statistics in (("cluster", learnt), ("sample", single)):
        head = fit_head("slda", statistics, prior=source)
        for what, part in (("new classes", later), ("known", test)):
            row[f"{what} right after a label a {name} %"] = 100.0 * float((head.predict(x[part]) == y[part]).mean())
    row["labels given"] = float(len(members))
    return row
