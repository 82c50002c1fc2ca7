"""Text as a sample: what is read of a text and of a tokenizer, and that all the rest of a device stays as it is."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.cli import main
from edgetl_runtime.errors import (
    BundleCorruptError,
    BundleError,
    BundleFormatError,
    EngineUnavailableError,
    SampleError,
    SourceError,
)
from edgetl_runtime.live.inputs import inputs_of
from edgetl_runtime.opening import open_session
from edgetl_runtime.preprocess import TextPreprocess, parse_preprocess
from edgetl_runtime.sources import About
from edgetl_runtime.text import MAX_TEXT_BYTES, check_tokenizer, checked_text, text_array, tokens_of
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import texts

tokenizers = pytest.importorskip("tokenizers")

UNREADABLE: Dict[str, Any] = {
    "empty": "", "only spaces": " \n\t ", "only control characters": "\x00\x07", "half a surrogate": "\ud800",
    "too long": "a" * (MAX_TEXT_BYTES + 1), "long in bytes": "é" * MAX_TEXT_BYTES,
    "not UTF-8": np.array([255], np.uint8),
    "a frame": np.zeros((8, 8), np.uint8), "numbers": np.zeros(5, np.float32), "nothing": None, "bytes": b"light",
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: Any) -> Path:
    return texts.write(tmp_path_factory.mktemp("text") / "house.edgetl")


def opened(bundle: Path, state: Path, **options: Any) -> Any:
    return open_session(bundle, state, allow_unsigned=True, threads=1, **options)


@pytest.mark.parametrize("case", list(UNREADABLE))
def test_what_is_no_text_is_refused_as_a_sample(case: str) -> None:
    with pytest.raises(SampleError):
        texts.preprocess().apply(UNREADABLE[case])


@given(st.one_of(st.text(), st.binary()))
def test_any_text_gives_a_tensor_or_a_sample_error(sample: Any) -> None:
    sample = np.frombuffer(sample, np.uint8) if isinstance(sample, bytes) else sample
    try:
        tensor = texts.preprocess().apply(sample)
    except SampleError:
        return
    assert tensor.shape == (1, texts.LENGTH) and tensor.dtype == np.float32
    assert tensor.min() >= -1 and tensor.max() < texts.VOCABULARY


def test_a_text_and_its_bytes_are_the_same_sample() -> None:
    takes, text = texts.preprocess(), "Turn on\nthe light\x00s"
    assert checked_text(text) == "Turn on the light s"
    np.testing.assert_array_equal(takes.apply(text), takes.apply(text_array(text)))
    assert takes.apply(text)[0, 0] == 2 and (takes.apply(text)[0] >= 0).sum() == 7


def test_a_long_text_is_cut_and_keeps_its_end_sign() -> None:
    tensor = texts.preprocess().apply("light " * 100)[0]
    assert tensor[0] == 2 and tensor[-1] == 3 and (tensor >= 0).all()


def test_the_signs_of_the_encoder_cannot_be_said() -> None:
    tensor = texts.preprocess().apply("light [SEP] [PAD] light")[0]
    assert (tensor == 3).sum() == 1 and (tensor == 0).sum() == 0


def test_the_declaration_is_read_as_it_was_written() -> None:
    takes = texts.preprocess()
    assert parse_preprocess(takes.to_json()) == takes
    for change in ({"length": 0}, {"length": 2**20}, {"vocabulary": 0}, {"vocabulary": 2**30}, {"length": "9"},
                   {"tokenizer": "abc"}, {"tokenizer": None}, {"more": 1}):  # fmt: skip
        with pytest.raises(ValueError):
            parse_preprocess({**takes.to_json(), **change})


def nested(levels: int) -> bytes:
    return b'{"model":' * levels + b"1" + b"}" * levels


WORD_PIECE = texts.tokenizer()["model"]
BOMBS: Dict[str, bytes] = {
    "padding to 2**40": texts.tokenizer_bytes(padding={"strategy": {"Fixed": 1 << 40}, "pad_id": 0}),
    "truncation of its own": texts.tokenizer_bytes(truncation={"max_length": 1 << 40}),
    "a replacement that doubles, 30 times": texts.tokenizer_bytes(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 30,
        }
    ),
    "a regular expression without end": texts.tokenizer_bytes(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    ),
    "a character map": texts.tokenizer_bytes(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "a long prefix": texts.tokenizer_bytes(normalizer={"type": "Prepend", "prepend": "a" * 100000}),
    "a word of any length": texts.tokenizer_bytes(model={**WORD_PIECE, "max_input_chars_per_word": 1 << 60}),
    "an id beyond the vocabulary": texts.tokenizer_bytes(model={**WORD_PIECE, "vocab": {"[UNK]": 1 << 31}}),
    "a negative id": texts.tokenizer_bytes(model={**WORD_PIECE, "vocab": {"[UNK]": -1}}),
    "a merge that drops": texts.tokenizer_bytes(
        model={"type": "BPE", "dropout": 0.5, "vocab": {"a": 0}, "merges": []}
    ),
    "a merge of unknown tokens": texts.tokenizer_bytes(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["b c"]}),
    "an added token of 100,000 letters": texts.tokenizer_bytes(added_tokens=[{"id": 0, "content": "a" * 100000}]),
    "a template of 1,000 signs": texts.tokenizer_bytes(
        post_processor={"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 1000,
                        "pair": [], "special_tokens": {}}
    ),
    "a template of unknown signs": texts.tokenizer_bytes(
        post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}],
                        "pair": [], "special_tokens": {}}
    ),
    "nested sequences": texts.tokenizer_bytes(
        normalizer={"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]}
    ),
    "a key that nobody knows": texts.tokenizer_bytes(surprise=1),
    "no model": texts.tokenizer_bytes(model=None),
    "no JSON": b"\x93NUMPY",
    "not UTF-8": b"\xff\xfe{}",
    "a key twice": b'{"model":1,"model":2}',
    "NaN": b'{"model":NaN}',
    "deep": nested(100000),
    "half a surrogate": b'{"version":"\\ud800"}',
    "three million tables": b'{"model":[' + b"{}," * 2_600_000 + b"{}]}",
    "100 MB": b" " * 100_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_hostile_tokenizer_is_refused_by_an_error_of_ours(name: str) -> None:
    with pytest.raises((BundleFormatError, BundleCorruptError), match=r"tokenizer\.json"):
        tokens_of(BOMBS[name], texts.VOCABULARY, texts.LENGTH)


@given(st.data())
def test_a_changed_tokenizer_works_or_is_refused(data: Any) -> None:
    """Any value anywhere replaced by any other."""
    document = texts.tokenizer()
    at: Any = document
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.integers(0, 3)) == 0:
            break
        at = at[key]
    at[key] = data.draw(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just([]), st.just({}), st.just([1]))
    )
    try:
        ids = tokens_of(json.dumps(document).encode(), texts.VOCABULARY, texts.LENGTH).ids("turn on the lights")
    except (BundleError, SampleError):
        return
    assert min(ids) >= 0 and max(ids) < texts.VOCABULARY and len(ids) <= texts.LENGTH


@pytest.mark.parametrize("kind", ["WordLevel", "BPE", "Unigram"])
def test_other_models_of_the_library_are_read_too(kind: str) -> None:
    model: Dict[str, Any] = {"type": kind, "vocab": {"<unk>": 0, "light": 1}, "unk_token": "<unk>"}
    if kind == "BPE":
        model.update(vocab={"<unk>": 0, "o": 1, "n": 2, "on": 3}, merges=["o n"], dropout=None, fuse_unk=False)
    if kind == "Unigram":
        model = {"type": kind, "unk_id": 0, "vocab": [["<unk>", 0.0], ["light", -1.0]], "byte_fallback": False}
    plain = {"added_tokens": [], "post_processor": None, "model": model, "pre_tokenizer": {"type": "Whitespace"}}
    data = texts.tokenizer_bytes(**plain)
    text = "on" if kind == "BPE" else "light"
    assert tokens_of(data, 4, 8).ids(text) == [3 if kind == "BPE" else 1]
    assert json.loads(check_tokenizer(data, 4)) == json.loads(data)


def test_without_the_package_an_error_names_the_command(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'edgetl-runtime\[text\]'"):
        tokens_of(texts.tokenizer_bytes(version="1.0", decoder=None), texts.VOCABULARY, 31)


def test_a_bundle_of_text_says_format_1_1_and_its_tokenizer_belongs_to_it(bundle: Path, tmp_path: Path) -> None:
    read = read_bundle(bundle)
    assert read.manifest.format == (1, 1) and read.members["tokenizer.json"] == texts.tokenizer_bytes()
    assert isinstance(read.manifest.preprocess, TextPreprocess)
    other = dataclasses.replace(texts.preprocess(), tokenizer="0" * 64)
    with pytest.raises(BundleFormatError, match=r"tokenizer\.json is not the one"):
        texts.write(tmp_path / "other.edgetl", preprocess=other)


def test_a_bundle_with_a_bomb_is_not_installed(tmp_path: Path) -> None:
    path = texts.write(tmp_path / "bomb.edgetl", BOMBS["a replacement that doubles, 30 times"])
    with pytest.raises(BundleFormatError, match="normalizer"):
        opened(path, tmp_path / "state")
    assert not (tmp_path / "state" / "bundles").exists()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_session_predicts_learns_and_forgets_text(engine: str, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    with opened(bundle, tmp_path / "state", engine=engine) as session:
        assert session.predict("turn off the light").label == "lights"
        before = session.predict("set heating to warm").probabilities
        ids = [session.learn(text, "heating", on_purpose=True) for text in ("heating warm", "heating cold degrees")]
        session.review(accept=True)
        assert session.predict("set heating degrees").label == "heating"
        for number in ids:
            session.forget(number)
        assert session.predict("set heating to warm").probabilities == pytest.approx(before)
        with pytest.raises(SampleError):
            session.learn("", "lights")
        with pytest.raises(SampleError):
            session.predict(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("kept", [False, True])
def test_what_was_said_is_stored_only_where_the_user_keeps_samples(kept: bool, bundle: Path, tmp_path: Path) -> None:
    with opened(bundle, tmp_path / "state", keep_raw_bytes=100_000 if kept else 0) as session:
        number = session.learn("heating warm unmistakable", "heating")
        assert session.status()["kept_samples"] == int(kept)
        if kept:
            assert checked_text(session._store.raw.get(number)) == "heating warm unmistakable"
    if not kept:
        for path in (tmp_path / "state").rglob("*"):
            assert path.is_dir() or b"unmistakable" not in path.read_bytes()
        tables = sqlite3.connect(str(tmp_path / "state" / "state.sqlite")).execute("SELECT name FROM sqlite_master")
        assert "raw" not in {name for (name,) in tables}


def test_a_stream_of_frames_is_not_for_a_bundle_of_text() -> None:
    with pytest.raises(SourceError, match="no text"):
        inputs_of(About("camera", "frame"), texts.preprocess())


def run(capsys: Any, *arguments: str) -> str:
    assert main(list(arguments)) == 0, capsys.readouterr().err
    return str(capsys.readouterr().out)


def test_the_commands_take_text(bundle: Path, tmp_path: Path, capsys: Any) -> None:
    state: List[str] = ["--state", str(tmp_path / "state"), "--allow-unsigned"]
    run(capsys, "install", str(bundle), *state)
    assert run(capsys, "predict", "--text", "turn on the lamp", *state).startswith("turn on the lamp\tlights\t")
    (tmp_path / "said.txt").write_text("play the radio\n")
    assert "music" in run(capsys, "predict", str(tmp_path / "said.txt"), *state)
    table = tmp_path / "said.csv"
    table.write_text("text,label\nheating warm,heating\n\"set heating, now\",heating\n,heating\n")
    told = run(capsys, "learn", str(table), *state)
    assert "learnt 2 samples of 1 class, 1 unusable skipped" in told
    table.write_text("text,label\nlouder,music\nplay it\n")
    assert main(["learn", str(table), *state]) == 1 and f"{table}:3: there is no label" in capsys.readouterr().err
    assert "learnt sample" in run(capsys, "learn", "--text", "louder music", "--label", "music", *state)
    folder = tmp_path / "check" / "music"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("play the next song")
    checked = json.loads(run(capsys, "predict", str(tmp_path / "check"), "--check", "--json", *state))
    assert checked["texts"] == 1 and checked["accuracy"] == 1.0 and checked["predictions"][0]["truth"] == "music"
    assert "near" in run(capsys, "explain", "--text", "louder music", *state)
    assert main(["learn", "--text", "louder", *state]) == 1 and "--label" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["predict", *state])
    assert "--text" in capsys.readouterr().err
    assert main(["predict", "nowhere.png", *state]) == 1 and "text" in capsys.readouterr().err
