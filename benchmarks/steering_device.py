"""The drive of `make steering` through a bundle and a session: what a robot gets, with its guard and without."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.sources.images import read_image

import edgetl
from benchmarks.evidence import data_folder

OUTPUTS = (rt.Output("angle", "", -1.0, 1.0), rt.Output("throttle", "", -1.0, 1.0))
DIM_LIGHT = 0.4
Frame = np.ndarray


def on_the_device(source: int, gap: int, learnt: int, measured: int) -> dict[str, Any]:
    """Figures of the angle: the factory head, and after `learnt` more frames, as it was and in less light."""
    frames, y = _drive()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "drive.edgetl"
        extractor = edgetl.extractor(
            "torchvision/mobilenet_v2",
            weights=str(data_folder() / "models" / "mobilenet_v2_torchvision_fp16.safetensors"),
            mean=127.5,
            scale=1 / 127.5,
        )
        columns = {output: y[:source, q] for q, output in enumerate(OUTPUTS)}
        began = time.perf_counter()
        edgetl.build(extractor, edgetl.dataset(frames[:source], targets=columns, holdout=0.0), out=bundle)
        figures: dict[str, Any] = {"build_s": time.perf_counter() - began}
        with rt.open(bundle, Path(folder) / "first", allow_unsigned=True) as session:
            figures["factory"] = _judged(session, frames[source + gap :], y[source + gap :], _as_it_was)
        for light, change in (("as it was", _as_it_was), (f"light x {DIM_LIGHT}", _dimmed)):
            for policy in ("guarded", "immediate"):
                state = Path(folder) / f"{light} {policy}"
                with rt.open(bundle, state, allow_unsigned=True, policy=policy) as session:
                    before = _judged(session, frames[measured:], y[measured:], change)
                    began = time.perf_counter()
                    block = range(source, source + learnt)
                    targets = [{output.name: float(y[i, q]) for q, output in enumerate(OUTPUTS)} for i in block]
                    session.learn_many([change(frames[i]) for i in block], targets=targets)
                    spent = time.perf_counter() - began
                    after = _judged(session, frames[measured:], y[measured:], change)
                    figures[f"{light}, {policy}"] = {
                        "before": before,
                        "after": after,
                        "generation": session.status()["generation"],
                        "learn_ms": 1e3 * spent / learnt,
                        "said": session.review().reason,
                    }
    return figures


def told(figures: dict[str, Any], learnt: int) -> None:
    """Print them."""
    print("\nthe same by a bundle and a session (angle; RMSE and R2)")
    one = figures["factory"]
    print(f"  the factory head on all that comes later: {one['rmse']:.3f}, {one['r2']:.3f}")
    for name, row in figures.items():
        if isinstance(row, dict) and "before" in row:
            before, after = row["before"], row["after"]
            print(
                f"  {name}: {before['rmse']:.3f}, {before['r2']:.3f}; after {learnt} frames {after['rmse']:.3f},"
                f" {after['r2']:.3f} (generation {row['generation']}, {row['learn_ms']:.0f} ms a frame);"
                f" {100 * after['within_one_deviation']:.0f} % within the deviation it says"
            )


def _drive() -> tuple[list[Frame], np.ndarray]:
    tub = data_folder() / "donkey_tub"
    records = [json.loads(line) for line in (tub / "catalog_0.catalog").read_text().splitlines()]
    frames = [read_image(tub / "images" / record["cam/image_array"]) for record in records]
    return frames, np.array([[record["user/angle"], record["user/throttle"]] for record in records])


def _as_it_was(frame: Frame) -> Frame:
    return frame


def _dimmed(frame: Frame) -> Frame:
    return (frame * DIM_LIGHT).astype(np.uint8)


def _judged(session: rt.Session, frames: list[Frame], y: np.ndarray, change: Callable[[Frame], Frame]) -> dict:
    said = [session.predict(change(frame)) for frame in frames]
    truth = y[:, 0]
    errors = np.array([prediction.values["angle"] for prediction in said]) - truth
    deviations = np.array([prediction.deviations["angle"] for prediction in said])
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "r2": 1.0 - float(np.sum(errors**2) / np.sum((truth - truth.mean()) ** 2)),
        "within_one_deviation": float((np.abs(errors) <= deviations).mean()),
    }
