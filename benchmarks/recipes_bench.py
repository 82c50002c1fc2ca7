"""`make recipes-bench`: scratch, frozen features under each head, last-blocks and full, by images a class.

Real pretrained weights on real pictures; every figure is on the same held-out quarter of the set, and every recipe is
judged by the default head of a bundle (slda) fitted on its features. By default two small networks, one draw and
few epochs: the processor here is weak. `--full` adds MobileNetV2, the third set, all recipes and three draws.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from benchmarks.evidence import ROOT, write_evidence
from benchmarks.real_backbones import real_backbone
from benchmarks.transfer_data import SETS, shots
from edgetl.extraction import ExtractedPart
from edgetl.factory import make_head_member
from edgetl.progress import silent
from edgetl.tuning import tune
from edgetl.tuning.cache import FeatureCache
from edgetl.tuning.samples import read_samples
from edgetl.tuning.workers import open_workers

# set -> (backbone, input size, images a class; None: all)
SMALL = {
    "digits": ("resnet20_cifar", 32, (5, 20, 50, None)),
    "grocery": ("mobilenet_v1_0.25", 64, (5, 20, None)),
}
LARGE = dict.fromkeys(SETS, ("mobilenet_v2", 160, (5, 20, 50, None)))
HEADS = ("slda", "ridge", "ridge_rp", "ncm", "gaussian_nb", "softmax", "mlp", "knn")
RECIPES = ("scratch", "last-blocks", "full")


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also MobileNetV2 at 160, three sets, gradual, three draws")
    parser.add_argument("--epochs", type=int, default=6, help="of the recipes; scratch has half as many again")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    plan = [*SMALL.items(), *(LARGE.items() if options.full else ())]
    for name, (backbone, size, counts) in plan:
        for count in counts:
            for draw in range(3 if options.full else 1):
                recipes = (*RECIPES, "gradual") if options.full else RECIPES
                rows += _cell(name, backbone, size, count, draw, options.epochs, recipes)
                _written(rows, options)
    _print(rows)
    return 0


def _cell(
    name: str, backbone: str, size: int, count: int | None, draw: int, epochs: int, recipes: tuple[str, ...]
) -> list[dict[str, Any]]:
    data, source = shots(SETS[name](), count, draw), real_backbone(backbone, size)
    cell = {"set": name, "backbone": backbone, "size": size, "images_a_class": count, "draw": draw}
    sizes = {"trained": len(data.training), "held_out": len(data.held_out)}
    rows = [{**cell, **sizes, **one} for one in _frozen(source, data)]
    for recipe in recipes:
        started = time.perf_counter()
        processor = time.process_time()
        length = {"epochs": 3 * epochs // 2, "steps": 150} if recipe == "scratch" else {"epochs": epochs, "steps": 100}
        result = tune(source, data, recipe, **length, cache=ROOT / "build" / "features" / "tuning")
        compared = result.comparison
        assert compared is not None
        row = {
            **cell, "trained": len(data.training), "held_out": compared.samples, "what": recipe, "head": "slda",
            "right": compared.tuned["slda"], "own": compared.own, "heads": dict(compared.tuned),
            "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - processor,
            "warned": [one for one in compared.warnings if "training" in one], "plain": compared.plain,
        }  # fmt: skip
        rows.append(row)
        print(
            f"{name:8} {backbone} {count or 'all'}: {recipe:12} {100 * row['right']:.1f} % own {100 * row['own']:.1f},"
            f" frozen {100 * compared.frozen['slda']:.1f}, {row['cpu_seconds']:.0f} s of the processor", flush=True
        )  # fmt: skip
    return rows


def _frozen(source: Any, data: Any) -> list[dict[str, Any]]:
    """A row a head on the features as they are; the time is that of the features and the head."""
    store, workers = FeatureCache(ROOT / "build" / "features" / "tuning"), open_workers()
    started = time.perf_counter()
    both = (data.training, data.held_out)
    parts = [read_samples(source.preprocess, part, data.classes, silent, "") for part in both]
    features = [store.features(source, samples, workers) for samples in parts]
    spent = time.perf_counter() - started
    training, held_out = (
        ExtractedPart(x, [str(data.classes[c]) for c in samples.truth], [], [], 0)
        for x, samples in zip(features, parts, strict=True)
    )
    empty = ExtractedPart(np.zeros((0, source.dim), np.float32), [], [], [], 0)
    rows = []
    for head in HEADS:
        started = time.perf_counter()
        fitted = make_head_member(head, {}, "0" * 64, training, empty).factory
        said = fitted.predict(held_out.features)
        right = float(np.mean([a == b for a, b in zip(said, held_out.labels, strict=True)]))
        seconds = spent + time.perf_counter() - started
        rows.append({"what": "frozen", "head": head, "right": right, "seconds": seconds})
    return rows


def _written(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    write_evidence("recipes-bench", {"rows": rows, "epochs": options.epochs, "full": options.full})


def _print(rows: list[dict[str, Any]]) -> None:
    cells = list(dict.fromkeys((r["set"], r["backbone"], r["size"], r["images_a_class"]) for r in rows))

    def mean(cell: tuple[Any, ...], what: str, head: str, key: str = "right") -> float:
        found = [
            row[key] for row in rows
            if (row["set"], row["backbone"], row["size"], row["images_a_class"]) == cell
            and row["what"] == what and row["head"] == head
        ]  # fmt: skip
        return float(np.mean(found)) if found else float("nan")

    recipes = list(dict.fromkeys(row["what"] for row in rows if row["what"] != "frozen"))
    print("\n% right on what is held out, heads on the features as they were")
    print(f"{'set, backbone, size, images a class':44}" + "".join(f"{h:>12}" for h in HEADS))
    for cell in cells:
        said = ", ".join(str(part or "all") for part in cell)
        print(f"{said:44}" + "".join(f"{100 * mean(cell, 'frozen', head):12.1f}" for head in HEADS))
    print(f"\n{'by slda on the features of each recipe':44}{'frozen':>12}" + "".join(f"{r:>12}" for r in recipes))
    for cell in cells:
        said = ", ".join(str(part or "all") for part in cell)
        values = [mean(cell, "frozen", "slda"), *(mean(cell, recipe, "slda") for recipe in recipes)]
        times = [mean(cell, "frozen", "slda", "seconds"), *(mean(cell, r, "slda", "seconds") for r in recipes)]
        print(f"{said:44}" + "".join(f"{100 * value:12.1f}" for value in values))
        print(f"{'  wall seconds':44}" + "".join(f"{value:12.1f}" for value in times))
    last = [row for row in rows if row["what"] == "last-blocks"]
    below = 0
    for row in last:
        cell = (row["set"], row["backbone"], row["size"], row["images_a_class"])
        hurt = row["right"] < mean(cell, "frozen", "slda") - 0.01
        below += hurt
        if hurt and not row["warned"]:
            print(f"last-blocks is more than a point below frozen on {cell} and NOTHING WARNED")
    means = {recipe: float(np.mean([mean(cell, recipe, "slda") for cell in cells])) for recipe in recipes}
    means["head"] = float(np.mean([mean(cell, "frozen", "slda") for cell in cells]))
    best = max(means, key=lambda recipe: means[recipe])
    print(f"\nlast-blocks more than a point below frozen in {below} of {len(last)} runs")
    print("mean over the cells: " + ", ".join(f"{recipe} {100 * value:.1f}" for recipe, value in means.items()))
    print(f"the best recipe is {best}; the default is last-blocks")


if __name__ == "__main__":
    sys.exit(main())
