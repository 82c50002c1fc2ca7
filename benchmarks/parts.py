"""A long benchmark in parts: each is kept as it is done, and not measured again while the code under it is the same."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Parts", "digest_of", "named_by"]


def digest_of(root: Path, paths: Iterable[Path]) -> str:
    """What these files below `root` hold, as 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def named_by(module: Path) -> set[Path]:
    """The module, and those beside it that it names, imports or runs (`package.other`), and what they name."""
    package = ".".join(module.parts[-3:-1])
    found: set[Path] = set()
    left = [module]
    while left:
        path = left.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        text = path.read_text(encoding="utf-8")
        named = re.findall(rf"{re.escape(package)}\.(\w+)", text)
        for line in re.findall(rf"from {re.escape(package)} import (.+)", text):
            named += re.findall(r"\w+", line)
        left += [path.with_name(f"{name}.py") for name in named]
    return found


@dataclass
class Parts:
    """What was measured, a file each in `folder`; None keeps nothing. `seconds` by part, `kept` from before.

    A part of another code (`code` by the first word of its name), or that was asked for other numbers, is measured
    again.
    """

    folder: Path | None
    code: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def take(self, name: str, asked: object, measure: Callable[[], Any]) -> Any:
        """What `measure` returns, as JSON gives it back; from its file, where that is of the same code and `asked`."""
        key = {"code": self.code[name.partition(":")[0]], "asked": repr(asked)}
        path = None if self.folder is None else self.folder / f"{''.join(c if c.isalnum() else '-' for c in name)}.json"
        if path is not None and path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if all(found[part] == value for part, value in key.items()):
                self.kept.append(name)
                self.seconds[name] = found["seconds"]
                return found["figures"]
        began = time.monotonic()
        figures = json.loads(json.dumps(measure()))
        self.seconds[name] = round(time.monotonic() - began, 1)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = {**key, "seconds": self.seconds[name], "figures": figures}
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(whole), encoding="utf-8")
            temporary.replace(path)
        return figures
