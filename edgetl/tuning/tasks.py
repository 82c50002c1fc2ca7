"""Several tasks on one backbone: a linear head each, a loss that leaves out what nobody said, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import TuningError
from edgetl.tuning.objective import Objective, score, score_text
from edgetl.tuning.samples import Samples

if TYPE_CHECKING:
    import torch

    from edgetl.data import Task

__all__ = ["TaskObjective", "task_objective", "task_truth"]


@dataclass(frozen=True)
class TaskObjective:
    """T tasks whose columns stand side by side; truth is (N, T), NaN where a label is missing.

    A sample's loss is the sum over its labels of `shares` times the task's loss, so that each task counts by its weight
    however many of its labels are missing. With `doubtful`, `shares` are further those of learnt log variances s
    (Kendall et al. 2018): exp(-s) L + s/2 for classes, exp(-s) L/2 + s/2 for numbers.
    """

    tasks: tuple[Task, ...]
    parts: tuple[Objective, ...]
    shares: tuple[float, ...]
    doubtful: bool = False

    @property
    def outputs(self) -> int:
        """Classes and numbers of all tasks."""
        return sum(part.outputs for part in self.parts)

    @property
    def doubts(self) -> int:
        """T, or 0 where the weights are fixed."""
        return len(self.tasks) if self.doubtful else 0

    @property
    def blocks(self) -> list[tuple[int, int, bool]]:
        """The columns of each task."""
        stops = np.cumsum([part.outputs for part in self.parts]).tolist()
        return [(stop - part.outputs, stop, part.mean is None) for stop, part in zip(stops, self.parts, strict=True)]

    def wanted(self, truth: NDArray[Any]) -> torch.Tensor:
        """Targets (N, outputs) float32, one-hot or standardised; NaN where a label is missing."""
        import torch

        whole = torch.full((len(truth), self.outputs), float("nan"))
        for t, (part, (start, stop, classes)) in enumerate(zip(self.parts, self.blocks, strict=True)):
            there = np.isfinite(truth[:, t])
            column = truth[there, t] if classes else truth[there, t][:, None]
            whole[torch.from_numpy(there), start:stop] = part.wanted(column)
        return whole

    def losses(self, output: torch.Tensor, wanted: torch.Tensor, smoothing: float) -> torch.Tensor:
        """One a sample (N); mixed samples count for a task where both have its label."""
        import torch

        total = output.new_zeros(len(output))
        for t, (part, share) in enumerate(zip(self.parts, self.shares, strict=True)):
            start, stop, classes = self.blocks[t]
            there = torch.isfinite(wanted[:, start])
            if not bool(there.any()):
                continue
            one = part.losses(output[there, start:stop], wanted[there, start:stop], smoothing)
            if self.doubtful:
                doubt = output[there, self.outputs + t]
                one = torch.exp(-doubt) * one * (1.0 if classes else 0.5) + 0.5 * doubt
            total = total.index_add(0, there.nonzero().flatten(), share * one)
        return total + 0.0 * output.sum(dim=1)  # every parameter takes part, whatever is missing in a batch

    def scores(self, truth: NDArray[Any], output: NDArray[np.float32]) -> dict[str, float]:
        """By task, on the samples that have its label; tasks of which there is none are left out."""
        found = {}
        for t, (task, part) in enumerate(zip(self.tasks, self.parts, strict=True)):
            start, stop, classes = self.blocks[t]
            there, column = task_truth(truth, t, classes)
            if there.any():
                found[task.name] = score(column, part.decided(output[there, start:stop]))
        return found

    def said(self, scores: Mapping[str, float]) -> str:
        """Those scores in words."""
        kinds = {task.name: bool(task.classes) for task in self.tasks}
        return ", ".join(score_text(name, value, kinds[name]) for name, value in scores.items())


def task_truth(truth: NDArray[np.float64], task: int, classes: bool) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """(which of N samples have a label of that task, those labels: (M,) positions or (M, 1) numbers)."""
    there = np.isfinite(truth[:, task])
    column = truth[there, task]
    return there, column.astype(np.int64) if classes else column[:, None]


def task_objective(training: Samples, weights: str) -> TaskObjective:
    """That of the samples to train on; `weights` is "equal", "uncertainty", or "kind=1,angle=0.5"."""
    names = [task.name for task in training.tasks]
    fixed = dict.fromkeys(names, 1.0)
    if weights not in ("equal", "uncertainty"):
        fixed = _fixed(weights, names)
    parts, shares = [], []
    for t, task in enumerate(training.tasks):
        there, column = task_truth(training.truth, t, bool(task.classes))
        if not there.any():
            raise TuningError(f"no sample to train on has a label of the task {task.name!r}; leave the task out")
        if task.classes:
            parts.append(Objective(len(task.classes)))
        else:
            spread = column.std(axis=0)
            parts.append(Objective(1, column.mean(axis=0), np.where(spread > 0, spread, 1.0)))
        shares.append(fixed[task.name] / float(there.mean()))
    return TaskObjective(training.tasks, tuple(parts), tuple(shares), weights == "uncertainty")


def _fixed(text: str, names: list[str]) -> dict[str, float]:
    try:
        found = {name.strip(): float(value) for name, _, value in (one.partition("=") for one in text.split(","))}
    except ValueError:
        found = {}
    if set(found) != set(names) or not all(value > 0 for value in found.values()):
        told = ",".join(f"{name}=1" for name in names)
        raise TuningError(f"task_weights is equal, uncertainty, or a positive weight a task, {told}; got {text!r}")
    return found
