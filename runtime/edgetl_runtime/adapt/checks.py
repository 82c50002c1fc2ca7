"""The contract of an adapter as tests that anyone can run on his own: `for check in adapter_checks(name): ...`."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Iterator, Mapping, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.calibration import recalibrated
from edgetl_runtime.adapt.fitness import fitness, unfit
from edgetl_runtime.adapt.loading import load_adapted
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.adapt.table import ADAPTERS, AdapterRow
from edgetl_runtime.drift.reference import Reference
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.heads.checks import Check
from edgetl_runtime.heads.table import fit_head
from edgetl_runtime.statistics import Statistics

__all__ = ["adapter_checks", "example"]

Array = NDArray[np.float64]
Make = Callable[[Situation], Adapted]


def adapter_checks(make: Make, row: AdapterRow) -> Iterator[Check]:
    """Every promise as a check of `make`, which turns a situation into a challenger as the `row` says."""
    for name, check in _CHECKS.items():
        yield Check(name, partial(check, make, row))
    for name, rows in _odd_buffers().items():
        yield Check(f"decides_after_{name}", partial(_decides, make, row, rows))


def example(
    seed: int = 0, head: str = "slda", count: int = 300, dim: int = 8
) -> Tuple[Situation, Array, NDArray[np.int64]]:
    """A situation on Gaussian classes without any shift, and test features (N, D) with class indices (N)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    centres = 3.0 * np.random.Generator(np.random.PCG64(7)).standard_normal((4, dim))

    def drawn(size: int) -> Tuple[Array, NDArray[np.int64]]:
        codes = np.arange(size) % 4
        return centres[codes] + generator.standard_normal((size, dim)), codes

    (rows, codes), (held, held_codes), (free, _) = drawn(400), drawn(200), drawn(count)
    source = Statistics(dim, rows.mean(axis=0), "space")
    source.add(rows, [f"class {code}" for code in codes])
    names = [f"class {code}" for code in held_codes]
    fitted = fit_head(head, Statistics(dim, source.shift, "space"), prior=source)
    fitted = recalibrated(fitted, held, names, biases=False)
    reference = Reference.of(fitted, source, held, names)
    test, test_codes = drawn(400)
    order = generator.permutation(count)
    return Situation(fitted, source, free[order], reference), test, test_codes


# ---------------------------------------------------------------- samples


def _odd_buffers() -> Dict[str, Array]:
    draw = np.random.Generator(np.random.PCG64(3)).standard_normal
    return {
        "one_sample": draw((1, 8)),
        "fewer_samples_than_features": draw((5, 8)),
        "the_same_sample_always": np.repeat(draw((1, 8)), 60, axis=0),
        "zeros": np.zeros((60, 8)),
        "one_direction": np.outer(draw(60), np.ones(8)),
        "far_away": 1e4 + 1e3 * draw((60, 8)),
    }


# ---------------------------------------------------------------- promises


def _mutates_nothing(make: Make, row: AdapterRow) -> None:
    situation, test, _ = example()
    before = situation.rows.copy(), situation.head.decision(test), situation.source.state()
    made = make(situation)
    made.head.predict_proba(test)
    _require(np.array_equal(before[0], situation.rows), "the buffer was changed")
    _require(np.array_equal(before[1], situation.head.decision(test)), "the head that answers was changed")
    after = situation.source.state()
    _require(all(np.array_equal(array, after[name]) for name, array in before[2].items()), "the source was changed")


def _gives_the_same_twice(make: Make, row: AdapterRow) -> None:
    situation, test, _ = example()
    same = np.array_equal(make(situation).head.decision(test), make(situation).head.decision(test))
    _require(same, "the same situation gives another head")


def _keeps_classes_and_space(make: Make, row: AdapterRow) -> None:
    situation, test, _ = example()
    head = make(situation).head
    _require(head.classes == situation.head.classes, f"the classes are {head.classes}")
    _require(head.feature_space == "space", f"the feature space is {head.feature_space!r}")
    probabilities = head.predict_proba(test)
    _require(probabilities.shape == (len(test), 4), f"probabilities have shape {probabilities.shape}")
    _require(np.allclose(probabilities.sum(axis=1), 1.0), "probabilities do not sum to one")
    wanted = [head.classes[k] for k in head.decision(test).argmax(axis=1)]
    _require(list(head.predict(test)) == wanted, "predict is not the class of the largest decision value")


def _does_little_where_nothing_changed(make: Make, row: AdapterRow) -> None:
    situation, test, codes = example()
    names = [f"class {code}" for code in codes]
    before = np.mean(situation.head.predict(test) == names)
    after = np.mean(make(situation).head.predict(test) == names)
    _require(after >= before - 0.02, f"{100 * before:.1f} % right before, {100 * after:.1f} % after, without any shift")


def _loads_bit_for_bit(make: Make, row: AdapterRow) -> None:
    for kind in ("slda",) if row.linear else ("slda", "ncm", "gaussian_nb"):
        situation, test, _ = example(head=kind)
        head = make(situation).head
        loaded = load_adapted(head.state(), head.metadata())
        _require(np.array_equal(head.decision(test), loaded.decision(test)), f"a loaded {kind} decides otherwise")
        same = np.array_equal(head.predict_proba(test), loaded.predict_proba(test))
        _require(same, f"a loaded {kind} has other probabilities")
        for name, array in head.state().items():
            spoilt: Mapping[str, NDArray[Any]] = {**head.state(), name: np.full_like(array, np.nan)}
            try:
                load_adapted(spoilt, head.metadata())
            except EdgetlError:
                continue
            _require(array.size == 0, f"a head loads with NaN in {name}")


def _is_refused_what_says_nothing(make: Make, row: AdapterRow) -> None:
    situation, _, _ = example()
    for name in ("zeros", "the_same_sample_always", "one_sample"):
        poor = Situation(situation.head, situation.source, _odd_buffers()[name], situation.reference)
        mine = next(key for key, value in ADAPTERS.items() if value.module == row.module)
        _require(row.batchwise or bool(unfit(mine, poor, fitness(poor))), f"a buffer of {name} is not refused")


def _decides(make: Make, row: AdapterRow, rows: Array) -> None:
    situation, test, _ = example()
    poor = Situation(situation.head, situation.source, rows, situation.reference)
    head = make(poor).head
    _require(bool(np.isfinite(head.decision(test)).all()), "a decision value is not finite")
    _require(bool(np.isfinite(head.predict_proba(test)).all()), "a probability is not finite")


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)


_CHECKS: Mapping[str, Callable[[Make, AdapterRow], None]] = {
    "mutates_nothing": _mutates_nothing,
    "gives_the_same_twice": _gives_the_same_twice,
    "keeps_classes_and_space": _keeps_classes_and_space,
    "does_little_where_nothing_changed": _does_little_where_nothing_changed,
    "loads_bit_for_bit": _loads_bit_for_bit,
    "is_refused_what_says_nothing": _is_refused_what_says_nothing,
}
