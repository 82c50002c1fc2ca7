"""`make robot-day`: a day with `edgetl-runtime run` on real motion, with everything that happens on a day.

A bundle built from the phones of persons 1 to 7 meets the watches of persons 8 to 14, replayed ten times as fast
through a pseudo terminal by another process. Six in a hundred windows are labelled, half a minute late. On the way the
sensor stalls, is unplugged and plugged in under another name, and the device is killed twice and starts again. It is
lived twice: with the guard on (the default), and with `--policy immediate`. Beside them: the factory head untouched,
and an oracle that has the source and every label of the very windows it is judged on.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics

from benchmarks.evidence import ROOT, write_evidence
from benchmarks.motion import ACTIVITIES, CHANNELS, UNITS, Stream, motion_bundle, streams, windows_of
from benchmarks.robot_device import Device, kept

SPEED = 10
HZ = 100 * SPEED
LABELLED, LATE_S = 0.06, 30.0 / SPEED
PARTS = 6
# At which share of the day what happens, and for how long (seconds of the replay).
EVENTS = [(0.20, "stall", 1.0), (0.45, "unplug", 1.5), (0.80, "unplug", 0.8)]
KILLS = (0.35, 0.70)
SCHEMA = {
    "format": "edgetl", "rate_hz": HZ,
    "field": [{"name": name, "type": "f32", "unit": unit} for name, unit in zip(CHANNELS, UNITS, strict=True)],
}  # fmt: skip


def a_day() -> Stream:
    """The watches of persons 8 to 14, one recording after the other, at 100 Hz."""
    values, labels = [], []
    for stream in streams("sw", range(8, 15)):
        grid = np.arange(0.0, stream.seconds[-1], 0.01)
        values.append(np.stack([np.interp(grid, stream.seconds, column) for column in stream.values.T], axis=1))
        labels.append(stream.labels[np.clip(np.searchsorted(stream.seconds, grid), 0, len(stream.labels) - 1)])
    count = sum(map(len, labels))
    return Stream("day", np.arange(count) / 100.0, np.concatenate(values), np.concatenate(labels))


@dataclass
class Day:
    """What the harness knows while the day goes on."""

    truth: np.ndarray
    stretches: list[tuple[int, float]] = field(default_factory=list)  # sample, monotonic seconds
    predictions: list[tuple[int, int, bool]] = field(default_factory=list)  # sample, activity or -1 when it abstained
    due: list[tuple[float, float, str]] = field(default_factory=list)  # when to send a label: stamp and text
    learnt: dict[int, str] = field(default_factory=dict)
    learnt_at: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    generations: list[tuple[int, int]] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)
    ages_ms: list[float] = field(default_factory=list)
    asked: int = 0

    def sample_at(self, stamp_s: float) -> int:
        """The sample that was sent at that moment, or -1."""
        known = [(sample, at) for sample, at in self.stretches if at <= stamp_s + 0.05]
        if not known:
            return -1
        sample = known[-1][0] + round((stamp_s - known[-1][1]) * HZ)
        return sample if 0 <= sample < len(self.truth) else -1

    def activity(self, last: int) -> int:
        """What was done in the window that ends with that sample; -1 when it was more than one thing."""
        counts = np.bincount(self.truth[max(0, last - 95) : last + 1], minlength=len(ACTIVITIES))
        return int(counts.argmax()) if counts.max() >= 0.7 * counts.sum() else -1


def device_on(folder: Path, policy: str) -> Device:
    """`edgetl-runtime run` on the watch."""
    options = ["--rate-hz", str(20 * SPEED), "--labels-per-s", "50", "--name", "watch", "--smooth", str(1.0 / SPEED)]
    source = f"serial://{folder / 'imu'}?schema={folder / 'imu.json'}&wait=yes"
    return Device(folder, source, [*options, "--policy", policy])


def lived(folder: Path, stream: Stream, policy: str) -> Day:
    """The whole day: board, device, labels, mishaps."""
    np.save(folder / "day.npy", stream.values.astype(np.float32))
    (folder / "imu.json").write_text(json.dumps(SCHEMA))
    script = json.dumps([[round(share * len(stream.labels)), what, seconds] for share, what, seconds in EVENTS])
    command = [sys.executable, "-m", "benchmarks.robot_board", str(folder / "day.npy"), str(folder / "imu"), str(HZ)]
    board = subprocess.Popen([*command, script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert board.stdout is not None and board.stdin is not None
    board.stdout.readline()
    os.set_blocking(board.stdout.fileno(), False)
    day, kills = Day(stream.labels), [round(share * len(stream.labels)) for share in KILLS]
    generator, device = np.random.default_rng(0), device_on(folder, policy)
    while not device.records():  # it says at once how the source is
        time.sleep(0.05)
    board.stdin.write(b"\n")
    board.stdin.flush()
    while board.poll() is None:
        for line in board.stdout.readlines() or []:
            row = json.loads(line)
            day.stretches.append((row["sample"], row["at"]))
        now = 0
        for record in device.records():
            now = max(now, heard(day, record, generator))
        if kills and now > kills[0]:
            kills.pop(0)
            device.kill()
            device = device_on(folder, policy)
        while day.due and day.due[0][0] <= time.monotonic():
            _, stamp_s, label = day.due.pop(0)
            day.asked += device.label(stamp_s, label)
        time.sleep(0.01)
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        for record in device.records():
            heard(day, record, generator)
        time.sleep(0.05)
    day.health["ended_with"] = device.end()
    return day


def heard(day: Day, record: dict[str, Any], generator: np.random.Generator) -> int:
    """Take in one record; the sample it is about, or 0."""
    if record["kind"] == "health":
        if not day.states or day.states[-1] != record["state"]:
            day.states.append(record["state"])
        day.health.update(drops=record["drops"], skipped=record["skipped"])
    elif record["kind"] == "learnt":
        day.learnt[record["id"]] = record["label"]
        day.learnt_at.append(day.predictions[-1][0] if day.predictions else 0)
    elif record["kind"] == "refused":
        day.refused.append(record["reason"])
    elif record["kind"] == "prediction":
        sample = day.sample_at(record["stamp_s"])
        activity = day.activity(sample) if sample >= 0 else -1
        if activity >= 0:
            day.predictions.append((sample, ACTIVITIES.index(record["label"]), record["label"] == ACTIVITIES[activity]))
            day.ages_ms.append(record["age_ms"])
            if generator.random() < LABELLED:
                middle = record["stamp_s"] - 0.5 / SPEED
                day.due.append((time.monotonic() + LATE_S, middle, ACTIVITIES[activity]))
        if not day.generations or day.generations[-1][1] != record["generation"]:
            day.generations.append((sample, record["generation"]))
        return sample
    return 0


def beside(bundle: Path, folder: Path, stream: Stream) -> dict[str, np.ndarray]:
    """Right or not, (M,), of the factory head and the oracle on the windows of the day; `sample` is where each ends."""
    rows: dict[str, list[Any]] = {"sample": [], "x": [], "y": []}
    with rt.open(bundle, folder / "beside", allow_unsigned=True) as session:
        windows, labels = windows_of(stream)
        ends = np.linspace(0, len(stream.labels), len(windows))  # windows are evenly spread over the day
        rows["sample"], rows["y"] = ends.astype(int), labels
        rows["x"] = np.stack([session.features(window) for window in windows])
        names = [ACTIVITIES[label] for label in labels]
        factory = [said.label == name for said, name in zip(session.predict_many(windows), names, strict=True)]
        member = session._member
        learnt = Statistics(session.status()["dim"], **shift_of(member.source))
        learnt.add(rows["x"], names)
        oracle = fit_head("slda", learnt, prior=member.source)
        right = [said == name for said, name in zip(oracle.predict(rows["x"]), names, strict=True)]
    return {"sample": rows["sample"], "factory": np.array(factory), "oracle": np.array(right)}


def shift_of(source: Statistics) -> dict[str, Any]:
    return {"shift": source.shift, "feature_space": source.feature_space}


def policy_day(policy: str, bundle: Path, stream: Stream, others: dict[str, np.ndarray]) -> dict[str, Any]:
    """Live the day with that policy, print its table, and return its figures."""
    folder = Path(tempfile.mkdtemp(prefix=f"robot-day-{policy}-"))
    rt.open(bundle, folder / "state", allow_unsigned=True).close()
    day = lived(folder, stream, policy)
    held, lost = kept(folder, day.learnt)
    print(f"\n--policy {policy}\n")
    print("| part of the day | labels learnt | windows | the device | factory head | oracle | generation |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    table, found = [], np.array(day.predictions)
    for part, (first, last) in enumerate(itertools.pairwise(np.linspace(0, len(stream.labels), PARTS + 1))):
        mine = found[(found[:, 0] >= first) & (found[:, 0] < last)]
        inside = (others["sample"] >= first) & (others["sample"] < last)
        row = {
            "part": part + 1, "labels": sum(bool(at < last) for at in day.learnt_at), "windows": len(mine),
            "device": 100 * float(mine[:, 2].mean()), "factory": 100 * float(others["factory"][inside].mean()),
            "oracle": 100 * float(others["oracle"][inside].mean()),
            "generation": max([generation for at, generation in day.generations if at < last], default=0),
        }  # fmt: skip
        table.append(row)
        print(
            f"| {row['part']} | {row['labels']} | {row['windows']} | {row['device']:.1f} | {row['factory']:.1f}"
            f" | {row['oracle']:.1f} | {row['generation']} |"
        )
    refused = {reason: day.refused.count(reason) for reason in sorted(set(day.refused))}
    ages, seen = np.percentile(day.ages_ms, [50, 99]), sorted(set(day.states))
    print(f"\n{day.asked} labels sent, {len(day.learnt)} acknowledged, {held} in the state, {lost} lost; {refused}")
    print(f"states seen: {', '.join(seen)}; drops {day.health.get('drops')}; killed {len(KILLS)} times")
    print(f"from the last sample of a window to its answer: p50 {ages[0]:.1f} ms, p99 {ages[1]:.1f} ms")
    good = lost == 0 and {"unplugged", "stale"} <= set(seen) and held >= len(day.learnt) > 0
    if good:
        shutil.rmtree(folder)
    else:
        print(f"MISSED; kept for a look: {folder}")
    return {
        "policy": policy, "parts": table, "asked": day.asked, "acknowledged": len(day.learnt), "held": held,
        "lost": lost, "refused": refused, "states": seen, "drops": day.health.get("drops"),
        "age_ms_p50_p99": ages.tolist(), "generations": len(day.generations), "passed": good,
    }  # fmt: skip


def main() -> int:
    began, stream = time.perf_counter(), a_day()
    bundle = motion_bundle(ROOT / "build" / "robot-day" / "motion.edgetl")
    with tempfile.TemporaryDirectory() as folder:
        others = beside(bundle, Path(folder), stream)
    days = [policy_day(policy, bundle, stream, others) for policy in ("guarded", "immediate")]
    good, seconds = all(day["passed"] for day in days), time.perf_counter() - began
    evidence = {"speed": SPEED, "events": EVENTS, "kills": KILLS, "days": days, "passed": good, "seconds": seconds}
    path = write_evidence("robot-day", evidence)
    print(f"\n{'nothing acknowledged was lost' if good else 'MISSED'}; {seconds:.0f} s; {path.relative_to(ROOT)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
