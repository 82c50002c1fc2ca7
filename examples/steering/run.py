"""A car that steers by its camera, after the camera was knocked: python examples/steering/run.py [DRIVE.csv]

The CSV has the columns path and angle (-1 to 1), in the order of time. Without it the drive of EDGETL_DATA is taken,
and where there is none, one is drawn.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from pathlib import Path

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.sources.images import read_image

import edgetl

ANGLE = rt.Output("angle", low=-1.0, high=1.0)
KNOCKED = 20  # pixels by which the camera looks to the side since then


def drawn(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """(frames 120 x 160, angles): a road that bends, at dusk."""
    rng = np.random.default_rng(0)
    angles = np.clip(np.convolve(rng.normal(0, 1.2, count + 20), np.ones(20) / 20**0.5, "valid")[:count] * 0.5, -1, 1)
    y, x = np.mgrid[:120, :160]
    depth = np.clip((120 - y) / 80, 0, 1)
    frames = []
    for angle in angles:
        middle = 80 + rng.normal(0, 2) + 70 * angle * depth**2
        road = (abs(x - middle) < 60 * (1 - 0.8 * depth)) & (y > 40)
        line = (abs(x - middle) < 3) & (y > 40) & ((y + rng.integers(0, 20)) % 20 < 12)
        picture = np.where(line, 220.0, np.where(road, 90.0, np.where(y > 40, 140.0, 180.0)))
        picture = picture[..., None] * [1.0, 0.95, 0.9] + rng.normal(0, 12, (120, 160, 3))
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    return frames, angles


def driven(table: Path, most: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The first frames of a CSV, or of the catalogue of a donkeycar."""
    if table.suffix == ".csv":
        with table.open(newline="") as file:
            rows = [(row["path"], float(row["angle"])) for row in csv.DictReader(file)][:most]
        return [read_image(table.parent / path) for path, _ in rows], np.array([angle for _, angle in rows])
    records = [json.loads(line) for line in table.read_text().splitlines()[:most]]
    frames = [read_image(table.parent / "images" / record["cam/image_array"]) for record in records]
    return frames, np.array([record["user/angle"] for record in records])


def main() -> None:
    """Host: build. Device: predict, learn, predict again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path, metavar="DRIVE.csv")
    parser.add_argument("--weights", help="of torchvision/mobilenet_v2 (a file, or DEFAULT)")
    parser.add_argument("--frames", type=int, default=500, help="to use (default 500)")
    parser.add_argument("--labels", type=int, default=40, help="frames with their angle after the knock (default 40)")
    options = parser.parse_args()
    given, network = os.environ.get("EDGETL_DATA", ""), {"size": 96, "resize": 96}
    if options.table is None and given and (Path(given) / "donkey_tub").is_dir():
        options.table = Path(given) / "donkey_tub" / "catalog_0.catalog"
        options.weights = f"{given}/models/mobilenet_v2_torchvision_fp16.safetensors"
        network |= {"mean": 127.5, "scale": 1 / 127.5}  # what these weights were trained with
    frames, angles = driven(options.table, options.frames) if options.table else drawn(options.frames)
    print(f"data: {options.table or 'a drive drawn here, as none was named'}")

    # In time, never at random: neighbouring frames are near copies. The knock is simulated: the picture moves aside.
    cut = len(frames) * 6 // 10
    after = [np.roll(frame, KNOCKED, axis=1) for frame in frames[cut:]]
    later = angles[cut:]
    to_learn, to_measure = slice(0, len(after) // 2), slice(len(after) // 2 + 10, None)

    # On the host: a pretrained network, frozen, and a head that gives a number and how sure it is of it.
    name = "torchvision/mobilenet_v2" if options.weights else "torchvision/squeezenet1_1"
    extractor = edgetl.extractor(name, weights=options.weights, **network)
    with tempfile.TemporaryDirectory() as folder:
        drive = edgetl.dataset(np.stack(frames[:cut]), targets={ANGLE: angles[:cut]})
        built = edgetl.build(extractor, drive, out=f"{folder}/drive.edgetl")
        error = built.output_errors[0]
        print(f"built from {built.training_samples} frames; before the knock an error of {error.rmse:.3f}")
        always = float(np.sqrt(np.mean((later[to_measure] - angles[:cut].mean()) ** 2)))
        print(f"{'root mean square error of the angle':<38}{'after the knock':>15}")
        print(f"{'always the mean':<38}{always:>15.3f}")

        # On the device: somebody drives, so that frames come with their angles.
        every = list(zip(after, later, strict=True))[to_learn]
        some = [every[place] for place in np.linspace(0, len(every) - 1, min(options.labels, len(every))).astype(int)]
        for number, (what, labelled) in enumerate([
            ("no adaptation", []),
            (f"{len(some)} frames with their angle", some),
            (f"oracle: all {len(every)} frames until then", every),
        ]):  # fmt: skip
            with rt.open(built.path, f"{folder}/state{number}", allow_unsigned=True, policy="immediate") as session:
                if labelled:  # one by one, session.learn(frame, targets={"angle": 0.2})
                    session.learn_many([frame for frame, _ in labelled], targets=[{"angle": a} for _, a in labelled])
                said = np.array([session.predict(frame).values["angle"] for frame in after[to_measure]])
            print(f"{what:<38}{np.sqrt(np.mean((said - later[to_measure]) ** 2)):>15.3f}")


if __name__ == "__main__":
    main()
