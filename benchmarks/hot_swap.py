"""`make hot-swap`: does a prediction ever notice that the head under it is replaced, and what does one `learn` cost?

100,000 predictions while 1,000 generations are promoted and rolled back by another thread: one promotion and one roll-
back every 100 predictions, however fast the machine is. By a real network (MobileNetV1 0.25 on 128 x 128 frames, 50
classes), and by the golden bundle, whose prediction takes a tenth of a millisecond, so that what a swap needs of the
interpreter shows. This process switches threads as `edgetl-runtime run` does. Blocks of 1,000 alone, beside learning
that moves no head, and beside the swaps take turns in a random order. Each thread has a core of its own, and a
prediction during which the system gave that core to another process is left out, in all three alike: it says what the
machine does, not what the swap does. The figures with all of them are printed too. Every answer is compared, to the
last bit, with what its generation says.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import resource
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.bundle.members import HeadMember, SourceSamples
from edgetl_runtime.cli.run import SWITCH_S
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.store import QUOTA_BYTES, open_store
from edgetl_runtime.teaching import Lineage, Teacher

from benchmarks.evidence import ROOT, data_folder, write_evidence

GOLDEN = ROOT / "tests" / "golden"
PREDICTIONS, SWAPS, BLOCK = 100_000, 1_000, 1_000
MOST_RATIO = 1.5
LEARNS = 300
DIM, CLASSES = 1280, 50  # MobileNetV2 and a shop


def main() -> int:
    logging.disable(logging.WARNING)
    sys.setswitchinterval(SWITCH_S)
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hot-swap-", dir=ROOT / "build") as work:
        print(f"{PREDICTIONS} predictions beside {SWAPS} promotions, each rolled back again ...", flush=True)
        swaps = {name: _swap(Path(work) / name.replace(" ", "-"), *make()) for name, make in BUNDLES.items()}
        print(f"{LEARNS} labels learnt one by one, D = {DIM}, K = {CLASSES} ...", flush=True)
        learns = [_learn(Path(work), policy) for policy in ("guarded", "immediate")]
    for name, swap in swaps.items():
        _say(name, swap)
    print("\n| one `learn`, without its inference | median ms | p99 ms | the disk's part: median ms | p99 ms |")
    print("|---|---:|---:|---:|---:|")
    for row in learns:
        print(
            f"| {row['policy']} | {row['median_ms']:.1f} | {row['p99_ms']:.1f} | {row['sync_median_ms']:.1f}"
            f" ({100 * row['sync_share']:.0f} %) | {row['sync_p99_ms']:.1f} |"
        )
    swap = swaps[REAL]
    figures = {"swap": swap, "swap_of_a_tenth_of_a_millisecond": swaps[GOLDEN_NAME], "learn": learns}
    print(write_evidence("hot-swap", figures).relative_to(ROOT))
    return 1 if any(one["mixed"] for one in swaps.values()) or swap["p99_ratio"] > MOST_RATIO else 0


def _say(name: str, swap: dict[str, Any]) -> None:
    print(
        f"\n{name}: answers wholly of one generation: {swap['answers'] - swap['mixed']} of {swap['answers']}"
        f" ({swap['generations_seen']} generations answered, {swap['promoted']} were promoted and rolled back)"
    )
    print("\n| predictions | median ms | p99 ms | p99.9 ms | left out | p99 ms of all | median of the p99 of blocks |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for arm in ("alone", "learning", "swapping"):
        one = swap[arm]
        print(
            f"| {arm} | {one['median_ms']:.3f} | {one['p99_ms']:.3f} | {one['p999_ms']:.3f}"
            f" | {100 * one['left_out']:.1f} % | {one['p99_of_all_ms']:.3f} | {one['p99_of_blocks_ms']:.3f} |"
        )
    print(
        f"p99 beside swaps: {swap['p99_ratio']:.2f}x of alone (at most {MOST_RATIO} for the real network), over blocks"
        f" {swap['p99_ratio_of_blocks']:.2f}x, of all {swap['p99_ratio_of_all']:.2f}x;"
        f" {swap['p99_ratio_of_learning']:.2f}x of learning without a swap",
        flush=True,
    )


def _golden() -> tuple[Path, Any, list[str]]:
    labels: list[str] = json.loads((GOLDEN / "labels.json").read_text())
    return GOLDEN / "bundle-1.0.edgetl", np.load(GOLDEN / "frames.npy"), labels


def _real() -> tuple[Path, Any, list[str]]:
    """A bundle of photographs in shops, built once; frames (N, 128, 128, 3) of them, and labels (N)."""
    import edgetl

    data, path = data_folder(), ROOT / "build" / "hot-swap.edgetl"
    shops = edgetl.dataset(data / "grocery_fruitveg" / "val")
    if not path.exists():
        graph = data / "models" / "derived_onnx" / "mobilenet_v1_0.25_128_fp32.onnx"
        extractor = edgetl.extractor(f"onnx:{graph}", output="features", mean=127.5, scale=1 / 127.5)
        edgetl.build(extractor, shops, out=path, name="shop")
    generator = np.random.default_rng(0)
    labels = [str(label) for label in rt.read_bundle(path).manifest.classes] * 4
    return path, generator.integers(0, 256, (len(labels), 128, 128, 3), dtype=np.uint8), labels


REAL, GOLDEN_NAME = "a real network", "golden bundle"
BUNDLES = {GOLDEN_NAME: _golden, REAL: _real}


def _swap(work: Path, bundle: Path, frames: Any, labels: list[str]) -> dict[str, Any]:
    """`bundle` asked and taught with frames (N, H, W, C) of those labels (N)."""
    with (
        rt.open(bundle, work / "swap", allow_unsigned=True, threads=1, policy="immediate") as session,
        rt.open(bundle, work / "learn", allow_unsigned=True, threads=1, policy="manual") as other,
        _Beside() as beside,
    ):
        heads: dict[int, Any] = {0: session._lineage.live.fitted}

        def learn(number: int) -> None:
            other.learn(frames[number % len(frames)], labels[number % len(frames)])

        def promote(number: int) -> None:
            session.learn(frames[number % len(frames)], labels[number % len(frames)])
            live = session._lineage.live
            heads[live.generation] = live.fitted

        def roll_back(number: int) -> None:
            session.rollback()

        acts: dict[str, list[Callable[[int], None]]] = {
            "alone": [], "learning": [learn], "swapping": [promote, roll_back]
        }  # fmt: skip
        probe = frames[7]
        features = session.features(probe)[None]
        for _ in range(500):
            session.predict(probe)
        answers: list[tuple[int, Any, Any, float]] = []
        spent: dict[str, list[list[tuple[float, bool]]]] = {name: [] for name in acts}
        every = PREDICTIONS // SWAPS
        for block in range(PREDICTIONS // BLOCK):
            for name in np.random.default_rng(block).permutation(list(acts)):
                mine: list[tuple[float, bool]] = []
                step = 0
                while step < BLOCK or beside.busy:  # until what was asked for is done
                    if step < BLOCK and step % every in (0, every // 2) and len(acts[name]) > (step % every > 0):
                        beside.do(acts[name][step % every > 0], (block * BLOCK + step) // every)
                    found, took = _timed(session, probe)
                    mine.append(took)
                    step += 1
                    if name == "swapping":
                        answers.append((found.generation, found.label, found.probabilities, found.outlier))
                spent[name].append(mine)
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
    told = {name: _latencies(blocks) for name, blocks in spent.items()}
    ratios = {
        f"p99_ratio{suffix}": told["swapping"][f"p99{which}_ms"] / told[against][f"p99{which}_ms"]
        for suffix, which, against in (
            ("", "", "alone"), ("_of_all", "_of_all", "alone"), ("_of_blocks", "_of_blocks", "alone"),
            ("_of_learning", "", "learning"),
        )
    }  # fmt: skip
    return {
        "answers": len(answers), "mixed": mixed, "promoted": SWAPS,
        "generations_seen": len({row[0] for row in answers}), **told, **ratios,
    }  # fmt: skip


class _Beside:
    """A thread that does what it is told, on another core than the thread that made it."""

    def __init__(self) -> None:
        self._asked: queue.Queue[tuple[Callable[[int], None], int] | None] = queue.Queue()
        self._error: BaseException | None = None
        self._cores = sorted(os.sched_getaffinity(0))
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> _Beside:
        if len(self._cores) > 1:
            os.sched_setaffinity(0, self._cores[:1])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(None)
        self._thread.join()
        os.sched_setaffinity(0, self._cores)

    @property
    def busy(self) -> bool:
        """Whether it has not yet done all; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._asked.unfinished_tasks > 0

    def do(self, act: Callable[[int], None], number: int) -> None:
        self._asked.put((act, number))

    def _work(self) -> None:
        if len(self._cores) > 1:
            os.sched_setaffinity(0, self._cores[1:])
        while (asked := self._asked.get()) is not None:
            try:
                asked[0](asked[1])
            except BaseException as error:
                self._error = error
            self._asked.task_done()


def _timed(session: rt.Session, probe: Any) -> tuple[rt.Prediction, tuple[float, bool]]:
    """A prediction, its milliseconds, and whether this thread had its core all the time or gave it up by itself."""
    before, start = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw, time.perf_counter()
    found = session.predict(probe)
    took_ms = (time.perf_counter() - start) * 1e3
    return found, (took_ms, resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw == before)


def _latencies(blocks: list[list[tuple[float, bool]]]) -> dict[str, float]:
    everything = [took for block in blocks for took, _ in block]
    whole = [[took for took, kept in block if kept] for block in blocks]
    kept = [took for block in whole for took in block]
    return {
        "median_ms": float(np.median(kept)), "p99_ms": float(np.percentile(kept, 99)),
        "p999_ms": float(np.percentile(kept, 99.9)), "max_ms": max(kept), "predictions": len(everything),
        "left_out": 1 - len(kept) / len(everything), "p99_of_all_ms": float(np.percentile(everything, 99)),
        "p99_of_blocks_ms": float(np.median([np.percentile(block, 99) for block in whole if block])),
    }  # fmt: skip


def _learn(work: Path, policy: str) -> dict[str, Any]:
    folder = work / policy
    folder.mkdir()
    store, member, guard_set = open_store(folder), _member(), SourceSamples(*_draw(np.random.default_rng(2), 500))
    store.bind("0" * 64, DIM)
    timed = _Timed(store.database.connection)
    store.database.connection = timed  # type: ignore[assignment]
    lineage = Lineage(store, member, "0" * 64)
    lineage.start()
    teacher = Teacher(store, lineage, member, guard_set, policy, QUOTA_BYTES)
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
    source.add(*_draw(generator, 2000))
    return HeadMember(source, "slda", {}, fit_head("slda", source))


def _draw(generator: np.random.Generator, count: int) -> tuple[Any, list[str]]:
    """Features (N, D) of the source, and their labels (N)."""
    rows = generator.normal(size=(count, DIM)).astype(np.float32)
    rows[np.arange(count), np.arange(count) % CLASSES] += 4.0
    return rows, [f"class {i % CLASSES:02}" for i in range(count)]


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "p99": float(np.percentile(values, 99)), "max": float(np.max(values))}


if __name__ == "__main__":
    sys.exit(main())
