"""`edgetl.finetune`: a pretrained network trained on the user's data, and whether that helped."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.progress import Progress, Step, silent
from edgetl.tuning.cache import FeatureCache, extractor_digest
from edgetl.tuning.checkpoints import Checkpoints
from edgetl.tuning.choice import Choice, candidate_recipes, choose_recipe
from edgetl.tuning.comparison import Comparison, warnings_of
from edgetl.tuning.recipes import DEFAULT, Recipe, chosen_recipe
from edgetl.tuning.run import Job, read_data, trained
from edgetl.tuning.training import Course, Epoch, TrainingLog
from edgetl.tuning.workers import Workers, open_workers

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset, TaskDataset
    from edgetl.features import Extractor

__all__ = ["Tuned", "finetune", "tune"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tuned:
    """What a run gave: the extractor, how it went, and what it is worth.

    `name` is the recipe that was trained, `choice` how it was chosen where "auto" was asked for. `epochs` and `losses`
    (one a step) are those of the recipe; `kept_epoch` is the one whose weights were kept, from 0, None where there was
    no training. `comparison` is None where the dataset holds nothing out; of a dataset with several tasks there is one
    a task in `tasks` instead.
    """

    extractor: Extractor
    name: str
    recipe: Recipe
    epochs: tuple[Epoch, ...]
    losses: tuple[float, ...]
    kept_epoch: int | None
    comparison: Comparison | None
    seconds: float
    choice: Choice | None = None
    tasks: Mapping[str, Comparison] = field(default_factory=dict)


def finetune(
    extractor: Extractor,
    dataset: Dataset | TargetDataset | TaskDataset | str | Path,
    recipe: str = DEFAULT,
    *,
    epochs: int | None = None,
    seed: int = 0,
    checkpoints: str | Path | None = None,
    progress: Progress = silent,
    **changes: Any,
) -> Extractor:
    """The extractor with weights trained on the training part of `dataset`; the one given stays as it is.

    `recipe` is "head" (the features stay; whoever builds fits a head on them), "last-blocks", "full", "gradual",
    "scratch" (all weights drawn anew; `start="given"` trains those of a random network as they are), or "auto": short
    runs of head, last-blocks, full and scratch on the training part choose one, which takes several times as long as
    one alone. `changes` are fields of `edgetl.tuning.Recipe`, and what else `tune` takes. Any extractor whose source is
    a torch module will do, of images or arrays, with classes; numbers (`targets=`); or several tasks (`tasks=`), which
    share the network: a bundle is then built for each, of `dataset.task(name)`. `checkpoints` is a folder: a run that
    was killed goes on from there, to the same weights. `provenance["finetune"]` says how it was made and what it scores
    on the held-out part; a warning is logged where training hurts. Raises TuningError, DatasetError, SourceError,
    MissingPackageError.
    """
    return tune(
        extractor, dataset, recipe, epochs=epochs, seed=seed, checkpoints=checkpoints, progress=progress, **changes
    ).extractor


def tune(
    extractor: Extractor,
    dataset: Dataset | TargetDataset | TaskDataset | str | Path,
    recipe: str = DEFAULT,
    *,
    candidates: Sequence[str] | Mapping[str, Recipe] | None = None,
    seed: int = 0,
    checkpoints: str | Path | None = None,
    save_every_s: float = 60.0,
    cache: str | Path | None = None,
    compare_scratch: bool = False,
    compare_alone: bool = True,
    compare: bool = True,
    log: str | Path | None = None,
    progress: Progress = silent,
    **changes: Any,
) -> Tuned:
    """As `finetune`, with the whole record of the run. `compare_scratch` also trains the network from random weights;
    `compare_alone` also trains it on each of several tasks alone, to see whether they help each other.

    `candidates` are what "auto" chooses from: names, or recipes by name, which are then taken as they are. `cache` is a
    folder that keeps features by extractor and data. Without `compare` nothing is measured on the held-out part. `log`
    is a folder for TensorBoard. Several processes (torchrun) train one network together; each returns the same.
    """
    from edgetl.data import TaskDataset
    from edgetl.data import dataset as open_dataset

    started = time.perf_counter()
    part = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    names = ["head"] if extractor.module is None and candidates is None else candidates
    rows = candidate_recipes(names, changes) if recipe == DEFAULT else {recipe: chosen_recipe(recipe, changes)}
    writer: Any = None
    if log is not None:
        from edgetl.tuning.tensorboard import TensorBoardLog

        writer = TensorBoardLog(log)
    workers = open_workers()
    how = _How(extractor, seed, save_every_s, FeatureCache(cache), workers, progress, writer)
    choice = None
    if recipe == DEFAULT:
        choice = choose_recipe(
            extractor, part, rows, seed=seed, checkpoints=checkpoints, store=how.store, workers=workers,
            progress=progress,
        )  # fmt: skip
    name = recipe if choice is None else choice.recipe
    done = how.run(part, name, rows[name], checkpoints, compare, compare_scratch)
    compared = done.compared
    if isinstance(part, TaskDataset) and compare_alone and rows[name].epochs and len(part.tasks) > 1:
        for task in compared:
            folder = None if checkpoints is None else Path(checkpoints) / f"alone-{task}"
            other = replace(how, progress=_told(progress, f"training {task} alone"), log=None)
            alone = other.run(part.task(task), name, rows[name], folder, True, False)
            compared[task] = replace(compared[task], alone=alone.compared[""].tuned)
    for text in choice.warnings if choice is not None and workers.leads else ():
        logger.warning("%s", text)
    for task, one in compared.items():
        compared[task] = replace(one, warnings=warnings_of(one, rows[name].start == "given", task))
        for text in compared[task].warnings if workers.leads else ():
            logger.warning("%s", text)
    if writer is not None:
        writer.close()
    course, kept = done.course, None
    if course.epochs:
        kept = course.best_epoch if course.best is not None else len(course.epochs) - 1
    made = {"recipe": name, "seed": seed, **{k: v for k, v in asdict(rows[name]).items() if rows[name].epochs}}
    made |= {"data": part.hash, "data_name": part.name, "kept_epoch": kept}
    made["comparison"] = None if "" not in compared else asdict(compared[""])
    if choice is not None:
        made["chosen_by"] = choice.scores
    if tasks := {task: one for task, one in compared.items() if task}:
        made["tasks"] = {task: asdict(one) for task, one in tasks.items()}
    tuned = replace(done.extractor, provenance={**done.extractor.provenance, "finetune": made})
    return Tuned(
        tuned, name, rows[name], tuple(course.epochs), tuple(course.losses), kept, compared.get(""),
        time.perf_counter() - started, choice, tasks,
    )  # fmt: skip


@dataclass(frozen=True)
class _Done:
    extractor: Extractor
    course: Course
    compared: dict[str, Comparison]


@dataclass(frozen=True)
class _How:
    """What all runs of one call share."""

    extractor: Extractor
    seed: int
    save_every_s: float
    store: FeatureCache
    workers: Workers
    progress: Progress
    log: TrainingLog | None

    def run(
        self, part: Any, name: str, recipe: Recipe, checkpoints: str | Path | None, compare: bool, scratch: bool
    ) -> _Done:
        """Train by that recipe and compare, by task."""
        data = read_data(self.extractor, part, recipe, compare, self.progress)
        before = data.features(self.extractor, self.store, self.workers)
        job = Job(self.extractor, data, before[0], self.seed, self.workers, self.progress, self.log)
        tuned, course, own = self.extractor, Course(), dict[str, float]()
        if recipe.epochs:
            folder = None
            if checkpoints is not None:
                made_from = {"extractor": extractor_digest(self.extractor), "data": data.fitted.digest}
                folder = Checkpoints(
                    checkpoints, {**made_from, "seed": self.seed, **asdict(recipe)}, self.save_every_s
                )
            tuned, course, own = trained(job, recipe, folder, f"training ({name})")
        if data.held_out is None:
            return _Done(tuned, course, {})
        frozen, none = data.scores(before), FeatureCache(None)
        after = frozen if tuned is self.extractor else data.scores(data.features(tuned, none, self.workers))
        from_random: Mapping[str, Mapping[str, float]] = {}
        if scratch and recipe.start == "given":
            other = trained(job, chosen_recipe("scratch", {}), None, "training (scratch)")[0]
            from_random = data.scores(data.features(other, none, self.workers))
        compared = {
            task: Comparison(
                count, plain, frozen[task], after[task], from_random.get(task, {}), own=own.get(task)
            )
            for task, (count, plain) in data.plain().items()
        }
        return _Done(tuned, course, compared)


def _told(progress: Progress, stage: str) -> Progress:
    """Training only, under another name."""

    def told(step: Step) -> None:
        if step.stage.startswith("training"):
            progress(replace(step, stage=stage))

    return told
