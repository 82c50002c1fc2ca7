"""The demo from beginning to end: for each seed train, freeze, pack, and a device that learns and is killed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edgetl.demo import backbone
from edgetl.demo.baselines import baselines
from edgetl.demo.domains import CLASSES, PREPROCESS, SHOTS, Domains, load_domains, source_of, target_of
from edgetl.demo.drive import DeviceRun, drive_device, write_data
from edgetl.demo.environment import device_python
from edgetl.demo.page import accuracy_chart, demo_page
from edgetl.demo.results import DemoResult, SeedResult
from edgetl.errors import DemoError
from edgetl.progress import Progress, Step, silent

__all__ = ["run_demo"]

_THREADS = 2


def run_demo(
    out: str | Path, *, seeds: int = 5, python: str | Path | None = None, progress: Progress = silent
) -> DemoResult:
    """Run the demo in the folder `out` and write `demo.json` and `index.html` there.

    `python` is the interpreter of an environment with edgetl-runtime[onnxruntime]; None makes one at
    `out`/device-env, without torch. Everything follows from the seeds 0..`seeds`-1 but the times. Raises
    DemoError, MissingPackageError.
    """
    if seeds < 1:
        raise DemoError(f"the demo needs at least one seed; got {seeds}")
    folder = Path(out).resolve()
    domains = load_domains()
    if python is None:
        stage = "the device's Python, without torch"
        progress(Step(stage, 0, 1))
        interpreter, _ = device_python(folder / "device-env")
        progress(Step(stage, 1, 1))
    else:
        # Not resolved: the link itself is what tells Python which environment it is.
        interpreter = Path(python).absolute()
        if not interpreter.is_file():
            raise DemoError(f"there is no interpreter at {python}; give the python of an environment, or none at all")
    started = time.perf_counter()
    rows = []
    with _settled_torch():
        for seed in range(seeds):
            rows.append(_one_seed(domains, seed, f"seed {seed + 1}/{seeds}", folder, interpreter, progress))
    result = DemoResult(tuple(rows), backbone.FINETUNE_RECIPE, time.perf_counter() - started)
    (folder / "demo.json").write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(demo_page(result, domains), encoding="utf-8")
    (folder / "accuracy.svg").write_text(accuracy_chart(result).svg(), encoding="utf-8")
    return result


def _one_seed(
    domains: Domains, seed: int, name: str, out: Path, python: Path, progress: Progress
) -> SeedResult:
    from edgetl.backbones import from_module
    from edgetl.building.build import build
    from edgetl.features import reference_features

    folder = out / f"seed-{seed}"
    # A state of an earlier run belongs to an earlier bundle.
    shutil.rmtree(folder, ignore_errors=True)
    source, target = source_of(domains, seed), target_of(domains, seed)
    write_data(folder / "data", target)
    clock = [time.perf_counter()]

    places = list(source.training.indices)
    train_pixels = backbone.tensors(domains.source_frames[places])
    train_labels = domains.source_labels[places]
    stage = f"{name}: training on {len(places)} MNIST digits"
    progress(Step(stage, 0, None))
    network = backbone.trained(train_pixels, train_labels, seed, lambda done, total: progress(Step(stage, done, total)))
    clock.append(time.perf_counter())

    stage = f"{name}: freezing, exporting, packing"
    progress(Step(stage, 0, 1))
    extractor = from_module(network[0], PREPROCESS, backbone.MEAN, backbone.SCALE, name="demo-digits")
    built = build(extractor, source, out=folder / "digits.edgetl", name="demo-digits")
    progress(Step(stage, 1, 1))
    clock.append(time.perf_counter())

    # Where it is killed follows from the seed; at least one label is left to learn afterwards.
    kill_after = int(np.random.default_rng([seed, 9]).integers(1, len(target.order)))
    stage = f"{name}: device learns, killed at label {kill_after}"
    progress(Step(stage, 0, len(target.order)))
    device = drive_device(
        python, built.path, folder, kill_after, lambda done: progress(Step(stage, done, len(target.order)))
    )
    clock.append(time.perf_counter())

    stage = f"{name}: baselines and fine-tuning"
    progress(Step(stage, 0, 2))
    pool, test = backbone.tensors(target.pool_frames), backbone.tensors(target.test_frames)
    heads = baselines(
        reference_features(extractor, train_pixels),
        train_labels,
        reference_features(extractor, pool),
        reference_features(extractor, test),
        target,
    )
    progress(Step(stage, 1, 2))
    ten = target.shots(max(SHOTS))
    tuned = backbone.finetuned(network, pool[ten], target.pool_labels[ten], seed)
    progress(Step(stage, 2, 2))
    clock.append(time.perf_counter())

    if built.held_out_accuracy is None or set(device.measured) != {0, *SHOTS}:
        raise DemoError(f"{name}: a measurement is missing: the device gave {sorted(device.measured)}")
    last = device.measured[max(SHOTS)]
    return SeedResult(
        seed=seed,
        source_accuracy=100 * built.held_out_accuracy,
        target_before=100 * device.measured[0]["accuracy"],
        target_after={count: 100 * device.measured[count]["accuracy"] for count in SHOTS},
        target_only=heads.target_only,
        source_metric=heads.source_metric,
        oracle=heads.oracle,
        finetuned=100 * backbone.accuracy(tuned, test, target.test_labels),
        parity_max_abs=built.parity.max_abs,
        latency_ms={**last["latency_ms"], "learn": median(device.learn_ms)},
        first_ms=last["first_ms"],
        bundle_bytes=built.bundle_bytes,
        state_bytes=device.done["state_bytes"],
        device_python=device.done["python"],
        device_engine=device.done["engine"],
        device_packages=tuple(device.done["packages"]),
        device_modules_torch=device.done["torch"],
        device_peak_rss_bytes=device.done["peak_rss_bytes"],
        kill=device.kill,
        acknowledged_lost=device.lost,
        confusion_before=_confusion(device, 0, target.test_labels),
        confusion_after=_confusion(device, max(SHOTS), target.test_labels),
        seconds=dict(zip(("train", "pack", "device", "baselines"), np.diff(clock).tolist(), strict=True)),
    )


def _confusion(device: DeviceRun, stage: int, truth: NDArray[np.int64]) -> list[list[int]]:
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(counts, (truth, np.array(device.measured[stage]["said"])), 1)
    rows: list[list[int]] = counts.tolist()
    return rows


@contextmanager
def _settled_torch() -> Iterator[None]:
    """Two threads and deterministic algorithms while the demo runs; afterwards as it was."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(_THREADS)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
