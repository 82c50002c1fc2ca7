"""`make preprocess`: the runtime's preprocessing against torchvision's transforms of the same weights.

Both start from the array that a camera gives. Accuracy: the largest difference in grey levels over camera,
odd and tiny sizes, on smooth scenes and on noise. Speed: median wall time at 1280x720, the two taking turns in
one run, torch on one thread. torchvision's time includes its conversion and normalisation, which edgetl's
graph does on the device; the pixels alone stand beside it.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from typing import Any

import numpy as np
from edgetl_runtime.preprocess import ImagePreprocess
from PIL import Image
from PIL import __version__ as pillow_version

from benchmarks.evidence import write_evidence

# One for each way in which torchvision's presets resize; the first is its most common and carries the promise.
MODELS = ("mobilenet_v3_small", "mobilenet_v2", "inception_v3", "efficientnet_b0", "swin_t", "efficientnet_b2",
          "maxvit_t")  # fmt: skip
SIZES = ((480, 640), (720, 1280), (1280, 720), (479, 641), (333, 777), (224, 224), (256, 256), (232, 240), (37, 1000),
         (1000, 37), (17, 500), (100, 100), (3, 2), (1, 1))  # fmt: skip
ROUNDS = 101
MAX_GREY_LEVELS, MIN_RATIO = 1.001, 2.0


def main() -> int:
    import torch
    import torchvision

    torch.set_num_threads(1)
    rows = []
    print(f"{'weights of':20} {'resize':>6} {'crop':>5} {'filter':9} {'grey levels':>11} {'differ':>8}"
          f" {'edgetl':>9} {'torchvision':>12} {'ratio':>6} {'pixels only':>12} {'ratio':>6}")  # fmt: skip
    for model in MODELS:
        row = _measure(model)
        rows.append(row)
        print(f"{model:20} {row['resize']:6} {row['crop']:5} {row['interpolation']:9} {row['max_grey_levels']:11.0f}"
              f" {row['share_differing']:8.4%} {row['edgetl_ms']:6.2f} ms {row['torchvision_ms']:9.2f} ms"
              f" {row['ratio']:6.2f} {row['pixels_only_ms']:9.2f} ms {row['ratio_pixels_only']:6.2f}",
              flush=True)  # fmt: skip
    exact = all(row["max_grey_levels"] <= MAX_GREY_LEVELS for row in rows)
    fast = rows[0]["ratio"] >= MIN_RATIO
    slower = [row["name"] for row in rows if row["ratio"] < MIN_RATIO]
    if slower:
        print(f"below {MIN_RATIO:g} times, because these presets keep more of the frame: {', '.join(slower)}")
    print(f"at most 1 grey level on every size: {'yes' if exact else 'NO'}; "
          f"at least {MIN_RATIO:g} times as fast at 1280x720 ({MODELS[0]}): {'yes' if fast else 'NO'}")  # fmt: skip
    versions = {"pillow": pillow_version, "torchvision": torchvision.__version__, "python": platform.python_version()}
    write_evidence("preprocess", {"rows": rows, "rounds": ROUNDS, "sizes": SIZES, "versions": versions})
    return 0 if exact and fast else 1


def _measure(model: str) -> dict[str, Any]:
    from torchvision import models
    from torchvision.transforms import functional

    transforms = models.get_model_weights(model).DEFAULT.transforms()
    crop, resize = transforms.crop_size[0], transforms.resize_size[0]
    preprocess = ImagePreprocess(crop, crop, resize, transforms.interpolation.value)
    mean, std = (np.array(figures, np.float64) for figures in (transforms.mean, transforms.std))
    generator = np.random.default_rng(0)
    worst, differing, total = 0.0, 0, 0
    for height, width in SIZES:
        for frame in (_scene(height, width, generator), generator.integers(0, 256, (height, width, 3), dtype=np.uint8)):
            normalised = transforms(Image.fromarray(frame)).permute(1, 2, 0).numpy().astype(np.float64)
            difference = np.abs(preprocess.apply(frame)[0] - (normalised * std + mean) * 255.0)
            worst = max(worst, float(difference.max()))
            differing, total = differing + int((difference > 0.5).sum()), total + difference.size

    def pixels_only(frame: Any) -> None:
        image = functional.resize(
            Image.fromarray(frame), transforms.resize_size, transforms.interpolation, antialias=transforms.antialias
        )
        np.asarray(functional.center_crop(image, transforms.crop_size))

    frame = _scene(720, 1280, generator)
    ways = (preprocess.apply, lambda frame: transforms(Image.fromarray(frame)), pixels_only)
    spent: list[list[float]] = [[], [], []]
    for _ in range(ROUNDS):
        for way, times in zip(ways, spent, strict=True):
            start = time.perf_counter()
            way(frame)
            times.append(time.perf_counter() - start)
    ours, theirs, pixels = (1e3 * statistics.median(times) for times in spent)
    return {
        "name": model,
        "resize": resize,
        "crop": crop,
        "interpolation": transforms.interpolation.value,
        "max_grey_levels": round(worst, 3),
        "share_differing": differing / total,
        "edgetl_ms": ours,
        "torchvision_ms": theirs,
        "ratio": theirs / ours,
        "pixels_only_ms": pixels,
        "ratio_pixels_only": pixels / ours,
    }


def _scene(height: int, width: int, generator: np.random.Generator) -> Any:
    """Smooth areas, edges and noise, as a photograph has."""
    coarse = generator.integers(0, 256, (max(1, height // 16), max(1, width // 16), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return (smooth + generator.integers(-20, 21, smooth.shape)).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
