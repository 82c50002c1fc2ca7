"""An activity model of phones that moves to a watch: python examples/wearable_imu/run.py [SOURCE.csv TARGET.csv]

The CSVs have the columns time, label, group (who it was) and the channels with their units, such as `ax [m/s^2]`.
Without them the recordings of EDGETL_DATA are taken, and where there are none, some are drawn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.windows import WindowSpec

import edgetl
from edgetl.data import Recording

CHANNELS, UNITS = ("ax", "ay", "az"), ("m/s^2",) * 3
WINDOW = WindowSpec(length=50, stride=25, rate_hz=50.0)  # a second, every half
ACTIVITIES = ("sitting", "turning", "walking")


def drawn(people: range, watch: bool) -> list[Recording]:
    """A minute of each person; a watch hangs askew, and an arm swings wider than a pocket."""
    recordings = []
    t = np.arange(60 * 50) / 50
    for person in people:
        rng = np.random.default_rng(person)
        labels = np.repeat(ACTIVITIES * 4, len(t) // (4 * len(ACTIVITIES)))
        step, swing = rng.uniform(1.7, 2.1), 3.0 if watch else 1.5
        beat = 2 * np.pi * step * t
        walk = np.stack([swing * np.sin(beat), 0.5 * np.cos(beat / 2), 2 * np.cos(2 * beat)])
        turn = np.stack([np.sin(0.4 * beat), swing * np.cos(0.4 * beat), 0 * t])
        moving = np.where(labels == "walking", walk, np.where(labels == "turning", turn, 0.0))
        values = np.add(moving, [[0.3], [0.5], [9.8]]).T + rng.normal(0, 1.5, (len(t), 3))
        angle = np.radians(rng.uniform(35, 55)) if watch else np.radians(rng.uniform(-10, 10))
        askew = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        recordings.append(Recording(f"{person}", t, values @ askew, labels, f"{person}", CHANNELS, UNITS))
    return recordings


def recorded(folder: Path, people: range, what: str, most: int = 12) -> list[Recording]:
    """At most `most` walks of each person, with what lay in the pocket ("sp") or on the wrist ("sw")."""
    names = ("seated", "standing up", "walking", "turning", "sitting down")
    recordings = []
    with np.load(folder / "spsw.npz") as stored:
        for person in people:
            own = [name[:-2] for name in stored.files if name.startswith(f"s{person:02}_") and f"_{what}/x" in name]
            for key in sorted(own)[:most]:
                values = stored[f"{key}/x"][:, :3].astype(np.float64)
                stamps, labels = stored[f"{key}/t_ms"] / 1e3, np.array(names)[stored[f"{key}/y"]]
                # Of phones whole people are held out, of the watches whole walks: their wearers do give labels.
                group = f"{person}" if what == "sp" else key
                recordings.append(Recording(key, stamps, values, labels, group, CHANNELS, UNITS))
    return recordings


def main() -> None:
    """Host: train a small network and build. Device: predict, learn, predict again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", type=Path, metavar="SOURCE.csv TARGET.csv")
    parser.add_argument("--labels", type=int, default=10, help="that the wearer gives, a class (default 10)")
    parser.add_argument("--epochs", type=int, help="passes over the data (default: what the recipe says)")
    options = parser.parse_args()
    given = Path(os.environ.get("EDGETL_DATA", "")) / "spsw_har"
    if options.tables:
        source, target = options.tables
        print(f"data: {source} -> {target}")
    elif os.environ.get("EDGETL_DATA") and given.is_dir():
        source, target = recorded(given, range(1, 11), "sp"), recorded(given, range(11, 15), "sw")
        print("data: phones of ten people -> watches of four others")
    else:
        source, target = drawn(range(6), watch=False), drawn(range(6, 9), watch=True)
        print("data: drawn here, as no recordings were named")

    # On the host: nobody pretrained this small network, so it is trained on the source. Whole people are held out.
    windows, there = edgetl.dataset(source, window=WINDOW), edgetl.dataset(target, window=WINDOW)
    network = edgetl.extractor("edgetl/conv1d-s", data=windows, turn=30)  # as if mounted up to 30 degrees askew
    trained = edgetl.finetune(network, windows, recipe="scratch", epochs=options.epochs, validation=0.0)
    with tempfile.TemporaryDirectory() as folder:
        built = edgetl.build(trained, windows, out=f"{folder}/motion.edgetl")
        old = 100 * (built.held_out_accuracy or 0.0)
        print(f"built from {built.training_samples} windows; {built.bundle_bytes / 1e6:.2f} MB")
        print(f"{old:.1f} % right on people whom it never saw, with the old sensor")
        print(f"{'% right':<38}{'new sensor':>10}")

        # On the device: the wearer says now and then what that was. The guard lets live what it has evidence for.
        every, measured = list(there.training), list(there.held_out)
        some = few(every, options.labels)
        for number, (what, policy, labelled) in enumerate([
            ("no adaptation", "guarded", []),
            (f"{options.labels} labels a class, guard", "guarded", some),
            (f"{options.labels} labels a class, live at once", "immediate", some),
            ("oracle: every label", "immediate", every),
        ]):  # fmt: skip
            with rt.open(built.path, f"{folder}/state{number}", allow_unsigned=True, policy=policy) as session:
                if policy == "immediate" and labelled:
                    session.learn_many([one for one, _ in labelled], [label for _, label in labelled])
                for window, label in labelled if policy == "guarded" else []:
                    session.learn(window, label)  # durable when it returns; judges what was learnt before, then teaches
                right = [session.predict(window).label == label for window, label in measured]
            print(f"{what:<38}{100 * float(np.mean(right)):>10.1f}")


def few(samples: list[tuple[np.ndarray, str]], count: int) -> list[tuple[np.ndarray, str]]:
    """`count` of each class, drawn."""
    drawn_order = [samples[place] for place in np.random.default_rng(0).permutation(len(samples))]
    names = [label for _, label in drawn_order]
    return [one for place, one in enumerate(drawn_order) if names[:place].count(one[1]) < count]


if __name__ == "__main__":
    main()
