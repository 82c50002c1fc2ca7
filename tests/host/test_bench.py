"""`edgetl bench`: the runtime's own figures, accuracy of this very engine's features, and a page of both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgetl
from edgetl.bench import BenchResult, Measured, bench, likely_share
from edgetl.cli import main
from edgetl.data import Dataset
from edgetl.errors import DatasetError
from edgetl.reporting.bench_page import bench_page
from tests.runtime import golden


def digits() -> Dataset:
    """The golden frames: nines, which the golden bundle does not know, among them."""
    return edgetl.dataset(golden.frames(), golden.labels())


@pytest.fixture(scope="module")
def result() -> BenchResult:
    return bench(golden.BUNDLE, digits(), engine="onnxruntime", threads=1, runs=10)


def test_accuracy_is_that_of_the_factory_head_on_known_classes(result: BenchResult, tmp_path: Path) -> None:
    frames, labels = golden.frames(), golden.labels()
    known = [i for i, label in enumerate(labels) if label != "9"]
    with golden.opened(tmp_path / "state") as session:
        right = [session.predict(frames[i]).label == labels[i] for i in known]
    (way,) = result.ways
    assert result.samples == len(known) and way.accuracy == sum(right) / len(known)
    assert way.agreement == 1.0 and way.row.passed and way.row.p50_ms is not None


def test_fewer_samples_are_the_same_ones_for_the_same_seed(result: BenchResult) -> None:
    some = [bench(golden.BUNDLE, digits(), engine="onnxruntime", runs=10, most=20, seed=seed) for seed in (1, 1, 2)]
    assert [one.samples for one in some] == [20, 20, 20]
    assert some[0].ways[0].accuracy == some[1].ways[0].accuracy


def test_samples_of_no_known_class_are_an_error() -> None:
    with pytest.raises(DatasetError, match="no sample of the 9 classes"):
        bench(golden.BUNDLE, edgetl.dataset(golden.frames()[:4], ["a", "b", "a", "b"]), engine="onnxruntime", runs=10)


def test_without_samples_there_is_no_accuracy_and_the_page_claims_none() -> None:
    found = bench(golden.BUNDLE, engine="onnxruntime", runs=10)
    assert found.ways[0].accuracy is None and found.samples == 0
    text = bench_page(found)
    assert "no accuracy to show" in text and "right, %" not in text


def test_the_page_shows_every_way_and_what_does_not_run(result: BenchResult) -> None:
    row = result.ways[0].row
    failed = Measured(replace(row, engine="<abacus>", error="no kernel for <Conv>"))
    wrong = Measured(replace(row, variant="int8", golden={**row.golden, "passed": False}), 0.5, 0.9)
    text = bench_page(replace(result, ways=(*result.ways, failed, wrong)))
    assert "fp32 in onnxruntime" in text and "WRONG" in text and "50.0" in text
    assert "&lt;abacus&gt;: no kernel for &lt;Conv&gt;" in text and "<Conv>" not in text
    assert "<script" not in text and 'src="http' not in text


@pytest.mark.parametrize(
    ("share", "count", "interval"), [(0.5, 100, (0.4038, 0.5962)), (1.0, 10, (0.7225, 1.0)), (0.0, 10, (0.0, 0.2775))]
)
def test_intervals_are_wilsons(share: float, count: int, interval: tuple[float, float]) -> None:
    assert np.allclose(likely_share(share, count), interval, atol=1e-4)


def test_the_command_prints_json_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "digits"
    for i, (frame, label) in enumerate(zip(golden.frames()[:30], golden.labels()[:30], strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(folder / label / f"{i}.png")
    page = tmp_path / "bench.html"
    more = ["--engine", "onnxruntime", "--runs", "10", "--threads", "1"]
    code = main(["bench", str(golden.BUNDLE), "--data", str(folder), "--out", str(page), "--json", *more])
    document = json.loads(capsys.readouterr().out)
    assert code == 0 and document["ways"][0]["row"]["golden"]["passed"] and 0 < document["samples"] <= 30
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["bench", str(golden.BUNDLE), *more]) == 0
    assert "onnxruntime" in capsys.readouterr().out
    assert main(["bench", str(golden.BUNDLE), "--out", str(tmp_path / "no" / "x.html")]) == 1
