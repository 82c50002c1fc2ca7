"""Which recipe: a race of short runs on the training part alone, split again and again.

Each draw holds out another share of the training part; every recipe that is still in the race is trained on the rest
and judged by the default head of a bundle on what was held out. Who is behind the leader by more than two standard
errors of the paired difference leaves (after Maron and Moore 1994). Of those within one standard error of the leader in
the end, the one that was best over all data sets measured (`PREFERRED`) is taken (after Breiman et al. 1984), and that
one without any trial where fewer than 100 samples would judge. The held-out part of the dataset takes no part, so what
is measured on it afterwards is of samples that neither trained nor chose.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.bundle.container import replace_file
from edgetl_runtime.errors import SourceError
from numpy.typing import NDArray

from edgetl.errors import TuningError
from edgetl.progress import Progress, Step
from edgetl.tuning.cache import FeatureCache, extractor_digest
from edgetl.tuning.checkpoints import Checkpoints
from edgetl.tuning.recipes import CANDIDATES, RECIPES, Recipe, chosen_recipe
from edgetl.tuning.run import Job, RunData, read_data, trained
from edgetl.tuning.workers import Workers

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["Choice", "KeptTrials", "Trial", "candidate_recipes", "choose_recipe"]

logger = logging.getLogger(__name__)

DRAWS = 3
SHARE = 0.3
LEAST_JUDGED, MOST = 100, 4000
PREFERRED = ("full", "last-blocks", "gradual", "head", "scratch")  # by the means of `make recipes-bench`
_BEHIND = 2.0
_STAGE = "choosing a recipe"
_STEPS = {"given": 100, "random": 150}  # of a trial, unless the whole run is shorter; at least one pass
# What belongs to a recipe of pretrained weights and would spoil one from random weights.
_OF_PRETRAINED = ("start", "blocks", "gradual", "rate", "depth_rate", "head_rate", "batch_statistics", "warm_head")
_LONGER = RECIPES["scratch"].epochs / RECIPES["full"].epochs


@dataclass(frozen=True)
class Trial:
    """One short run: its score (share right, or R2; the mean over tasks) on `samples` held out of draw `draw`."""

    recipe: str
    draw: int
    score: float
    samples: int
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The recipe that was chosen, and what it was chosen by; without trials `why` says why there were none."""

    recipe: str
    trials: tuple[Trial, ...]
    why: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """Mean by recipe over the draws in which it took part."""
        names = dict.fromkeys(trial.recipe for trial in self.trials)
        return {n: float(np.mean([trial.score for trial in self.trials if trial.recipe == n])) for n in names}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where random weights were chosen: what was learnt elsewhere hurts."""
        scores = self.scores
        others = {name: value for name, value in scores.items() if name != "scratch"}
        if self.recipe != "scratch" or not others:
            return ()
        best = max(others, key=lambda name: others[name])
        return (
            f"what was learnt elsewhere hurts here: recipe scratch was chosen, {scores['scratch']:.3f} in its trials, "
            f"{others[best]:.3f} with it ({best}); try another backbone (edgetl choose)",
        )

    @property
    def seconds(self) -> float:
        """Of all trials."""
        return sum(trial.seconds for trial in self.trials)


def candidate_recipes(
    candidates: Sequence[str] | Mapping[str, Recipe] | None, changes: Mapping[str, Any]
) -> dict[str, Recipe]:
    """Recipes by name, with some fields changed.

    Recipe "head" trains nothing and takes no change. From random weights a run is 2.5 times as long, and keeps its own
    rates and batch statistics. Raises TuningError.
    """
    if isinstance(candidates, Mapping):
        rows = dict(candidates)
    else:
        rows = {}
        for name in CANDIDATES if candidates is None else candidates:
            given = {} if name == "head" else dict(changes)
            if name == "scratch":
                given = {key: value for key, value in given.items() if key not in _OF_PRETRAINED}
                for key in ("epochs", "steps"):
                    if given.get(key):
                        given[key] = round(given[key] * _LONGER)
            rows[name] = chosen_recipe(name, given)
        chosen_recipe("full", changes)  # so that what no candidate takes is still a known field
    if not rows:
        raise TuningError(f"there is nothing to choose from; candidates are some of {', '.join(RECIPES)}")
    return rows


def choose_recipe(
    extractor: Extractor,
    part: Any,
    candidates: Mapping[str, Recipe],
    *,
    seed: int,
    checkpoints: str | Path | None,
    store: FeatureCache,
    workers: Workers,
    progress: Progress,
) -> Choice:
    """The best of the candidates on the training part of `part`, at most 4,000 samples of it, in at most three draws.

    A trial has 100 steps, from random weights 150 (`make recipes-bench` measures what that chooses), at least one pass,
    and no more than its recipe. `checkpoints` is a folder, where trials that were done are kept.
    """
    whole = part.training
    timed = not hasattr(whole, "seed") or getattr(whole, "by_time", False)
    job = {
        "data": part.hash, "extractor": extractor_digest(extractor), "seed": seed,
        "candidates": {name: asdict(recipe) for name, recipe in candidates.items()},
    }  # fmt: skip
    kept = KeptTrials(None if checkpoints is None else Path(checkpoints) / "choice", job)
    alive, judged = list(candidates), {name: np.zeros(0) for name in candidates}
    trials: list[Trial] = []
    draws = 1 if timed else DRAWS
    favourite = min(candidates, key=_preference)
    if len(candidates) == 1:
        return Choice(favourite, (), "there is no other")
    judges = draws * len(replace(_some(whole), holdout=SHARE).held_out)
    if judges < LEAST_JUDGED:
        return Choice(favourite, (), f"{judges} samples would judge, too few to choose by")
    bar = _Bar(progress, draws, {name: _STEPS[r.start] if r.epochs else 1 for name, r in candidates.items()})
    for draw in range(draws):
        # Time is split once: the last share of what came before the held-out part.
        drawn = _some(whole) if timed else replace(_some(whole), seed=1000 * (seed + 1) + draw)
        drawn = replace(drawn, holdout=SHARE)
        if len(alive) == 1 or not len(drawn.held_out):  # groups may be too few to hold any out
            break
        reader = _Draw(extractor, drawn, store, workers)
        for name in alive:
            told = bar.trial(name, draw)
            found = kept.trial(name, draw)
            if not workers.all_have(found is None) or found is None:
                began = time.perf_counter()
                folder = None if checkpoints is None else Path(checkpoints) / "choice" / f"{name}-{draw}"
                rights = reader.judged(candidates[name], folder, seed, told)
                found = {"rights": rights.tolist(), "samples": len(drawn.held_out)}
                found["seconds"] = time.perf_counter() - began
                if workers.leads:
                    kept.keep(name, draw, found)
                    shutil.rmtree(folder, ignore_errors=True) if folder is not None else None
            judged[name] = np.append(judged[name], found["rights"])
            score = float(np.mean(found["rights"]))
            trials.append(Trial(name, draw, score, found["samples"], found["seconds"]))
        alive = _still_in(alive, judged)
    bar.end()
    if not trials:
        return Choice(favourite, (), "no samples can be held out to choose by")
    near = [name for name, (mean, error) in _behind(alive, judged).items() if mean <= error]
    return Choice(min(near, key=_preference), tuple(trials))


def _preference(name: str) -> int:
    return PREFERRED.index(name) if name in PREFERRED else len(PREFERRED)


def _behind(alive: Sequence[str], judged: Mapping[str, NDArray[np.float64]]) -> dict[str, tuple[float, float]]:
    """(mean, standard error) of the paired difference to the leader; of a few scores in place of samples no error."""
    leader = max(alive, key=lambda name: float(judged[name].mean()))
    found = {}
    for name in alive:
        behind = judged[leader] - judged[name]
        error = float(behind.std(ddof=1)) / len(behind) ** 0.5 if len(behind) > DRAWS else 0.0
        found[name] = (float(behind.mean()), error)
    return found


def _still_in(alive: Sequence[str], judged: Mapping[str, NDArray[np.float64]]) -> list[str]:
    if len(judged[alive[0]]) <= DRAWS:  # a score a draw: too few to send anybody away
        return list(alive)
    return [name for name, (mean, error) in _behind(alive, judged).items() if mean <= _BEHIND * error]


def _some(whole: Any) -> Any:
    """At most 4,000 of these samples, by the split of their own dataset."""
    return whole if len(whole) <= MOST else replace(whole, holdout=1.0 - MOST / len(whole)).training


class _Draw:
    """The samples of one draw, read once for all recipes."""

    def __init__(self, extractor: Extractor, drawn: Any, store: FeatureCache, workers: Workers) -> None:
        self._extractor, self._drawn, self._store, self._workers = extractor, drawn, store, workers
        self._read: dict[float, tuple[RunData, list[NDArray[np.float32]]]] = {}

    def judged(self, recipe: Recipe, folder: Path | None, seed: int, progress: Progress) -> NDArray[np.float64]:
        """1 where the default head is right on the features after that recipe, else 0 (M); or one score."""
        if recipe.validation not in self._read:
            data = read_data(self._extractor, self._drawn, replace(recipe, epochs=1), True, progress)
            self._read[recipe.validation] = data, data.features(self._extractor, self._store, self._workers)
        data, features = self._read[recipe.validation]
        if recipe.epochs:
            whole = max(recipe.steps, recipe.epochs * -(-len(data.fitted) // recipe.batch))
            short = replace(recipe, epochs=1, steps=min(whole, _STEPS[recipe.start]), quantization_aware=0)
            job = Job(self._extractor, data, features[0], seed, self._workers, progress)
            checkpoints = None
            if folder is not None:
                about = {name: getattr(short, name) for name in (field.name for field in fields(Recipe))}
                checkpoints = Checkpoints(folder, {"data": data.fitted.digest, "seed": seed, **about})
            after = trained(job, short, checkpoints, "training")[0]
            features = data.features(after, FeatureCache(None), self._workers)
        return data.rights(features)


class _Bar:
    """All trials as one stage; recipes that have left make it jump."""

    def __init__(self, progress: Progress, draws: int, lengths: Mapping[str, int]) -> None:
        self._progress, self._lengths = progress, lengths
        self._round = sum(lengths.values())
        self._total = draws * self._round

    def trial(self, name: str, draw: int) -> Progress:
        """The progress of one trial."""
        before = list(self._lengths)[: list(self._lengths).index(name)]
        start = draw * self._round + sum(self._lengths[other] for other in before)

        def told(step: Step) -> None:
            share = step.done / step.total if step.stage == "training" and step.total else 0.0
            note = f"{name}, draw {draw + 1}: {step.note if share else step.stage}"
            self._progress(Step(_STAGE, start + round(share * self._lengths[name]), self._total, note))

        return told

    def end(self) -> None:
        """Nothing is left to try."""
        self._progress(Step(_STAGE, self._total, self._total))


class KeptTrials:
    """Trials that were done, in a folder; None keeps nothing. Those of another run are refused."""

    def __init__(self, folder: Path | None, job: Mapping[str, Any]) -> None:
        self._path, self._job = None if folder is None else folder / "choice.json", json.loads(json.dumps(job))
        self._trials: dict[str, Any] = {}
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            record = json.loads(self._path.read_bytes())
            job, trials = dict(record["job"]), {name: _judged(one) for name, one in record["trials"].items()}
        except FileNotFoundError:
            return
        except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceError(f"{self._path} does not hold the trials of a run: {error}; remove its folder") from error
        if differing := sorted(key for key in self._job if job.get(key) != self._job[key]):
            raise TuningError(
                f"{self._path.parent.parent} holds another run, which differs in {', '.join(differing)}; name another "
                "folder, or remove this one to start anew"
            )
        self._trials = trials

    def trial(self, name: str, draw: int) -> dict[str, Any] | None:
        """That trial, where it was done."""
        found: dict[str, Any] | None = self._trials.get(f"{name} {draw}")
        return found

    def keep(self, name: str, draw: int, found: Mapping[str, Any]) -> None:
        """Write it down."""
        self._trials[f"{name} {draw}"] = dict(found)
        if self._path is not None:
            replace_file(self._path, json.dumps({"job": self._job, "trials": self._trials}).encode())


def _judged(one: Mapping[str, Any]) -> dict[str, Any]:
    """A trial as it was written down; raises ValueError, or what its parts do."""
    rights, samples, seconds = np.array(one["rights"], np.float64), int(one["samples"]), float(one["seconds"])
    if rights.ndim != 1 or not rights.size or not np.isfinite([*rights, samples, seconds]).all():
        raise ValueError("a trial has no scores")
    return {"rights": rights.tolist(), "samples": samples, "seconds": seconds}
