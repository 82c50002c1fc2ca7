"""The two wheels: what is in them, and that they work where nothing of this checkout can be seen."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from PIL import Image

from tests.house.environments import clean_environment, pip_install, run
from tests.house.source import PACKAGES, REPO

IMPORT_NAMES = {"edgetl": "edgetl", "edgetl-runtime": "edgetl_runtime"}

# The public face of the device, on NumPy alone.
LEARNS = """
import sys
import numpy as np
import edgetl_runtime as rt

generator = np.random.default_rng(7)
centres = np.eye(8) * 6.0
features = np.concatenate([generator.normal(centre, 1.0, (20, 8)) for centre in centres])
labels = [name for name in "abcdefgh" for _ in range(20)]
statistics = rt.Statistics(8)
statistics.add(features, labels)
head = rt.fit_head("slda", statistics)
print((np.asarray(head.predict(features)) == np.asarray(labels)).mean(), "torch" in sys.modules, rt.__file__)
"""


@pytest.fixture(scope="module", params=IMPORT_NAMES)
def wheel(request: pytest.FixtureRequest, wheels: dict[str, Path]) -> Iterator[tuple[str, zipfile.ZipFile]]:
    with zipfile.ZipFile(wheels[request.param]) as archive:
        yield request.param, archive


def test_wheel_holds_the_package_its_licence_and_nothing_else(wheel: tuple[str, zipfile.ZipFile]) -> None:
    distribution, archive = wheel
    package = IMPORT_NAMES[distribution]
    names = set(archive.namelist())
    sources = {
        f"{package}/{path.relative_to(PACKAGES[package]).as_posix()}"
        for path in PACKAGES[package].rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if distribution == "edgetl":
        sources |= {f"edgetl/devices/{path.name}" for path in (REPO / "devices").iterdir()}
    assert f"{package}/py.typed" in names
    assert {name for name in names if name.startswith(f"{package}/")} == sources
    rest = {name for name in names if not name.startswith(f"{package}/")}
    assert {name.split("/")[0] for name in rest} == {f"{package}-{version(distribution)}.dist-info"}
    (licence,) = (name for name in rest if name.endswith("licenses/LICENSE"))
    assert archive.read(licence) == (REPO / "LICENSE").read_bytes()


def test_metadata_says_licence_readme_and_pythons(wheel: tuple[str, zipfile.ZipFile]) -> None:
    distribution, archive = wheel
    (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Name"] == distribution
    assert metadata["License-Expression"] == "Apache-2.0"
    lowest = {"edgetl": ">=3.10", "edgetl-runtime": ">=3.8"}[distribution]
    assert lowest in metadata["Requires-Python"].split(",")
    folder = {"edgetl": REPO, "edgetl-runtime": REPO / "runtime"}[distribution]
    assert metadata.get_payload().strip() == (folder / "README.md").read_text().strip()


def test_host_pins_the_runtime_of_its_own_version() -> None:
    assert version("edgetl") == version("edgetl-runtime")
    pins = [line for line in requires("edgetl") or [] if re.match(r"edgetl-runtime\b", line) and "extra" not in line]
    assert len(pins) == 1
    assert pins[0].endswith(f"=={version('edgetl-runtime')}")


@pytest.fixture(scope="module")
def empty(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the runtime's wheel and what it asks the index for; no editable, no host."""
    folder = tmp_path_factory.mktemp("empty")
    run([sys.executable, "-m", "venv", folder / "venv"])
    python = folder / "venv" / "bin" / "python"
    pip_install(python, f"{wheels['edgetl-runtime']}[onnxruntime,sign]")
    return python


@pytest.fixture(scope="module")
def with_host(empty: Path, wheels: dict[str, Path]) -> Path:
    """Then the host's wheel without its dependencies: five gigabytes of torch prove nothing about a wheel."""
    pip_install(empty, "--no-deps", wheels["edgetl"])
    pip_install(empty, "rich", "tomli; python_version < '3.11'")
    return empty


def inside(python: Path, folder: Path, *command: str) -> str:
    return run(command, cwd=folder, env=clean_environment(python))


def test_runtime_learns_from_its_wheel_alone(empty: Path, tmp_path: Path) -> None:
    accuracy, torch, file = inside(empty, tmp_path, "python", "-c", LEARNS).split()
    assert float(accuracy) > 0.95
    assert torch == "False"
    assert empty.parents[1] in Path(file).parents


def test_runtime_command_works_from_its_wheel_alone(empty: Path, tmp_path: Path) -> None:
    assert "learn" in inside(empty, tmp_path, "edgetl-runtime", "--help")
    assert "learn" in inside(empty, tmp_path, "python", "-m", "edgetl_runtime.cli", "--help")


def test_host_command_starts_where_torch_is_not(with_host: Path, tmp_path: Path) -> None:
    torch = "import importlib.util as u; print(u.find_spec('torch'))"
    assert inside(with_host, tmp_path, "python", "-c", torch).strip() == "None"
    assert "build" in inside(with_host, tmp_path, "edgetl", "--help")
    assert "p3767-0005" in inside(with_host, tmp_path, "edgetl", "devices", "jetson-orin-nano")
    assert "build" in inside(with_host, tmp_path, "python", "-m", "edgetl.cli", "--help")


def test_host_without_torch_names_what_is_missing_in_one_line(with_host: Path, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for grey in (50, 100, 150):
            Image.new("RGB", (40, 30), (grey, grey, grey)).save(tmp_path / "photos" / label / f"{grey}.png")
    command = ["edgetl", "build", "--backbone", "torchvision/mobilenet_v2", "--data", "photos", "--out", "x.edgetl"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(with_host), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    progress, missing = done.stderr.strip().splitlines()
    assert progress == "opening torchvision/mobilenet_v2 ..."
    assert "torch" in missing
    assert "pip install" in missing
    assert not (tmp_path / "x.edgetl").exists()
