"""What several devices learnt, put together: the head that one device would have, or nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
from edgetl_runtime.cli import main
from edgetl_runtime.errors import StateError, StateMismatchError
from edgetl_runtime.merging import merge_states

from tests.runtime import golden

FRAMES, LABELS = golden.frames(), golden.labels()


def learnt(state: Path, start: int, end: int, source: str = "") -> Path:
    with golden.opened(state) as session:
        session.learn_many(FRAMES[start:end], LABELS[start:end], source=source)
    return state


def probabilities(state: Path) -> Any:
    with golden.opened(state, None, read_only=True) as session:
        found = session.predict_many(FRAMES[100:])
        return np.array([[p.probabilities[c] for c in sorted(p.probabilities)] for p in found])


def test_merged_is_what_one_device_would_have_learnt_in_any_order(tmp_path: Path) -> None:
    parts = [learnt(tmp_path / f"robot {i}", 20 * i, 20 * i + 20, f"robot {i}") for i in range(3)]
    one = learnt(tmp_path / "one", 0, 60)
    assert merge_states(parts, tmp_path / "fleet") == {str(part): 20 for part in parts}
    merge_states(parts[::-1], tmp_path / "reversed")
    for merged in ("fleet", "reversed"):
        assert np.abs(probabilities(tmp_path / merged) - probabilities(one)).max() < 1e-9
    with golden.opened(tmp_path / "fleet", None) as session:
        assert session.forget(source="robot 1") == 20
    two = tmp_path / "two"
    learnt(two, 0, 20)
    learnt(two, 40, 60)
    assert np.abs(probabilities(tmp_path / "fleet") - probabilities(two)).max() < 1e-9


def test_the_sources_stay_as_they_are_also_beside_one_that_learns(tmp_path: Path) -> None:
    one, other = learnt(tmp_path / "one", 0, 20), learnt(tmp_path / "other", 20, 40)
    before = probabilities(other)
    with golden.opened(one) as session:
        merge_states([one, other], tmp_path / "fleet")
        session.learn(FRAMES[50], LABELS[50])
    assert np.array_equal(probabilities(other), before)
    with golden.opened(tmp_path / "fleet", None) as session:
        assert session.status()["learnt_samples"] == 40


def test_what_cannot_be_merged_leaves_nothing_behind(tmp_path: Path) -> None:
    one = learnt(tmp_path / "one", 0, 20)
    with golden.opened(tmp_path / "other", golden.other_space(tmp_path / "other.edgetl")) as session:
        session.learn(FRAMES[0], "1")
    (tmp_path / "empty").mkdir()
    bad: List[Any] = [
        (StateError, [one]),
        (StateMismatchError, [one, tmp_path / "other"]),
        (StateError, [one, tmp_path / "empty"]),
        (StateError, [one, tmp_path / "none"]),
    ]
    before = sorted(path.name for path in tmp_path.iterdir())
    for error, sources in bad:
        with pytest.raises(error):
            merge_states(sources, tmp_path / "fleet")
        assert not (tmp_path / "fleet").exists() or list((tmp_path / "fleet").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "fleet") == before
    with pytest.raises(StateError, match="not empty"):
        merge_states([one, tmp_path / "other"], one)


def test_the_command_says_how_much_came_from_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = learnt(tmp_path / "one", 0, 20), learnt(tmp_path / "other", 20, 30)
    assert main(["merge", str(one), str(other), "-o", str(tmp_path / "fleet")]) == 0
    assert "30 samples" in capsys.readouterr().out
    assert main(["merge", str(one), str(other), "-o", str(tmp_path / "fleet")]) == 1
    assert "not empty" in capsys.readouterr().err
