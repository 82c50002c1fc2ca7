"""A hundred streams of numbers that are the same on every Python and NumPy, with and without jumps."""

from __future__ import annotations

from typing import Iterator, List


def numbers(seed: int) -> Iterator[float]:
    """Uniform numbers in 0..1 of a 48-bit linear congruential generator (that of drand48)."""
    state = (seed << 16) + 0x330E
    while True:
        state = (state * 0x5DEECE66D + 0xB) % 2**48
        yield state / 2**48


def stream(index: int, count: int = 1500) -> List[float]:
    """Errors (0 or 1), confidences, sums of steps or constants; most with one jump."""
    draw = numbers(index)
    cut, before, after = int(200 + 1100 * next(draw)), next(draw), next(draw)
    values = []
    walk = 0.0
    for place in range(count):
        level = before if place < cut else after
        kind = index % 5
        if kind == 0:
            values.append(float(next(draw) < level))
        elif kind == 1:
            values.append(level * next(draw))
        elif kind == 2:
            values.append(4.0 * level + sum(next(draw) for _ in range(6)))
        elif kind == 3:
            walk += 0.2 * (next(draw) - 0.5)
            values.append(walk)
        else:
            values.append(round(level, 1) if index % 2 else float(next(draw) < 0.2))
    return values
