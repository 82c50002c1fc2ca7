"""`make tasks-bench`: several tasks on one network, with half of the labels missing, beside each task trained alone.

A real drive (donkeycar): steering angle, throttle, and whether the car turns left, right, or neither (made from the
angle); held out is the last quarter in time. Shop photographs: which product, and which kind of product. Each label of
the training part is missing by chance, one in two; what is held out has all. Beside each: the features as they were,
and the same recipe on that task alone. Weights of the tasks equal, or learnt (Kendall et al. 2018).
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.sources.images import read_image

import edgetl
from benchmarks.evidence import ROOT, data_folder, write_evidence
from benchmarks.real_backbones import real_backbone
from edgetl.data import TaskDataset
from edgetl.tuning import Recipe, tune

TURNS = 0.15  # an angle above it is a turn
BACKBONE, SIZE = "mobilenet_v1_0.25", 64
LENGTH = {"epochs": 6, "steps": 100}
WEIGHTS = ("equal", "uncertainty")
SEEDS = (0,)


def drive() -> TaskDataset:
    """1,000 frames in the order of the catalogue."""
    tub = data_folder() / "donkey_tub"
    records = [json.loads(line) for line in (tub / "catalog_0.catalog").read_text().splitlines()]
    frames = np.stack([read_image(tub / "images" / record["cam/image_array"]) for record in records])
    names = ("angle", "throttle")
    angle, throttle = (np.array([float(record[f"user/{name}"]) for record in records]) for name in names)
    turn = ["left" if one < -TURNS else "right" if one > TURNS else "straight" for one in angle]
    tasks = {"turn": turn, "angle": angle, "throttle": throttle}
    return edgetl.dataset(frames, tasks=tasks, holdout=0.25, name="drive")


def shop() -> TaskDataset:
    """The authors' training photographs."""
    root = data_folder() / "grocery_fruitveg"
    with (root / "index.csv").open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[1] == "train"]
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        table = Path(folder) / "shop.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([["path", "product", "kind"], *([str(root / r[0]), r[2], r[3]] for r in rows)])
        return edgetl.dataset(table, tasks={"product": "class", "kind": "class"}, holdout=0.25, name="shop")


def half_missing(data: TaskDataset, seed: int) -> TaskDataset:
    """Each label of the training part missing by chance, one in two."""
    truth, held = data.truth.copy(), {*data.held_out.indices}
    training = np.array([index not in held for index in data.indices])
    truth[training[:, None] & (np.random.default_rng(seed).random(truth.shape) < 0.5)] = np.nan
    return replace(data, truth=truth, reader=data.reader)


SETS = {"drive": drive, "shop": shop}


def main() -> int:
    import torch

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for whole in (SETS[name]() for name in sys.argv[1:] or SETS):
        for seed in SEEDS:
            data = half_missing(whole, seed)
            alone: dict[str, Any] = {}
            for weights in WEIGHTS:
                began = time.process_time()
                result = tune(
                    real_backbone(BACKBONE, SIZE), data, "full", **LENGTH, seed=seed, task_weights=weights,
                    compare_alone=not alone, cache=ROOT / "build" / "features" / "tuning",
                )  # fmt: skip
                for task, one in result.tasks.items():
                    alone.setdefault(task, one.alone)
                    known = data.training.known[task]
                    row = {"set": whole.name, "seed": seed, "weights": weights, "task": task, "labels": known}
                    spent = time.process_time() - began
                    rows.append({**row, **asdict(one), "alone": alone[task], "cpu_seconds": spent})
                    print(_line(rows[-1]), flush=True)
                write_evidence("tasks-bench", {"rows": rows, **LENGTH, "backbone": BACKBONE, "size": SIZE})
    _print(rows)
    return 0


def _head(row: dict[str, Any]) -> str:
    return "slda" if "slda" in row["frozen"] else "ridge"


def _line(row: dict[str, Any]) -> str:
    head = _head(row)
    figures = ", ".join(f"{name} {row[name][head]:.3f}" for name in ("frozen", "alone", "tuned"))
    return f"{row['set']:6} seed {row['seed']} {row['weights']:12} {row['task']:9} {figures}"


def _print(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'share right, or R2; mean over the seeds':34}{'labels':>8}{'plain':>8}{'frozen':>8}{'alone':>8}", end="")
    print("".join(f"{f'together, {weights}':>24}" for weights in WEIGHTS))
    found: dict[str, list[float]] = {weights: [] for weights in WEIGHTS}
    hurt = 0
    for name, task in dict.fromkeys((row["set"], row["task"]) for row in rows):
        mine = [row for row in rows if (row["set"], row["task"]) == (name, task)]
        head = _head(mine[0])
        first = [row for row in mine if row["weights"] == WEIGHTS[0]]
        print(f"{name + ': ' + task:34}{np.mean([row['labels'] for row in first]):8.0f}", end="")
        print(f"{np.mean([row['plain'] for row in first]):8.3f}", end="")
        for column in ("frozen", "alone"):
            print(f"{np.mean([row[column][head] for row in first]):8.3f}", end="")
        for weights in WEIGHTS:
            gains = [row["tuned"][head] - row["alone"][head] for row in mine if row["weights"] == weights]
            found[weights] += gains
            hurt += sum(gain < -0.01 for gain in gains)
            value = float(np.mean([row["tuned"][head] for row in mine if row["weights"] == weights]))
            print(f"{value:16.3f} ({np.mean(gains):+.3f})", end="")
        print()
    for weights, gains in found.items():
        print(f"together, weights {weights}: {np.mean(gains):+.4f} against alone in the mean of {len(gains)} runs")
    told = f"{hurt} of {sum(map(len, found.values()))}"
    print(f"more than 0.01 below the task alone (negative transfer between tasks, warned): {told} runs")
    print(f"the default is task_weights={Recipe().task_weights!r}")


if __name__ == "__main__":
    sys.exit(main())
