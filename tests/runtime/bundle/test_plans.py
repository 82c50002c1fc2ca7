"""Format 1.1: plans, which variant a device runs in which engine, and that nothing else changed."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from edgetl_runtime.bundle import EngineChoice, read_bundle
from edgetl_runtime.bundle.manifest import dump_manifest, parse_manifest
from edgetl_runtime.errors import BundleError, BundleFormatError
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import golden

NAME = golden.bundle().manifest.variants[0].name
PLANS = {
    "any": (EngineChoice(NAME, "onnxruntime", "it runs everywhere"),),
    "jetson-orin-nano-8gb": (
        EngineChoice(NAME, "tensorrt", "the fast engine of the board", feature_tolerance=0.05),
        EngineChoice(NAME, "onnxruntime", "while a plan is built", {"provider": "cuda", "tf32": False, "x": 3}),
    ),
}

Document = Dict[str, Any]


def document() -> Document:
    return dict(json.loads(dump_manifest(dataclasses.replace(golden.bundle().manifest, plans=PLANS))))


def parsed(data: Document) -> Any:
    return parse_manifest(json.dumps(data).encode())


def test_a_manifest_without_plans_is_written_as_1_0_to_the_byte() -> None:
    with zipfile.ZipFile(str(golden.BUNDLE)) as archive:
        released = archive.read("manifest.json")
    manifest = parse_manifest(released)
    assert manifest.format == (1, 0) and manifest.plans == {} and manifest.plan() == ()
    assert dump_manifest(manifest) == released


def test_plans_go_there_and_back_as_1_1(tmp_path: Path) -> None:
    path = golden.changed_bundle(tmp_path / "x.edgetl", plans=PLANS)
    manifest = read_bundle(path).manifest
    assert manifest.format == (1, 1) and manifest.plans == PLANS
    assert parse_manifest(dump_manifest(manifest)) == manifest
    golden.opened(tmp_path / "state", path).close()


def test_a_device_without_a_plan_of_its_own_follows_the_one_for_any() -> None:
    manifest = parsed(document())
    assert manifest.plan("jetson-orin-nano-8gb") == PLANS["jetson-orin-nano-8gb"]
    assert manifest.plan() == manifest.plan("toaster") == PLANS["any"]


KEYS = [(device, i, key) for device, rows in document()["plans"].items() for i, row in enumerate(rows) for key in row]


@pytest.mark.parametrize(("device", "row", "key"), KEYS)
def test_every_key_has_one_type_and_all_but_the_tolerance_must_be_there(device: str, row: int, key: str) -> None:
    right = document()["plans"][device][row][key]
    for wrong in (None, True, 3, 2.5, "text", [], [None], {}):
        if type(wrong) is type(right) and key != "variant":
            continue
        data = document()
        data["plans"][device][row][key] = wrong
        with pytest.raises(BundleFormatError):
            parsed(data)
    data = document()
    del data["plans"][device][row][key]
    if key == "feature_tolerance":
        assert parsed(data).plans[device][row].feature_tolerance is None
    else:
        with pytest.raises(BundleFormatError, match=key):
            parsed(data)


def first(data: Document) -> Document:
    return dict.__getitem__(data["plans"], "any")[0]


WRONG: List[Tuple[str, Callable[[Document], Any]]] = [
    ("plans in format 1.0", lambda d: d.update(format=[1, 0])),
    ("format 1.1 without the key", lambda d: d.pop("plans")),
    ("format 1.1 with no plan", lambda d: d.update(plans={})),
    ("nothing for any device", lambda d: d["plans"].pop("any")),
    ("an empty plan", lambda d: d["plans"].update(any=[])),
    ("a plan that is no list", lambda d: d["plans"].update(any={})),
    ("a row that is no object", lambda d: d["plans"].update(any=["x"])),
    ("65 devices", lambda d: d["plans"].update({f"b{i}": d["plans"]["any"] for i in range(65)})),
    ("65 rows", lambda d: d["plans"].update(any=[{**first(d), "engine": f"e{i}"} for i in range(65)])),
    ("a device with a path", lambda d: d["plans"].update({"../x": d["plans"]["any"]})),
    ("an unknown key", lambda d: first(d).update(surprise=1)),
    ("a variant that there is not", lambda d: first(d).update(variant="other")),
    ("an engine of a path", lambda d: first(d).update(engine="../x")),
    ("the same row twice", lambda d: d["plans"]["any"].append(dict(first(d)))),
    ("no reason", lambda d: first(d).update(why="")),
    ("a long reason", lambda d: first(d).update(why="x" * 1001)),
    ("a reason with an escape sequence", lambda d: first(d).update(why="\x1b[2J")),
    ("tolerance 0", lambda d: first(d).update(feature_tolerance=0.0)),
    ("tolerance above 1", lambda d: first(d).update(feature_tolerance=1.5)),
    ("an option of the device", lambda d: first(d).update(options={"cache_dir": "/etc"})),
    ("an option with a dash", lambda d: first(d).update(options={"a-b": 1})),
    ("an option that is a list", lambda d: first(d).update(options={"a": []})),
    ("an option that is a float", lambda d: first(d).update(options={"a": 1.5})),
    ("an option of 65 characters", lambda d: first(d).update(options={"a": "x" * 65})),
    ("an option with a line end", lambda d: first(d).update(options={"a": "x\n"})),
]


@pytest.mark.parametrize("change", [change for _, change in WRONG], ids=[name for name, _ in WRONG])
def test_a_wrong_plan_is_refused(change: Callable[[Document], Any]) -> None:
    data = document()
    change(data)
    with pytest.raises(BundleFormatError):
        parsed(data)


_WORDS = st.sampled_from(["any", "variant", "engine", "options", "why", "feature_tolerance", NAME, "onnxruntime"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from([None, *KEYS]), _VALUES)
def test_no_value_anywhere_escapes_as_another_error(place: Any, value: Any) -> None:
    data = document()
    if place is None:
        data["plans"] = value
    else:
        data["plans"][place[0]][place[1]][place[2]] = value
    try:
        manifest = parsed(data)
    except BundleError:
        return
    assert parse_manifest(dump_manifest(manifest)) == manifest
