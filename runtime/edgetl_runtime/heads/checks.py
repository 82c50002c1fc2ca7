"""The contract of a head as tests that anyone can run on his own: `for check in head_checks(make): check.run()`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Protocol, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.heads.random_layer import RandomReLU
from edgetl_runtime.heads.table import HEADS, fit_head, load_head
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Label

__all__ = ["Check", "Learner", "TableLearner", "head_checks"]

Array = NDArray[np.float64]
Saved = Tuple[Dict[str, NDArray[Any]], Dict[str, Any]]


class Learner(Protocol):
    """What is tested: something that learns samples, makes a head of them, and can be saved and restored."""

    def learn(self, features: NDArray[Any], labels: Sequence[Label]) -> None:
        """Take features (N, D) with labels (N)."""
        ...

    def head(self) -> Head:
        """A head of everything learnt so far; changes nothing."""
        ...

    def saved(self) -> Saved:
        """Named arrays and JSON data from which `restored` goes on bit for bit."""
        ...

    def restored(self, saved: Saved) -> Learner:
        """A learner in the saved state."""
        ...

    def load(self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Head:
        """The head of `Head.state()` and `Head.metadata()`."""
        ...


@dataclass(frozen=True)
class Check:
    """One promise, by name; `run` raises AssertionError when it is broken."""

    name: str
    run: Callable[[], None]


class TableLearner:
    """A row of the table as a learner for features (N, D): statistics, a reservoir of 200 samples, fixed seeds."""

    def __init__(self, name: str, dim: int, **options: Any) -> None:
        self._name, self._dim, self._options = name, dim, options
        row = HEADS[name]
        self._layer = RandomReLU(0, 24, np.zeros(dim), np.ones(dim)) if row.projected else None
        self._statistics = Statistics(24 if row.projected else dim)
        self._reservoir = Reservoir(dim, 200 * 2 * dim, same=1.1)
        self._generator = np.random.Generator(np.random.PCG64(0))

    def learn(self, features: NDArray[Any], labels: Sequence[Label]) -> None:
        """Take features (N, D) with labels (N)."""
        rows = features if self._layer is None else self._layer.apply(features)
        self._statistics.add(rows, labels)
        self._reservoir.add(features, labels, self._generator)

    def head(self) -> Head:
        """A head of everything learnt so far."""
        options = dict(self._options)
        if self._layer is not None:
            options["layer"] = self._layer
        statistics = self._statistics
        if not HEADS[self._name].exact:
            statistics = Statistics(self._dim)
        return fit_head(self._name, statistics, reservoir=self._reservoir, **options)

    def saved(self) -> Saved:
        """Statistics, reservoir and the state of the generator."""
        arrays: Dict[str, NDArray[Any]] = {f"s.{name}": array for name, array in self._statistics.state().items()}
        arrays.update({f"r.{name}": array for name, array in self._reservoir.state().items()})
        generator = self._generator.bit_generator.state
        return arrays, {"s": self._statistics.metadata(), "r": self._reservoir.metadata(), "g": generator}

    def restored(self, saved: Saved) -> TableLearner:
        """A learner in the saved state."""
        arrays, metadata = saved
        result = TableLearner(self._name, self._dim, **self._options)
        parts: Dict[str, Dict[str, NDArray[Any]]] = {"s": {}, "r": {}}
        for name, array in arrays.items():
            parts[name[0]][name[2:]] = array
        result._statistics = Statistics.from_state(parts["s"], metadata["s"])
        result._reservoir = Reservoir.from_state(parts["r"], metadata["r"])
        result._generator.bit_generator.state = metadata["g"]
        return result

    def load(self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Head:
        """The head of `Head.state()` and `Head.metadata()`."""
        return load_head(arrays, metadata)


def head_checks(make: Callable[[int], Learner], exact: bool, many_classes: int = 1000) -> Iterator[Check]:
    """Every promise as a check, for learners that `make(dim)` returns; `exact` adds those of statistics heads."""
    for name, check in _CHECKS.items():
        yield Check(name, partial(check, make))
    for name, check in (_EXACT if exact else {}).items():
        yield Check(name, partial(check, make))
    for name, (features, labels) in _odd_samples(many_classes).items():
        yield Check(f"decides_on_{name}", partial(_decides, make, features, labels))


# ---------------------------------------------------------------- samples


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(7))


def _blobs(count: int = 90, dim: int = 6, k: int = 3) -> Tuple[NDArray[np.float32], Sequence[Label]]:
    generator = _generator()
    codes = np.arange(count) % k
    centres = 3.0 * generator.standard_normal((k, dim))
    rows = centres[codes] + generator.standard_normal((count, dim)) @ generator.standard_normal((dim, dim))
    return rows.astype(np.float32), [f"class {code}" for code in codes]


def _odd_samples(many: int) -> Dict[str, Tuple[NDArray[np.float32], Sequence[Label]]]:
    generator = _generator()
    draw = generator.standard_normal
    line = np.outer(draw(20), np.ones(5)).astype(np.float32)
    return {
        "one_sample": (draw((1, 4)).astype(np.float32), ["only"]),
        "one_class": (draw((9, 4)).astype(np.float32), [3] * 9),
        "constant_features": (np.full((8, 4), 2.5, np.float32), [0, 1] * 4),
        "zero_features": (np.zeros((8, 4), np.float32), [0, 1] * 4),
        "duplicates": (np.repeat(draw((2, 4)), 6, axis=0).astype(np.float32), ["a"] * 6 + ["b"] * 6),
        "one_feature": (draw((12, 1)).astype(np.float32), [0, 1, 2] * 4),
        "fewer_samples_than_features": (draw((6, 40)).astype(np.float32), [0, 1] * 3),
        "a_degenerate_covariance": (line, [0, 1] * 10),
        "one_sample_a_class": (draw((5, 7)).astype(np.float32), list(range(5))),
        "mixed_labels": (draw((9, 3)).astype(np.float32), ["a", 1, "1"] * 3),
        "many_classes": (draw((many, 4)).astype(np.float32), list(range(many))),
        "large_values": ((1e4 + 1e3 * draw((20, 4))).astype(np.float32), [0, 1] * 10),
    }


# ---------------------------------------------------------------- promises


def _mutates_no_input(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs()
    copy, names = features.copy(), list(labels)
    learner = make(features.shape[1])
    learner.learn(features, labels)
    head = learner.head()
    head.predict(features), head.predict_proba(features), head.decision(features), head.explain(features[:1])
    _require(np.array_equal(copy, features) and names == list(labels), "an input array was changed")


def _works_before_any_sample(make: Callable[[int], Learner]) -> None:
    head = make(4).head()
    rows = np.ones((3, 4), np.float32)
    _require(head.classes == (), "there are classes before any sample")
    _require(head.decision(rows).shape == (3, 0), "decision is not (N, 0) before any sample")
    _require(head.predict_proba(rows).shape == (3, 0), "predict_proba is not (N, 0) before any sample")
    _require([label is None for label in head.predict(rows)] == [True] * 3, "predict is not None before any sample")
    _require(head.explain(rows[:1]).label is None, "explain names a class before any sample")


def _says_the_same_in_all_ways(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs()
    learner = make(features.shape[1])
    learner.learn(features, labels)
    head = learner.head()
    decision, probabilities = head.decision(features), head.predict_proba(features)
    _require(decision.shape == (len(features), len(head.classes)), f"decision has shape {decision.shape}")
    _require(np.allclose(probabilities.sum(axis=1), 1.0), "probabilities do not sum to one")
    _require(bool((probabilities >= 0).all()), "a probability is negative")
    wanted = [head.classes[k] for k in decision.argmax(axis=1)]
    _require(list(head.predict(features)) == wanted, "predict is not the class of the largest decision value")
    singly = np.concatenate([head.decision(row[None]) for row in features])
    _require(_close(singly, decision, 1e-12), "one sample at a time is decided otherwise than all at once")
    _require(head.explain(features[:1]).label == wanted[0], "explain names another class than predict")
    _require(len(head.explain(features[:1]).evidence) == len(head.classes), "explain leaves classes out")
    right = np.mean([a == b for a, b in zip(wanted, labels)])
    _require(bool(right > 0.8), f"only {100 * right:.0f} % of well separated samples are right")


def _refuses_what_is_not_finite(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs()
    learner = make(features.shape[1])
    learner.learn(features, labels)
    before = learner.head().decision(features)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = features[:3].copy()
        spoilt[1, 2] = bad
        for act in (lambda rows: learner.learn(rows, labels[:3]), learner.head().predict):
            try:
                act(spoilt)
            except EdgetlError:
                continue
            raise AssertionError(f"{bad} was accepted")
    _require(np.array_equal(before, learner.head().decision(features)), "a refused sample changed the head")


def _goes_on_bit_for_bit_when_restored(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs()
    learner = make(features.shape[1])
    learner.learn(features[:41], labels[:41])
    again = make(features.shape[1]).restored(learner.saved())
    for one in (learner, again):
        one.learn(features[41:], labels[41:])
    same = np.array_equal(learner.head().decision(features), again.head().decision(features))
    _require(same, "saved half way and restored, it decides otherwise")


def _loads_its_head_bit_for_bit(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs()
    learner = make(features.shape[1])
    learner.learn(features, labels)
    head = learner.head()
    # As arrays come out of bytes: another order in memory makes another rounding.
    loaded = learner.load({name: np.array(array, order="C") for name, array in head.state().items()}, head.metadata())
    _require(loaded.classes == head.classes, "the loaded head has other classes")
    _require(np.array_equal(loaded.decision(features), head.decision(features)), "the loaded head decides otherwise")
    _require(
        np.array_equal(loaded.predict_proba(features), head.predict_proba(features)), "its probabilities are others"
    )
    for name, array in head.state().items():
        spoilt = {**head.state(), name: np.full_like(array, np.nan)}
        try:
            learner.load(spoilt, head.metadata())
        except EdgetlError:
            continue
        _require(array.size == 0, f"a head loads with NaN in {name}")


def _keeps_its_memory(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs(600)
    learner = make(features.shape[1])
    sizes = []
    for start in range(0, 600, 200):
        learner.learn(features[start : start + 200], labels[start : start + 200])
        arrays, _ = learner.saved()
        sizes.append(sum(array.nbytes for array in arrays.values()))
    _require(sizes[1] == sizes[2], f"what it saves grows with every sample: {sizes} bytes")


def _decides(make: Callable[[int], Learner], features: NDArray[np.float32], labels: Sequence[Label]) -> None:
    learner = make(features.shape[1])
    learner.learn(features, labels)
    head = learner.head()
    decision = head.decision(features)
    _require(set(head.classes) <= set(labels) and len(head.classes) > 0, "the classes are not those learnt")
    _require(bool(np.isfinite(decision).all()), "a decision value is not finite")
    _require(bool(np.isfinite(head.predict_proba(features)).all()), "a probability is not finite")
    _require(all(label in head.classes for label in head.predict(features)), "a prediction is no class")


def _learns_one_by_one_as_at_once(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs()
    whole, single = make(features.shape[1]), make(features.shape[1])
    whole.learn(features, labels)
    for row, label in zip(features, labels):
        single.learn(row[None], [label])
    same = np.array_equal(whole.head().decision(features), single.head().decision(features))
    _require(same, "one by one it learns otherwise than at once")


def _learns_the_same_in_any_order(make: Callable[[int], Learner]) -> None:
    features, labels = _blobs()
    order = np.argsort(np.array(labels), kind="stable")
    given, ordered = make(features.shape[1]), make(features.shape[1])
    given.learn(features, labels)
    ordered.learn(features[order], [labels[position] for position in order])
    first, second = given.head().decision(features), ordered.head().decision(features)
    _require(_close(first, second, 1e-9), "sorted by class it learns otherwise")


def _close(first: Array, second: Array, tolerance: float) -> bool:
    scale: Optional[float] = float(np.abs(second).max(initial=1e-300))
    return bool(np.abs(first - second).max(initial=0.0) <= tolerance * (scale or 1.0))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


_CHECKS: Mapping[str, Callable[[Callable[[int], Learner]], None]] = {
    "mutates_no_input": _mutates_no_input,
    "works_before_any_sample": _works_before_any_sample,
    "says_the_same_in_all_ways": _says_the_same_in_all_ways,
    "refuses_what_is_not_finite": _refuses_what_is_not_finite,
    "goes_on_bit_for_bit_when_restored": _goes_on_bit_for_bit_when_restored,
    "loads_its_head_bit_for_bit": _loads_its_head_bit_for_bit,
    "keeps_its_memory": _keeps_its_memory,
}
_EXACT: Mapping[str, Callable[[Callable[[int], Learner]], None]] = {
    "learns_one_by_one_as_at_once": _learns_one_by_one_as_at_once,
    "learns_the_same_in_any_order": _learns_the_same_in_any_order,
}
