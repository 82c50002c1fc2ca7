"""What several devices learnt, in one state: exactly the head of one device that met it all."""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence

import edgetl_runtime as rt
import numpy as np
import pytest
from edgetl_runtime.errors import StateError, StateMismatchError
from edgetl_runtime.merging import merge_states
from edgetl_runtime.store import open_store

from tests.runtime.golden import BUNDLE, frames, labels


def taught(folder: Path, chosen: Sequence[int], source: str) -> Path:
    with rt.open(BUNDLE, folder, allow_unsigned=True) as session:
        session.learn_many([frames()[i] for i in chosen], [labels()[i] for i in chosen], source=source)
    return folder


def probabilities(folder: Path) -> np.ndarray:
    with rt.open(None, folder, allow_unsigned=True) as session:
        rows: List[List[float]] = [list(p.probabilities.values()) for p in session.predict_many(frames())]
    return np.array(rows)


def test_merged_state_answers_as_one_device_that_met_all_in_any_order(tmp_path: Path) -> None:
    a, b = taught(tmp_path / "a", range(40), "a"), taught(tmp_path / "b", range(40, 100), "b")
    alone = taught(tmp_path / "alone", range(99, -1, -1), "alone")
    counts = merge_states([a, b], tmp_path / "ab")
    merge_states([b, a], tmp_path / "ba")
    assert counts == {str(a): 40, str(b): 60}
    np.testing.assert_allclose(probabilities(tmp_path / "ab"), probabilities(alone), rtol=0, atol=1e-9)
    np.testing.assert_allclose(probabilities(tmp_path / "ba"), probabilities(alone), rtol=0, atol=1e-9)


def test_one_device_can_be_forgotten_after_merging(tmp_path: Path) -> None:
    a, b = taught(tmp_path / "a", range(40), "a"), taught(tmp_path / "b", range(40, 100), "b")
    merge_states([a, b], tmp_path / "ab")
    with rt.open(None, tmp_path / "ab", allow_unsigned=True) as session:
        assert session.forget(source="b") == 60
    np.testing.assert_allclose(probabilities(tmp_path / "ab"), probabilities(a), rtol=0, atol=1e-9)


def test_sources_of_a_merge_are_only_read(tmp_path: Path) -> None:
    a, b = taught(tmp_path / "a", range(10), "a"), taught(tmp_path / "b", range(10, 20), "b")
    before = probabilities(a)
    merge_states([a, b], tmp_path / "ab")
    np.testing.assert_array_equal(probabilities(a), before)


def test_merge_refuses_a_folder_in_use_one_alone_and_another_extractor(tmp_path: Path) -> None:
    a, b = taught(tmp_path / "a", range(5), "a"), taught(tmp_path / "b", range(5), "b")
    with pytest.raises(StateError, match="at least two"):
        merge_states([a], tmp_path / "out")
    with pytest.raises(StateError, match="not empty"):
        merge_states([a, b], b)
    with pytest.raises(StateError):
        merge_states([a, tmp_path / "nothing"], tmp_path / "out")
    (tmp_path / "other").mkdir()
    store = open_store(tmp_path / "other")
    store.set_meta(bundle="x", feature_space="another", dim="64")
    store.close()
    with pytest.raises(StateMismatchError, match="different extractors"):
        merge_states([a, tmp_path / "other"], tmp_path / "out2")
