"""What is public is listed: `__all__` in every public module, complete and sorted; and the promised names are there."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Collection

import pytest

from tests.house.source import PACKAGES, Module, package_modules

MODULES = [module for package in PACKAGES for module in package_modules(package)]

PROMISED = {
    "edgetl_runtime": ["EdgetlError", "Prediction", "Statistics", "fit_head", "open", "read_bundle"],
    "edgetl": ["build", "choose", "dataset", "extractor", "finetune"],
}


def is_public(module: Module) -> bool:
    return not any(part.startswith("_") for part in module.name.split(".")) and module.room != "__main__"


def definitions(tree: ast.Module, imported: Collection[str] = ()) -> set[str]:
    """Public functions and classes at the top of a module, and the constants that other modules import."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                names |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name) and part.id in imported}
    return {name for name in names if not name.startswith("_")}


def imported_names(modules: list[Module]) -> dict[str, set[str]]:
    """By module: what the others import from it by name."""
    found: dict[str, set[str]] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom):
                found.setdefault(module.absolute(node), set()).update(alias.name for alias in node.names)
    return found


def listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else getattr(node, "target", None)
        for target in targets if isinstance(targets, list) else [targets]:
            if isinstance(target, ast.Name) and target.id == "__all__":
                value = node.value  # type: ignore[attr-defined]
                return [ast.literal_eval(item) for item in value.elts]
    return None


def order(name: str) -> tuple[int, list[tuple[bool, int, str]]]:
    """Ruff's order (RUF022): constants, classes, the rest; numbers by their value."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def faults(module: Module, imported: Collection[str] = ()) -> list[str]:
    tree = module.tree
    names, defined = listed(tree), definitions(tree, imported)
    if names is None:
        return [f"{module.name}: no __all__"] if defined or (module.is_package and has_imports(tree)) else []
    complaints = []
    if missing := defined - set(names):
        complaints.append(f"{module.name}: {sorted(missing)} not in __all__; list them, or begin them with _")
    if names != sorted(names, key=order):
        complaints.append(f"{module.name}: __all__ is not sorted: {sorted(names, key=order)}")
    if len(names) != len(set(names)):
        complaints.append(f"{module.name}: __all__ repeats a name")
    return complaints


def has_imports(tree: ast.Module) -> bool:
    return any(
        isinstance(node, (ast.Import, ast.ImportFrom)) and getattr(node, "module", "") != "__future__"
        for node in tree.body
    )


IMPORTED = imported_names(MODULES)


@pytest.mark.parametrize("module", filter(is_public, MODULES), ids=lambda module: module.name)
def test_all_is_complete_and_sorted(module: Module) -> None:
    assert faults(module, IMPORTED.get(module.name, ())) == []


@pytest.mark.parametrize(
    "text",
    [
        "def fit(): ...",
        "MOST = 1",
        "__all__ = []\nclass Fit: ...",
        "__all__ = ['b', 'a']\na = b = 1",
        "__all__ = ['a', 'B']\na = B = 1",
        "__all__ = ['a', 'a']\na = 1",
        "__all__ = ('fit',)\nfit, MOST = 1, 2",
        "__all__ = ['fit']\nfit = 1\nMOST: int = 2",
    ],
)
def test_a_fault_is_found(text: str) -> None:
    assert faults(Module("edgetl.module", text), imported={"MOST"})


def test_what_others_import_is_known() -> None:
    modules = [Module("edgetl.one", "from edgetl.two import MOST"), Module("edgetl.x.y", "from ..two import fit as f")]
    assert imported_names(modules) == {"edgetl.two": {"MOST", "fit"}}


def test_the_ordinary_is_no_fault() -> None:
    text = "__all__ = ['MOST', 'Head2', 'Head10', 'fit']\nMOST = 1\nlog = _x = 2\nArray = int\n"
    text += "class Head2: ...\nclass Head10: ...\ndef fit(): ..."
    assert faults(Module("edgetl.module", text)) == []
    assert faults(Module("edgetl.data", '"""Only a docstring."""', is_package=True)) == []
    assert faults(Module("edgetl.data", "from edgetl.data.csv import read", is_package=True)) != []


@pytest.mark.parametrize(("package", "name"), [(p, name) for p, names in PROMISED.items() for name in names])
def test_promised_name_exists(package: str, name: str) -> None:
    face = importlib.import_module(package)
    assert callable(getattr(face, name))  # classes and functions, all of them
    assert name in face.__all__
    assert name in dir(face)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_listed_name_can_be_had(package: str) -> None:
    face = importlib.import_module(package)
    for name in face.__all__:
        assert getattr(face, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        face.no_such_name  # noqa: B018


def test_every_error_descends_from_the_one_on_the_face() -> None:
    root = importlib.import_module("edgetl_runtime").EdgetlError
    for module in ("edgetl_runtime.errors", "edgetl.errors"):
        errors = importlib.import_module(module)
        assert all(issubclass(getattr(errors, name), root) for name in errors.__all__)
