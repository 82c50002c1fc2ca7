"""The two packages as syntax trees: which module imports what, and when. Nothing here is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PACKAGES = {"edgetl": REPO / "edgetl", "edgetl_runtime": REPO / "runtime" / "edgetl_runtime"}


@dataclass(frozen=True)
class Import:
    """One imported module; `eager` when it happens as the importing module loads, `typing` when it never does."""

    line: int
    target: str
    eager: bool
    typing: bool

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]


@dataclass(frozen=True)
class Module:
    """One source file under its dotted name; a package's name is its `__init__`'s."""

    name: str
    text: str
    is_package: bool = False

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def room(self) -> str:
        return room_of(self.name)

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    def imports(self, known: frozenset[str] = frozenset()) -> list[Import]:
        """`known` are all module names: `from package import name` means the module where there is one."""
        return list(dict.fromkeys(self._imports(self.tree, known, eager=True, typing=False)))

    def _imports(self, node: ast.AST, known: frozenset[str], eager: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, eager, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = self.absolute(node)
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield Import(node.lineno, inner if inner in known else source, eager, typing)
        elif isinstance(node, ast.Call) and (name := _imported_by_call(node)):
            yield Import(node.lineno, name, eager, typing)
        if isinstance(node, ast.If) and _mentions_type_checking(node.test):
            for child in node.body:
                yield from self._imports(child, known, False, True)
            for child in node.orelse:
                yield from self._imports(child, known, eager, typing)
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            eager = False
        for child in ast.iter_child_nodes(node):
            yield from self._imports(child, known, eager, typing)

    def absolute(self, node: ast.ImportFrom) -> str:
        """The module that a `from ... import` names, its dots resolved."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + (1 if self.is_package else 0)]
        return ".".join(parts + ([node.module] if node.module else []))


def room_of(name: str) -> str:
    """The module or folder directly under the package; "__init__" for the package itself."""
    return [*name.split("."), "__init__"][1]


def package_modules(package: str) -> list[Module]:
    root = PACKAGES[package]
    return [_module(path, root) for path in sorted(root.rglob("*.py"))]


def called_name(node: ast.Call) -> str:
    """`np.random.seed(3)` -> "np.random.seed"; "" where the callee is no plain dotted name."""
    return dotted(node.func)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def _module(path: Path, root: Path) -> Module:
    parts = [root.name, *path.relative_to(root).with_suffix("").parts]
    is_package = parts[-1] == "__init__"
    return Module(".".join(parts[:-1] if is_package else parts), path.read_text(encoding="utf-8"), is_package)


def _imported_by_call(node: ast.Call) -> str:
    if called_name(node) in ("importlib.import_module", "import_module", "__import__") and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value
    return ""


def _mentions_type_checking(test: ast.expr) -> bool:
    return dotted(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
