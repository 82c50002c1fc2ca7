"""The page of a build says what was measured, and needs nothing but itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgetl.building.result import BuildResult
from edgetl.parity import Parity
from edgetl.reporting.build_page import build_page


def result(confusion: np.ndarray, **changes: object) -> BuildResult:
    known: dict[str, object] = {
        "path": Path("birds.edgetl"), "bundle_id": "ab" * 32, "signed": False, "classes": ("jay", "<b>owl</b>", "wren"),
        "dim": 8, "feature_space": "cd" * 32, "training_samples": 30, "held_out_samples": int(confusion.sum()),
        "skipped": {"damaged": 2}, "held_out_accuracy": 0.75, "majority_accuracy": 0.5, "confusion": confusion,
        "parity": Parity(1e-6, 2e-6, 0.999999, 16), "decisions_agreed": 1.0,
        "member_bytes": {"extractor.onnx": 1000, "guard.safetensors": 10}, "bundle_bytes": 1500,
        "seconds": {"export": 1.0, "features": 2.0, "head": 0.5, "total": 3.5},
    }  # fmt: skip
    return BuildResult(**{**known, **changes})  # type: ignore[arg-type]


def test_page_shows_accuracy_beside_its_baseline_and_names_what_errs() -> None:
    text = build_page(result(np.array([[4, 0, 0], [2, 2, 0], [0, 0, 0]])))
    assert "75.0 %" in text and "always the commonest class: 50.0 %" in text
    assert "2 skipped: 2 damaged" in text
    assert "1 of 2 classes without an error in recall" in text and "precision %" in text


def test_page_escapes_what_comes_from_outside_and_loads_nothing() -> None:
    text = build_page(result(np.array([[4, 0, 0], [2, 2, 0], [0, 0, 0]])))
    assert "<b>owl" not in text and "&lt;b&gt;owl" in text
    assert "<script" not in text and 'src="http' not in text and "@import" not in text


def test_page_without_held_out_samples_claims_no_accuracy() -> None:
    empty = result(np.zeros((3, 3), int), held_out_accuracy=None, majority_accuracy=None)
    text = build_page(empty)
    assert "nothing was measured" in text and "Right on held-out" not in text
