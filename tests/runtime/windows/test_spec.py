"""What a model wants of a series, as data: it comes back, names its channels, and checks their units."""

from __future__ import annotations

import json
import math
from typing import Any, Dict

import numpy as np
import pytest
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.windows import Crop, CropSpec, Windower, WindowSpec, grid_crops, map_channels, parse_window

SPEC = WindowSpec(
    length=20, stride=5, rate_hz=20.0, channels=("ax", "gz"), units=("m/s^2", "rad/s"), resample="mean", most_gap_s=0.2
)


def test_a_declaration_comes_back() -> None:
    for spec in (SPEC, WindowSpec(1, 1, 0.5)):
        assert parse_window(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"length": 0}, {"length": 2.0}, {"length": True}, {"stride": -1}, {"rate_hz": 0}, {"rate_hz": math.inf},
        {"rate_hz": 1e22}, {"rate_hz": 10**400}, {"rate_hz": "20"}, {"channels": "ax"},
        {"channels": ["ax", "ax"]}, {"units": ["g"]}, {"resample": "cubic"},
        {"resample": ["mean"]}, {"most_gap_s": -1.0}, {"channels": [1, 2]}, {"colour": 1}, {"length": 1 << 30},
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(change: Dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        parse_window({**SPEC.to_json(), **change})


def test_channels_are_found_by_name_and_their_units_converted() -> None:
    found = map_channels(SPEC, ["gz", "t", "ax"], ["deg/s", "degC", "g"])
    assert found is not None
    assert found.apply(np.array([[180.0, 25.0, 1.0]])) == pytest.approx(np.array([[9.80665, math.pi]]))
    assert map_channels(SPEC, ["ax", "gz"], ["m/s²", "rad/s"]) is None
    assert map_channels(WindowSpec(1, 1, 1.0), ["b", "a"], []) is None


@pytest.mark.parametrize(
    ("names", "units", "message"),
    [
        (["ax"], ["m/s^2"], "needs the channel 'gz'"),
        (["ax", "gz"], ["m/s^2", "degC"], "gives degC, which is not converted"),
        (["ax", "gz"], ["m/s^2", ""], "does not say its unit"),
        (["ax", "gz"], [], "does not say its unit"),
    ],
)
def test_a_channel_or_unit_that_does_not_fit_is_refused(names: Any, units: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        Windower(SPEC, names, units)


def test_windows_come_in_the_model_s_order_and_units() -> None:
    spec = WindowSpec(5, 5, 10.0, ("b", "a"), ("V", "m"))
    stamps = np.arange(10) / 10.0
    values = np.stack([stamps, 1000 * stamps], axis=1)
    (first, _) = Windower(spec, ["a", "b"], ["m", "mV"]).push(stamps, values)
    assert first.data == pytest.approx(np.stack([stamps[:5], stamps[:5]], axis=1))


def test_crops_are_views_that_cover_the_frame() -> None:
    frame = np.arange(7 * 10 * 3, dtype=np.uint8).reshape(7, 10, 3)
    tiles = grid_crops(2, 3).apply(frame)
    assert [tile.name for tile in tiles] == ["0,0", "0,1", "0,2", "1,0", "1,1", "1,2"]
    assert sum(tile.frame.size for tile in tiles) == frame.size
    assert all(np.shares_memory(tile.frame, frame) for tile in tiles)
    rows = [np.concatenate([tile.frame for tile in tiles[start : start + 3]], axis=1) for start in (0, 3)]
    assert np.array_equal(np.concatenate(rows), frame)


def test_a_crop_without_pixels_or_outside_is_refused() -> None:
    with pytest.raises(SampleError, match="no pixel"):
        CropSpec((Crop("thin", 0.0, 0.0, 0.01, 1.0),)).apply(np.zeros((4, 4), np.uint8))
    for box in ((0.5, 0.0, 0.5, 1.0), (-0.1, 0.0, 0.5, 1.0), (0.0, 0.0, 1.1, 1.0), (0.0, math.nan, 1.0, 1.0)):
        with pytest.raises(ValueError, match="must lie in"):
            Crop("wrong", *box)
    with pytest.raises(ValueError, match="at least one row"):
        grid_crops(0, 3)
