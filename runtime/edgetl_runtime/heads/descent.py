"""L-BFGS for smooth functions: the device has no SciPy."""

from __future__ import annotations

from typing import Callable, List, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["minimise"]

Array = NDArray[np.float64]


def minimise(
    function: Callable[[Array], Tuple[float, Array]],
    start: Array,
    tolerance: float = 1e-8,
    steps: int = 500,
    memory: int = 10,
) -> Tuple[Array, float]:
    """Point (P) and value of a minimum of `function`, which gives its value and gradient (P).

    Stops when the largest gradient component is below `tolerance` times max(1, |value|), after `steps`, or when
    no step improves it. Limited-memory BFGS with the line search of Wolfe by bisection (Lewis and Overton
    2013). Cost of a step: one or two evaluations and O(memory P). Nocedal 1980.
    """
    point = np.array(start, dtype=np.float64)
    value, gradient = function(point)
    pairs: List[Tuple[Array, Array, float]] = []
    for _ in range(steps):
        if np.abs(gradient).max(initial=0.0) <= tolerance * max(1.0, abs(value)):
            break
        direction = -_inverse_times(gradient, pairs)
        slope = float(gradient @ direction)
        if not slope < 0:
            pairs.clear()
            direction, slope = -gradient, -float(gradient @ gradient)
        first = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        found = _line(function, point, value, direction, slope, first)
        if found is None:
            if not pairs:
                break
            pairs.clear()
            continue
        moved, new_value, new_gradient = found
        step, change = moved - point, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 1e-300:
            pairs.append((step, change, 1.0 / curvature))
            del pairs[:-memory]
        point, value, gradient = moved, new_value, new_gradient
    return point, value


def _inverse_times(gradient: Array, pairs: List[Tuple[Array, Array, float]]) -> Array:
    result: Array = gradient.copy()
    shares = []
    for step, change, inverse in reversed(pairs):
        share = inverse * float(step @ result)
        shares.append(share)
        result -= share * change
    if pairs:
        step, change, _ = pairs[-1]
        result *= float(step @ change) / float(change @ change)
    for (step, change, inverse), share in zip(pairs, reversed(shares)):
        result += (share - inverse * float(change @ result)) * step
    return result


def _line(
    function: Callable[[Array], Tuple[float, Array]],
    point: Array,
    value: float,
    direction: Array,
    slope: float,
    length: float,
) -> Optional[Tuple[Array, float, Array]]:
    low, high = 0.0, float("inf")
    best = None
    for _ in range(40):
        moved = point + length * direction
        new_value, gradient = function(moved)
        if not new_value <= value + 1e-4 * length * slope:
            high = length
        else:
            if best is None or new_value < best[1]:
                best = (moved, new_value, gradient)
            if float(gradient @ direction) < 0.9 * slope:
                low = length
            else:
                return moved, new_value, gradient
        length = 2.0 * low if high == float("inf") else 0.5 * (low + high)
    return best
