"""`make series`: small networks on raw windows and on sound, trained here, and what a device makes of a new domain.

A network is trained on the source (persons, speakers, early runs) by `edgetl.finetune(..., recipe="scratch")` and
packed; a session on that bundle learns 1, 3, 5 and 10 labels a class of the target and is judged on other recordings
of it. Beside it: the same bundle untouched; the best of three heads on the target labels alone; SLDA on every label of
the pool (oracle); and the features that `make fewshot` computes by hand, behind the same head on the same windows.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.windows import WindowSpec

import edgetl
from benchmarks.evidence import data_folder, write_evidence
from benchmarks.fewshot_data import _emg, _terrain, mfcc
from benchmarks.motion import ACTIVITIES, CHANNELS, UNITS, streams
from edgetl.data import Dataset, Recording
from edgetl.data.recordings import read_recordings

LABELS = (1, 3, 5, 10)
ROWS = ("network", "network, target only", "by hand", "by hand, target only")


@dataclass(frozen=True)
class Shift:
    """Recordings of the source, of the pool that labels come from, and of the test; the network; features by hand."""

    name: str
    network: str
    turn: float | None
    window: WindowSpec
    parts: tuple[list[Recording], list[Recording], list[Recording]]
    by_hand: Callable[[np.ndarray], np.ndarray]
    epochs: int


def spsw(device: str) -> Shift:
    """Phones of persons 1-7 -> phones or watches of the others: 8-10 the pool, 11-14 the test."""

    def of(which: str, persons: range) -> list[Recording]:
        names = np.array(ACTIVITIES)
        return [
            Recording(one.name, one.seconds, one.values, names[one.labels], one.name[:3], CHANNELS, UNITS, 100.0)
            for one in streams(which, persons)
        ]

    parts = of("sp", range(1, 8)), of(device, range(8, 11)), of(device, range(11, 15))
    name = "spsw watch" if device == "sw" else "spsw control"
    return Shift(name, "edgetl/conv1d-s", 180.0, WindowSpec(50, 25, 50.0), parts, _terrain, 30)


def borealtc() -> Shift:
    """Early runs -> late runs with the IMU turned by 90 degrees: even late runs the pool, odd ones the test."""
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    parts: tuple[list[Recording], ...] = ([], [], [])
    with np.load(data_folder() / "borealtc" / "runs.npz", allow_pickle=False) as stored:
        keys = sorted({key.split("/")[0] for key in stored.files})
        for key in keys:
            terrain, run = key.rsplit("_", 1)
            x = stored[f"{key}/imu"].astype(np.float64)
            late = 2 * int(run) >= sum(other.startswith(terrain + "_") for other in keys)
            if late:
                x = np.concatenate([x[:, :3] @ rotation.T, x[:, 3:] @ rotation.T], axis=1)
            stamps = np.arange(len(x)) / 100.0
            one = Recording(key, stamps, x, terrain, key, CHANNELS, UNITS, 100.0)
            parts[1 + int(run) % 2 if late else 0].append(one)
    return Shift("borealtc", "edgetl/conv1d-s", 180.0, WindowSpec(170, 170, 100.0), parts, _terrain, 15)  # type: ignore[arg-type]


def myo(person: int) -> Shift:
    """Other persons -> one person: the first session the pool, the others the test."""
    parts: tuple[list[Recording], ...] = ([], [], [])
    with np.load(data_folder() / "myo_emg" / "myo.npz", allow_pickle=False) as stored:
        keys = sorted({key.split("/")[0] for key in stored.files})
        first = min(key.split("_")[1] for key in keys if int(key[1:3]) == person)
        for key in keys:
            x, y = stored[f"{key}/x"].astype(np.float64), stored[f"{key}/y"].astype(str)
            who, session, _ = key.split("_")
            one = Recording(key, np.arange(len(x)) / 200.0, x, y, who + session, rate_hz=200.0)
            own = int(who[1:]) == person
            parts[(1 if session == first else 2) if own else 0].append(one)
    return Shift(f"myo p{person:02d}", "edgetl/conv1d-s", None, WindowSpec(80, 200, 200.0), parts, _emg, 6)  # type: ignore[arg-type]


def fsdd(speaker: str) -> Shift:
    """The other two speakers -> one speaker: takes below 12 the pool, the others the test."""
    parts: tuple[list[Recording], ...] = ([], [], [])
    for path in sorted((data_folder() / "fsdd").glob("*.wav")):
        digit, who, take = path.stem.split("_")
        parts[(1 if int(take) < 12 else 2) if who == speaker else 0].extend(read_recordings(path, digit, who))
    window = WindowSpec(6000, 6000, 8000.0)
    hand = lambda x: mfcc(x[:, 0].astype(np.float64))  # noqa: E731
    return Shift(f"fsdd {speaker}", "edgetl/logmel-s", None, window, parts, hand, 20)  # type: ignore[arg-type]


def sets() -> dict[str, list[Callable[[], Shift]]]:
    """Sets by name, each with one or more shifts whose mean counts as one figure."""
    return {
        "spsw watch": [partial(spsw, "sw")],
        "spsw control": [partial(spsw, "sp")],
        "borealtc": [borealtc],
        "myo": [partial(myo, person) for person in (0, 5)],
        "fsdd": [partial(fsdd, speaker) for speaker in ("jackson", "theo", "george")],
    }


@dataclass(frozen=True)
class Part:
    """Windows (N, T, C), features by hand (N, F), labels (N)."""

    windows: np.ndarray
    by_hand: np.ndarray
    labels: np.ndarray


def part_of(data: Dataset, shift: Shift) -> Part:
    windows = np.stack([sample for sample, _ in data])
    by_hand = np.stack([shift.by_hand(window.astype(np.float64)) for window in windows])
    return Part(windows, by_hand, np.array(data.labels))


def counted(features: np.ndarray, labels: np.ndarray, shift: np.ndarray) -> Statistics:
    result = Statistics(features.shape[1], shift=shift)
    result.add(features, labels)
    return result


def right(head: Any, features: np.ndarray, labels: np.ndarray) -> float:
    return 100.0 * float((np.asarray(head.predict(features)).astype(str) == labels).mean())


def best_alone(learnt: Statistics, features: np.ndarray, labels: np.ndarray) -> float:
    """The best of three heads, chosen on the test itself: more than a device could know."""
    return max(right(fit_head(name, learnt), features, labels) for name in ("slda", "ncm", "ridge"))


def drawn(labels: np.ndarray, known: set[str], count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == one))[:count] for one in sorted(known)])


def measure(shift: Shift, seed: int, draws: int, folder: Path) -> dict[str, Any]:
    """One training, and `draws` devices."""
    # What judges is another domain; of two speakers none can be spared.
    source, *target = (edgetl.dataset(part, window=shift.window, holdout=0.0) for part in shift.parts)
    began = time.perf_counter()
    extractor = edgetl.extractor(shift.network, data=source, turn=shift.turn)
    tuned = edgetl.finetune(extractor, source, recipe="scratch", epochs=shift.epochs, validation=0.0, seed=seed)
    trained_s = time.perf_counter() - began
    bundle = folder / f"{shift.name.replace(' ', '-')}-{seed}.edgetl"
    edgetl.build(tuned, source, out=bundle)
    pool, test = (part_of(data, shift) for data in target)
    kept = np.isin(test.labels, list(source.classes))
    test = Part(test.windows[kept], test.by_hand[kept], test.labels[kept])
    known = set(source.classes) & set(pool.labels)
    by_hand = part_of(source, shift)
    centre = by_hand.by_hand.mean(axis=0)
    prior = counted(by_hand.by_hand, by_hand.labels, centre)
    rows: dict[str, dict[str, list[float]]] = {row: {str(count): [] for count in LABELS} for row in ROWS}
    untouched = oracle = 0.0
    for draw in range(draws):
        state = folder / f"{bundle.stem}-{draw}"
        with rt.open(bundle, state_dir=state, allow_unsigned=True, policy="immediate", threads=1) as session:
            if draw == 0:
                pool_features, test_features = (
                    np.stack([session.features(window) for window in part.windows]) for part in (pool, test)
                )
                untouched = decided(session, test)
                everything = counted(pool_features, pool.labels, pool_features.mean(axis=0))
                oracle = right(fit_head("slda", everything), test_features, test.labels)
            told: set[int] = set()
            for count in LABELS:
                chosen = drawn(pool.labels, known, count, draw)
                new = [row for row in chosen.tolist() if row not in told]
                session.learn_many([pool.windows[row] for row in new], [str(pool.labels[row]) for row in new])
                session.review()
                told.update(new)
                rows["network"][str(count)].append(decided(session, test))
                alone = counted(pool_features[chosen], pool.labels[chosen], pool_features.mean(axis=0))
                rows["network, target only"][str(count)].append(best_alone(alone, test_features, test.labels))
                learnt = counted(pool.by_hand[chosen], pool.labels[chosen], centre)
                rows["by hand"][str(count)].append(right(fit_head("slda", learnt, prior), test.by_hand, test.labels))
                rows["by hand, target only"][str(count)].append(best_alone(learnt, test.by_hand, test.labels))
    nothing = Statistics(len(centre), shift=centre)
    full = counted(pool.by_hand, pool.labels, centre)
    return {
        "shift": shift.name, "network": shift.network, "seed": seed, "dim": tuned.dim,
        "parameters": sum(value.numel() for value in tuned.module.parameters()) if tuned.module is not None else 0,
        "windows": [len(source), len(pool.labels), len(test.labels)], "trained_s": trained_s,
        "untouched": untouched, "oracle": oracle,
        "by_hand_untouched": right(fit_head("slda", nothing, prior), test.by_hand, test.labels),
        "by_hand_oracle": right(fit_head("slda", full), test.by_hand, test.labels),
        "rows": {row: {count: float(np.mean(values)) for count, values in by.items()} for row, by in rows.items()},
    }  # fmt: skip


def decided(session: Any, part: Part) -> float:
    said = [str(one.label) for one in session.predict_many(list(part.windows))]
    return 100.0 * float(np.mean(np.array(said) == part.labels))


def joined(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over shifts and seeds, and the least and most of the seeds where a set is one shift."""
    single = ("untouched", "oracle", "by_hand_untouched", "by_hand_oracle")
    result: dict[str, Any] = {key: float(np.mean([run[key] for run in runs])) for key in single}
    result["rows"] = {
        row: {str(c): float(np.mean([run["rows"][row][str(c)] for run in runs])) for c in LABELS} for row in ROWS
    }
    result["untouched_range"] = [min(run["untouched"] for run in runs), max(run["untouched"] for run in runs)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", default=None, help=f"of {list(sets())}")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each network")
    parser.add_argument("--draws", type=int, default=3, help="devices of each bundle, told other labels")
    options = parser.parse_args()
    import torch

    data_folder()
    torch.set_num_threads(1)
    logging.getLogger("edgetl_runtime").setLevel(logging.ERROR)  # none of these bundles is signed
    began, results, runs = time.perf_counter(), {}, []
    heading = "% right on the new domain; labels a class"
    print(f"{heading:44s}{'none':>7}" + "".join(f"{c:7d}" for c in LABELS) + "    all")
    with tempfile.TemporaryDirectory() as name:
        for title, makers in sets().items():
            if options.sets is not None and title not in options.sets:
                continue
            own = [
                measure(make(), seed, options.draws, Path(name))
                for make in makers
                for seed in range(options.seeds if len(makers) == 1 else 1)
            ]
            runs += own
            results[title] = joined(own)
            show(title, results[title], own[0])
    seconds = time.perf_counter() - began
    path = write_evidence("series", {"sets": results, "runs": runs, "seconds": seconds})
    print(f"{seconds:.0f} s; written to {path}")


def show(title: str, figures: dict[str, Any], first: dict[str, Any]) -> None:
    print(f"{title}: {first['network']}, {first['parameters']} parameters, {first['dim']} features")
    ends = {"network": ("untouched", "oracle"), "by hand": ("by_hand_untouched", "by_hand_oracle")}
    for row in ROWS:
        cells = "".join(f"{figures['rows'][row][str(count)]:7.1f}" for count in LABELS)
        none, full = (f"{figures[key]:7.1f}" for key in ends[row]) if row in ends else ("      -", "      -")
        print(f"  {row:42s}{none}{cells}{full}", flush=True)


if __name__ == "__main__":
    main()
