"""The training loop: one optimizer, one schedule, resumed at the very step at which it was interrupted."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import TuningError
from edgetl.progress import Progress, Step
from edgetl.tuning.batches import EpochDraw, draw_epoch, network_batch
from edgetl.tuning.checkpoints import Checkpoints, Saved
from edgetl.tuning.network import keep_batch_statistics, parameter_groups, recompute_stages
from edgetl.tuning.objective import Goal
from edgetl.tuning.recipes import Recipe
from edgetl.tuning.samples import Samples
from edgetl.tuning.workers import Workers

if TYPE_CHECKING:
    import torch

    from edgetl.features import Extractor

__all__ = ["Course", "Epoch", "TrainingLog", "outputs_of", "train"]

logger = logging.getLogger(__name__)

_CHUNK = 64


@dataclass(frozen=True)
class Epoch:
    """Of one pass: the mean loss, score (share right, or R2) and loss of the validation part, None without one, and
    the learning rate of the last stage at its end."""

    loss: float
    score: float | None
    validation_loss: float | None = None
    rate: float | None = None


@dataclass
class Course:
    """How far a run is. `epoch` and `step` are the next to do; `losses` of every step so far."""

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = -1
    finished: bool = False
    said: str = ""


class TrainingLog(Protocol):
    """Somebody who follows a run; a step is numbered from 1 over all passes."""

    def begin(self, stage: str, step: int) -> None:
        """A run starts, or goes on after that step."""

    def step(self, step: int, loss: float, rate: float) -> None:
        """A step was made."""

    def epoch(self, step: int, epoch: Epoch) -> None:
        """A pass ended with that step."""


def train(
    network: Any,
    extractor: Extractor,
    objective: Goal,
    training: Samples,
    validation: Samples | None,
    recipe: Recipe,
    seed: int,
    workers: Workers,
    checkpoints: Checkpoints | None,
    progress: Progress,
    stage: str,
    log: TrainingLog | None = None,
) -> Course:
    """Train `network` (its `backbone` and `head`) in place, and leave its best weights in it, in evaluating mode.

    Random numbers are those of (seed, step) alone, and torch's global ones are left as they were. Raises TuningError
    when the loss is no number any more.
    """
    import torch

    device = workers.device
    network.to(device)
    run = _Run(network, extractor, objective, recipe, seed, workers)
    course = run.restored(checkpoints.load()) if checkpoints is not None else Course()
    if not workers.all_have(len(course.losses)):
        raise TuningError("the processes found different checkpoints; name a folder that all machines share")
    joined = workers.joined(network)
    if log is not None:
        log.begin(stage, len(course.losses))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while not course.finished and course.epoch < recipe.epochs:
            draw = draw_epoch(len(training), recipe, seed, course.epoch)
            run.training_mode(joined)
            for step in range(course.step, len(draw.steps)):
                course.losses.append(run.step(joined, training, draw, course.epoch, step))
                course.step = step + 1
                if log is not None:
                    log.step(len(course.losses), course.losses[-1], run.last_rate)
                note = f"loss {course.losses[-1]:.3f}" + course.said
                progress(Step(stage, course.epoch * len(draw.steps) + step + 1, recipe.epochs * len(draw.steps), note))
                if checkpoints is not None and workers.leads and checkpoints.due():
                    checkpoints.save(run.saved(course))
            _end_epoch(run, course, len(draw.steps), validation, joined)
            if log is not None:
                log.epoch(len(course.losses), course.epochs[-1])
            if checkpoints is not None and workers.leads and (checkpoints.due() or course.finished):
                checkpoints.save(run.saved(course))
    run.take_best()
    network.eval()
    workers.wait()
    return course


def _end_epoch(run: _Run, course: Course, steps: int, validation: Samples | None, joined: Any) -> None:
    loss = float(np.mean(course.losses[-steps:]))
    if not math.isfinite(loss):
        smaller = f"try a smaller rate than {run.recipe.rate:g}"
        raise TuningError(f"the loss of epoch {course.epoch + 1} is {loss}; {smaller}")
    result = held = None
    if validation is not None:
        with run.averaged():
            joined.eval()
            outputs = outputs_of(run.network, run.extractor, validation, run.workers, run.autocast)
        scores = run.objective.scores(validation.truth, outputs)
        # The mean over tasks; a number that is predicted far off must not hide the others.
        result = float(np.mean([max(one, -1.0) for one in scores.values()]))
        course.said = ", " + run.objective.said(scores)
        held = _mean_loss(run.objective, validation, outputs)
        if course.best is None or result >= course.best:  # of equals the later: it has seen the smaller rates
            course.best, course.best_epoch = result, course.epoch
            run.keep_best()
    course.epochs.append(Epoch(loss, result, held, run.last_rate))
    course.epoch, course.step = course.epoch + 1, 0
    stale = course.epoch - 1 - course.best_epoch
    patience = run.recipe.patience
    course.finished = course.epoch == run.recipe.epochs or (validation is not None and 0 < patience <= stale)


def _mean_loss(objective: Goal, samples: Samples, outputs: NDArray[np.float32]) -> float:
    import torch

    wanted = objective.wanted(samples.truth)
    return float(objective.losses(torch.from_numpy(outputs), wanted, 0.0).mean())


def outputs_of(
    network: Any, extractor: Extractor, samples: Samples, workers: Workers, autocast: Any = contextlib.nullcontext
) -> NDArray[np.float32]:
    """Outputs (N, D) of a module in evaluating mode on the device of the workers, each of which does its share."""
    import torch

    mine = workers.share(np.arange(len(samples)))
    parts: list[Any] = []
    with torch.inference_mode(), autocast():
        for start in range(0, len(mine), _CHUNK):
            tensors = samples.tensors[mine[start : start + _CHUNK]]
            parts.append(network(network_batch(extractor, tensors, workers.device)).flatten(1).float())
        if workers.count > 1:
            width = network(network_batch(extractor, samples.tensors[:1], workers.device)).flatten(1).shape[1]
            whole = torch.zeros(len(samples), width, device=workers.device)
            if parts:
                whole[torch.from_numpy(mine).to(workers.device)] = torch.cat(parts)
            parts = [workers.summed(whole)]
        result: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return result


class _Run:
    """What changes with every step: weights, their running mean, the best so far, the optimizer."""

    def __init__(
        self, network: Any, extractor: Extractor, objective: Goal, recipe: Recipe, seed: int, workers: Workers
    ) -> None:
        import torch

        self.network, self.extractor, self.objective = network, extractor, objective
        self.recipe, self._seed, self.workers = recipe, seed, workers
        self._groups = parameter_groups(network, recipe)
        self._trained = [p for group in self._groups for p in group["params"]]
        self._optimizer = torch.optim.AdamW(self._groups)
        self._start = {id(p): p.detach().clone() for p in network.backbone.parameters() if p.requires_grad}
        self._best: dict[str, torch.Tensor] | None = None
        self._mean = self._copied() if recipe.average else None
        half = recipe.precision == "bf16" or (
            recipe.precision == "auto" and workers.device.type == "cuda" and torch.cuda.is_bf16_supported()
        )
        self.autocast: Any = contextlib.nullcontext
        if half:
            self.autocast = lambda: torch.autocast(workers.device.type, torch.bfloat16)
        if recipe.recompute:
            recompute_stages(network, recipe)

    def training_mode(self, joined: torch.nn.Module) -> None:
        joined.train()
        if self.recipe.batch_statistics == "frozen":
            keep_batch_statistics(joined)

    def step(self, joined: Any, training: Samples, draw: EpochDraw, epoch: int, step: int) -> float:
        """One step of the optimizer on a batch; the mean loss over all processes."""
        import torch

        number = epoch * len(draw.steps) + step
        torch.manual_seed(np.random.SeedSequence([self._seed, number, self.workers.rank]).generate_state(1).item())
        self._set_rates(epoch, number, self.recipe.epochs * len(draw.steps))
        places, partners = draw.steps[step], draw.partners[step]
        mine = self.workers.share(np.arange(len(places)))
        weight = self.workers.count / len(places)
        if not len(mine):  # every process must take part in averaging; this one adds nothing
            mine, weight = np.zeros(1, np.int64), 0.0
        share = float(draw.shares[step])
        inputs, wanted = self._batch(training, draw, places[mine])
        if share < 1.0:
            others, their = self._batch(training, draw, partners[mine])
            inputs, wanted = torch.lerp(others, inputs, share), torch.lerp(their, wanted, share)
        with self.autocast():
            output = joined(inputs)
        losses = self.objective.losses(output.float(), wanted, self.recipe.label_smoothing)
        loss: Any = losses.sum() * weight
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self._trained, self.recipe.clip)
        self._optimizer.step()
        self._draw_back()
        self._follow()
        return float(self.workers.summed(loss.detach() / self.workers.count))

    def _batch(self, training: Samples, draw: EpochDraw, places: NDArray[np.int64]) -> tuple[Any, Any]:
        inputs = network_batch(
            self.extractor, training.tensors[places], self.workers.device, self.recipe, draw.changes[places]
        )
        return inputs, self.objective.wanted(training.truth[places]).to(self.workers.device)

    def _set_rates(self, epoch: int, number: int, total: int) -> None:
        rising = max(1.0, self.recipe.warmup * total)
        if number < rising:
            factor = (number + 1) / rising
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (number - rising) / max(1.0, total - rising)))
        for group in self._optimizer.param_groups:
            group["lr"] = group["rate"] * factor if epoch >= group["since"] else 0.0

    @property
    def last_rate(self) -> float:
        """Of the last trained stage of the network, or of the head where no stage is."""
        groups = self._optimizer.param_groups
        heads = {id(p) for p in self.network.head.parameters()}
        stages = [group for group in groups if id(group["params"][0]) not in heads]
        return float((stages or groups)[-1]["lr"])

    def _draw_back(self) -> None:
        """L2-SP: towards the weights at the start, by the rate of each group."""
        import torch

        if not self.recipe.toward_start:
            return
        with torch.no_grad():
            for group in self._optimizer.param_groups:
                for parameter in group["params"]:
                    if id(parameter) in self._start:
                        parameter.lerp_(self._start[id(parameter)], group["lr"] * self.recipe.toward_start)

    def _follow(self) -> None:
        import torch

        if self._mean is None:
            return
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self._mean[name].lerp_(value, 1 - self.recipe.average)
                else:
                    self._mean[name].copy_(value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While it lasts the network has the mean of its weights, where one is kept."""
        if self._mean is None:
            yield
            return
        present = self._copied()
        self.network.load_state_dict(self._mean)
        try:
            yield
        finally:
            self.network.load_state_dict(present)

    def keep_best(self) -> None:
        self._best = {n: v.clone() for n, v in (self._mean or self._copied()).items()}

    def take_best(self) -> None:
        chosen = self._best if self._best is not None else self._mean
        if chosen is not None:
            self.network.load_state_dict(chosen)

    def saved(self, course: Course) -> Saved:
        """All of it, and the course."""
        import torch

        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for kind, kept in (("mean", self._mean), ("best", self._best)):
            tensors.update({f"{kind}.{name}": value for name, value in (kept or {}).items()})
        for number, parameter in enumerate(self._trained):
            for name, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
        tensors["losses"] = torch.tensor(course.losses, dtype=torch.float64)
        plain = {
            "epoch": course.epoch, "step": course.step, "best": course.best, "best_epoch": course.best_epoch,
            "finished": course.finished, "epochs": [list(astuple(one)) for one in course.epochs],
        }  # fmt: skip
        return Saved(tensors, plain)

    def restored(self, saved: Saved | None) -> Course:
        """Put it back; the course at which it was saved, or a new one."""
        import torch

        if saved is None:
            return Course()
        self.network.load_state_dict(self._named(saved.tensors, "network."))
        self._mean = self._named(saved.tensors, "mean.") or self._mean
        self._best = self._named(saved.tensors, "best.") or None
        for number, parameter in enumerate(self._trained):
            if state := self._named(saved.tensors, f"optimizer.{number}."):
                # In the memory format of the parameter, so that the optimizer takes the same path as before.
                moments = {name: torch.empty_like(parameter).copy_(v) for name, v in state.items() if name != "step"}
                self._optimizer.state[parameter] = {"step": state["step"].cpu(), **moments}
        plain: Any = saved.plain
        logger.info("resumed at epoch %d, step %d", plain["epoch"] + 1, plain["step"])
        return Course(
            plain["epoch"], plain["step"], saved.tensors["losses"].tolist(),
            [Epoch(*one) for one in plain["epochs"]], plain["best"], plain["best_epoch"], plain["finished"],
        )  # fmt: skip

    def _named(self, tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
        device = self.workers.device
        return {name[len(prefix) :]: v.to(device) for name, v in tensors.items() if name.startswith(prefix)}

    def _copied(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

