"""`make hot-swap`: does a prediction ever notice that the head under it is replaced, and what does one `learn` cost?

Predictions run in one thread while another promotes generations and rolls them back; blocks with and without
swapping take turns. Every answer is compared, to the last bit, with what its generation says.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.store import QUOTA_BYTES, open_store
from edgetl_runtime.teaching import Lineage, Teacher

from benchmarks.evidence import ROOT, write_evidence

GOLDEN = ROOT / "tests" / "golden"
PREDICTIONS, SWAPS, BLOCKS = 100_000, 1_000, 100
PAUSE_S = 0.004
LEARNS = 300
DIM, CLASSES = 1280, 50  # MobileNetV2 and a shop


def main() -> int:
    logging.disable(logging.WARNING)
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hot-swap-", dir=ROOT / "build") as work:
        print(f"{PREDICTIONS} predictions beside {SWAPS} promotions, each rolled back again ...", flush=True)
        swap = _swap(Path(work) / "swap")
        print(f"{LEARNS} labels learnt one by one, D = {DIM}, K = {CLASSES} ...", flush=True)
        learns = [_learn(Path(work), policy) for policy in ("guarded", "immediate")]
    print(
        f"\nanswers that belong wholly to one generation: {swap['answers'] - swap['mixed']} of {swap['answers']}"
        f" ({swap['generations_seen']} generations answered, {swap['promoted']} were promoted and rolled back)"
    )
    print(
        f"prediction: median {swap['alone_ms']['median']:.3f} ms alone, {swap['swapping_ms']['median']:.3f} ms beside"
        f" swaps; p99 {swap['alone_ms']['p99']:.3f} and {swap['swapping_ms']['p99']:.3f} ms: {swap['p99_ratio']:.2f}x"
    )
    print("\n| one `learn`, without its inference | median ms | p99 ms | the disk's part: median ms | p99 ms |")
    print("|---|---:|---:|---:|---:|")
    for row in learns:
        print(
            f"| {row['policy']} | {row['median_ms']:.1f} | {row['p99_ms']:.1f} | {row['sync_median_ms']:.1f}"
            f" ({100 * row['sync_share']:.0f} %) | {row['sync_p99_ms']:.1f} |"
        )
    figures = {"swap": swap, "learn": learns}
    print(write_evidence("hot-swap", figures).relative_to(ROOT))
    return 1 if swap["mixed"] or swap["p99_ratio"] > 1.5 else 0


def _swap(state: Path) -> dict[str, Any]:
    frames, labels = np.load(GOLDEN / "frames.npy"), json.loads((GOLDEN / "labels.json").read_text())
    heads: dict[int, Any] = {}
    turn, done = threading.Event(), threading.Event()
    with rt.open(
        GOLDEN / "bundle-1.0.edgetl", state, allow_unsigned=True, threads=1, policy="immediate"
    ) as session:
        heads[0] = session._lineage.live.fitted

        def swapper() -> None:
            for number in range(SWAPS):
                turn.wait()
                session.learn(frames[number % 200], labels[number % 200])
                live = session._lineage.live
                heads[live.generation] = live.fitted
                time.sleep(PAUSE_S / 2)  # spread over the whole run: not one long burst
                session.rollback()
                time.sleep(PAUSE_S / 2)
            done.set()

        probe = frames[7]
        features = session.features(probe)[None]
        for _ in range(2000):
            session.predict(probe)
        spent: dict[bool, list[float]] = {True: [], False: []}
        answers: list[tuple[int, Any, Any, float]] = []
        thread = threading.Thread(target=swapper)
        thread.start()
        block = PREDICTIONS // BLOCKS
        while len(answers) < PREDICTIONS or not done.is_set():
            for swapping in (False, True):
                turn.set() if swapping else turn.clear()
                for _ in range(block):
                    start = time.perf_counter()
                    found = session.predict(probe)
                    spent[swapping].append((time.perf_counter() - start) * 1e3)
                    if swapping:
                        answers.append((found.generation, found.label, found.probabilities, found.outlier))
        turn.set()
        thread.join()
    mixed = 0
    for generation in {row[0] for row in answers}:
        fitted = heads[generation]
        probabilities = fitted.head.predict_proba(features)[0]
        expected = (
            fitted.head.classes[int(np.argmax(probabilities))],
            {label: float(p) for label, p in zip(fitted.head.classes, probabilities, strict=True)},
            float(fitted.outliers.score(features)[0]),
        )
        mixed += sum(row[1:] != expected for row in answers if row[0] == generation)
    alone, beside = _summary(spent[False]), _summary(spent[True])
    return {
        "answers": len(answers), "mixed": mixed, "promoted": SWAPS,
        "generations_seen": len({row[0] for row in answers}),
        "alone_ms": alone, "swapping_ms": beside, "p99_ratio": beside["p99"] / alone["p99"],
    }  # fmt: skip


def _learn(work: Path, policy: str) -> dict[str, Any]:
    folder = work / policy
    folder.mkdir()
    store, member = open_store(folder), _member()
    store.bind("0" * 64, DIM)
    timed = _Timed(store.database.connection)
    store.database.connection = timed  # type: ignore[assignment]
    lineage = Lineage(store, member, "0" * 64)
    lineage.start()
    teacher = Teacher(store, lineage, member, None, policy, QUOTA_BYTES)
    generator = np.random.default_rng(1)
    spent, synced = [], []
    for number in range(LEARNS):
        row = generator.normal(size=(1, DIM)).astype(np.float32)
        row[0, number % CLASSES] += 4.0
        start, timed.seconds = time.perf_counter(), 0.0
        teacher.learn(row, [f"class {number % CLASSES:02}"], "", False)
        spent.append((time.perf_counter() - start) * 1e3)
        synced.append(timed.seconds * 1e3)
    store.close()
    whole, disk = _summary(spent), _summary(synced)
    return {
        "policy": policy, "median_ms": whole["median"], "p99_ms": whole["p99"], "sync_median_ms": disk["median"],
        "sync_p99_ms": disk["p99"], "sync_share": sum(synced) / sum(spent),
    }  # fmt: skip


class _Timed:
    """A connection that says how long its commits took: writing the journal, and waiting for the disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql != "COMMIT":
            return self._connection.execute(sql, *values)
        start = time.perf_counter()
        cursor = self._connection.execute(sql)
        self.seconds += time.perf_counter() - start
        return cursor


def _member() -> HeadMember:
    generator = np.random.default_rng(0)
    source = Statistics(DIM, shift=np.zeros(DIM), feature_space="0" * 64)
    labels = [f"class {i % CLASSES:02}" for i in range(2000)]
    rows = generator.normal(size=(2000, DIM)).astype(np.float32)
    rows[np.arange(2000), np.arange(2000) % CLASSES] += 4.0
    source.add(rows, labels)
    return HeadMember(source, "slda", {}, fit_head("slda", source))


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "p99": float(np.percentile(values, 99)), "max": float(np.max(values))}


if __name__ == "__main__":
    sys.exit(main())
