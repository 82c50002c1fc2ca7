"""What a device learns, for every head that a bundle can carry."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.errors import LabelError, SampleError, StatisticsError
from edgetl_runtime.heads import HEADS, TargetHead, load_head
from edgetl_runtime.labels import parsed_targets, targets_text
from edgetl_runtime.learner import Learner

from tests.runtime.head_members import HEAD_NAMES, REPLAY, digits, member, target_member

FEATURES, LABELS = digits()
SOURCE, LEARNT, ASKED = slice(0, 80), slice(80, 150), slice(150, 200)


@pytest.fixture(params=HEAD_NAMES)
def shipped(request: pytest.FixtureRequest) -> HeadMember:
    return member(request.param, FEATURES[SOURCE], LABELS[SOURCE])


def decisions(learner: Learner) -> np.ndarray:
    return learner.fit().head.decision(FEATURES[ASKED])


def taught(shipped: HeadMember, rows: slice = LEARNT) -> Learner:
    learner = Learner(shipped)
    learner.add(FEATURES[rows], LABELS[rows])
    return learner


def test_before_anything_is_learnt_it_is_the_factory_head(shipped: HeadMember) -> None:
    learner = Learner(shipped)
    learner.check()
    assert learner.fit().head is shipped.factory and learner.counts == {}
    assert np.isfinite(learner.fit().outliers.score(FEATURES[ASKED])).all()


def test_what_is_learnt_counts_and_a_new_label_is_a_new_class(shipped: HeadMember) -> None:
    learner = Learner(shipped)
    threes = FEATURES[LEARNT][np.array(LABELS[LEARNT]) == "3"]
    learner.add(threes, ["a three"] * len(threes))
    head = learner.fit().head
    assert set(head.classes) == {*shipped.factory.classes, "a three"} and learner.counts == {"a three": len(threes)}
    assert (head.predict(threes) == "a three").mean() >= 0.8


def test_the_same_rows_in_any_calls_end_in_the_same_head_bit_for_bit(shipped: HeadMember) -> None:
    whole, pieces = taught(shipped), Learner(shipped)
    for start, end in ((80, 81), (81, 97), (97, 150)):
        pieces.add(FEATURES[start:end], LABELS[start:end], range(start - 79, end - 79))
    assert np.array_equal(decisions(whole), decisions(pieces))
    # And again after a start that reads the rows once more, from the same member.
    assert np.array_equal(decisions(whole), decisions(taught(shipped)))


@pytest.mark.parametrize("name", [name for name in HEAD_NAMES if HEADS[name].exact])
def test_an_exact_head_is_the_same_in_any_order_and_as_if_it_had_met_all_at_once(name: str) -> None:
    shipped = member(name, FEATURES[SOURCE], LABELS[SOURCE])
    learner, other = taught(shipped), Learner(shipped)
    order = np.argsort(np.array(LABELS[LEARNT]), kind="stable")
    other.add(FEATURES[LEARNT][order], [LABELS[LEARNT][i] for i in order])
    first, second = decisions(learner), decisions(other)
    assert learner.exact and np.abs(first - second).max() <= 1e-9 * np.abs(first).max()


def test_ridge_rp_learns_the_sums_of_the_projected_features() -> None:
    from edgetl_runtime.heads import fit_head
    from edgetl_runtime.statistics import Statistics

    shipped = member("ridge_rp", FEATURES[SOURCE], LABELS[SOURCE], options={"weight": 1.0})
    assert shipped.layer is not None and shipped.projected is not None
    pooled = Statistics(shipped.layer.width, shipped.projected.shift, shipped.source.feature_space)
    pooled.add(shipped.layer.apply(FEATURES[:150]), LABELS[:150])
    wanted = fit_head("ridge_rp", pooled, layer=shipped.layer).decision(FEATURES[ASKED])
    got = decisions(taught(shipped))
    assert np.abs(got - wanted).max() <= 1e-9 * np.abs(wanted).max()


@pytest.mark.parametrize("name", REPLAY)
def test_a_replay_head_is_not_exact_and_its_reservoir_stays_in_its_bounds(name: str) -> None:
    shipped = member(name, FEATURES[SOURCE], LABELS[SOURCE], room=90)
    held = shipped.samples
    assert held is not None
    before = held.state()
    learner = taught(shipped)
    assert not learner.exact
    stored = learner._stored
    assert stored is not None and len(stored) == stored.capacity == 90
    assert {*stored.numbers} - {*held.numbers} and {*stored.numbers} & {*held.numbers}
    # The bundle's own samples stay what they are: forgetting begins with them again.
    assert all(np.array_equal(array, before[key]) for key, array in held.state().items())


@pytest.mark.parametrize("name", REPLAY)
def test_what_was_forgotten_has_no_part_in_a_replay_head(name: str) -> None:
    shipped = member(name, FEATURES[SOURCE], LABELS[SOURCE])
    rest = Learner(shipped)
    rest.add(FEATURES[100:150], LABELS[100:150], range(21, 71))
    again = Learner(shipped)
    again.add(FEATURES[100:150], LABELS[100:150], range(21, 71))
    assert np.array_equal(decisions(rest), decisions(again))
    assert rest._stored is not None and not {*range(1, 21)} & {*rest._stored.numbers}


def test_probabilities_keep_the_temperature_that_the_host_fitted(shipped: HeadMember) -> None:
    import dataclasses

    calm = dataclasses.replace(shipped, factory=shipped.factory.with_temperature(7.5))
    head = taught(calm).fit().head
    assert head.metadata()["temperature"] == 7.5
    assert np.array_equal(head.decision(FEATURES[ASKED]), decisions(taught(shipped)))


def test_a_bad_feature_is_refused_and_changes_nothing(shipped: HeadMember) -> None:
    learner = taught(shipped)
    before = decisions(learner)
    spoilt = FEATURES[ASKED].copy()
    spoilt[3, 5] = np.nan
    with pytest.raises(SampleError):
        learner.add(spoilt, LABELS[ASKED])
    assert np.array_equal(decisions(learner), before) and sum(learner.counts.values()) == 70


def test_sums_in_place_of_samples_end_in_the_same_head(shipped: HeadMember) -> None:
    whole, old, learner = taught(shipped), taught(shipped, slice(80, 110)), Learner(shipped)
    learner.add_sums(old.sums())
    learner.add(FEATURES[110:150], LABELS[110:150])
    first, second = decisions(whole), decisions(learner)
    assert learner.counts == whole.counts and np.abs(first - second).max() <= 1e-9 * np.abs(first).max()
    # And the other is still what it was.
    assert sum(old.counts.values()) == 30


def test_sums_of_another_head_are_refused_and_change_nothing() -> None:
    learners = {name: taught(member(name, FEATURES[SOURCE], LABELS[SOURCE])) for name in ("slda", "ridge_rp", "knn")}
    for name in ("ridge_rp", "knn"):
        before = decisions(learners[name])
        with pytest.raises(KeyError):
            learners[name].add_sums(learners["slda"].sums())
        assert np.array_equal(decisions(learners[name]), before) and sum(learners[name].counts.values()) == 70
    with pytest.raises(StatisticsError, match="before anything"):
        learners["knn"].add_sums(learners["knn"].sums())


# -- numbers in place of classes

TRUTHS = np.stack([FEATURES.mean(axis=1) / 255, FEATURES @ np.linspace(-1, 1, 64) / 1e4], axis=1)
TEXTS = [targets_text(row) for row in TRUTHS]


@pytest.fixture(params=["ridge", "ridge_rp"])
def of_numbers(request: pytest.FixtureRequest) -> HeadMember:
    return target_member(request.param, FEATURES[SOURCE], TRUTHS[SOURCE])


def test_numbers_are_learnt_the_same_in_any_order_and_from_sums(of_numbers: HeadMember) -> None:
    whole, pieces, summed, old = (Learner(of_numbers) for _ in range(4))
    whole.add(FEATURES[LEARNT], TEXTS[LEARNT])
    for i in reversed(range(80, 150)):
        pieces.add(FEATURES[i : i + 1], [TEXTS[i]])
    old.add(FEATURES[80:110], TEXTS[80:110])
    summed.add_sums(old.sums())
    summed.add(FEATURES[110:150], TEXTS[110:150])
    wanted = whole.fit()
    for learner in (pieces, summed):
        found = learner.fit()
        assert np.abs(found.head.decision(FEATURES) - wanted.head.decision(FEATURES)).max() < 1e-9
        assert np.allclose(found.outlier(FEATURES), wanted.outlier(FEATURES), rtol=1e-6)
        assert learner.counts == {"": 70}
    assert Learner(of_numbers).fit().head is of_numbers.factory


def test_losses_are_squared_errors_in_variances_of_the_source(of_numbers: HeadMember) -> None:
    fitted = Learner(of_numbers).fit()
    off = (fitted.head.decision(FEATURES[ASKED]) - TRUTHS[ASKED]) / TRUTHS[SOURCE].std(axis=0)
    assert np.allclose(fitted.losses(FEATURES[ASKED], TEXTS[ASKED]), (off**2).mean(axis=1))
    # And those of classes are right or wrong.
    classes = Learner(member("slda", FEATURES[SOURCE], LABELS[SOURCE])).fit()
    right = classes.head.predict(FEATURES[ASKED]) == np.array(LABELS[ASKED])
    assert np.array_equal(classes.losses(FEATURES[ASKED], LABELS[ASKED]), 1.0 - right)


def test_a_head_of_numbers_comes_back_from_bytes_bit_for_bit(of_numbers: HeadMember) -> None:
    learner = Learner(of_numbers)
    learner.add(FEATURES[LEARNT], TEXTS[LEARNT])
    head = learner.fit().head
    arrays = {name: np.array(array, order="C") for name, array in head.state().items()}
    again = load_head(arrays, head.metadata())
    assert isinstance(head, TargetHead) and isinstance(again, TargetHead) and again.name == of_numbers.head
    for what in ("decision", "deviation", "distance"):
        assert np.array_equal(getattr(again, what)(FEATURES), getattr(head, what)(FEATURES))
    for name, array in arrays.items():
        for spoilt in (np.full_like(array, np.nan), array[:-1], array.astype(np.float32)):
            with pytest.raises(StatisticsError):
                load_head({**arrays, name: spoilt}, head.metadata())
    for metadata in ({"head": "ridge", "regressor": None}, {"head": "slda", "regressor": {"regressor": "ridge"}}):
        with pytest.raises(StatisticsError):
            load_head(arrays, metadata)


def test_what_is_no_text_of_targets_is_refused(of_numbers: HeadMember) -> None:
    learner = Learner(of_numbers)
    texts = ("", "3", "[1.0]", "[1.0, 2.0, 3.0]", "[1.0, NaN]", "[1, 2]", '["1.0", 2.0]', "[1.0, null]", "[" * 9999)
    for text in texts:
        with pytest.raises(LabelError):
            learner.add(FEATURES[:1], [text])
    assert learner.counts == {}
    assert parsed_targets(targets_text([0.1, 1e300]), 2) == (0.1, 1e300)
    with pytest.raises(ValueError, match="JSON"):
        targets_text([float("nan")])
