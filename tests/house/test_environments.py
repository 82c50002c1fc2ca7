"""The runtime on the Pythons, NumPys and onnxruntimes that devices have: installed from its wheel, without torch."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.house.environments import clean_environment, environment, find_python, run
from tests.house.source import REPO, package_modules

# Design section 7: what each JetPack really gets; and the newest of everything.
DEVICES = {
    "jetpack5": ("3.8", ["numpy==1.24.4", "onnxruntime==1.19.2"]),
    "jetpack6": ("3.10", ["numpy==2.2.6", "onnxruntime==1.23.2"]),
    "jetpack7": ("3.12", ["numpy==2.5.*", "onnxruntime==1.31.1"]),
    "newest": ("3.13", ["numpy", "onnxruntime"]),
}
SOURCES = ["pyserial", "mcap", "mcap-ros2-support", "tomli"]
TEXT = ["tokenizers>=0.20,<0.21; python_version < '3.9'", "tokenizers>=0.20; python_version >= '3.9'"]
ALSO = ["pillow", "safetensors", "cryptography", "pytest", "hypothesis", *SOURCES, *TEXT]
# What some modules are about, and these environments lack: they fail to load for that reason and no other.
ELSEWHERE = ["cv2", "paho", "rosbags"]
ABSENT = ["torch", "torchvision", "onnx", "cv2", "edgetl", "scipy", "sklearn"]

# Which packages from site-packages come with the import of argument 1 and the use of its names in the others.
IMPORT_PROBE = """
import importlib, json, sys, time
before, sockets = set(sys.modules), []
sys.addaudithook(lambda event, args: sockets.append(event) if event.startswith("socket.") else None)
start = time.perf_counter()
module = importlib.import_module(sys.argv[1])
seconds = time.perf_counter() - start
for name in sys.argv[2:]:
    try:
        getattr(module, name)
    except AttributeError:
        importlib.import_module(name)
whole = time.perf_counter() - start
loaded = {name.partition(".")[0] for name in set(sys.modules) - before
          if "site-packages" in (getattr(sys.modules[name], "__file__", None) or "")}
print(json.dumps({"loaded": sorted(loaded), "sockets": sockets, "import_s": round(seconds, 4),
                  "import_all_s": round(whole, 4), "file": module.__file__}))
"""
EVERY_MODULE = """
import importlib, pkgutil, sys
import edgetl_runtime
found = pkgutil.walk_packages(edgetl_runtime.__path__, "edgetl_runtime.")
names = [module.name for module in found if not module.name.endswith("__main__")]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in sys.argv[1:]:
            raise
print(len(names))
"""
VERSIONS = """
import numpy, onnxruntime, platform
print(platform.python_version(), numpy.__version__, onnxruntime.__version__)
"""

Evidence = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Device:
    """One installed environment, and a folder to work in that is not the repository."""

    name: str
    python: Path
    folder: Path

    def run(self, *arguments: str, **variables: str) -> str:
        return run([self.python, *arguments], cwd=self.folder, env=clean_environment(self.python, **variables))


# The three that devices have, at every commit; the newest of everything at night.
_PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name == "newest" else name for name in DEVICES]


@pytest.fixture(scope="module", params=_PARAMS)
def device(
    request: pytest.FixtureRequest, wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Device]:
    version, pins = DEVICES[request.param]
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here, on PATH or under pyenv; the {request.param} triple was not tested")
    with environment(request.param, python, [*pins, *ALSO], wheels["edgetl-runtime"]) as inside:
        yield Device(request.param, inside, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def evidence() -> Iterator[Evidence]:
    """What was found, by environment; written to build/evidence/environments.json."""
    found: Evidence = {}
    yield found
    path = REPO / "build" / "evidence" / "environments.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")


def test_nothing_of_the_host_can_be_imported_there(device: Device) -> None:
    names = device.run("-c", f"import importlib.util as u; print([n for n in {ABSENT} if u.find_spec(n)])")
    assert names.strip() == "[]"


def test_import_loads_only_what_it_may_and_opens_no_socket(device: Device, evidence: Evidence) -> None:
    def probe(*arguments: str) -> dict[str, Any]:
        found = json.loads(device.run("-c", IMPORT_PROBE, *arguments))
        assert found["sockets"] == []
        return dict(found)

    # Old Pillows import further packages where they find them, so what these three bring is measured too.
    theirs = probe("numpy", "PIL.Image", "safetensors.numpy")
    allowed = {"edgetl_runtime", *theirs["loaded"]}
    bare = probe("edgetl_runtime")
    names = device.run("-c", "import edgetl_runtime; print(*edgetl_runtime.__all__)").split()
    whole = probe("edgetl_runtime", *names)
    assert set(bare["loaded"]) <= set(whole["loaded"]) <= allowed
    assert {"edgetl_runtime", "numpy"} <= set(whole["loaded"])
    assert REPO not in Path(whole["file"]).parents or REPO / "build" in Path(whole["file"]).parents
    evidence.setdefault(device.name, {}).update(
        import_s=bare["import_s"],
        import_all_names_s=whole["import_all_s"],
        import_numpy_pillow_safetensors_s=theirs["import_all_s"],
        loaded=whole["loaded"],
    )


def test_every_module_can_be_imported_there(device: Device) -> None:
    modules = [module for module in package_modules("edgetl_runtime") if not module.name.endswith("__main__")]
    assert int(device.run("-c", EVERY_MODULE, *ELSEWHERE)) == len(modules) - 1  # all but the package itself


def test_tests_of_the_runtime_pass_there(device: Device, evidence: Evidence) -> None:
    shutil.copytree(
        REPO / "tests", device.folder / "tests", ignore=shutil.ignore_patterns("house", "host", "__pycache__")
    )
    (device.folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: the nightly tier\n")
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "--strict-markers"]
    output = device.run("-m", "pytest", *options, "tests/runtime", HYPOTHESIS_PROFILE="commit")
    passed = re.search(r"(\d+) passed", output.splitlines()[-1])
    assert passed, output
    python, numpy, onnxruntime = device.run("-c", VERSIONS).split()
    versions = {"python": python, "numpy": numpy, "onnxruntime": onnxruntime}
    evidence.setdefault(device.name, {}).update(versions, passed=int(passed[1]), closing=output.splitlines()[-1])


def test_devices_are_those_of_the_design() -> None:
    pins = {version: dict(pin.split("==") for pin in pins if "==" in pin) for version, pins in DEVICES.values()}
    assert pins["3.8"] == {"numpy": "1.24.4", "onnxruntime": "1.19.2"}
    assert pins["3.10"] == {"numpy": "2.2.6", "onnxruntime": "1.23.2"}
    assert pins["3.12"] == {"numpy": "2.5.*", "onnxruntime": "1.31.1"}
