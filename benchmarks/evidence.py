"""Where every `make` target that prints a figure leaves it as JSON: build/evidence/<target>.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["data_folder", "write_evidence"]

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """The real data: EDGETL_DATA, or shared/data beside the checkout; exits with a plain reason without it."""
    folder = Path(os.environ.get("EDGETL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        raise SystemExit(f"no real data at {folder}; set EDGETL_DATA to its folder")
    return folder


def write_evidence(target: str, figures: Any) -> Path:
    """Write the figures of a target and return the file."""
    path = ROOT / "build" / "evidence" / f"{target}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return path
