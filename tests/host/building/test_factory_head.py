"""The factory head of every kind: what the host puts into a bundle, and what it refuses to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgetl_runtime.heads import HEADS, TargetHead, fit_head, fit_regressor
from edgetl_runtime.labels import targets_text
from edgetl_runtime.learner import Learner
from edgetl_runtime.statistics import Statistics

from edgetl.building.factory_head import check_head, check_target_head, make_head_member, make_target_member
from edgetl.errors import DatasetError
from edgetl.extraction import ExtractedPart

SPACE, DIM = "0" * 64, 24
# Only to be quick.
OPTIONS: dict[str, dict[str, Any]] = {"mlp": {"width": 8, "steps": 40}, "softmax": {"tolerance": 1e-4}}


def part(count: int, seed: int = 0, noise: float = 1.0) -> ExtractedPart:
    """Three classes, one ten times as frequent as another."""
    random = np.random.default_rng(seed)
    codes = random.choice(3, count, p=[0.6, 0.34, 0.06])
    centres = 2 * np.random.default_rng(9).standard_normal((3, DIM))
    rows = (centres[codes] + noise * random.standard_normal((count, DIM))).astype(np.float32)
    return ExtractedPart(rows, [f"class {code}" for code in codes], [], [], 0)


TRAINING, HELD_OUT = part(400), part(100, 1)


def made(head: str, **options: Any) -> Any:
    return make_head_member(head, {**OPTIONS.get(head, {}), **options}, SPACE, TRAINING, HELD_OUT)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_the_factory_head_follows_from_what_the_member_carries_and_its_options(head: str) -> None:
    member = made(head)
    empty = Statistics(DIM, member.source.shift, SPACE)
    options = dict(member.options)
    if member.projected is not None:
        nothing = Statistics(member.projected.dim, member.projected.shift, SPACE)
        again = fit_head(head, nothing, prior=member.projected, layer=member.layer, **options)
    else:
        again = fit_head(head, empty, prior=member.source, reservoir=member.samples, **options)
    first, second = member.factory.decision(HELD_OUT.features), again.decision(HELD_OUT.features)
    assert np.abs(first - second).max() <= 1e-9 * np.abs(first).max()
    assert (member.factory.predict(HELD_OUT.features) == np.array(HELD_OUT.labels)).mean() > 0.95
    Learner(member).check()


@pytest.mark.parametrize("head", sorted(HEADS))
def test_the_held_out_part_makes_its_probabilities_honest(head: str) -> None:
    training, held_out = part(400, 0, 6.0), part(200, 1, 6.0)  # some are wrong: there is something to calibrate

    def loss(member: Any) -> float:
        probabilities = member.factory.predict_proba(held_out.features)
        truth = [member.factory.classes.index(label) for label in held_out.labels]
        return -float(np.log(probabilities[range(len(truth)), truth] + 1e-30).mean())

    nothing = ExtractedPart(np.zeros((0, DIM), np.float32), [], [], [], 0)
    plain, honest = (
        make_head_member(head, OPTIONS.get(head, {}), SPACE, training, held) for held in (nothing, held_out)
    )
    assert loss(honest) < loss(plain)
    assert honest.factory.metadata()["temperature"] != plain.factory.metadata()["temperature"]


def test_a_layer_is_as_wide_as_the_bytes_that_a_device_may_spend() -> None:
    for size_bytes in (50_000, 200_000):
        width = made("ridge_rp", size_bytes=size_bytes).layer.width
        assert 8 * width**2 + 4 * DIM * width <= size_bytes < 8 * (width + 1) ** 2 + 4 * DIM * (width + 1)
    assert made("ridge_rp", width=77, seed=3).layer.metadata() == {"seed": 3, "width": 77}


@pytest.mark.parametrize("head", ["knn", "mlp", "softmax"])
def test_a_reservoir_is_half_full_of_source_features_alike_in_number(head: str) -> None:
    room = 120
    samples = made(head, reservoir_bytes=room * 2 * DIM).samples
    assert (samples.capacity, len(samples)) == (room, room // 2)
    labels, counts = np.unique(samples.labels, return_counts=True)
    in_training = [TRAINING.labels.count(label) for label in labels]
    assert list(labels) == ["class 0", "class 1", "class 2"]
    # The rare class whole, as far as it goes; the others share what is left.
    assert abs(counts[0] - counts[1]) <= 1 and counts[2] == min(in_training[2], 20)
    assert max(samples.numbers) == -1 and samples.state()["features"].dtype == np.float16
    # What they are of: the very training samples.
    nearest = np.abs(samples.features[:, None] - TRAINING.features[None]).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-2
    # A device's own samples have the chance of any of these.
    assert samples.seen == dict(zip(labels.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize(
    ("head", "options", "what"),
    [
        ("magic", {}, "no head 'magic'.*knn.*slda"),
        ("slda", {"size_bytes": 1}, "no option.*size_bytes"),
        ("knn", {"seed": 1}, "no option.*seed.*reservoir_bytes"),
        ("ridge_rp", {"layer": None}, "no option.*layer"),
        ("knn", {"reservoir": None}, "no option.*'reservoir'"),
    ],
)
def test_what_there_is_not_is_refused_before_the_long_work(head: str, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        check_head(head, options)


def test_a_reservoir_that_cannot_hold_every_class_is_refused() -> None:
    with pytest.raises(ValueError, match=f"reservoir_bytes of {4 * DIM * 3}"):
        made("knn", reservoir_bytes=4 * DIM * 3 - 1)
    assert len(set(made("knn", reservoir_bytes=4 * DIM * 3).samples.labels)) == 3


# -- numbers in place of classes

NUMBERS = TRAINING.features @ np.linspace(-1, 1, 2 * DIM).reshape(DIM, 2)
OF_NUMBERS = ExtractedPart(TRAINING.features, [targets_text(row) for row in NUMBERS], [], [], 0)


@pytest.mark.parametrize("head", ["ridge", "ridge_rp"])
def test_a_head_of_numbers_follows_from_what_the_member_carries(head: str) -> None:
    member = make_target_member(head, {"width": 60} if head == "ridge_rp" else {}, SPACE, OF_NUMBERS, 2)
    assert isinstance(member.factory, TargetHead) and member.options["variance"] is True
    if member.projected is not None:
        nothing = Statistics(member.projected.dim, member.projected.shift, SPACE)
        again = fit_regressor(head, nothing, member.projected, layer=member.layer, **member.options)
    else:
        again = fit_regressor(head, Statistics(DIM, member.source.shift, SPACE), member.source, **member.options)
    wanted = again.predict(HELD_OUT.features)
    assert np.abs(member.factory.decision(HELD_OUT.features) - wanted).max() <= 1e-9 * np.abs(wanted).max()
    assert np.allclose(member.factory.spread, NUMBERS.std(axis=0))
    truth = HELD_OUT.features @ np.linspace(-1, 1, 2 * DIM).reshape(DIM, 2)
    assert np.abs(wanted - truth).mean() < 0.5 * truth.std()
    Learner(member).check()


def test_what_gives_no_numbers_is_refused_before_the_long_work() -> None:
    for head, options, what in (
        ("slda", {}, "gives classes; numbers are given by .*ridge"),
        ("magic", {}, "gives classes"),
        ("ridge", {"balanced": True}, "no option.*balanced"),
        ("ridge", {"width": 5}, "no option.*width"),
    ):
        with pytest.raises(ValueError, match=what):
            check_target_head(head, options)
    check_target_head("ridge_rp", {"width": 5, "penalty": 10.0})


def test_numbers_that_never_change_are_refused() -> None:
    still = ExtractedPart(TRAINING.features, [targets_text([1.0, 2.0])] * len(TRAINING.labels), [], [], 0)
    with pytest.raises(DatasetError, match="two values"):
        make_target_member("ridge", {}, SPACE, still, 2)
