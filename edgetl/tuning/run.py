"""One run of one recipe: what is read, what is trained, and what it scores on the samples that are held out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.progress import Progress
from edgetl.tuning.cache import FeatureCache
from edgetl.tuning.checkpoints import Checkpoints
from edgetl.tuning.comparison import default_right, head_scores, plain_score
from edgetl.tuning.network import joined_network, warm_head
from edgetl.tuning.objective import Goal, objective_of
from edgetl.tuning.recipes import Recipe
from edgetl.tuning.samples import Samples, read_samples, split_off
from edgetl.tuning.tasks import task_objective, task_truth
from edgetl.tuning.training import Course, TrainingLog, outputs_of, train
from edgetl.tuning.workers import Workers

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset, TaskDataset
    from edgetl.features import Extractor

__all__ = ["Job", "RunData", "read_data", "trained"]

LEAST = 8


@dataclass(frozen=True)
class RunData:
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

    def scores(self, features: list[NDArray[np.float32]]) -> dict[str, dict[str, float]]:
        """Of the heads on these features: by task ("" where there is one only), then by head."""
        return {
            task: head_scores(np.concatenate(features[:-1])[mine], truth, features[-1][theirs], held_truth)
            for task, mine, truth, theirs, held_truth in self._tasks()
        }

    def rights(self, features: list[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Of the default head: 1 where it is right, else 0 (M); of numbers, or several tasks, one (mean) score (1)."""
        if self.fitted.tasks:
            best = [scores.get("slda", scores.get("ridge", 0.0)) for scores in self.scores(features).values()]
            return np.array([np.mean([max(one, -1.0) for one in best])])
        assert self.held_out is not None
        return default_right(np.concatenate(features[:-1]), self.truth, features[-1], self.held_out.truth)

    def plain(self) -> dict[str, tuple[int, float]]:
        """By task: how many held-out samples have a label, and what always the commonest class, or the mean, gets."""
        return {
            task: (len(held_truth), plain_score(truth, held_truth)) for task, _, truth, _, held_truth in self._tasks()
        }

    def _tasks(self) -> list[tuple[str, Any, NDArray[Any], Any, NDArray[Any]]]:
        """(name, samples to fit on, their truth, held-out samples, their truth) of each task."""
        assert self.held_out is not None
        if not self.fitted.tasks:
            return [("", slice(None), self.truth, slice(None), self.held_out.truth)]
        rows = []
        for t, task in enumerate(self.fitted.tasks):
            mine, truth = task_truth(self.truth, t, bool(task.classes))
            theirs, held_truth = task_truth(self.held_out.truth, t, bool(task.classes))
            if theirs.any():
                rows.append((task.name, mine, truth, theirs, held_truth))
        return rows


def read_data(
    extractor: Extractor,
    part: Dataset | TargetDataset | TaskDataset,
    recipe: Recipe,
    compare: bool,
    progress: Progress,
) -> RunData:
    """Samples of the training part, of what the recipe splits off it, and, to compare, of the held-out part."""
    classes: tuple[Any, ...] = getattr(part, "classes", ())
    chosen = split_off(part.training, recipe.validation if recipe.epochs else 0.0, LEAST)
    parts = (*chosen, part.held_out if compare and len(part.held_out) else None)
    stages = ("reading samples", "reading validation samples", "reading held-out samples")
    read = [
        None if one is None else read_samples(extractor.preprocess, one, classes, progress, stage)
        for one, stage in zip(parts, stages, strict=True)
    ]
    assert read[0] is not None
    return RunData(read[0], read[1], read[2])


@dataclass(frozen=True)
class Job:
    """What a recipe is trained for; `features` (N, D) are those of `data.fitted` by the extractor as it was."""

    extractor: Extractor
    data: RunData
    features: NDArray[np.float32]
    seed: int
    workers: Workers
    progress: Progress
    log: TrainingLog | None = None


def trained(
    job: Job, recipe: Recipe, checkpoints: Checkpoints | None, stage: str
) -> tuple[Extractor, Course, dict[str, float]]:
    """(extractor, course, score of the network's own heads on the held-out samples by task)."""
    import torch

    data = job.data
    fitted = data.fitted
    objective: Goal = task_objective(fitted, recipe.task_weights) if fitted.tasks else objective_of(fitted)
    an_epoch = -(-len(fitted) // recipe.batch)
    recipe = replace(recipe, epochs=max(recipe.epochs, -(-recipe.steps // an_epoch)))
    network: Any = joined_network(job.extractor, objective.outputs, recipe, job.seed, objective.doubts)
    if recipe.warm_head:
        warm_head(network, job.features, objective.wanted(fitted.truth).numpy(), objective.blocks)
    course = train(
        network, job.extractor, objective, fitted, data.validation, recipe, job.seed, job.workers, checkpoints,
        job.progress, stage, job.log if job.workers.leads else None,
    )  # fmt: skip
    own: dict[str, float] = {}
    if data.held_out is not None:
        own = objective.scores(data.held_out.truth, outputs_of(network, job.extractor, data.held_out, job.workers))
    backbone = copy.deepcopy(network.backbone).cpu().float().eval().requires_grad_(False)
    tuned = replace(job.extractor, module=backbone.to(memory_format=torch.contiguous_format))
    if recipe.quantization_aware:
        tuned = _rounded(tuned, fitted, recipe, job)
    return tuned, course, own


def _rounded(tuned: Extractor, fitted: Samples, recipe: Recipe, job: Job) -> Extractor:
    """The tuned network taught to give the same features when it is rounded to INT8."""
    from edgetl.quantize.aware import tuned_extractor

    tensors = [fitted.tensors[i : i + 1] for i in range(len(fitted))]
    return tuned_extractor(tuned, tensors, recipe.quantization_aware, seed=job.seed, progress=job.progress)
