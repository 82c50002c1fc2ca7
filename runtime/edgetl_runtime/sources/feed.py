"""What a kind of source gives: the records that every file here makes, and the few members it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Protocol, Tuple

from numpy.typing import NDArray

__all__ = ["KINDS", "About", "Feed", "Sample"]

KINDS = ("vector", "frame")
Limits = Tuple[Tuple[Optional[float], Optional[float]], ...]


@dataclass(frozen=True, eq=False)
class Sample:
    """One observation: `data` (C,) float64 of a sensor, or a frame (H, W, 3) or (H, W) uint8.

    `stamp_s` is monotonic time for a live source, the recording's own clock otherwise. `doubt` says why no head should
    learn from it ("" when nothing speaks against it); a prediction may still be asked for.
    """

    data: NDArray[Any]
    stamp_s: float
    doubt: str = ""
    label: Optional[str] = None


@dataclass(frozen=True)
class About:
    """What a source is. `kind` is "vector" or "frame"; C `channels`, `units` and `limits` (low, high) are of vectors.

    After `constant_after` equal samples in a row a source counts as frozen, after `stuck_after` equal values a
    channel as stuck; 0 is never. In real motion and muscle recordings no two samples were equal, and no channel
    repeated a value more than 8 times. Frames that are not `steady` do not follow each other: they may repeat, and
    change their size.
    """

    name: str
    kind: str
    channels: Tuple[str, ...] = ()
    units: Tuple[str, ...] = ()
    limits: Limits = ()
    rate_hz: Optional[float] = None
    live: bool = False
    steady: bool = True
    constant_after: int = 3
    stuck_after: int = 32


class Feed(Protocol):
    """A kind of source. `open_source` puts threads, checks and health around it; a feed need not be thread-safe."""

    @property
    def about(self) -> About:
        """What it is; the same for as long as it is open."""

    @property
    def connected(self) -> bool:
        """False while the sensor is unplugged; `read` goes on trying to get it back."""

    @property
    def drops(self) -> Mapping[str, int]:
        """What was lost before it became a sample, by reason."""

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next samples, as soon as there are some; [] when none came in time; None at the end of a recording.

        Raises SourceError for what waiting does not mend.
        """

    def close(self) -> None:
        """Release it; harmless when repeated."""
