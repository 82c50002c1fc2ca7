"""Shared by all rooms; also imported on Python 3.8 without torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline anywhere: time on a shared machine is no property of the code. The commit tier draws the same
# examples at every run, so that a red run is the commit's doing; the nightly tier looks for new ones.
_SLOW = [HealthCheck.too_slow]
settings.register_profile(
    "commit", deadline=None, derandomize=True, database=None, suppress_health_check=_SLOW
)
settings.register_profile("nightly", deadline=None, max_examples=500, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commit"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real data: EDGETL_DATA, or shared/data beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EDGETL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set EDGETL_DATA to its folder")
    return folder
