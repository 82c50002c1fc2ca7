"""The two wheels, built once for all tests of the house."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.environments import PROJECTS, build_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return {name: build_wheel(name, folder / name) for name in PROJECTS}
