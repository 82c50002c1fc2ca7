"""Words that came from a file, a network or a bundle: a terminal gets to see them, and obeys none."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from edgetl_runtime.bundle.outputs import check_outputs
from edgetl_runtime.cli import main
from edgetl_runtime.cli.view import View
from edgetl_runtime.errors import BundleFormatError, LabelError
from edgetl_runtime.labels import plain_text
from edgetl_runtime.sources import Health
from edgetl_runtime.terminal import clean_record, shown
from edgetl_runtime.types import Output
from hypothesis import given
from hypothesis import strategies as st

EVIL = "\x1b[2J\x1b]0;x\x07\r\x9b31m\u202egnp.exe"


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left_and_all_else_is(text: str) -> None:
    said = shown(text)
    assert all(sign.isprintable() or sign in "\t\n" for sign in said if ord(sign) < 160)
    if all(sign.isprintable() for sign in text):
        assert said == text
    assert shown(said) == said


@pytest.mark.parametrize("plain", [True, False])
def test_a_label_that_was_refused_cannot_paint_over_the_view(plain: bool) -> None:
    if not plain:
        pytest.importorskip("rich")
    stream = io.StringIO()
    health = Health(state="ok", faults=(), rate_hz=1.0, age_s=0.0, samples=1, drops={EVIL: 1})
    with View(EVIL, lambda: health, lambda: "", stream, plain) as view:
        view.write({"kind": "refused", "label": EVIL, "number": 1, "reason": EVIL})
        view.write({"kind": "learnt", "label": EVIL, "number": 1})
        logging.getLogger("somebody").error("%s", EVIL)
    drawn = stream.getvalue()
    assert "\\x1b[2J" in drawn and not any(sign in drawn for sign in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e"))


def test_an_error_names_a_file_and_sends_no_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a\x1b[2J\x9b.edgetl"
    assert main(["install", str(path), "--state", str(tmp_path / "state")]) == 1
    said = capsys.readouterr()
    assert "\\x1b[2J\\x9b.edgetl" in said.err and "\x1b" not in said.err + said.out


def test_what_is_logged_is_clean_also_where_an_error_is_told() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(clean_record)
    logger = logging.getLogger("test of a terminal")
    logger.addHandler(handler)
    try:
        raise ValueError(EVIL)
    except ValueError:
        logger.exception("%s", EVIL)
    finally:
        logger.removeHandler(handler)
    assert "ValueError: \\x1b[2J" in stream.getvalue() and "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("sign", ["\x1b", "\x85", "\x9b", "\u2028", "\u2029", "\u202e", "\u2066"])
def test_a_label_or_a_unit_holds_nothing_that_a_terminal_obeys(sign: str) -> None:
    with pytest.raises(LabelError):
        plain_text(f"cup{sign}s")
    with pytest.raises(BundleFormatError):
        check_outputs([Output("angle", f"m{sign}s")])


def test_labels_of_all_languages_stay_what_they_are() -> None:
    persian, hebrew = "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627", "\u05db\u05d5\u05e1\u200f 2"
    for label in (persian, hebrew, "Schl\u00fcssel", "\u732b", "cup \U0001f375"):
        assert plain_text(label) == label
