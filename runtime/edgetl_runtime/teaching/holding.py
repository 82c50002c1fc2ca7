"""Which samples are held back from teaching, to judge heads in the long run: a small, fair, bounded part."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

import numpy as np

__all__ = ["Draw", "Holding"]

_SHARE = 0.1
_AFTER = 5  # few labels are not made fewer: a class gives only when it has taught this often
_MOST = 512


class Draw(NamedTuple):
    """Is a sample held, and which one goes back to training for it?"""

    held: bool
    released: Optional[int] = None


class Holding:
    """The ids that are held; every sample that was offered had the same chance (Vitter's algorithm R).

    Drawn from the number of the sample and `seed`, so that a replay draws the same.
    """

    def __init__(self, seed: int, held: List[int], offered: int) -> None:
        self._seed = seed
        self.held = list(held)
        self.offered = max(offered, len(held))

    def draw(self, number: int, taught: int) -> Draw:
        """Offer the sample with that id, of a class that `taught` so often."""
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, number])))
        if taught < _AFTER or generator.random() >= _SHARE:
            return Draw(False)
        self.offered += 1
        if len(self.held) < _MOST:
            self.held.append(number)
            return Draw(True)
        position = int(generator.integers(self.offered))
        if position >= _MOST:
            return Draw(False)
        released, self.held[position] = self.held[position], number
        return Draw(True, released)
