"""How far the user's data is from what an existing bundle was trained on, by the statistics that the bundle carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.bundle.members import read_guard, read_head
from edgetl_runtime.drift import KINDS, diagnose
from edgetl_runtime.heads import TargetHead
from edgetl_runtime.labels import plain_text
from edgetl_runtime.learner import Learner
from edgetl_runtime.observing.looking import base_reference
from numpy.typing import NDArray

from edgetl.choosing.drawing import drawn
from edgetl.choosing.scores import leave_one_out
from edgetl.choosing.similarity import normal_gap
from edgetl.errors import DatasetError
from edgetl.progress import Progress, silent
from edgetl.quantize.ladder import FITTED_ON, engine_features
from edgetl.quantize.recipes import FP32
from edgetl.tuning.samples import read_samples

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset

__all__ = ["Likeness", "compare_with_bundle"]

_KNOWN_SHARE = 0.95


@dataclass(frozen=True)
class Likeness:
    """N samples beside what a bundle was trained on; what ends in `own` is of its guard set, which it has not seen.

    `kind` is a key of `edgetl_runtime.drift.KINDS` with its `meaning`, `why` what it was read from. `unknown` is the
    share of samples farther from all classes than 95 % of the guard set. `gap` is the divergence of one feature
    (nats, `edgetl.choosing.similarity.normal_gap`, the mean over D) from the source statistics. `right` is the share
    of the `known` samples, those of classes that it has, that its head gets right, None without such; `loo` that of a
    ridge on these samples alone, each left out (R2 of numbers): what the features are worth here.
    """

    bundle: str
    bundle_id: str
    dataset: str
    samples: int
    guard: int
    numbers: bool
    kind: str
    meaning: str
    why: str
    unknown: float
    unknown_own: float
    gap: float
    gap_own: float
    known: int
    right: float | None
    right_own: float | None
    new_classes: tuple[str, ...]
    loo: float


def compare_with_bundle(
    bundle: str | Path,
    dataset: Dataset | TargetDataset | str | Path,
    *,
    most: int = 500,
    seed: int = 0,
    progress: Progress = silent,
) -> Likeness:
    """At most `most` samples of the training part beside the statistics and the guard set of `bundle`.

    By its float32 extractor in onnxruntime. The signature is not judged. Raises BundleError, DatasetError, EngineError.
    """
    from edgetl.data import dataset as open_dataset

    opened = read_bundle(bundle)
    manifest = opened.manifest
    variant = next((one for one in manifest.variants if one.precision == FP32.kind), manifest.variants[0])
    member, own = read_head(opened, variant), read_guard(opened, variant)
    fitted = Learner(member).fit()
    reference = base_reference(fitted, member, own)
    if reference is None:
        raise DatasetError(f"{bundle} carries no guard set, so nothing says what is usual for it; build it again")
    whole = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    part = drawn(whole.training, most, seed)
    classes: tuple[Any, ...] = getattr(part, "classes", ())
    numbers = isinstance(fitted.head, TargetHead)
    if numbers == bool(classes):
        kinds = ("numbers", "classes") if numbers else ("classes", "numbers")
        raise DatasetError(f"{manifest.name} gives {kinds[0]}, and {whole.name} has {kinds[1]}; compare like with like")
    samples = read_samples(manifest.preprocess, part, classes, progress, f"{manifest.name}: reading samples")
    graph = opened.members[variant.extractor]
    rows = [samples.tensors[place : place + 1] for place in range(len(samples))]
    features = engine_features(graph, rows, FITTED_ON, 1)
    # A dataset has no order in time; one class after the other would pass for samples that hang together.
    order = np.random.default_rng([seed, 12]).permutation(len(features))
    found = diagnose(reference, reference.see(features[order]))
    limit = float(np.quantile(reference.sight.outliers, _KNOWN_SHARE))
    right, known, missing = None, 0, ()
    if not numbers:
        names = np.array([plain_text(str(classes[code])) for code in samples.truth])
        missing = tuple(sorted({*names.tolist()} - {*manifest.classes}))
        there = np.isin(names, manifest.classes)
        known = int(there.sum())
        right = float((fitted.head.predict(features[there]) == names[there]).mean()) if known else None
    about = member.source.moments
    centre = member.source.shift + about.sum / max(about.count, 1e-300)
    spread = np.diagonal(about.covariance())
    return Likeness(
        manifest.name, opened.id, whole.name, len(features), len(own.labels), numbers, found.kind, KINDS[found.kind],
        found.why, float((fitted.outlier(features) > limit).mean()), float((reference.sight.outliers > limit).mean()),
        _gap(features, centre, spread), _gap(own.features, centre, spread), known, right,
        None if numbers else float((fitted.head.predict(own.features) == np.array(own.labels)).mean()), missing,
        leave_one_out(features, samples.truth),
    )  # fmt: skip


def _gap(features: NDArray[np.float32], mean: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """Mean over the features that vary in the source."""
    varies = spread > 1e-9 * spread.max(initial=1e-300)
    rows = features[:, varies].astype(np.float64)
    floor = 1e-3 * spread[varies]  # a feature that is still here is no endless way off
    return float(np.mean(normal_gap(rows.mean(axis=0), rows.var(axis=0) + floor, mean[varies], spread[varies])))
