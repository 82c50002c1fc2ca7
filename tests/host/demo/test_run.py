from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from edgetl.demo import run_demo
from edgetl.errors import DemoError

KEYS = {
    "source_accuracy",
    "target_before",
    "target_after",
    "target_only",
    "oracle",
    "finetuned",
    "parity_max_abs",
    "latency_ms",
    "bundle_bytes",
    "device_modules_torch",
    "device_peak_rss_bytes",
    "acknowledged_lost",
    "gap_recovered_at_10",
    "seeds",
}


def test_the_json_has_every_figure_that_was_promised(printed):
    folder, data = printed
    assert set(data) >= KEYS
    for figure in ("target_after", "target_only"):
        assert list(data[figure]) == ["1", "5", "10"]
    assert set(data["latency_ms"]) >= {"preprocess", "extract", "head", "learn"}
    assert all(value > 0 for value in data["latency_ms"].values())
    assert json.loads((folder / "demo.json").read_text()) == data


def test_the_figures_are_those_of_the_seeds(printed):
    folder, data = printed
    seeds = data["seeds"]
    assert [seed["seed"] for seed in seeds] == [0, 1]
    for figure in ("source_accuracy", "target_before", "oracle", "finetuned"):
        assert data[figure] == pytest.approx(np.mean([seed[figure] for seed in seeds]))
    after = np.mean([seed["target_after"]["10"] for seed in seeds])
    assert data["target_after"]["10"] == pytest.approx(after)
    gap = (after - data["target_before"]) / (data["oracle"] - data["target_before"])
    assert data["gap_recovered_at_10"] == pytest.approx(gap)
    for seed in seeds:
        before, matrix = np.array(seed["confusion_before"]), np.array(seed["confusion_after"])
        assert before.sum(axis=1).tolist() == matrix.sum(axis=1).tolist() == [20] * 10
        assert 100 * np.trace(before) / before.sum() == pytest.approx(seed["target_before"])
        assert 100 * np.trace(matrix) / matrix.sum() == pytest.approx(seed["target_after"]["10"])
        assert seed["bundle_bytes"] == (folder / f"seed-{seed['seed']}" / "digits.edgetl").stat().st_size


def test_learning_on_the_device_helps(printed):
    _, data = printed
    assert data["target_before"] < data["target_after"]["10"] and data["target_before"] < data["oracle"]


def test_a_killed_device_loses_nothing_that_it_acknowledged(printed):
    _, data = printed
    assert data["acknowledged_lost"] == 0
    for seed in data["seeds"]:
        kill = seed["kill"]
        assert kill["after"] <= kill["acknowledged"] <= kill["found"] <= 100


def test_a_device_that_has_torch_is_reported_as_one_that_has(printed):
    _, data = printed
    assert data["device_modules_torch"] is True
    assert "torch" not in data["seeds"][0]["device_packages"]


def test_the_page_is_whole_and_needs_nothing_from_outside(printed):
    folder, data = printed
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert f'{data["oracle"]:.1f}</tspan>' in (folder / "accuracy.svg").read_text(encoding="utf-8")
    assert len(html) < 5_000_000
    assert not re.search(r"https?:|url\(|@import|<script|<link", html)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]{30})', html))
    for value in (data["source_accuracy"], data["target_before"], data["target_after"]["10"], data["finetuned"]):
        assert f"{value:.1f} %" in html
    for heading in ("Two domains", "Accuracy, label by label", "Which digits", "What it costs", "Killed while"):
        assert f"<h2>{heading}" in html


def test_what_cannot_run_is_said_before_any_work(few, tmp_path, monkeypatch):
    monkeypatch.setattr("edgetl.demo.run.load_domains", lambda: few)
    with pytest.raises(DemoError, match="at least one seed"):
        run_demo(tmp_path, seeds=0)
    with pytest.raises(DemoError, match="no interpreter at"):
        run_demo(tmp_path, python=tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_makes_a_device_without_torch_and_prints_one_json_object(domains, tmp_path):
    command = [sys.executable, "-m", "edgetl.cli", "demo", "--json", "--seeds", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["device_modules_torch"] is False and data["acknowledged_lost"] == 0
    assert set(data["seeds"][0]["device_packages"]) == {"PIL", "edgetl_runtime", "numpy", "onnxruntime", "safetensors"}
    assert data["target_before"] < data["target_after"]["1"] < data["target_after"]["10"] < data["oracle"]
    assert "training" in done.stderr and "without torch" in done.stderr
