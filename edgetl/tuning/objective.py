"""What is minimised and what is measured: classes by cross-entropy and share right, numbers by squares and R2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.tuning.samples import Samples

if TYPE_CHECKING:
    import torch

__all__ = ["Objective", "objective_of", "score"]


@dataclass(frozen=True)
class Objective:
    """Of `outputs` columns. Numbers are taken about `mean` in units of `spread` (Q); classes have neither."""

    outputs: int
    mean: NDArray[np.float64] | None = None
    spread: NDArray[np.float64] | None = None

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

    def mean_loss(self, truth: NDArray[Any], output: NDArray[np.float32]) -> float:
        """Of outputs (N, outputs), without smoothing."""
        import torch

        return float(self.losses(torch.from_numpy(output), self.wanted(truth), 0.0).mean())

    def decided(self, output: NDArray[np.float32]) -> NDArray[Any]:
        """Class positions (N) or numbers (N, Q) of outputs (N, outputs)."""
        if self.mean is None or self.spread is None:
            codes: NDArray[np.int64] = output.argmax(axis=1).astype(np.int64)
            return codes
        numbers: NDArray[np.float64] = output.astype(np.float64) * self.spread + self.mean
        return numbers


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
