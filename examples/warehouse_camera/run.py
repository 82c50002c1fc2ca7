"""A shelf camera that moves to another warehouse: python examples/warehouse_camera/run.py [SOURCE TARGET]

SOURCE and TARGET are folders with a folder a class: where the model was made, and where it now runs. Without them the
photographs of EDGETL_DATA are taken, and where there are none, some are drawn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.sources.images import image_paths, read_image

import edgetl

CLASSES = ("crate", "drum", "pallet", "sack")


def drawn(count: int, elsewhere: bool, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """`count` pictures a class, 96 x 96; elsewhere the lamps are yellow and dim, and the camera hangs higher."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96] / 95 - 0.5
    frames, labels = [], []
    for label in CLASSES * count:
        size = rng.uniform(0.2, 0.26) if elsewhere else rng.uniform(0.26, 0.36)
        u, v = (x - rng.uniform(-0.1, 0.1)) / size, (y - rng.uniform(-0.1, 0.1)) / size
        inside = {
            "crate": (abs(u) < 1) & (abs(v) < 1),
            "drum": (abs(u) < 0.7) & (abs(v) < 1) & (abs(v) % 0.5 > 0.08),
            "pallet": (abs(u) < 1) & (abs(v) < 1) & (v % 0.4 > 0.2),
            "sack": u**2 + v**2 < 1,
        }[label]
        picture = np.where(inside[..., None], [0.75, 0.6, 0.4], [0.35, 0.35, 0.4]) + rng.normal(0, 0.12, (96, 96, 3))
        if elsewhere:
            picture = picture * [0.55, 0.5, 0.3] + 0.25 * (x[..., None] + 0.5)
        frames.append(np.clip(255 * picture, 0, 255).astype(np.uint8))
        labels.append(label)
    return frames, labels


def photographs(folder: Path, names: list[str], most: int) -> tuple[list[np.ndarray], list[str]]:
    """At most `most` photographs of each class."""
    paths = [(path, name) for name in names for path in sorted(image_paths(folder / name))[:most]]
    return [read_image(path) for path, _ in paths], [name for _, name in paths]


def main() -> None:
    """Host: build. Device: predict, learn, predict again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="SOURCE TARGET")
    parser.add_argument("--weights", help="of torchvision/mobilenet_v2 (a file, or DEFAULT)")
    parser.add_argument("--labels", type=int, default=10, help="that a person gives, a class (default 10)")
    parser.add_argument("--most", type=int, default=32, help="pictures a class to use (default 32)")
    options = parser.parse_args()
    given, network = os.environ.get("EDGETL_DATA", ""), {"size": 96, "resize": 96}
    if not options.folders and (Path(given) / "grocery_fruitveg").is_dir():
        options.folders = [Path(given) / "grocery_fruitveg" / part for part in ("train", "test")]
        options.weights = f"{given}/models/mobilenet_v2_torchvision_fp16.safetensors"
        network |= {"mean": 127.5, "scale": 1 / 127.5}  # what these weights were trained with
    if options.folders:
        source, target = options.folders
        names = sorted({str(path.parent.relative_to(target)) for path in image_paths(target)})[:6]
        here, there = photographs(source, names, options.most), photographs(target, names, options.most)
        print(f"data: photographs, {source} -> {target}")
    else:
        here, there = drawn(options.most, False, seed=0), drawn(options.most, True, seed=1)
        print("data: drawn here, as no photographs were named")

    here, there = shuffled(*here), shuffled(*there)
    kept, to_build = here[::4], [sample for place, sample in enumerate(here) if place % 4]
    to_learn, to_measure = there[::2], there[1::2]

    # On the host: a pretrained network, frozen, and a head for its features. (Drawn things a random one tells apart.)
    name = "torchvision/mobilenet_v2" if options.weights else "torchvision/squeezenet1_1"
    extractor = edgetl.extractor(name, weights=options.weights, **network)
    with tempfile.TemporaryDirectory() as folder:
        dataset = edgetl.dataset([frame for frame, _ in to_build], [label for _, label in to_build])
        built = edgetl.build(extractor, dataset, out=f"{folder}/shelf.edgetl")
        print(f"built from {built.training_samples} pictures; {built.bundle_bytes / 1e6:.1f} MB")
        print(f"{'% right':<38}{'other warehouse':>16}{'old one':>9}")

        # On the device: a person gives some labels. The guard lets live what it has evidence for.
        some, every = few(to_learn, options.labels), to_learn
        rows = [("no adaptation", "guarded", []), (f"{options.labels} labels a class, guard", "guarded", some)]
        rows += [(f"{options.labels} labels a class, live at once", "immediate", some)]
        rows += [("oracle: every label", "immediate", every)]
        for number, (what, policy, labelled) in enumerate(rows):
            with rt.open(built.path, f"{folder}/state{number}", allow_unsigned=True, policy=policy) as session:
                if policy == "immediate" and labelled:
                    session.learn_many([frame for frame, _ in labelled], [label for _, label in labelled])
                for frame, label in labelled if policy == "guarded" else []:
                    session.learn(frame, label)  # durable when it returns; judges what was learnt before, then teaches
                figures = f"{right(session, to_measure):>16.1f}{right(session, kept):>9.1f}"
            print(f"{what:<38}{figures}")


def shuffled(frames: list[np.ndarray], labels: list[str]) -> list[tuple[np.ndarray, str]]:
    """Pairs of picture and label, in any order but always the same."""
    return [(frames[place], labels[place]) for place in np.random.default_rng(0).permutation(len(frames))]


def few(samples: list[tuple[np.ndarray, str]], count: int) -> list[tuple[np.ndarray, str]]:
    """The first `count` of each class."""
    names = [name for _, name in samples]
    return [sample for place, sample in enumerate(samples) if names[:place].count(sample[1]) < count]


def right(session: rt.Session, samples: list[tuple[np.ndarray, str]]) -> float:
    """% of samples whose label is predicted."""
    said = [session.predict(frame).label for frame, _ in samples]
    return 100 * float(np.mean([one == name for one, (_, name) in zip(said, samples, strict=True)]))


if __name__ == "__main__":
    main()
