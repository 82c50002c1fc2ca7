"""`edgetl.finetune`: a pretrained network trained on the user's data, and whether that helped."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.progress import Progress, silent
from edgetl.tuning.cache import FeatureCache, extractor_digest
from edgetl.tuning.checkpoints import Checkpoints
from edgetl.tuning.comparison import Comparison, head_scores, plain_score, warnings_of
from edgetl.tuning.network import joined_network, warm_head
from edgetl.tuning.objective import objective_of, score
from edgetl.tuning.recipes import Recipe, chosen_recipe
from edgetl.tuning.samples import Samples, read_samples, split_off
from edgetl.tuning.training import Course, Epoch, outputs_of, train
from edgetl.tuning.workers import Workers, open_workers

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["Tuned", "finetune", "tune"]

logger = logging.getLogger(__name__)

_LEAST = 8


@dataclass(frozen=True)
class Tuned:
    """What a run gave: the extractor, how it went, and what it is worth.

    `epochs` and `losses` (one a step) are those of the recipe; `kept_epoch` is the one whose weights were kept,
    from 0, None where there was no training. `comparison` is None where the dataset holds nothing out.
    """

    extractor: Extractor
    name: str
    recipe: Recipe
    epochs: tuple[Epoch, ...]
    losses: tuple[float, ...]
    kept_epoch: int | None
    comparison: Comparison | None
    seconds: float


def finetune(
    extractor: Extractor,
    dataset: Dataset | TargetDataset | str | Path,
    recipe: str = "last-blocks",
    *,
    epochs: int | None = None,
    seed: int = 0,
    checkpoints: str | Path | None = None,
    progress: Progress = silent,
    **changes: Any,
) -> Extractor:
    """The extractor with weights trained on the training part of `dataset`; the one given stays as it is.

    `recipe` is "head" (the features stay; whoever builds fits a head on them), "last-blocks", "full", "gradual" or
    "scratch" (all weights drawn anew; `start="given"` trains those of a random network as they are). `changes` are
    fields of `edgetl.tuning.Recipe`. Any extractor whose source is a torch module will do, of images or arrays, with
    classes or, for a dataset with targets, numbers. `checkpoints` is a folder: a run that was killed goes on from
    there, to the same weights. `provenance["finetune"]` says how it was made and what it scores on the held-out part;
    a warning is logged where training hurts. Raises TuningError, DatasetError, SourceError, MissingPackageError.
    """
    return tune(
        extractor, dataset, recipe, epochs=epochs, seed=seed, checkpoints=checkpoints, progress=progress, **changes
    ).extractor


def tune(
    extractor: Extractor,
    dataset: Dataset | TargetDataset | str | Path,
    recipe: str = "last-blocks",
    *,
    seed: int = 0,
    checkpoints: str | Path | None = None,
    save_every_s: float = 60.0,
    cache: str | Path | None = None,
    compare_scratch: bool = False,
    compare: bool = True,
    progress: Progress = silent,
    **changes: Any,
) -> Tuned:
    """As `finetune`, with the whole record of the run. `compare_scratch` also trains the network from random weights.

    `cache` is a folder that keeps features by extractor and data. Without `compare` nothing is measured on the held-out
    part. Several processes (torchrun) train one network together; each returns the same.
    """
    from edgetl.data import dataset as open_dataset

    started = time.perf_counter()
    chosen = chosen_recipe(recipe, changes)
    part = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    workers = open_workers()
    data = _read(extractor, part, chosen, compare, progress)
    store = FeatureCache(cache)
    before = data.features(extractor, store, workers)
    job = _Job(extractor, data, before[0], seed, workers, progress)
    tuned, course, own = extractor, Course(), None
    if chosen.epochs:
        folder = None
        if checkpoints is not None:
            made_from = {"extractor": extractor_digest(extractor), "data": data.fitted.digest, "seed": seed}
            about = {**made_from, **asdict(chosen)}
            folder = Checkpoints(checkpoints, about, save_every_s)
        tuned, course, own = _trained(job, chosen, folder, recipe)
    comparison = None
    if data.held_out is not None:
        frozen = data.scores(before)
        after = frozen if tuned is extractor else data.scores(data.features(tuned, FeatureCache(None), workers))
        scratch: Mapping[str, float] = {}
        if compare_scratch and recipe != "scratch":
            other = _trained(job, chosen_recipe("scratch", {}), None, "scratch")[0]
            scratch = data.scores(data.features(other, FeatureCache(None), workers))
        found = warnings_of(frozen, {} if recipe == "scratch" else after, scratch)
        plain = plain_score(data.truth, data.held_out.truth)
        comparison = Comparison(len(data.held_out), plain, frozen, after, scratch, own, tuple(found))
        for one in found if workers.leads else ():
            logger.warning("%s", one)
    kept = None
    if course.epochs:
        kept = course.best_epoch if course.best is not None else len(course.epochs) - 1
    made = {"recipe": recipe, "seed": seed, **{k: v for k, v in asdict(chosen).items() if chosen.epochs}}
    made |= {"data": part.hash, "data_name": part.name, "kept_epoch": kept}
    made["comparison"] = None if comparison is None else asdict(comparison)
    tuned = replace(tuned, provenance={**extractor.provenance, "finetune": made})
    return Tuned(
        tuned, recipe, chosen, tuple(course.epochs), tuple(course.losses), kept, comparison,
        time.perf_counter() - started,
    )  # fmt: skip


@dataclass(frozen=True)
class _Data:
    """What is trained on, what chooses the epoch, and what only measures."""

    fitted: Samples
    validation: Samples | None
    held_out: Samples | None

    @property
    def truth(self) -> NDArray[Any]:
        """Of all that a head may be fitted on."""
        parts = [self.fitted.truth] + ([] if self.validation is None else [self.validation.truth])
        return np.concatenate(parts)

    def features(self, extractor: Extractor, store: FeatureCache, workers: Workers) -> list[NDArray[np.float32]]:
        """Of each part that there is, in this order."""
        parts = (self.fitted, self.validation, self.held_out)
        return [store.features(extractor, part, workers) for part in parts if part is not None]

    def scores(self, features: list[NDArray[np.float32]]) -> dict[str, float]:
        """Of the heads on these features."""
        assert self.held_out is not None
        return head_scores(np.concatenate(features[:-1]), self.truth, features[-1], self.held_out.truth)


def _read(
    extractor: Extractor, part: Dataset | TargetDataset, recipe: Recipe, compare: bool, progress: Progress
) -> _Data:
    classes: tuple[Any, ...] = getattr(part, "classes", ())
    chosen = split_off(part.training, recipe.validation if recipe.epochs else 0.0, _LEAST)
    parts = (*chosen, part.held_out if compare and len(part.held_out) else None)
    stages = ("reading samples", "reading validation samples", "reading held-out samples")
    read = [
        None if one is None else read_samples(extractor.preprocess, one, classes, progress, stage)
        for one, stage in zip(parts, stages, strict=True)
    ]
    assert read[0] is not None
    return _Data(read[0], read[1], read[2])


@dataclass(frozen=True)
class _Job:
    extractor: Extractor
    data: _Data
    features: NDArray[np.float32]
    seed: int
    workers: Workers
    progress: Progress


def _trained(
    job: _Job, recipe: Recipe, checkpoints: Checkpoints | None, name: str
) -> tuple[Extractor, Course, float | None]:
    """(extractor, course, score of the network's own head on the held-out samples)."""
    import torch

    data = job.data
    objective = objective_of(data.fitted)
    an_epoch = -(-len(data.fitted) // recipe.batch)
    recipe = replace(recipe, epochs=max(recipe.epochs, -(-recipe.steps // an_epoch)))
    network: Any = joined_network(job.extractor, objective.outputs, recipe, job.seed)
    if recipe.warm_head:
        wanted = objective.wanted(data.fitted.truth).numpy()
        warm_head(network, job.features, wanted, objective.mean is None)
    course = train(
        network, job.extractor, objective, data.fitted, data.validation, recipe, job.seed, job.workers, checkpoints,
        job.progress, f"training ({name})",
    )  # fmt: skip
    own = None
    if data.held_out is not None:
        outputs = outputs_of(network, job.extractor, data.held_out, job.workers)
        own = score(data.held_out.truth, objective.decided(outputs))
    backbone = copy.deepcopy(network.backbone).cpu().float().eval().requires_grad_(False)
    module = backbone.to(memory_format=torch.contiguous_format)
    return replace(job.extractor, module=module), course, own
