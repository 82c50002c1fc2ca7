"""The processes of one run: this one, or as many as `torchrun` or `accelerate launch` started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import MissingPackageError

if TYPE_CHECKING:
    import torch

__all__ = ["Workers", "open_workers"]


@dataclass(frozen=True)
class Workers:
    """`rank` of `count` processes that train one network; `accelerator` is that of Accelerate, None when alone."""

    rank: int
    count: int
    device: torch.device
    accelerator: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints and results."""
        return self.rank == 0

    def joined(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network, on its device, with gradients averaged over all processes."""
        network = network.to(self.device)
        if self.accelerator is None:
            return network
        prepared: torch.nn.Module = self.accelerator.prepare_model(network)
        return prepared

    def summed(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of that tensor over all processes."""
        if self.accelerator is None:
            return value
        total: torch.Tensor = self.accelerator.reduce(value, reduction="sum")
        return total

    def all_have(self, number: int) -> bool:
        """Whether that number is the same in every process."""
        import torch

        mine = torch.tensor([float(number), float(number) ** 2], device=self.device, dtype=torch.float64)
        total = self.summed(mine.clone())
        return bool(total[0] == self.count * mine[0]) and bool(total[1] == self.count * mine[1])

    def wait(self) -> None:
        """Until every process is here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

    def share(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """What of these is for this process."""
        return np.array_split(places, self.count)[self.rank]


def open_workers() -> Workers:
    """What the environment says; raises MissingPackageError where it names several processes without Accelerate."""
    import torch

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Workers(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            'several processes need the package accelerate: pip install "edgetl[distributed]"'
        ) from error
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    return Workers(accelerator.process_index, accelerator.num_processes, accelerator.device, accelerator)
