"""The contracts of window tests and of watchers, as tests that anyone can run on his own."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Callable, Iterator, Mapping, Tuple

import numpy as np

from edgetl_runtime.drift.reference import Sight
from edgetl_runtime.drift.table import Watcher, WindowTest
from edgetl_runtime.heads.checks import Check
from edgetl_runtime.numerics import softmax

__all__ = ["watcher_checks", "window_test_checks"]


def window_test_checks(test: WindowTest) -> Iterator[Check]:
    """Every promise of a window test as a check."""
    for name, check in _WINDOW.items():
        yield Check(name, partial(check, test))


def watcher_checks(make: Callable[[], Watcher]) -> Iterator[Check]:
    """Every promise of a watcher as a check; `make` returns a new one."""
    for name, check in _WATCHER.items():
        yield Check(name, partial(check, make))


# ---------------------------------------------------------------- windows


def _sight(generator: np.random.Generator, count: int, moved: float = 0.0) -> Sight:
    features = generator.standard_normal((count, 3)) + moved
    probabilities = softmax(2.0 * features)
    return Sight(features, probabilities, (features**2).sum(axis=1))


def _pair(seed: int, moved: float = 0.0, count: int = 120) -> Tuple[Sight, Sight, np.random.Generator]:
    generator = np.random.Generator(np.random.PCG64(seed))
    reference = _sight(generator, 200)
    window = _sight(generator, count)
    if moved:
        # A part moves along one feature: frequencies, probabilities, features and distances all change.
        features = window.features + np.array([moved, 0.0, 0.0])
        window = Sight(features, softmax(2.0 * features), (features**2).sum(axis=1))
    return reference, window, np.random.Generator(np.random.PCG64(seed + 1000))


def _gives_a_chance(test: WindowTest) -> None:
    for moved in (0.0, 0.3, 3.0):
        outcome = test(*_pair(0, moved))
        _require(0.0 <= outcome.p_value <= 1.0, f"the p-value is {outcome.p_value}")
        _require(np.isfinite(outcome.statistic), f"the statistic is {outcome.statistic}")


def _mutates_nothing(test: WindowTest) -> None:
    reference, window, generator = _pair(0)
    copies = [array.copy() for side in (reference, window) for array in (side.features, side.probabilities)]
    test(reference, window, generator)
    after = [array for side in (reference, window) for array in (side.features, side.probabilities)]
    _require(all(np.array_equal(one, other) for one, other in zip(copies, after)), "an input array was changed")


def _gives_the_same_twice(test: WindowTest) -> None:
    _require(test(*_pair(0)) == test(*_pair(0)), "the same window gives another outcome")


def _sees_a_large_change(test: WindowTest) -> None:
    outcome = test(*_pair(0, 3.0))
    _require(outcome.p_value <= 0.01, f"three spreads of shift leave a p-value of {outcome.p_value}")


def _keeps_its_level(test: WindowTest) -> None:
    fired = sum(test(*_pair(seed)).p_value <= 0.05 for seed in range(80))
    # 5 % of 80 are 4; more than 11 happen once in a thousand such runs.
    _require(fired <= 11, f"{fired} of 80 windows without change fire at 5 %")


def _survives_empty_and_constant_windows(test: WindowTest) -> None:
    reference, window, generator = _pair(0)
    outcome = test(reference, window.taken(np.zeros(0, np.int64)), generator)
    _require(outcome.p_value == 1.0, f"an empty window has a p-value of {outcome.p_value}")
    same = window.taken(np.zeros(50, np.int64))
    _require(0.0 <= test(reference, same, generator).p_value <= 1.0, "a constant window has no p-value")
    _require(0.0 <= test(same, same, generator).p_value <= 1.0, "a constant reference has no p-value")


# ---------------------------------------------------------------- watchers


def _stays_silent_on_a_constant(make: Callable[[], Watcher]) -> None:
    watcher = make()
    _require(not any(watcher.update(0.25) for _ in range(3000)), "a constant stream raises an alarm")
    _require(abs(watcher.mean - 0.25) < 1e-9, f"the mean of a constant stream is {watcher.mean}")


def _hears_a_jump(make: Callable[[], Watcher]) -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    for before, after in ((0.1, 0.6), (0.9, 0.4)):
        watcher = make()
        chances = [before] * 1000 + [after] * 1000
        alarms = [watcher.update(float(generator.random() < chance)) for chance in chances]
        _require(not any(alarms[:1000]), "an alarm before anything changed")
        _require(any(alarms[1000:]), f"no alarm when errors go from {before} to {after}")


def _goes_on_bit_for_bit_when_restored(make: Callable[[], Watcher]) -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    values = [float(value) for value in generator.random(400) + (np.arange(400) > 250)]
    for cut in (0, 1, 200, 330):
        whole, first = make(), make()
        for value in values[:cut]:
            whole.update(value), first.update(value)
        second = make()
        second.restore(json.loads(json.dumps(first.state())))
        same = [whole.update(value) == second.update(value) for value in values[cut:]]
        _require(all(same) and whole.mean == second.mean, f"restored after {cut} values it goes on otherwise")


def _keeps_its_memory(make: Callable[[], Watcher]) -> None:
    watcher = make()
    sizes = []
    for count in range(20000):
        watcher.update(float(count % 2))
        if count in (9999, 19999):
            sizes.append(len(json.dumps(watcher.state())))
    _require(sizes[1] < 1.3 * sizes[0] + 200, f"its state grows with every value: {sizes} bytes")


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)


_WINDOW: Mapping[str, Callable[[WindowTest], None]] = {
    "gives_a_chance": _gives_a_chance,
    "mutates_nothing": _mutates_nothing,
    "gives_the_same_twice": _gives_the_same_twice,
    "sees_a_large_change": _sees_a_large_change,
    "keeps_its_level": _keeps_its_level,
    "survives_empty_and_constant_windows": _survives_empty_and_constant_windows,
}
_WATCHER: Mapping[str, Callable[[Callable[[], Watcher]], None]] = {
    "stays_silent_on_a_constant": _stays_silent_on_a_constant,
    "hears_a_jump": _hears_a_jump,
    "goes_on_bit_for_bit_when_restored": _goes_on_bit_for_bit_when_restored,
    "keeps_its_memory": _keeps_its_memory,
}
