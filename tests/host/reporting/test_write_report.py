"""The page of a real build: every section, with the figures of the result, fitting every width in a real browser."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
import pytest
from edgetl_runtime.bundle.members import read_head

import edgetl
from benchmarks.browser import Browser, find_chromium
from edgetl.building.held_out_answers import Answers, NumberAnswers, calibration_error, chance_error, reliability
from edgetl.choosing import Candidate, Ranking
from edgetl.choosing.page import ranking_table
from edgetl.cli import main
from edgetl.errors import EdgetlError
from edgetl.html.matrix import Heatmap
from edgetl.html.page import Section, page
from edgetl.reporting.backbone_section import backbone_sections
from edgetl.reporting.occlusion import occluded_image, occluded_window
from edgetl.reporting.origin_sections import origin_section
from edgetl.reporting.records import read_choice, tuning_beside
from edgetl.reporting.story import Story
from edgetl.reporting.summary import summary
from edgetl.tuning import record_path, save_tuned, tune
from edgetl.tuning.record import record_of
from tests.host.changed_json import changed
from tests.host.tuning.small import conv_net, series_net, stripes, waves

CLASSES = [
    "In short", "The data", "The backbone, and why", "Learning curves", "Where it errs", "Calibration", "Every class",
    "Examples that fail", "What it looks at", "Parity", "Latency and memory", "What is inside",
    "Origin, and how to repeat it",
]  # fmt: skip
NUMBERS = [
    "In short", "The data", "The backbone, and why", "Predicted against true", "Error by value", "Examples that fail",
    "What it looks at", "Parity", "Latency and memory", "What is inside", "Origin, and how to repeat it",
]  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[edgetl.BuildResult, str, dict[str, Any]]:
    """Noisy stripes that a short training does not quite tell apart, the page, and the record of that training."""
    folder, data = tmp_path_factory.mktemp("pictures"), stripes(180, noise=90.0)
    tuned = tune(conv_net(), data, "full", epochs=3)
    result = edgetl.build(tuned.extractor, data, out=folder / "stripes.edgetl")
    record = record_of(tuned, ["edgetl", "finetune", "--data", "stripes"])
    ranking = Ranking("stripes", 150, False, (Candidate("small", 24, (12, 12, 1), 0.8, latency_ms=1.0), Candidate("x")))
    written = edgetl.write_report(result, data, tuning=record, ranking=ranking, commands=["edgetl build --data s"])
    return result, written.read_text(encoding="utf-8"), record


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> tuple[edgetl.BuildResult, str]:
    samples, speed = waves(120)
    data = edgetl.dataset(samples, targets={"speed": speed})
    result = edgetl.build(series_net(), data, out=tmp_path_factory.mktemp("numbers") / "waves.edgetl")
    return result, edgetl.write_report(result, data).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    command = find_chromium()
    if command is None:
        pytest.skip("no Chromium on PATH")
    with Browser(command) as opened:
        yield opened


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_every_section_is_there_and_says_what_the_result_says(pictures: tuple[Any, str, dict[str, Any]]) -> None:
    result, text, record = pictures
    assert headings(text) == CLASSES
    answers = result.answers
    assert isinstance(answers, Answers) and 0.4 < result.held_out_accuracy < 1.0
    assert f"{100 * result.held_out_accuracy:.1f} %" in text and f"{100 * result.majority_accuracy:.1f} %" in text
    assert f"<dd>{100 * result.oracle_accuracy:.1f} %</dd>" in text
    before = record["comparison"]["frozen"]["slda"]
    assert f"<dt>Backbone untouched</dt><dd>{100 * before:.1f} %</dd>" in text
    assert f"after recipe full</td><td class=n>{100 * record['comparison']['recipe']['gaussian_nb']:.1f}" in text
    for name, count in zip(result.classes, result.confusion.sum(axis=1), strict=True):
        assert f"<b>{name}</b> <em>{60 - count} + {count} held out</em>" in text
    own, crossed = (reliability(shares, answers.right) for shares in (answers.probability, answers.crossed))
    assert f"ECE {100 * calibration_error(own):.1f} %" in text
    assert f"ECE is {100 * calibration_error(crossed):.1f} %" in text
    counts, right = result.confusion, np.diag(result.confusion)
    for k, name in enumerate(result.classes):
        recall, precision = 100 * right[k] / counts[k].sum(), 100 * right[k] / max(counts[:, k].sum(), 1)
        cells = [counts[k].sum(), right[k], f"{recall:.1f}", f"{precision:.1f}"]
        assert f"<td>{name}</td>" + "".join(f"<td class=n>{cell}</td>" for cell in cells) in text
    wrong = int((~answers.right).sum())
    assert f"{min(wrong, 24)} of {wrong} wrong answers" in text
    # The most confident error stands first.
    worst = max(np.flatnonzero(~answers.right), key=lambda row: answers.probability[row])
    first = re.search(r"<b>is (\w+)</b><span>said (\w+), (\d+)", text)
    said = (result.classes[answers.truth[worst]], result.classes[answers.said[worst]])
    assert first is not None and first.groups()[:2] == said
    assert int(first[3]) == round(100 * answers.probability[worst])
    for name, member in rt.read_bundle(result.path).manifest.members.items():
        assert name in text and member.sha256 in text
    assert "edgetl finetune --data stripes" in text and "edgetl build --data s" in text
    assert "in bold the one that was taken, number 1" in text
    assert result.bundle_id in text and f"{result.parity.max_abs:.2e}" in text


def test_answers_are_those_of_the_bundle_for_the_samples_that_they_name(pictures: tuple[Any, str, Any]) -> None:
    result, _, _ = pictures
    data, answers = stripes(180, noise=90.0), result.answers
    bundle = rt.read_bundle(result.path)
    head = read_head(bundle, bundle.manifest.variants[0]).factory
    assert answers.indices == data.held_out.indices
    assert [result.classes[code] for code in answers.truth] == [str(label) for label in data.held_out.labels]
    with rt.open(result.path, result.path.parent / "state", allow_unsigned=True) as session:
        for row in (0, 7, 20):
            frame = data.reader.read(answers.indices[row])
            prediction = session.predict(frame)
            assert prediction.label == result.classes[answers.said[row]]
            assert prediction.probabilities[prediction.label] == pytest.approx(answers.probability[row], abs=1e-6)
    assert head.classes == result.classes


def test_numbers_are_shown_as_they_are(numbers: tuple[Any, str]) -> None:
    result, text = numbers
    assert headings(text) == NUMBERS
    assert isinstance(result.answers, NumberAnswers)
    error = result.output_errors[0]
    said = result.answers.said - result.answers.truth
    assert error.rmse == pytest.approx(np.sqrt(np.mean(said**2))) and result.oracle_rmse[0] < error.rmse
    for value in (error.rmse, error.rmse_of_mean, result.oracle_rmse[0]):
        assert f"{value:.4g}" in text
    assert text.count('class="dot') == result.held_out_samples


def test_an_oracle_has_seen_what_is_judged_and_the_head_has_not(tmp_path: Path) -> None:
    data = stripes(60, noise=90.0)
    exact = edgetl.build(conv_net(), data, out=tmp_path / "a.edgetl", head="ridge", head_options={"penalty": 1e-6})
    assert exact.oracle_accuracy is not None and exact.oracle_accuracy > exact.held_out_accuracy
    stored = edgetl.build(conv_net(), data, out=tmp_path / "b.edgetl", head="knn")
    assert stored.oracle_accuracy is None


def test_occlusion_lights_the_place_that_decides() -> None:
    tensor = np.zeros((1, 32, 32, 3), np.uint8)
    tensor[0, 20:28, 4:12] = 255
    found = occluded_image(tensor, lambda one: float(one[0, 20:28, 4:12].mean()))
    row, column = np.unravel_index(int(np.argmax(found.shares)), found.shares.shape)
    assert row > 3 > column and found.lowest < found.evidence and found.shares.max() == 1.0
    window = np.zeros((1, 100, 3), np.float32)
    window[0, 60:70, 1] = 5.0
    heard = occluded_window(window, lambda one: float(one[0, 60:70, 1].mean()))
    assert 9 <= int(np.argmax(heard.fall)) <= 11 and int(np.argmax(heard.channels)) == 1
    nothing = occluded_window(window, lambda one: 1.0)
    assert nothing.shares.max() == 0.0


def test_calibration_error_is_what_the_definition_says() -> None:
    probability, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True])
    assert calibration_error(reliability(probability, right)) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)
    generator = np.random.default_rng(0)
    honest = generator.uniform(0.4, 1.0, 400)
    drawn = [calibration_error(reliability(honest, generator.random(400) < honest)) for _ in range(200)]
    assert 0.85 < np.mean(np.array(drawn) <= chance_error(honest)) <= 1.0


def test_the_record_beside_the_weights_is_found_and_another_is_not(tmp_path: Path) -> None:
    weights = tmp_path / "tuned.safetensors"
    assert tuning_beside(weights) is None
    save_tuned(tune(conv_net(), stripes(60), "full", epochs=1), weights)
    record = tuning_beside(weights)
    assert record is not None and record["recipe"] == "full" and len(record["training_loss"]) == 1
    told = json.loads(record_path(weights).read_text())
    record_path(weights).write_text(json.dumps({**told, "weights": {"file": "x", "sha256": "0"}}))
    assert tuning_beside(weights) is None
    record_path(weights).write_text("[1")
    assert tuning_beside(weights) is None


def test_a_record_with_any_value_of_another_kind_is_drawn_or_left_out(
    pictures: tuple[Any, str, dict[str, Any]], tmp_path: Path
) -> None:
    result, _, record = pictures
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"w")
    made = {"file": "w.safetensors", "sha256": hashlib.sha256(b"w").hexdigest()}
    left_out = 0
    told = {**record, "step_loss": [], "versions": {}, "settings": {"batch": 4}, "weights": made}
    for document in islice(changed(told), 0, None, 5):  # each value by two or three others
        record_path(weights).write_text(json.dumps(document))
        read = tuning_beside(weights)
        left_out += read is None
        story = Story(tuning=read)
        for section in (summary(result, story), *backbone_sections(result, story), origin_section(result, story)):
            assert section.html().startswith("<section")
    assert left_out > 30


def test_a_choice_with_any_value_of_another_kind_is_drawn_or_refused(tmp_path: Path) -> None:
    plain = Candidate("a", 8, (12, 12, 1), 0.5, 1.0, 0.2, None, 3.0, 10, 20, (("x86-openvino", True),)).__dict__
    choice = json.loads(json.dumps({"dataset": "d", "samples": 9, "numbers": False, "candidates": [plain]}))
    refused = 0
    for document in changed(choice):
        (tmp_path / "choice.json").write_text(json.dumps(document))
        try:
            ranking_table(read_choice(tmp_path / "choice.json"), "").html()
        except EdgetlError:
            refused += 1
    assert refused > 20


def test_a_choice_is_read_as_it_was_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = Candidate("a", 8, (12, 12, 1), 0.5, 1.0, 0.2, None, 3.0, 10, 20, (("x86-openvino", True),))
    path = tmp_path / "choice.json"
    plain = {"dataset": "d", "samples": 9, "numbers": False, "candidates": [good.__dict__, Candidate("b").__dict__]}
    path.write_text(json.dumps(plain).replace("NaN", "null"))
    ranking = read_choice(path)
    assert ranking[0] == good and np.isnan(ranking[1].loo)
    path.write_text("{}")
    assert main(["build", "--backbone", "onnx:x", "--data", "x", "--out", "x", "--choice", str(path)]) == 1
    assert "edgetl choose" in capsys.readouterr().err


@pytest.mark.parametrize("count", [2, 81])
def test_pages_fit_phones_and_desktops_in_a_real_browser(
    count: int, browser: Browser, pictures: tuple[Any, str, Any], numbers: tuple[Any, str], tmp_path: Path
) -> None:
    names = [f"Vegetables/A kind with a long name, number {i}" for i in range(count)]
    counts = np.random.default_rng(0).integers(0, 3, (count, count)).tolist()
    matrix = page("matrix", "", [Section("many", "", [Heatmap("", names, counts)])])
    texts = [matrix] if count == 2 else [matrix, pictures[1], numbers[1]]
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.html"
        path.write_text(text, encoding="utf-8")
        assert path.stat().st_size < 5_000_000
        for width in (390, 1280):
            shown = browser.show(path, width)
            assert (shown.overflow_px, shown.wide, shown.console, shown.requests) == (0, (), (), ())
            assert list(shown.headings) == headings(text)


def test_the_browser_sees_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<meta name="viewport" content="width=device-width"><div style="width:900px">wide</div>'
        '<img src="missing.png"><script>console.error("no"); undefined_name()</script>'
    )
    shown = browser.show(bad, 390)
    assert shown.overflow_px > 400 and shown.wide
    assert len(shown.requests) == 1 and shown.requests[0].endswith("missing.png")
    assert any("no" in line for line in shown.console) and len(shown.console) >= 2


def test_a_page_without_the_samples_says_so(pictures: tuple[Any, str, Any], tmp_path: Path) -> None:
    result, _, _ = pictures
    text = edgetl.write_report(replace(result), out=tmp_path / "x.html").read_text(encoding="utf-8")
    assert "the samples were not at hand" in text and "What it looks at" not in headings(text)


def test_tasks_and_the_choice_of_a_recipe_are_told(pictures: tuple[Any, str, Any], tmp_path: Path) -> None:
    result, _, record = pictures
    compared = {**record["comparison"], "alone": {"slda": 0.625}}
    choice = {"scores": {"full": 0.75, "head": 0.5}, "seconds": 3.0, "why": "", "trials": []}
    several = {**record, "comparison": None, "tasks": {"kind": compared}, "choice": choice}
    text = edgetl.write_report(result, out=tmp_path / "x.html", tuning=several).read_text(encoding="utf-8")
    assert "% right of kind" in text and "on this task alone" in text and ">62.5</td>" in text
    assert "<tr class=strong><td>full</td><td class=n>0.750</td>" in text
