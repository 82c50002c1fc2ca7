"""`make steering`: steering angle and throttle from the camera of a real car, by the regression heads.

The frames of the drive in the order of its catalogue: the first 600 are the source, the rest comes later in
time. There is no random split: neighbouring frames are near copies, and a head tested on the neighbours of what
it learnt looks far better than it is. Then the device learns the next frames, one at a time, and is measured
after a gap. Beside it: the mean of the training targets, the same frames without the source, oracles; and all of it
once more through a bundle and a session with its guard.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetl_runtime.engines import open_engine
from edgetl_runtime.heads import Regressor, fit_regressor, random_layer
from edgetl_runtime.heads.leave_one_out import loo_ridge_targets
from edgetl_runtime.sources.images import read_image
from edgetl_runtime.statistics import Statistics

import edgetl
from benchmarks.evidence import ROOT, data_folder, write_evidence
from benchmarks.fewshot_data import cached
from benchmarks.steering_device import on_the_device, told
from edgetl.export import export_onnx
from edgetl.extraction import run_engine

TARGETS = ("angle", "throttle")
SOURCE, GAP, MEASURED = 600, 50, 750
LEARNT = (0, 10, 50, 100)
LAYER_BYTES = 8 * 2**20  # a random layer that a small board takes, as in `make fewshot`
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
BLOCK = 50  # frames left out together
Apply = Callable[[np.ndarray], np.ndarray]


def drive_features() -> dict[str, np.ndarray]:
    """Features (N, D) of the deployed graph, targets (N, Q) and the clock (N) in ms, in catalogue order."""
    tub = data_folder() / "donkey_tub"
    model = data_folder() / "models" / "derived_onnx" / "mobilenet_v2_1.0_224_fp32.onnx"
    extractor = edgetl.extractor(f"onnx:{model}", output="features", mean=127.5, scale=1 / 127.5)
    engine = open_engine("onnxruntime", export_onnx(extractor), threads=2)
    records = [json.loads(line) for line in (tub / "catalog_0.catalog").read_text().splitlines()]
    frames = (read_image(tub / "images" / record["cam/image_array"]) for record in records)
    features = np.stack([run_engine(engine, extractor.preprocess.apply(frame)) for frame in frames])
    engine.close()
    targets = np.array([[record["user/angle"], record["user/throttle"]] for record in records])
    return {"x": features, "y": targets, "ms": np.array([record["_timestamp_ms"] for record in records])}


@dataclass(frozen=True)
class Drive:
    """Features (N, D) as a head takes them before (`raw`) and after its layer (`x`), and targets (N, Q)."""

    head: str
    raw: np.ndarray
    x: np.ndarray
    y: np.ndarray
    options: dict[str, Any]

    def statistics(self, first: int, stop: int, one_by_one: bool = False) -> Statistics:
        result = Statistics(self.x.shape[1], shift=self.x[:SOURCE].mean(axis=0))
        for start in range(first, stop) if one_by_one else [first] * (stop > first):
            end = start + 1 if one_by_one else stop
            result.add(self.x[start:end], targets=self.y[start:end])
        return result

    def fit(self, learnt: Statistics, prior: Statistics | None = None, **options: Any) -> Regressor:
        return fit_regressor(self.head, learnt, prior, **{"variance": True, **self.options, **options})

    def left_out(self, first: int, stop: int, prior: Statistics | None = None) -> dict[str, list[float]]:
        """RMSE (Q) on frames that were learnt, each left out, and blocks of neighbours left out together."""
        learnt, x, y = self.statistics(first, stop), self.x[first:stop], self.y[first:stop]
        blocks = np.arange(stop - first) // BLOCK
        figures = {"left_out": rmse(loo_ridge_targets(learnt, x, y, prior) - y)}
        if prior is not None or blocks[-1] > 0:
            figures["blocks_left_out"] = rmse(loo_ridge_targets(learnt, x, y, prior, groups=blocks) - y)
        return figures

    def judged(self, head: Regressor, first: int) -> dict[str, list[float]]:
        """Figures (Q) of a head on all frames from `first` on."""
        return judged(head.predict(self.raw[first:]), self.y[first:], head.predict_variance(self.raw[first:]))


def rmse(errors: np.ndarray) -> list[float]:
    return [float(value) for value in np.sqrt(np.mean(errors**2, axis=0))]


def judged(predicted: np.ndarray, y: np.ndarray, variance: np.ndarray | None = None) -> dict[str, list[float]]:
    errors = predicted - y
    r2 = 1.0 - np.sum(errors**2, axis=0) / np.sum((y - y.mean(axis=0)) ** 2, axis=0)
    figures = {"mae": np.mean(np.abs(errors), axis=0).tolist(), "rmse": rmse(errors), "r2": r2.tolist()}
    if variance is not None:
        spread = np.sqrt(variance)
        figures["sigma"] = spread.mean(axis=0).tolist()
        figures["within_one_sigma"] = np.mean(np.abs(errors) < spread, axis=0).tolist()
    return figures


def drives(x: np.ndarray, y: np.ndarray) -> list[Drive]:
    plain = Drive("ridge", x, x, y, {})
    layer = random_layer(plain.statistics(0, SOURCE), size_bytes=LAYER_BYTES)
    return [plain, Drive("ridge_rp", x, layer.apply(x), y, {"layer": layer})]


def later(both: list[Drive]) -> dict[str, Any]:
    """The first part of the drive -> all of the rest that is not its neighbour."""
    y, first = both[0].y, SOURCE + GAP
    mean = np.tile(y[:SOURCE].mean(axis=0), (len(y) - first, 1))
    rows: dict[str, Any] = {"mean of the source": judged(mean, y[first:])}
    for drive in both:
        head = drive.fit(drive.statistics(0, SOURCE))
        rows[drive.head] = {**drive.judged(head, first), **drive.left_out(0, SOURCE)}
    return rows


def learning(both: list[Drive]) -> dict[str, Any]:
    """The device learns the next frames, one at a time, and is measured after a gap."""
    y, rows = both[0].y, {}
    for count in LEARNT:
        stop = SOURCE + count
        mean = y[:stop].mean(axis=0)
        rows[f"{count}: mean of the targets"] = judged(np.tile(mean, (len(y) - MEASURED, 1)), y[MEASURED:])
        for drive in both:
            prior, learnt = drive.statistics(0, SOURCE), drive.statistics(SOURCE, stop, one_by_one=True)
            figures = drive.judged(drive.fit(learnt, prior), MEASURED)
            rows[f"{count}: {drive.head}"] = figures
            if count:
                figures.update(drive.left_out(SOURCE, stop, prior))
                rows[f"{count}: {drive.head}, a frame counts once"] = drive.judged(
                    drive.fit(learnt, prior, weight=1.0), MEASURED
                )
        if count:
            alone = both[0].fit(both[0].statistics(SOURCE, stop))
            rows[f"{count}: these frames alone, ridge"] = both[0].judged(alone, MEASURED)
    for drive in both:
        before = drive.fit(drive.statistics(0, MEASURED))
        whole = drive.fit(drive.statistics(0, len(y)))
        rows[f"oracle, all frames before: {drive.head}"] = drive.judged(before, MEASURED)
        rows[f"oracle, the measured frames too: {drive.head}"] = drive.judged(whole, MEASURED)
    return rows


def against_scikit_learn(both: list[Drive]) -> float:
    """Largest difference of a prediction from scikit-learn's Ridge on the samples, same penalty and weights."""
    from sklearn.linear_model import Ridge

    worst = 0.0
    for drive in both:
        prior, x = drive.statistics(0, SOURCE), drive.x.astype(np.float64)
        for count in LEARNT:
            stop = SOURCE + count
            learnt = drive.statistics(SOURCE, stop, one_by_one=True)
            for weight in (1.0, 6.0) if count else (1.0,):
                weights = np.where(np.arange(stop) < SOURCE, 1.0, weight)
                for penalty in PENALTIES:
                    ours = drive.fit(learnt, prior, penalty=penalty, weight=weight, variance=False)
                    theirs = Ridge(penalty).fit(x[:stop], drive.y[:stop], sample_weight=weights)
                    gap = ours.predict(drive.raw[MEASURED:]) - theirs.predict(x[MEASURED:])
                    worst = max(worst, float(np.abs(gap).max()))
    return worst


def printed(title: str, rows: dict[str, Any]) -> None:
    print(f"\n{title}")
    for column, target in enumerate(TARGETS):
        print(f"\n| {target:<44} | MAE | RMSE | R2 | left out | blocks left out | sigma | within sigma |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for name, figures in rows.items():
            cells = [f"{figures[key][column]:.3f}" for key in ("mae", "rmse", "r2")]
            for key in ("left_out", "blocks_left_out", "sigma"):
                cells.append(f"{figures[key][column]:.3f}" if key in figures else "-")
            share = figures.get("within_one_sigma")
            cells.append(f"{100 * share[column]:.0f} %" if share else "-")
            print(f"| {name:<44} | " + " | ".join(cells) + " |")


def main() -> int:
    began = time.perf_counter()
    data = cached("donkey_tub", drive_features)
    x, y = data["x"], data["y"]
    clock_ms = int(data["ms"][-1] - data["ms"][0])
    both = drives(x, y)
    print(f"{len(x)} frames in order; D = {x.shape[1]}, behind the layer {both[1].x.shape[1]}; targets {TARGETS}")
    print(f"the catalogue's clock spans {clock_ms / 1000:.1f} s, too short for them: everything here counts frames")
    first = later(both)
    printed(f"frames 0-{SOURCE - 1} -> {SOURCE + GAP}-{len(x) - 1}", first)
    second = learning(both)
    printed(f"frames 0-{SOURCE - 1}, then N learnt from {SOURCE} on -> {MEASURED}-{len(x) - 1}", second)
    worst = against_scikit_learn(both)
    verdict = "equal" if worst <= 1e-8 else "NOT EQUAL"
    print(f"\nagainst scikit-learn's Ridge, same penalty and weights: {verdict}, largest difference {worst:.1e}")
    device = on_the_device(SOURCE, GAP, LEARNT[-1], MEASURED)
    told(device, LEARNT[-1])
    seconds = time.perf_counter() - began
    evidence = {
        "targets": TARGETS, "frames": len(x), "dim": x.shape[1], "layer_width": both[1].x.shape[1],
        "clock_span_ms": clock_ms, "source": [0, SOURCE], "gap": GAP, "block": BLOCK,
        "later": {"measured": [SOURCE + GAP, len(x)], "rows": first},
        "learning": {"measured": [MEASURED, len(x)], "rows": second},
        "device": device, "scikit_learn_max_abs": worst, "seconds": seconds,
    }  # fmt: skip
    path = write_evidence("steering", evidence)
    print(f"{seconds:.0f} s; written to {path.relative_to(ROOT)}")
    return 0 if worst <= 1e-8 else 1


if __name__ == "__main__":
    sys.exit(main())
