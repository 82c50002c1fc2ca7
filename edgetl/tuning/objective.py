"""What is minimised and what is measured: classes by cross-entropy and share right, numbers by squares and R2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetl.tuning.samples import Samples

if TYPE_CHECKING:
    import torch

__all__ = ["Goal", "Objective", "objective_of", "score", "score_text"]


class Goal(Protocol):
    """What a network is trained for: one objective, or those of several tasks.

    `outputs` columns of the linear head, in `blocks` (start, stop, whether classes) that are each fitted in closed form
    before training; after them come `doubts` columns, learnt log variances of the tasks.
    """

    @property
    def outputs(self) -> int:
        """Columns of the linear head."""

    @property
    def doubts(self) -> int:
        """Learnt log variances, columns after those of the linear head."""

    @property
    def blocks(self) -> list[tuple[int, int, bool]]:
        """(first column, the one after the last, whether they are classes)."""

    def wanted(self, truth: NDArray[Any]) -> torch.Tensor:
        """Targets (N, outputs) float32; NaN where a label is missing."""

    def losses(self, output: torch.Tensor, wanted: torch.Tensor, smoothing: float) -> torch.Tensor:
        """One a sample (N)."""

    def scores(self, truth: NDArray[Any], output: NDArray[np.float32]) -> dict[str, float]:
        """Of outputs (N, outputs + doubts), by the name of the task, "" where there is one only."""

    def said(self, scores: Mapping[str, float]) -> str:
        """Those scores in words."""


@dataclass(frozen=True)
class Objective:
    """Of `outputs` columns. Numbers are taken about `mean` in units of `spread` (Q); classes have neither."""

    outputs: int
    mean: NDArray[np.float64] | None = None
    spread: NDArray[np.float64] | None = None

    @property
    def doubts(self) -> int:
        """None: one task."""
        return 0

    @property
    def blocks(self) -> list[tuple[int, int, bool]]:
        """One."""
        return [(0, self.outputs, self.mean is None)]

    def wanted(self, truth: NDArray[Any]) -> torch.Tensor:
        """Targets (N, outputs) float32: one-hot, or standardised numbers."""
        import torch

        if self.mean is None or self.spread is None:
            codes = torch.from_numpy(np.asarray(truth, np.int64))
            return torch.nn.functional.one_hot(codes, self.outputs).float()
        return torch.from_numpy(((truth - self.mean) / self.spread).astype(np.float32))

    def losses(self, output: torch.Tensor, wanted: torch.Tensor, smoothing: float) -> torch.Tensor:
        """One a sample (N)."""
        from torch.nn import functional

        if self.mean is None:
            return functional.cross_entropy(output, wanted, reduction="none", label_smoothing=smoothing)
        return ((output - wanted) ** 2).mean(dim=1)

    def decided(self, output: NDArray[np.float32]) -> NDArray[Any]:
        """Class positions (N) or numbers (N, Q) of outputs (N, outputs)."""
        if self.mean is None or self.spread is None:
            codes: NDArray[np.int64] = output.argmax(axis=1).astype(np.int64)
            return codes
        numbers: NDArray[np.float64] = output.astype(np.float64) * self.spread + self.mean
        return numbers

    def scores(self, truth: NDArray[Any], output: NDArray[np.float32]) -> dict[str, float]:
        """Of outputs (N, outputs)."""
        return {"": score(truth, self.decided(output))}

    def said(self, scores: Mapping[str, float]) -> str:
        """The score in words."""
        return score_text("", scores[""], self.mean is None)


def objective_of(training: Samples) -> Objective:
    """That of the samples to train on."""
    if training.classes:
        return Objective(len(training.classes))
    spread = training.truth.std(axis=0)
    return Objective(training.truth.shape[1], training.truth.mean(axis=0), np.where(spread > 0, spread, 1.0))


def score(truth: NDArray[Any], said: NDArray[Any]) -> float:
    """Share right (0..1) of classes (N), or R2, the mean over Q, of numbers (N, Q)."""
    if truth.ndim == 1:
        return float((truth == said).mean())
    rest = ((truth - said) ** 2).sum(axis=0)
    all_ = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    return float((1.0 - rest / np.where(all_ > 0, all_, 1.0)).mean())


def score_text(task: str, value: float, classes: bool) -> str:
    """A score in words, after the name of its task."""
    return f"{task} {100 * value:.1f} % right".strip() if classes else f"{task} R2 {value:.3f}".strip()
