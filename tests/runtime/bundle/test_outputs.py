"""What a manifest may say of the numbers that a head gives."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Dict, List

import pytest
from edgetl_runtime.bundle.manifest import Manifest, dump_manifest, parse_manifest
from edgetl_runtime.errors import BundleFormatError
from edgetl_runtime.types import Output

from tests.runtime import golden

OUTPUTS = (Output("angle", "rad", -1.0, 1.0), Output("speed", "m/s", 0.0), Output("x-2.y"))


def manifest(**fields: Any) -> Manifest:
    return dataclasses.replace(golden.bundle().manifest, **{"classes": (), "outputs": OUTPUTS, **fields})


def document() -> Dict[str, Any]:
    return dict(json.loads(dump_manifest(manifest())))


def parsed(data: Dict[str, Any]) -> Manifest:
    return parse_manifest(json.dumps(data).encode())


def test_outputs_go_there_and_back_as_1_1() -> None:
    data = document()
    assert data["format"] == [1, 1] and parsed(data) == manifest()
    assert data["outputs"][1] == {"name": "speed", "unit": "m/s", "low": 0.0}  # open above


def test_a_bundle_of_classes_stays_as_it_was() -> None:
    data = json.loads(dump_manifest(golden.bundle().manifest))
    assert data["format"] == [1, 0] and "outputs" not in data


@pytest.mark.parametrize("key", ["name", "unit", "low", "high"])
def test_every_key_has_one_type(key: str) -> None:
    for wrong in (None, True, 3, [], {}, *([2.5] if key in ("name", "unit") else ["text"])):
        data = document()
        data["outputs"][0][key] = wrong
        with pytest.raises(BundleFormatError):
            parsed(data)


BROKEN: List[Any] = [
    {"outputs": "angle"},
    {"outputs": ["angle"]},
    {"outputs": []},
    {"outputs": [{"name": "angle"}]},
    {"outputs": [{"name": "angle", "unit": "", "surprise": 1}]},
    {"outputs": [{"name": "", "unit": ""}]},
    {"outputs": [{"name": "an angle", "unit": ""}]},
    {"outputs": [{"name": "a" * 33, "unit": ""}]},
    {"outputs": [{"name": "angle", "unit": "u" * 17}]},
    {"outputs": [{"name": "angle", "unit": "\n"}]},
    {"outputs": [{"name": "angle", "unit": "", "low": 1.0, "high": 1.0}]},
    {"outputs": [{"name": "angle", "unit": ""}] * 2},
    {"outputs": [{"name": f"n{i}", "unit": ""} for i in range(17)]},
    {"classes": ["a"]},
    {"format": [1, 0]},
]


@pytest.mark.parametrize("changes", BROKEN, ids=lambda changes: str(changes)[:60])
def test_what_no_host_writes_is_refused(changes: Dict[str, Any]) -> None:
    with pytest.raises(BundleFormatError):
        parsed({**document(), **changes})
