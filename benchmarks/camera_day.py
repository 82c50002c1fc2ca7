"""`make camera-day`: a day with `edgetl-runtime run` on a camera, with everything that happens on a day.

A bundle built from 50 products, of the photographs that its authors took for training, meets 15 of them in other shops
and on other days, held up one after the other before a camera: 640x480, 10 frames a second, MJPEG over HTTP from
another process, decoded by OpenCV's FFmpeg as of any network camera (there is no camera here, and no v4l2loopback). One
photograph in four is labelled, three seconds late. On the way the stream stalls, the lens is covered, the camera is
unplugged and the device is killed twice and starts again. Two devices live it at the same time: one with the guard on
(the default), one with `--policy immediate`. Beside them: the factory head untouched, and an oracle that has the source
and every label of the very photographs it is judged on.
"""

from __future__ import annotations

import bisect
import csv
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics

import edgetl
from benchmarks.camera_board import held_up
from benchmarks.evidence import ROOT, data_folder, write_evidence
from benchmarks.robot_device import Device, kept

HZ, FRAMES, PHOTOS, PRODUCTS = 10, 3, 480, 15
LABELLED, LATE_S = 0.25, 3.0
PARTS = 6
# At which share of the day what happens, and for how long.
EVENTS = [(0.15, "stall", 1.0), (0.30, "dark", 1.0), (0.50, "unplug", 2.0), (0.60, "stall", 3.0)]
KILLS = (0.40, 0.75)
BUNDLE = ROOT / "build" / "camera-day" / "shop.edgetl"


@dataclass(frozen=True)
class Photo:
    path: Path
    label: str


def photos_of(split: str) -> list[Photo]:
    """The photographs of a split, each named by its folder."""
    folder = data_folder() / "grocery_fruitveg"
    with (folder / "index.csv").open() as stream:
        paths = [Path(row[0]) for row in csv.reader(stream) if row[1] == split]
    return [Photo(folder / path, path.parent.name) for path in paths]


def a_day() -> list[Photo]:
    """Photographs of 15 of the 50 products, of other days and shops: which, and in what order, by chance."""
    generator, photos = np.random.default_rng(0), photos_of("test")
    there = set(generator.permutation(sorted({photo.label for photo in photos}))[:PRODUCTS].tolist())
    photos = [photo for photo in photos if photo.label in there]
    return [photos[place] for place in generator.permutation(len(photos))[:PHOTOS]]


def shop_bundle() -> Path:
    """Built from the training photographs; made once."""
    if not BUNDLE.exists():
        BUNDLE.parent.mkdir(parents=True, exist_ok=True)
        weights = data_folder() / "models" / "mobilenet_v2_torchvision_fp16.safetensors"
        extractor = edgetl.extractor("torchvision/mobilenet_v2", weights=weights, mean=127.5, scale=1 / 127.5)
        table = BUNDLE.with_suffix(".csv")
        with table.open("w", newline="") as stream:
            csv.writer(stream).writerows([("path", "label"), *((p.path, p.label) for p in photos_of("train"))])
        edgetl.build(extractor, edgetl.dataset(table), out=BUNDLE, name="shop")
    return BUNDLE


@dataclass
class Day:
    """What the harness knows while the day goes on."""

    photos: list[Photo]
    shown: list[tuple[float, int]] = field(default_factory=list)  # monotonic seconds, photo
    predictions: list[tuple[int, bool]] = field(default_factory=list)  # photo, right or not
    due: list[tuple[float, float, str]] = field(default_factory=list)  # when to send a label: stamp and text
    labelled: set[int] = field(default_factory=set)
    learnt: dict[int, str] = field(default_factory=dict)
    learnt_at: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    states: set[str] = field(default_factory=set)
    generations: list[tuple[int, int]] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)
    learning_s: list[float] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    exit_code: int = -1

    def photo_at(self, stamp_s: float) -> tuple[int, float]:
        """Which photograph was before the camera at that moment, or -1, and for how long it had been."""
        place = bisect.bisect_right(self.shown, (stamp_s, PHOTOS)) - 1
        if place < 0 or stamp_s - self.shown[place][0] > FRAMES / HZ:
            return -1, 0.0
        return self.shown[place][1], stamp_s - self.shown[place][0]

    def hear(self, record: dict[str, Any], chosen: set[int]) -> int:
        """Take in one record; the photograph it is about, or 0. `chosen` are those that somebody labels."""
        if record["kind"] == "health":
            self.states.add(record["state"])
            self.drops = record["drops"]
        elif record["kind"] == "learnt":
            self.learnt[record["id"]] = record["label"]
            self.learning_s.append(record["seconds"])
            self.learnt_at.append(self.predictions[-1][0] if self.predictions else 0)
        elif record["kind"] == "refused":
            self.refused.append(record["reason"])
        elif record["kind"] == "prediction":
            photo, since_s = self.photo_at(record["stamp_s"])
            if photo < 0:
                return 0
            label = self.photos[photo].label
            if not record["doubt"]:
                self.predictions.append((photo, record["label"] == label))
                self.ages_ms.append(record["age_ms"])
            if photo in chosen and photo not in self.labelled and 0.5 / HZ < since_s < (FRAMES - 0.5) / HZ:
                self.labelled.add(photo)
                self.due.append((time.monotonic() + LATE_S, record["stamp_s"], label))
            if not self.generations or self.generations[-1][1] != record["generation"]:
                self.generations.append((photo, record["generation"]))
            return photo
        return 0


def lived(folder: Path, photos: list[Photo], policy: str) -> Day:
    """The whole day: camera, device, labels, mishaps."""
    (folder / "photos.json").write_text(json.dumps([str(photo.path) for photo in photos]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = json.dumps([[round(share * len(photos)), what, seconds] for share, what, seconds in EVENTS])
    board = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.camera_board", str(folder / "photos.json"), str(port), str(HZ), str(FRAMES),
         script],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert board.stdout is not None and board.stdin is not None
    board.stdout.readline()
    os.set_blocking(board.stdout.fileno(), False)
    options = ["--policy", policy, "--name", "camera", "--labels-per-s", "50", "--remember-mb", "256"]
    source = f"http://127.0.0.1:{port}/?rate_hz={HZ}&wait=yes"
    generator = np.random.default_rng(1)
    chosen = set(generator.permutation(len(photos))[: round(LABELLED * len(photos))].tolist())
    day, kills, device = Day(photos), [round(share * len(photos)) for share in KILLS], Device(folder, source, options)
    while not device.records():  # it says at once how the source is
        time.sleep(0.05)
    board.stdin.write(b"\n")
    board.stdin.flush()
    until = float("inf")
    while time.monotonic() < until:
        if board.poll() is not None and until == float("inf"):
            until = time.monotonic() + LATE_S + 3.0
        for line in board.stdout.readlines() or []:
            row = json.loads(line)
            day.shown.append((row["at"], row["photo"]))
        now = max([day.hear(record, chosen) for record in device.records()], default=0)
        if kills and now > kills[0]:
            kills.pop(0)
            device.kill()
            device = Device(folder, source, options)
        while day.due and day.due[0][0] <= time.monotonic():
            _, stamp_s, label = day.due.pop(0)
            day.asked += device.label(stamp_s, label)
        time.sleep(0.005)
    day.exit_code = device.end()
    return day


def beside(bundle: Path, folder: Path, photos: list[Photo]) -> tuple[np.ndarray, np.ndarray]:
    """Right or not, (N,), of the factory head and of the oracle on the N photographs of the day."""
    generator = np.random.default_rng(0)
    with rt.open(bundle, folder / "beside", allow_unsigned=True) as session:
        frames = [cv2.cvtColor(held_up(photo.path, generator), cv2.COLOR_BGR2RGB) for photo in photos]
        names = [photo.label for photo in photos]
        factory = [said.label == name for said, name in zip(session.predict_many(frames), names, strict=True)]
        features = np.stack([session.features(frame) for frame in frames])
        source = session._member.source
        learnt = Statistics(session.status()["dim"], shift=source.shift, feature_space=source.feature_space)
        learnt.add(features, names)
        oracle = fit_head("slda", learnt, prior=source)
        right = [said == name for said, name in zip(oracle.predict(features), names, strict=True)]
    return np.array(factory), np.array(right)


def told(folder: Path) -> list[str]:
    """What the guard did, in its words."""
    with rt.open(None, folder / "state", allow_unsigned=True, read_only=True) as session:
        return [f"{entry.kind}: {entry.words}" for entry in session.history()]


def judged(policy: str, folder: Path, day: Day, factory: Any, oracle: Any) -> dict[str, Any]:
    """Print the table of a day, and return its figures."""
    photos, (held, lost), history = day.photos, kept(folder, day.learnt), told(folder)
    print(f"\n--policy {policy}\n")
    print("| part of the day | labels learnt | frames | the device | no adaptation | oracle | generation |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    table, found = [], np.array(day.predictions)
    for part, (first, last) in enumerate(itertools.pairwise(np.linspace(0, len(photos), PARTS + 1).astype(int))):
        mine = found[(found[:, 0] >= first) & (found[:, 0] < last)]
        photo = mine[:, 0]  # judged on the frames that came, all three alike
        row = {
            "part": part + 1, "labels": sum(bool(at < last) for at in day.learnt_at), "frames": len(mine),
            "device": 100 * float(mine[:, 1].mean()), "factory": 100 * float(factory[photo].mean()),
            "oracle": 100 * float(oracle[photo].mean()),
            "generation": max([int(generation) for at, generation in day.generations if at < last], default=0),
        }  # fmt: skip
        table.append(row)
        print(
            f"| {row['part']} | {row['labels']} | {row['frames']} | {row['device']:.1f} | {row['factory']:.1f}"
            f" | {row['oracle']:.1f} | {row['generation']} |"
        )
    refused = {reason: day.refused.count(reason) for reason in sorted(set(day.refused))}
    ages = np.percentile(day.ages_ms, [50, 99])
    print(f"\n{day.asked} labels sent, {len(day.learnt)} acknowledged, {held} in the state, {lost} lost; {refused}")
    print(f"states seen: {', '.join(sorted(day.states))}; drops {day.drops}; killed {len(KILLS)} times")
    print(f"from a frame's arrival to its answer: p50 {ages[0]:.1f} ms, p99 {ages[1]:.1f} ms;"
          f" a label is learnt in {np.median(day.learning_s):.2f} s, at most {max(day.learning_s):.2f}")  # fmt: skip
    for line in history[-3:] if policy == "guarded" else ():
        print(f"history: {line.partition('. ')[0]}")
    seen = {"unplugged", "stale", "saturated"} <= day.states
    good = lost == 0 and seen and held >= len(day.learnt) > 0 and day.exit_code == 0
    if good:
        shutil.rmtree(folder)
    else:
        print(f"MISSED; kept for a look: {folder}")
    return {
        "policy": policy, "parts": table, "asked": day.asked, "acknowledged": len(day.learnt), "held": held,
        "lost": lost, "refused": refused, "states": sorted(day.states), "drops": day.drops, "history": history,
        "age_ms_p50_p99": ages.tolist(), "learning_s": sorted(day.learning_s), "passed": good,
    }  # fmt: skip


def main() -> int:
    began, photos, bundle = time.perf_counter(), a_day(), shop_bundle()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as text:
        factory, oracle = beside(bundle, Path(text), photos)
    policies = sys.argv[1:] or ["guarded", "immediate"]
    folders = [Path(tempfile.mkdtemp(prefix=f"camera-day-{policy}-")) for policy in policies]
    for folder in folders:
        rt.open(bundle, folder / "state", allow_unsigned=True).close()
    with ThreadPoolExecutor() as pool:
        lives = list(pool.map(lived, folders, itertools.repeat(photos), policies))
    days = [judged(*row, factory, oracle) for row in zip(policies, folders, lives, strict=True)]
    good, seconds = all(day["passed"] for day in days), time.perf_counter() - began
    evidence = {
        "photos": len(photos), "frames_a_s": HZ, "labelled": LABELLED, "late_s": LATE_S, "events": EVENTS,
        "kills": KILLS, "days": days, "passed": good, "seconds": seconds,
    }  # fmt: skip
    path = write_evidence("camera-day", evidence)
    print(f"\n{'nothing acknowledged was lost' if good else 'MISSED'}; {seconds:.0f} s; {path.relative_to(ROOT)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
