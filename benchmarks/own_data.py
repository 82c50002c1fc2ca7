"""`make own-data`: real ImageNet weights and real shop photographs, by the commands of the README.

Source: the authors' training photographs; new domain: their test photographs (other days, other shops),
split by image into a pool, from which labels are drawn, and a half that only measures. Every figure is on
that second half. Beside the device: the factory head untouched, the best head from the same target labels alone,
and the oracle, a head on the source and the whole pool. Three draws of labels.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.sources.images import read_image

from benchmarks.evidence import ROOT, data_folder, write_evidence

SHOTS = (1, 5, 10)
DRAWS = 3
WEIGHTS = "models/mobilenet_v2_torchvision_fp16.safetensors"


def main() -> int:
    data = data_folder()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="own-data-", dir=ROOT / "build") as work:
        figures = _measure(data, Path(work))
    print(f"\n| {'labels a class':>14} | device | target labels alone | untouched | oracle |")
    print("|---:|---:|---:|---:|---:|")
    for row in figures["rows"]:
        print(
            f"| {row['labels_a_class']:>14} | {100 * row['device']:.1f} | {100 * row['target_only']:.1f}"
            f" | {100 * figures['before']:.1f} | {100 * figures['oracle']:.1f} |"
        )
    checked = figures["by_command"]
    print(f"by the commands alone, 10 labels a class: {100 * checked['before']:.1f} -> {100 * checked['after']:.1f} %")
    print(write_evidence("own-data", figures).relative_to(ROOT))
    return 0


def _measure(data: Path, work: Path) -> dict:
    shop = data / "grocery_fruitveg"
    bundle, state = work / "shop.edgetl", work / "shop-state"
    print("$ edgetl build --backbone torchvision/mobilenet_v2 ...", flush=True)
    built = _run(
        "edgetl", "build", "--backbone", "torchvision/mobilenet_v2", "--weights", str(data / WEIGHTS),
        "--mean", "127.5", "--scale", str(1 / 127.5), "--data", str(shop / "train"), "--out", str(bundle), "--json",
    )  # fmt: skip
    _run("edgetl-runtime", "install", str(bundle), "--state", str(state), "--allow-unsigned")
    pool, measured = _split(shop, work)

    started = time.perf_counter()
    with rt.open(None, state, allow_unsigned=True, read_only=True) as session:
        print("features of the new domain ...", flush=True)
        features = {part: _features(session, part) for part in (pool, measured)}
    seconds_a_frame = (time.perf_counter() - started) / sum(len(f) for f, _ in features.values())
    member = _member(bundle)

    before = _accuracy(member.factory, *features[measured])
    oracle_statistics = _empty(member)
    oracle_statistics.add(*features[pool])
    oracle = _accuracy(rt.fit_head("slda", oracle_statistics + member.source), *features[measured])
    rows = []
    for shots in SHOTS:
        after, alone = [], []
        for draw in range(DRAWS):
            chosen = _draw(features[pool][1], shots, draw)
            few, labels = features[pool][0][chosen], [features[pool][1][i] for i in chosen]
            learnt = _empty(member)
            learnt.add(few, labels)
            after.append(_accuracy(rt.fit_head("slda", learnt, prior=member.source), *features[measured]))
            # The better of the two, so that the device is held against a fair opponent.
            alone.append(max(_accuracy(rt.fit_head(name, learnt), *features[measured]) for name in ("slda", "ridge")))
        rows.append({"labels_a_class": shots, "device": float(np.mean(after)), "target_only": float(np.mean(alone))})
    checked = _by_command(pool, measured, state, work)

    return {
        "held_out_source": built["held_out_accuracy"], "before": before, "oracle": oracle, "rows": rows,
        "by_command": checked, "images": {"training": built["training_samples"], "pool": len(features[pool][1]),
        "measured": len(features[measured][1])}, "parity_max_rel": built["parity"]["max_rel"],
        "bundle_bytes": built["bundle_bytes"],
        "seconds": {"build": built["seconds"]["total"], "frame": seconds_a_frame},
    }  # fmt: skip


def _run(command: str, *arguments: str) -> dict:
    script = Path(sys.executable).with_name(command)
    done = subprocess.run([str(script), *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout) if "--json" in arguments else {}


def _split(shop: Path, work: Path) -> tuple[Path, Path]:
    """Halves of the authors' test photographs as two folders of links, a folder a class."""
    pool, measured = work / "pool", work / "measured"
    by_class = defaultdict(list)
    for path in sorted((shop / "test").rglob("*.jpg")):
        by_class[path.parent].append(path)
    generator = np.random.default_rng(0)
    for folder, paths in by_class.items():
        for position, index in enumerate(generator.permutation(len(paths))):
            target = (pool if position % 2 == 0 else measured) / folder.relative_to(shop / "test") / paths[index].name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(paths[index].resolve())
    return pool, measured


def _features(session: rt.Session, folder: Path) -> tuple[np.ndarray, list[str]]:
    paths = sorted(folder.rglob("*.jpg"))
    labels = [path.parent.relative_to(folder).as_posix() for path in paths]
    return np.stack([session.features(read_image(path)) for path in paths]), labels


def _member(bundle: Path) -> HeadMember:
    opened = rt.read_bundle(bundle)
    variant = opened.manifest.variants[0]
    return HeadMember.unpack(opened.members[variant.head], variant.head, variant.feature_space, variant.dim)


def _empty(member: HeadMember) -> rt.Statistics:
    return rt.Statistics(member.source.dim, shift=member.source.shift, feature_space=member.source.feature_space)


def _accuracy(head, features: np.ndarray, labels: list[str]) -> float:
    return float(np.mean([a == b for a, b in zip(head.predict(features), labels, strict=True)]))


def _draw(labels: list[str], shots: int, seed: int) -> list[int]:
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in sorted(set(labels)):
        members = [i for i, other in enumerate(labels) if other == label]
        chosen += list(generator.permutation(members)[:shots])
    return chosen


def _by_command(pool: Path, measured: Path, state: Path, work: Path) -> dict:
    """The same by the device's commands alone: check, learn ten a class, check again."""
    common = ("--state", str(state), "--allow-unsigned", "--json")
    before = _run("edgetl-runtime", "predict", str(measured), "--check", *common)
    learnt = _run("edgetl-runtime", "learn", str(pool), "--per-class", "10", "--policy", "immediate", *common)
    after = _run("edgetl-runtime", "predict", str(measured), "--check", *common)
    return {"before": before["accuracy"], "after": after["accuracy"], "learnt": len(learnt["learnt"])}


if __name__ == "__main__":
    sys.exit(main())
