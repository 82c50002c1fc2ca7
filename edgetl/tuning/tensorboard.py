"""A run as TensorBoard shows it: loss and rate of every step, loss and score of every pass."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgetl.errors import MissingPackageError
from edgetl.tuning.training import Epoch

__all__ = ["TensorBoardLog"]


class TensorBoardLog:
    """Writes to a folder a stage below `folder`; look at it by `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: str | Path) -> None:
        """Raises MissingPackageError before any work is done."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                'a log for TensorBoard needs the package tensorboard: pip install "edgetl[tensorboard]"'
            ) from error
        self._open: Any = SummaryWriter
        self._folder = Path(folder)
        self._writer: Any = None

    def begin(self, stage: str, step: int) -> None:
        """What an interrupted run logged after `step` is dropped by TensorBoard."""
        self.close()
        below = re.sub(r"[^\w.-]+", "-", stage).strip("-")
        self._writer = self._open(str(self._folder / below), purge_step=step + 1 if step else None)

    def step(self, step: int, loss: float, rate: float) -> None:
        """Loss of the batch and learning rate of the last stage."""
        self._writer.add_scalar("step/loss", loss, step)
        self._writer.add_scalar("step/rate", rate, step)

    def epoch(self, step: int, epoch: Epoch) -> None:
        """Mean loss, and loss and score of the validation part."""
        self._writer.add_scalar("epoch/loss", epoch.loss, step)
        if epoch.score is not None:
            self._writer.add_scalar("epoch/validation_loss", epoch.validation_loss, step)
            self._writer.add_scalar("epoch/validation_right", epoch.score, step)
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
