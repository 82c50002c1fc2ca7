"""Who may import what, read from the source; and that every rule can fail."""

from __future__ import annotations

import re
import sys

import pytest

from tests.house import layers
from tests.house.source import PACKAGES, REPO, Module, package_modules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn", "edgetl-runtime": "edgetl_runtime"}
# Certain to be there because a declared dependency is made of it: the pinned runtime, and onnx.
CARRIED = {"numpy", "PIL", "safetensors", "cryptography", "google"}

MODULES = [module for package in PACKAGES for module in package_modules(package)]


def declared_imports() -> set[str]:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    names = {re.split(r"[\[<>=~! ]", line)[0] for line in project["dependencies"] + extras}
    return {IMPORT_NAMES.get(name, name) for name in names} | CARRIED


RULES = {
    "every room of the runtime has a level": layers.unregistered_rooms,
    "a level imports only lower levels": layers.upward_imports,
    "the runtime never imports the host, nobody imports a cli": layers.imports_against_the_stream,
    "third parties stay in their place": lambda modules: layers.third_party_out_of_place(
        modules, declared_imports()
    ),
    "nothing heavy is imported as the host loads": layers.heavy_imports_on_load,
    "both packages resolve their names lazily": layers.eager_package_faces,
    "pure modules are pure": layers.impurities,
    "only a cli prints": layers.prints,
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_holds_in_both_packages(rule: str) -> None:
    complaints = RULES[rule](MODULES)
    assert not complaints, "\n".join([rule + ":", *complaints])


def test_sideways_imports_are_an_order_within_a_level() -> None:
    assert layers.sideways_cycles() == []


def test_every_grant_is_one_that_is_used() -> None:
    assert layers.stale_grants(MODULES) == []
    assert len(layers.stale_grants([])) >= len(layers.LEVELS) + len(layers.SIDEWAYS)


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert layers.vague_names(module.name for module in MODULES) == []
    assert layers.vague_names(path.stem for path in (REPO / "benchmarks").rglob("*.py")) == []


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    folders = [*PACKAGES.values(), REPO / "tests", REPO / "benchmarks"]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    sizes = [(str(path.relative_to(REPO)), len(path.read_text().splitlines())) for path in files]
    assert layers.long_files(sizes) == []


BROKEN = {
    "every room of the runtime has a level": [("edgetl_runtime.gadgets.wheel", "x = 1")],
    "a level imports only lower levels": [
        ("edgetl_runtime.statistics", "import edgetl_runtime.session"),
        ("edgetl_runtime.statistics", "from edgetl_runtime import store"),
        ("edgetl_runtime.statistics", "from . import store"),
        ("edgetl_runtime.heads.slda", "from ..store import Store"),
        ("edgetl_runtime.statistics", "from edgetl_runtime.heads import fit_head"),
        ("edgetl_runtime.drift.mean", "def late():\n    from edgetl_runtime.board import rss_bytes"),
        ("edgetl_runtime.errors", "import importlib\nimportlib.import_module('edgetl_runtime.types')"),
        ("edgetl_runtime.statistics", "import edgetl_runtime"),
    ],
    "the runtime never imports the host, nobody imports a cli": [
        ("edgetl_runtime.session", "import edgetl"),
        ("edgetl_runtime.session", "def f():\n    from edgetl.parity import check"),
        ("edgetl.building.build", "from edgetl.cli import main"),
        ("edgetl.cli.build", "import edgetl_runtime.cli"),
    ],
    "third parties stay in their place": [
        ("edgetl_runtime.session", "import requests"),
        ("edgetl_runtime.session", "def f():\n    import onnxruntime"),
        ("edgetl_runtime.store", "from cryptography.hazmat import primitives"),
        ("edgetl_runtime.session", "__import__('torch')"),
        ("edgetl.parity", "import onnxruntime"),
        ("edgetl.parity", "def f():\n    import tensorrt"),
        ("edgetl.parity", "import pandas"),
    ],
    "nothing heavy is imported as the host loads": [
        ("edgetl.finetune", "import torch"),
        ("edgetl.finetune", "try:\n    from torch import nn\nexcept ImportError:\n    nn = None"),
        ("edgetl.finetune", "class Net:\n    import torchvision.models"),
        ("edgetl", "import sklearn.datasets"),
    ],
    "both packages resolve their names lazily": [
        ("edgetl_runtime", "from edgetl_runtime.opening import open_session"),
        ("edgetl", "from . import build"),
    ],
    "pure modules are pure": [
        ("edgetl_runtime.statistics", "import os.path"),
        ("edgetl_runtime.heads.ridge", "def f():\n    import time"),
        ("edgetl_runtime.guard", "from random import shuffle"),
        ("edgetl_runtime.preprocess", "from PIL import Image\nImage.open('x')"),
        ("edgetl_runtime.statistics", "open('x')"),
        ("edgetl_runtime.statistics", "import numpy as np\nnp.random.seed(1)"),
        ("edgetl_runtime.statistics", "import numpy as np\nf = np.random.normal"),
        ("edgetl_runtime.statistics", "import numpy as np\nnp.random.default_rng()"),
        ("edgetl_runtime.statistics", "from numpy.random import normal"),
        ("edgetl_runtime.statistics", "import numpy as np\nnp.load('x')"),
        ("edgetl_runtime.numerics", "def f(a):\n    a.tofile('x')"),
    ],
    "only a cli prints": [("edgetl.finetune", "def f():\n    print(1)"), ("edgetl_runtime.store", "print(1)")],
}


@pytest.mark.parametrize(
    ("rule", "name", "text"), [(rule, name, text) for rule, cases in BROKEN.items() for name, text in cases]
)
def test_rule_refuses(rule: str, name: str, text: str) -> None:
    rooms = ["statistics", "session", "store", "heads", "types", "board"]
    others = [Module(f"edgetl_runtime.{room}", "") for room in rooms] + [Module("edgetl_runtime.heads.slda", "")]
    module = Module(name, text, is_package=name in PACKAGES)
    assert RULES[rule]([module, *(other for other in others if other.name != name)])


ALLOWED = [
    ("edgetl_runtime.session", "from edgetl_runtime.statistics import Statistics\nimport time, threading"),
    ("edgetl_runtime.heads.slda", "from ..statistics import Statistics\nfrom . import ridge"),
    ("edgetl_runtime.engines.onnxruntime_engine", "import onnxruntime"),
    ("edgetl_runtime.cli.run", "import edgetl_runtime as rt\nprint(rt)"),
    ("edgetl_runtime", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from edgetl_runtime import session"),
    ("edgetl_runtime.adapt.coral", "import numpy as np\ndef f(r: np.random.Generator, s): np.random.default_rng(s)"),
    ("edgetl.finetune", "from edgetl_runtime.bundle import write_bundle\ndef f():\n    import torch"),
    ("edgetl.finetune", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
]


@pytest.mark.parametrize(("name", "text"), ALLOWED)
def test_rules_let_the_ordinary_pass(name: str, text: str) -> None:
    module = Module(name, text, is_package=name in PACKAGES)
    assert [complaint for rule in RULES.values() for complaint in rule([module])] == []


def test_the_other_rules_refuse_too() -> None:
    assert layers.vague_names(["edgetl.utils", "edgetl.data.common.images", "edgetl_runtime.core"])
    assert layers.long_files([("short.py", 400), ("long.py", 401)]) == ["long.py: 401 lines; at most 400"]
    assert layers.sideways_cycles([("heads", "guard"), ("guard", "drift"), ("drift", "heads")])
    assert layers.sideways_cycles([("heads", "store")])


def test_both_packages_are_really_read() -> None:
    names = {module.name for module in MODULES}
    assert {"edgetl", "edgetl_runtime", "edgetl_runtime.errors", "edgetl_runtime.statistics"} <= names
    assert any(item.top == "numpy" for module in MODULES for item in module.imports())
