"""`make recipes-bench`: the default recipe beside scratch, frozen features under each head, last-blocks and full.

Real pretrained weights on real pictures; every figure is on the same held-out quarter of the set, and every recipe is
judged by the default head of a bundle (slda) fitted on its features. The default, auto, chooses by trials on the
training part alone; what it chose is then the run of that name above it, so its row is that run's, and its time that of
the trials too. By default two small networks, one draw and few epochs: the processor here is weak. `--full` adds
MobileNetV2, the third set, all recipes and three draws. `--resume` keeps the rows of the last evidence that were asked
for in the same way.

Below: batch normalisation of ResNet-20 with its statistics frozen or moving, at 20 images a class in several draws.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.evidence import ROOT, write_evidence
from benchmarks.real_backbones import real_backbone
from benchmarks.transfer_data import SETS, shots
from edgetl.building.factory_head import make_head_member
from edgetl.extraction import ExtractedPart
from edgetl.progress import silent
from edgetl.tuning import tune
from edgetl.tuning.cache import FeatureCache
from edgetl.tuning.choice import choose_recipe
from edgetl.tuning.recipes import CANDIDATES, DEFAULT, chosen_recipe
from edgetl.tuning.samples import read_samples
from edgetl.tuning.workers import open_workers

# set -> (backbone, input size, images a class; None: all)
SMALL = {
    "digits": ("resnet20_cifar", 32, (5, 20, 50, None)),
    "grocery": ("mobilenet_v1_0.25", 64, (5, 20, None)),
    "spoken": ("mobilenet_v1_0.25", 64, (5, 20, None)),
}
LARGE = dict.fromkeys(SETS, ("mobilenet_v2", 160, (5, 20, 50, None)))
HEADS = ("slda", "ridge", "ridge_rp", "ncm", "gaussian_nb", "softmax", "mlp", "knn")
CACHE = ROOT / "build" / "features" / "tuning"
RECIPES = ("scratch", "last-blocks", "full")
STATISTICS = {"digits": 3, "spoken": 2, "grocery": 1}  # set -> draws


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also MobileNetV2 at 160, three sets, gradual, three draws")
    parser.add_argument("--epochs", type=int, default=6, help="of the recipes; scratch has half as many again")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="keep rows of the last evidence, asked for alike")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), metavar="PART,...",
        help="measure these parts (a set, a set:images a class, statistics), and take what is there of the others",
    )  # fmt: skip
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kept = _last_rows(options) if options.resume or options.only else {}

    def wanted(*names: str) -> bool:
        return options.only is None or bool({*names} & {*options.only})

    done = dict(kept)
    plan = [*SMALL.items(), *(LARGE.items() if options.full else ())]
    recipes = (*RECIPES, "gradual") if options.full else RECIPES
    for name, (backbone, size, counts) in plan:
        for count in counts:
            for draw in range(3 if options.full else 1):
                cell = {"set": name, "backbone": backbone, "size": size, "images_a_class": count, "draw": draw}
                measured = wanted(name, f"{name}:{count or 'all'}")
                done |= {_key(row): row for row in _cell(cell, options.epochs, recipes, kept, measured)}
                _written(done, options)
    for name, draws in STATISTICS.items() if wanted("statistics") else ():
        for draw in range(draws):
            cell = {"set": name, "backbone": "resnet20_cifar", "size": 32, "images_a_class": 20, "draw": draw}
            for recipe in ("last-blocks", "full"):
                for kind in ("frozen", "moving"):
                    key = _key({**cell, "what": recipe, "head": kind})
                    done[key] = kept.get(key) or _statistics(cell, recipe, kind, options.epochs)
                    _written(done, options)
    rows, moved = _parted(done)
    _print([row for row in rows if _key({**row, "what": "auto", "head": "slda"}) in done])
    _print_statistics(moved)
    return 0


def _parted(done: dict[tuple[Any, ...], dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of the table of recipes, rows of batch statistics)."""
    kinds = ("frozen", "moving")
    rows = [row for row in done.values() if row["head"] not in kinds]
    return rows, [row for row in done.values() if row["head"] in kinds]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[part] for part in ("set", "backbone", "size", "images_a_class", "draw", "what", "head"))


def _last_rows(options: argparse.Namespace) -> dict[tuple[Any, ...], dict[str, Any]]:
    path = ROOT / "build" / "evidence" / "recipes-bench.json"
    last = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    if last.get("epochs") != options.epochs:
        return {}
    return {_key(row): row for row in [*last["rows"], *last.get("batch_statistics", [])]}


def _length(recipe: str, epochs: int) -> dict[str, int]:
    if recipe == "head":
        return {}
    return {"epochs": 3 * epochs // 2, "steps": 150} if recipe == "scratch" else {"epochs": epochs, "steps": 100}


def _cell(
    cell: dict[str, Any], epochs: int, recipes: tuple[str, ...],
    kept: dict[tuple[Any, ...], dict[str, Any]],
    measured: bool,
) -> list[dict[str, Any]]:
    whats = [*(("frozen", head) for head in HEADS), *((recipe, "slda") for recipe in (*recipes, "auto"))]
    there = [kept[key] for what, head in whats if (key := _key({**cell, "what": what, "head": head})) in kept]
    if not measured or len(there) == len(whats):
        return there if len(there) == len(whats) else []
    data = shots(SETS[cell["set"]](), cell["images_a_class"], cell["draw"])
    source = real_backbone(cell["backbone"], cell["size"])
    sizes = {"trained": len(data.training), "held_out": len(data.held_out)}
    old = [kept.get(_key({**cell, "what": "frozen", "head": head})) for head in HEADS]
    rows = [one for one in old if one] if all(old) else [{**cell, **sizes, **one} for one in _frozen(source, data)]
    for recipe in recipes:
        row = kept.get(_key({**cell, "what": recipe, "head": "slda"}))
        rows.append(row or _tuned_row(cell, source, data, recipe, epochs))
    row = kept.get(_key({**cell, "what": "auto", "head": "slda"}))
    rows.append(row or _chosen_row(cell, source, data, rows, epochs))
    return rows


def _tuned_row(cell: dict[str, Any], source: Any, data: Any, recipe: str, epochs: int, **more: Any) -> dict[str, Any]:
    started, processor = time.perf_counter(), time.process_time()
    result = tune(source, data, recipe, **_length(recipe, epochs), **more, cache=CACHE)
    compared = result.comparison
    assert compared is not None
    row = {
        **cell, "trained": len(data.training), "held_out": compared.samples, "what": recipe, "head": "slda",
        "right": compared.tuned["slda"], "own": compared.own, "heads": dict(compared.tuned),
        "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - processor,
        "warned": [one for one in compared.warnings if "training" in one], "plain": compared.plain,
    }  # fmt: skip
    print(
        f"{cell['set']:8} {cell['backbone']} {cell['images_a_class'] or 'all'}: {recipe:12} {100 * row['right']:.1f} %"
        f" own {100 * row['own']:.1f}, frozen {100 * compared.frozen['slda']:.1f}, {row['cpu_seconds']:.0f} s of the"
        f" processor {more or ''}", flush=True
    )  # fmt: skip
    return row


def _chosen_row(
    cell: dict[str, Any], source: Any, data: Any, rows: list[dict[str, Any]], epochs: int
) -> dict[str, Any]:
    started, processor = time.perf_counter(), time.process_time()
    candidates = {name: chosen_recipe(name, _length(name, epochs)) for name in CANDIDATES}
    choice = choose_recipe(
        source, data, candidates, seed=0, checkpoints=None, store=FeatureCache(CACHE), workers=open_workers(),
        progress=silent,
    )  # fmt: skip
    if not choice.trials:
        print(f"{cell['set']:8} {cell['images_a_class'] or 'all'}: no trials, {choice.why}", flush=True)
    spent, processor = time.perf_counter() - started, time.process_time() - processor
    what = "frozen" if choice.recipe == "head" else choice.recipe
    run = next(row for row in rows if row["what"] == what and row["head"] == "slda")
    row = {
        **run, "what": "auto", "chosen": choice.recipe, "trials": [asdict(one) for one in choice.trials],
        "seconds": run["seconds"] + spent, "cpu_seconds": run.get("cpu_seconds", run["seconds"]) + processor,
    }  # fmt: skip
    said = ", ".join(f"{name} {100 * value:.1f}" for name, value in choice.scores.items())
    print(
        f"{cell['set']:8} {cell['backbone']} {cell['images_a_class'] or 'all'}: auto takes {choice.recipe}"
        f" ({len(choice.trials)} trials: {said}), {100 * row['right']:.1f} %, {processor:.0f} s of the processor",
        flush=True,
    )
    return row


def _statistics(cell: dict[str, Any], recipe: str, kind: str, epochs: int) -> dict[str, Any]:
    data = shots(SETS[cell["set"]](), cell["images_a_class"], cell["draw"])
    source = real_backbone(cell["backbone"], cell["size"])
    return {**_tuned_row(cell, source, data, recipe, epochs, batch_statistics=kind), "head": kind}


def _frozen(source: Any, data: Any) -> list[dict[str, Any]]:
    """A row a head on the features as they are; the time is that of the features and the head."""
    store, workers = FeatureCache(CACHE), open_workers()
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


def _written(done: dict[tuple[Any, ...], dict[str, Any]], options: argparse.Namespace) -> None:
    rows, moved = _parted(done)
    plain = {"rows": rows, "batch_statistics": moved, "epochs": options.epochs, "full": options.full}
    write_evidence("recipes-bench", plain)


def _print_statistics(moved: list[dict[str, Any]]) -> None:
    print("\nResNet-20, 20 images a class, % right by slda: batch statistics frozen / moving, a pair a draw")
    for name in STATISTICS:
        for recipe in ("last-blocks", "full") if any(row["set"] == name for row in moved) else ():
            pairs = [
                [row["right"] for row in moved if (row["set"], row["what"], row["head"]) == (name, recipe, kind)]
                for kind in ("frozen", "moving")
            ]
            flat = [100 * one for pair in zip(*pairs, strict=False) for one in pair]  # a pair may be half measured
            if not flat:
                continue
            said = "  ".join(f"{a:.1f} / {b:.1f}" for a, b in zip(flat[::2], flat[1::2], strict=True))
            means = f"mean {np.mean(flat[::2]):.1f} / {np.mean(flat[1::2]):.1f}"
            print(f"  {name:8} {recipe:12} {said}   {means}")
    for kind in ("frozen", "moving") if moved else ():
        print(f"  {kind}: mean {100 * np.mean([row['right'] for row in moved if row['head'] == kind]):.1f}", end="")
    print()


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
        spent = [mean(cell, r, "slda", "cpu_seconds") for r in recipes]
        print(f"{said:44}" + "".join(f"{100 * value:12.1f}" for value in values))
        print(f"{'  wall seconds':44}" + "".join(f"{value:12.1f}" for value in times))
        print(f"{'  seconds of the processor':56}" + "".join(f"{value:12.1f}" for value in spent))
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
    chosen = [row for row in rows if row["what"] == "auto"]
    regret = []
    for row in chosen:
        cell = (row["set"], row["backbone"], row["size"], row["images_a_class"])
        there = [mean(cell, "frozen", "slda"), *(mean(cell, recipe, "slda") for recipe in RECIPES)]
        regret.append(max(there) - mean(cell, "auto", "slda"))
    taken = Counter(row["chosen"] for row in chosen)
    print("auto took " + ", ".join(f"{name} {count} times" for name, count in taken.most_common()))
    told = f"{100 * np.mean(regret):.1f} in the mean, {100 * max(regret):.1f} at most"
    print(f"points below the best of its candidates on the held-out samples (known afterwards only): {told}")
    print("mean over the cells: " + ", ".join(f"{recipe} {100 * value:.1f}" for recipe, value in means.items()))
    print(f"the best recipe is {best}; the default is {DEFAULT}")


if __name__ == "__main__":
    sys.exit(main())
