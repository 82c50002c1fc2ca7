"""Which way is tried first: the user's, that of what was learnt, the plan for the board, the plan for any."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, List

import pytest
from edgetl_runtime.board import BOARDS
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.errors import BundleFormatError, EngineError
from edgetl_runtime.serving import list_ways

from tests.runtime import golden
from tests.runtime.serving.bundles import BOARD, FIRST, SECOND, plan, two_variants

ROWS = {row.id: row for row in BOARDS}
ORIN = ROWS[BOARD]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    plans = {
        BOARD: plan(
            ("other", "tensorrt", {"tf32": True}, 0.5), ("other", "onnxruntime"), (FIRST.name, "onnxruntime", {}, 0.25)
        ),
        "any": plan((FIRST.name, "onnxruntime"), (FIRST.name, "openvino", {"precision": "f32"})),
    }
    return read_bundle(two_variants(tmp_path_factory.mktemp("bundle") / "x.edgetl", plans)).manifest


def told(ways: Any) -> List[str]:
    return [f"{way.variant.name} {way.engine}" for way in ways]


def test_a_board_has_the_plan_of_its_own_and_others_that_for_any(manifest: Any) -> None:
    assert told(list_ways(manifest, ORIN)) == ["other tensorrt", "other onnxruntime", f"{FIRST.name} onnxruntime"]
    for board in (None, ROWS["raspberry-pi-5"]):
        assert told(list_ways(manifest, board)) == [f"{FIRST.name} onnxruntime", f"{FIRST.name} openvino"]


def test_options_come_from_the_board_the_plan_and_the_user_and_the_last_word_counts(manifest: Any) -> None:
    first = list_ways(manifest, ORIN)[0]
    assert first.options == {"precision": "fp32", "workspace_bytes": 1 << 30, "tf32": True}
    (mine,) = list_ways(manifest, ORIN, engine="tensorrt", options={"tf32": False, "workspace_bytes": 5})
    assert mine.options == {"precision": "fp32", "workspace_bytes": 5, "tf32": False}
    assert list_ways(manifest)[1].options == {"precision": "f32"}
    with pytest.raises(EngineError, match="of which one"):
        list_ways(manifest, ORIN, options={"tf32": False})


def test_tensorrt_is_told_the_precision_that_the_graph_holds(manifest: Any) -> None:
    told = {"float32": "fp32", "fp16": "fp16", "float16": "fp16", "int8": "int8", "s8s8": "int8"}
    for said, wanted in told.items():
        renamed = dataclasses.replace(
            manifest, variants=(FIRST, dataclasses.replace(SECOND, precision=said))
        )
        assert list_ways(renamed, ORIN)[0].options["precision"] == wanted


def test_the_tolerance_is_that_of_the_pair_where_the_host_measured_it(manifest: Any) -> None:
    assert [way.feature_tolerance for way in list_ways(manifest, ORIN)] == [0.5, FIRST.feature_tolerance, 0.25]


def test_the_users_engine_and_variant_leave_nothing_else(manifest: Any) -> None:
    assert told(list_ways(manifest, ORIN, engine="onnxruntime")) == ["other onnxruntime", f"{FIRST.name} onnxruntime"]
    assert told(list_ways(manifest, ORIN, engine="onnxruntime", variant=FIRST.name)) == [f"{FIRST.name} onnxruntime"]
    assert told(list_ways(manifest, ORIN, engine="openvino")) == ["other openvino"]  # in no plan of this board
    mine = list_ways(manifest, ORIN, variant=FIRST.name)
    assert told(mine) == [f"{FIRST.name} onnxruntime", f"{FIRST.name} tensorrt"]
    with pytest.raises(BundleFormatError, match=r"no variant 'int7'.*'other'"):
        list_ways(manifest, ORIN, variant="int7")


def test_what_was_learnt_decides_the_variant_and_the_plan_its_engines(manifest: Any) -> None:
    assert told(list_ways(manifest, ORIN, held=FIRST)) == [f"{FIRST.name} onnxruntime", f"{FIRST.name} tensorrt"]
    assert told(list_ways(manifest, held=SECOND)) == ["other onnxruntime", "other openvino"]
    assert told(list_ways(manifest, ORIN, engine="tensorrt", held=FIRST)) == [f"{FIRST.name} tensorrt"]


def test_a_bundle_of_format_1_0_runs_on_onnxruntime_first() -> None:
    old = golden.bundle().manifest
    assert old.format == (1, 0)
    assert told(list_ways(old)) == [f"{FIRST.name} onnxruntime"]
    assert told(list_ways(old, ORIN)) == [f"{FIRST.name} onnxruntime", f"{FIRST.name} tensorrt"]
    assert told(list_ways(old, ORIN, engine="tensorrt")) == [f"{FIRST.name} tensorrt"]


def test_a_way_says_what_it_is(manifest: Any) -> None:
    assert str(list_ways(manifest)[1]) == f"{FIRST.name} in openvino precision=f32"


def test_every_board_finds_a_way_to_run_every_released_bundle() -> None:
    for path in sorted(Path(golden.GOLDEN).glob("bundle-*.edgetl")):
        for row in BOARDS:
            assert list_ways(read_bundle(path).manifest, row)[0].engine == "onnxruntime"
