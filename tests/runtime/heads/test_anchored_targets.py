"""A head of numbers that learns on a device goes only so far from the factory head as the source can bear."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest
from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads import TargetHead, fit_anchored_targets, fit_regressor, load_head, random_layer, target_head
from edgetl_runtime.statistics import Statistics
from numpy.typing import NDArray

D, Q = 8, 2
Array = NDArray[np.float64]


def road(count: int, seed: int, offset: float = 0.0) -> Tuple[Array, Array]:
    """Features (N, D) and what they ask for (N, Q); `offset` is another camera, that asks for the same."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, D))
    y = x @ np.random.default_rng(0).normal(size=(D, Q)) + 0.5 * rng.normal(size=(count, Q))
    return x + offset, y


X, Y = road(200, 1)
GUARD = road(150, 2)
OPTIONS: Dict[str, Any] = {"penalty": 1.0, "variance": True}


def statistics(name: str, *parts: Tuple[Array, Array]) -> Tuple[Statistics, Dict[str, Any]]:
    plain = Statistics(D)
    plain.add(X, targets=Y)
    layer = random_layer(plain, width=48) if name == "ridge_rp" else None
    sums = Statistics(D if layer is None else layer.width)
    for x, y in parts:
        sums.add(x if layer is None else layer.apply(x), targets=y)
    return sums, {**OPTIONS, **({} if layer is None else {"layer": layer})}


def factory(name: str) -> Tuple[TargetHead, Statistics, Dict[str, Any]]:
    source, options = statistics(name, (X, Y))
    empty, _ = statistics(name)
    return target_head(fit_regressor(name, empty, source, **options), Y.std(axis=0)), source, options


def anchored(name: str, *parts: Tuple[Array, Array], **more: Any) -> TargetHead:
    first, source, options = factory(name)
    return fit_anchored_targets(first, statistics(name, *parts)[0], source, *GUARD, **options, **more)


@pytest.mark.parametrize("name", ["ridge", "ridge_rp"])
@pytest.mark.parametrize("reach", [1.0, 10.0, 1e3, 1e6])
def test_crafted_samples_cannot_cost_the_source_more_than_three_quarters_of_a_percent(name: str, reach: float) -> None:
    first, source, options = factory(name)
    rng = np.random.default_rng(3)
    x = np.tile(reach * rng.normal(size=D), (10, 1))
    lies = (x, -3.0 * first.decision(x))  # the opposite of what the road asks for, ever farther out
    head = anchored(name, lies)
    before = first.losses(*GUARD).mean()
    assert head.share is not None and 0.0 <= head.share < 1.0
    assert head.losses(*GUARD).mean() <= before + 0.0075 + 1e-9
    plain = first.fitted_again(fit_regressor(name, statistics(name, lies)[0], source, **options))
    assert plain.losses(*GUARD).mean() > before + 0.05


def test_where_the_source_loses_nothing_all_that_was_learnt_is_taken() -> None:
    first, source, options = factory("ridge")
    learnt, _ = statistics("ridge", road(100, 4))
    head = anchored("ridge", road(100, 4), weight=3.0)
    wanted = fit_regressor("ridge", learnt, source, weight=3.0, **options)
    assert head.share == 1.0
    assert np.array_equal(head.decision(GUARD[0]), wanted.predict(GUARD[0]))
    assert head.losses(*road(500, 5)).mean() < first.losses(*road(500, 5)).mean()


@pytest.mark.parametrize("name", ["ridge", "ridge_rp"])
def test_most_of_a_clean_gain_is_kept_and_the_source_with_it(name: str) -> None:
    first, source, options = factory(name)
    shifted, judge = road(100, 6, 1.5), road(500, 7, 1.5)
    head = anchored(name, shifted)
    plain = first.fitted_again(fit_regressor(name, statistics(name, shifted)[0], source, **options))
    gain, whole = (first.losses(*judge).mean() - one.losses(*judge).mean() for one in (head, plain))
    assert whole > 0.1 and gain > 0.4 * whole
    assert head.losses(*GUARD).mean() <= first.losses(*GUARD).mean() + 0.0075 + 1e-9


@pytest.mark.parametrize("name", ["ridge", "ridge_rp"])
def test_the_order_and_the_parts_in_which_it_was_learnt_make_no_difference(name: str) -> None:
    x, y = road(60, 8, 1.0)
    whole = anchored(name, (x, y))
    assert whole.share is not None and 0.0 < whole.share < 1.0
    parts = anchored(name, (x[40:], y[40:]), (x[:40][::-1], y[:40][::-1]))
    assert parts.share == pytest.approx(whole.share, abs=1e-9)
    assert np.allclose(parts.decision(GUARD[0]), whole.decision(GUARD[0]), atol=1e-9)
    assert np.all(whole.deviation(GUARD[0]) > 0)


@pytest.mark.parametrize("name", ["ridge", "ridge_rp"])
def test_it_comes_back_from_its_arrays_and_one_of_before_without_a_share(name: str) -> None:
    head = anchored(name, road(60, 8, 1.0))
    again = load_head(head.state(), head.metadata())
    assert isinstance(again, TargetHead) and again.share == head.share
    assert np.array_equal(again.decision(GUARD[0]), head.decision(GUARD[0]))
    old = factory(name)[0]
    assert set(old.metadata()) == {"head", "regressor"}
    loaded = load_head(old.state(), old.metadata())
    assert isinstance(loaded, TargetHead) and loaded.share is None
    for wrong in (1.5, "half", True):
        with pytest.raises(StatisticsError, match="share"):
            load_head(head.state(), {**head.metadata(), "share": wrong})


def test_what_is_beyond_all_numbers_leaves_the_factory_head() -> None:
    first, source, options = factory("ridge")
    far = Statistics(D)
    far.add(X[:3], targets=np.full((3, Q), 1e200))
    with np.errstate(over="ignore", invalid="ignore"):
        head = fit_anchored_targets(first, far, source, *GUARD, **options)
    assert head.share == 0.0 and np.array_equal(head.decision(GUARD[0]), first.decision(GUARD[0]))
