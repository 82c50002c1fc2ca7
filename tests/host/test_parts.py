"""A long benchmark that was stopped goes on where it was, and never mixes figures of two codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.parts import Parts, digest_of, named_by


def measured(parts: Parts, asked: object = 3) -> list[int]:
    """What was measured anew; the part gives the same either way."""
    found: list[int] = []
    assert parts.take("cuts: a / b", asked, lambda: {"kinds": found.append(1) or {"lost": 2}}) == {"kinds": {"lost": 2}}
    return found


def test_what_is_done_is_not_measured_again(tmp_path: Path) -> None:
    code = {"cuts": "c0de"}
    assert measured(Parts(tmp_path, code)) == [1]
    again = Parts(tmp_path, code)
    assert measured(again) == [] and again.kept == ["cuts: a / b"] and "cuts: a / b" in again.seconds


@pytest.mark.parametrize(("code", "asked"), [("other", 3), ("c0de", 4)])
def test_another_code_or_another_size_is_measured_again(code: str, asked: int, tmp_path: Path) -> None:
    measured(Parts(tmp_path, {"cuts": "c0de"}))
    assert measured(Parts(tmp_path, {"cuts": code}), asked) == [1]


def test_a_part_that_failed_is_not_done(tmp_path: Path) -> None:
    def fails() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        Parts(tmp_path, {"cuts": "c0de"}).take("cuts: a / b", 3, fails)
    assert measured(Parts(tmp_path, {"cuts": "c0de"})) == [1]


def test_the_code_of_a_suite_is_what_it_imports_and_runs(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "faults"
    folder.mkdir(parents=True)
    texts = {
        "cuts": 'from tests.faults import disk\ncommand = [python, "-m", "tests.faults.writer"]\n',
        "disk": "", "writer": "from tests.faults.tiny import opened\n", "tiny": "", "soak": "",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    found = named_by(folder / "cuts.py")
    assert {path.stem for path in found} == {"cuts", "disk", "writer", "tiny"}
    before = digest_of(tmp_path, found)
    (folder / "soak.py").write_text("changed")
    assert digest_of(tmp_path, found) == before
    (folder / "tiny.py").write_text("changed")
    assert digest_of(tmp_path, found) != before
