"""Everything that the page of a build shows beside the result: gathered from the bundle itself and the data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bundle import Manifest, read_bundle
from edgetl_runtime.bundle.members import read_head
from edgetl_runtime.engines import open_engine
from edgetl_runtime.errors import EngineError, SourceError

from edgetl.building.result import BuildResult
from edgetl.choosing.footprint import ENGINE
from edgetl.data import TargetDataset
from edgetl.html.pictures import text_of
from edgetl.progress import Progress, Step, silent
from edgetl.reporting.costs import Costs, measured_costs
from edgetl.reporting.illustrations import (
    ClassStrip,
    Example,
    Look,
    class_strips,
    failures,
    looks,
    number_strip,
)

if TYPE_CHECKING:
    from edgetl.choosing import Ranking
    from edgetl.data import Dataset

__all__ = ["Story", "tell"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Story:
    """What is known beside a `BuildResult`; whatever is missing is said to be missing on the page.

    `tuning` is the record of the fine-tuning (`edgetl.tuning`), `ranking` the choice of the backbone, `commands` what
    was typed. `shape` and `split` describe the data in words; `strips` show its classes, `ladder` (value, picture) the
    first of its numbers.
    """

    manifest: Manifest | None = None
    tuning: Mapping[str, Any] | None = None
    ranking: Ranking | None = None
    commands: Sequence[str] = ()
    shape: str = ""
    split: str = ""
    strips: Sequence[ClassStrip] = ()
    ladder: Sequence[tuple[float, str]] = ()
    failures: Sequence[Example] = ()
    looks: Sequence[Look] = ()
    costs: Costs | None = None


def tell(
    result: BuildResult,
    dataset: Dataset | TargetDataset | None = None,
    *,
    tuning: Mapping[str, Any] | None = None,
    ranking: Ranking | None = None,
    commands: Sequence[str] = (),
    progress: Progress = silent,
) -> Story:
    """Open the bundle that was built, measure what it costs here, and look at its samples where `dataset` is given.

    Takes seconds, some twenty more for a slow network. Raises BundleError; what cannot be shown is left out.
    """
    bundle = read_bundle(result.path)
    manifest = bundle.manifest
    known: dict[str, Any] = {"manifest": manifest, "tuning": tuning, "ranking": ranking, "commands": tuple(commands)}
    if dataset is None:
        return Story(**known)
    variant = manifest.variants[0]
    member = read_head(bundle, variant)
    known["split"] = _split(dataset)
    if isinstance(dataset, TargetDataset):
        known["ladder"] = number_strip(dataset)
    else:
        known["strips"] = class_strips(dataset, result.classes, progress)
    sample = _first(dataset)
    if sample is not None:
        known["shape"] = _shape(sample)
        progress(Step("report: cost of a frame", 0, 1))
        try:
            known["costs"] = measured_costs(bundle, member, sample)
        except EngineError as error:
            logger.warning("the report has no latency: %s", error)
        progress(Step("report: cost of a frame", 1, 1))
    if result.answers is not None:
        known["failures"] = failures(dataset, result.answers)
        engine = open_engine(ENGINE, bundle.members[variant.extractor])
        try:
            known["looks"] = looks(
                dataset, result.answers, engine, member.factory, manifest.preprocess, result.classes, progress
            )
        finally:
            engine.close()
    return Story(**known)


def _first(dataset: Dataset | TargetDataset) -> Any:
    """A sample that can be read; None without one."""
    for index in dataset.training.indices[:20]:
        try:
            return dataset.reader.read(index)
        except SourceError:
            continue
    return None


def _shape(sample: Any) -> str:
    if text := text_of(sample):
        return f"texts, the first of {len(text.split())} words"
    sides = " x ".join(str(side) for side in sample.shape)
    return f"{'pictures' if sample.dtype == 'uint8' else 'arrays'}, the first {sides} {sample.dtype}"


def _split(dataset: Dataset | TargetDataset) -> str:
    share = f"{100 * dataset.holdout:.0f} %"
    if isinstance(dataset, TargetDataset):
        return f"the last {share} in time are held out"
    if dataset.held is not None:
        return "held out by the rule that was given"
    if dataset.groups:
        return f"whole groups held out, about {share} of the samples: {len(set(dataset.groups))} groups in all"
    return f"{share} of each class held out at random, seed {dataset.seed}"
