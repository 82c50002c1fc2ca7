"""From the channels of a source to those of a model: by name, with their units checked."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SourceError
from edgetl_runtime.windows.spec import WindowSpec

__all__ = ["ChannelMap", "map_channels"]

_SPELLINGS = {
    "m/s2": "m/s^2", "m/s²": "m/s^2", "m/s**2": "m/s^2", "m s-2": "m/s^2", "m/s/s": "m/s^2",
    "dps": "deg/s", "°/s": "deg/s", "°": "deg", "µT": "uT", "°C": "degC",
}  # fmt: skip
# (what the source says, what the model wants): how many of the second one of the first is. Exact by definition.
_FACTORS = {
    ("g", "m/s^2"): 9.80665, ("mg", "m/s^2"): 9.80665e-3, ("mg", "g"): 1e-3,
    ("deg/s", "rad/s"): math.pi / 180, ("mdps", "rad/s"): math.pi / 180_000, ("deg", "rad"): math.pi / 180,
    ("mV", "V"): 1e-3, ("uV", "V"): 1e-6, ("uV", "mV"): 1e-3, ("mA", "A"): 1e-3,
    ("mT", "T"): 1e-3, ("uT", "T"): 1e-6, ("gauss", "uT"): 100.0, ("hPa", "Pa"): 100.0, ("kPa", "Pa"): 1000.0,
    ("mm", "m"): 1e-3, ("cm", "m"): 1e-2, ("km/h", "m/s"): 1 / 3.6, ("kn", "m/s"): 1852 / 3600,
}  # fmt: skip


class ChannelMap(NamedTuple):
    """Which source columns the model's C are, and what to multiply each by."""

    picks: Tuple[int, ...]
    factors: NDArray[np.float64]

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, C) in the model's order and units, of (N, source columns)."""
        picked: NDArray[np.float64] = values[:, self.picks] * self.factors
        return picked


def map_channels(spec: WindowSpec, names: Sequence[str], units: Sequence[str]) -> Optional[ChannelMap]:
    """How a source with these columns feeds a model; None when it does as it is.

    Raises SourceError for a channel that the source lacks, a unit that it does not say, and one that is no
    multiple of the wanted unit.
    """
    if not spec.channels:
        return None
    picks, factors = [], []
    for position, name in enumerate(spec.channels):
        if name not in names:
            raise SourceError(f"the model needs the channel {name!r}; the source has {list(names)}")
        picks.append(list(names).index(name))
        wanted = spec.units[position] if spec.units else ""
        given = units[picks[-1]] if units else ""
        factors.append(_factor(name, given, wanted) if wanted else 1.0)
    if picks == list(range(len(names))) and all(factor == 1.0 for factor in factors):
        return None
    return ChannelMap(tuple(picks), np.array(factors))


def _factor(name: str, given: str, wanted: str) -> float:
    given, wanted = _SPELLINGS.get(given, given), _SPELLINGS.get(wanted, wanted)
    if given == wanted:
        return 1.0
    if (given, wanted) in _FACTORS:
        return _FACTORS[given, wanted]
    if (wanted, given) in _FACTORS:
        return 1.0 / _FACTORS[wanted, given]
    if not given:
        raise SourceError(f"the model needs {name!r} in {wanted}, and the source does not say its unit; declare it")
    raise SourceError(f"the model needs {name!r} in {wanted}; the source gives {given}, which is not converted")
