"""A project file as a record: read strictly, and turned into the options of a command or the arguments of a call."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.types import Output
from edgetl_runtime.windows import WindowSpec

from edgetl.errors import ProjectError
from edgetl.profiles import load_profile
from edgetl.project.settings import KINDS, SETTINGS, is_kind
from edgetl.toml_files import read_toml

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["FILE", "Project", "parse_output", "read_project"]

FILE = "edgetl.toml"
_HEADER = re.compile(r"^\s*\[\s*([\w.-]+)\s*\]")
_KEY = re.compile(r"^\s*[\"']?([\w-]+)[\"']?\s*=")
_NOT_TUNING = ("set", "out")
_NOT_BUILDING = ("devices", "choice", "task", "class_names", "class_vectors", "class_weight", "background")
_WEIGHTS_BY_NAME = ("DEFAULT",)


@dataclass(frozen=True)
class Project:
    """What stands in a project file: `values` by section and key, `lines` where each stands, from 1.

    Paths are as they are to be used from here, not as they were written.
    """

    path: Path
    values: Mapping[str, Mapping[str, Any]]
    lines: Mapping[tuple[str, str], int]

    def get(self, section: str, key: str, default: Any = None) -> Any:
        """The value, else the default. A path that must be there and is not raises ProjectError."""
        value = self.values.get(section, {}).get(key, default)
        if (section, key) in self.lines and SETTINGS[section][key].kind == "path" and not _there(value):
            raise ProjectError(f"{self.where(section, key)}: there is no {value}; mend the path, or take the line out")
        return value

    def where(self, section: str, key: str = "") -> str:
        """The place of a key, to say in an error."""
        line = self.lines.get((section, key)) or self.lines.get((section, ""))
        return f"{self.path}:{line}: [{section}] {key}".rstrip() if line else f"{self.path}: [{section}] {key}".rstrip()

    def options(self, command: str) -> list[tuple[str, list[str]]]:
        """(option, its values) for a command of the command line, "" for arguments without a name; raises ProjectError.

        An option that may be repeated has several values, a switch the empty one.
        """
        found: list[tuple[str, list[str]]] = []
        for section, keys in SETTINGS.items():
            for key, setting in keys.items():
                if command not in setting.options or key not in self.values.get(section, {}):
                    continue
                value = self.get(section, key)
                if setting.kind == "flag" or value == []:
                    found += [(setting.options[command], [""])] if value else []
                    continue
                if key == "targets" and command != "build":
                    value = [text.partition(":")[0] for text in value]
                texts = _texts(value)
                found.append((setting.options[command], texts if setting.repeated else [",".join(texts)]))
        if command == "build" and self.tuned is not None:
            # What fine-tuning gave takes the place of what it began with.
            found = [one for one in found if one[0] != "--weights"] + [("--weights", [self.tuned])]
        return found

    @property
    def tuned(self) -> str | None:
        """The weights that `edgetl finetune` wrote; None before it did."""
        out = self.values.get("finetune", {}).get("out")
        return out if out is not None and Path(out).is_file() else None

    def dataset(self) -> Dataset | TargetDataset:
        """The dataset of [data] and [window]. Raises ProjectError, DatasetError."""
        from edgetl.data import dataset

        if "path" not in self.values.get("data", {}):
            raise ProjectError(f"{self.path}: [data] path is missing: where the samples lie")
        how: dict[str, Any] = {key: self.get("data", key) for key in ("holdout", "split") if self.get("data", key)}
        if tasks := self.get("data", "tasks"):
            how |= {"tasks": dict(one.partition(":")[::2] for one in tasks), "seed": self.get("data", "seed", 0)}
        elif targets := self.get("data", "targets"):
            try:
                how["targets"] = [parse_output(one) for one in targets]
            except ValueError as error:
                raise ProjectError(f"{self.where('data', 'targets')}: NAME, or NAME:LOW:HIGH:UNIT; {error}") from error
        else:
            how |= {"seed": self.get("data", "seed", 0), "images": self.get("data", "images"), **self._window()}
        opened: Dataset | TargetDataset = dataset(self.get("data", "path"), **how)
        return opened

    def extractor(self, data: Dataset | TargetDataset | None = None) -> Extractor:
        """The extractor of [network], for windows as `data` has them; raises ProjectError, BackboneError."""
        from edgetl.backbones import extractor

        backbone = self.get("network", "backbone")
        if backbone is None:
            raise ProjectError(f"{self.path}: [network] backbone is missing, such as torchvision/mobilenet_v3_small")
        windows: Any = data if getattr(data, "window", None) is not None else None
        further = {key: _figures(self.get("network", key)) for key in SETTINGS["network"] if key != "backbone"}
        return extractor(backbone, data=windows, turn=self.get("window", "turn"), **further)

    def choosing(self) -> dict[str, Any]:
        """Arguments of `edgetl.choose` after the dataset; raises ProjectError."""
        names = {"samples": "most", "precisions": "precisions", "cache": "cache"}
        found = {name: self.get("choose", key) for key, name in names.items()}
        found |= {"devices": self.devices, "seed": self.get("data", "seed")}
        return {"backbones": self.get("choose", "backbones", []), **_given(found)}

    def tuning(self) -> dict[str, Any]:
        """Arguments of `edgetl.finetune` after extractor and dataset; raises ProjectError."""
        names = {"scratch": "compare_scratch", "no_alone": "compare_alone"}
        keys = [key for key in SETTINGS["finetune"] if key not in _NOT_TUNING]
        found = {names.get(key, key): self.get("finetune", key) for key in keys}
        if found["compare_alone"] is not None:
            found["compare_alone"] = not found["compare_alone"]
        return {**_given({**found, "seed": self.get("data", "seed")}), **self.get("finetune", "set", {})}

    def building(self) -> dict[str, Any]:
        """Arguments of `edgetl.build` after extractor and dataset; raises ProjectError.

        Classes by name or by vector, and one task of several, are opened by their own functions and are not among them.
        """
        found = {key: self.get("build", key) for key in SETTINGS["build"] if key not in _NOT_BUILDING}
        return _given({**found, "devices": self.devices})

    @property
    def devices(self) -> list[str]:
        """Boards, by id or alias."""
        return list(self.get("build", "devices", []))

    def _window(self) -> dict[str, Any]:
        if "window" not in self.values:
            return {}
        length, rate_hz = self.get("window", "length"), self.get("window", "rate_hz")
        if length is None or rate_hz is None:
            raise ProjectError(f"{self.where('window')}: length (steps) and rate_hz are both needed")
        stride, columns = self.get("window", "stride", max(1, length // 2)), tuple(self.get("window", "columns", ()))
        try:
            spec = WindowSpec(length, stride, rate_hz, columns, resample=self.get("window", "resample", "linear"))
        except (ValueError, EdgetlError) as error:
            raise ProjectError(f"{self.where('window')}: {error}") from error
        return {"window": spec, "groups": self.get("window", "groups")}


def read_project(path: str | Path = FILE) -> Project:
    """The project of a file, or of the folder that has one; an unknown key or another type raises ProjectError."""
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise ProjectError(f"there is no project file {file}; write one: edgetl init {file.parent}")
    document, text = read_toml(file, "project file", ProjectError)
    project = Project(file, {}, _lines(text))
    values: dict[str, dict[str, Any]] = {}
    for section, table in document.items():
        if section not in SETTINGS or not isinstance(table, dict):
            hint = _hint(section, SETTINGS)
            raise ProjectError(f"{project.where(section)}: there is no section of that name{hint}")
        for key, value in table.items():
            if key not in SETTINGS[section]:
                hint = _hint(key, SETTINGS[section])
                raise ProjectError(f"{project.where(section, key)}: there is no key of that name{hint}")
            kind = SETTINGS[section][key].kind
            if not is_kind(value, kind):
                raise ProjectError(f"{project.where(section, key)} must be {KINDS[kind]}; got {value!r}")
            values.setdefault(section, {})[key] = _placed(value, section, key, file.parent)
        values.setdefault(section, {})
    for device in values.get("build", {}).get("devices", []):
        try:
            load_profile(device)
        except EdgetlError as error:
            raise ProjectError(f"{project.where('build', 'devices')}: {error}") from error
    return Project(file, values, project.lines)


def parse_output(text: str) -> Output:
    """The output of "NAME[:LOW[:HIGH[:UNIT]]]", such as angle:-1:1; raises ValueError."""
    name, *rest = text.split(":")
    low, high = (float(side) if side else None for side in [*rest, "", ""][:2])
    return Output(name, rest[2] if len(rest) > 2 else "", low, high)


def _placed(value: Any, section: str, key: str, folder: Path) -> Any:
    """The value, with its paths as they are from here."""

    def here(text: str) -> str:
        given = "://" in text or text.startswith("hf:") or text in _WEIGHTS_BY_NAME
        file = Path(text)
        with contextlib.suppress(RuntimeError):  # a ~ of nobody here
            file = file.expanduser()
        return text if given else str(folder / file)

    kind = SETTINGS[section][key].kind
    if kind in ("path", "new path"):
        return here(value)
    if key in ("backbone", "backbones"):
        names = [value] if isinstance(value, str) else value
        placed = []
        for name in names:
            mark = ":" if name.startswith("onnx:") else "="
            head, _, file = name.partition(mark)
            placed.append(f"{head}{mark}{here(file)}" if file else name)
        return placed[0] if isinstance(value, str) else placed
    if (section, key) == ("check", "other"):
        return {name: here(path) for name, path in value.items()}
    return value


def _there(value: Any) -> bool:
    text = str(value)
    with contextlib.suppress(OSError):  # a name that is too long
        return "://" in text or text.startswith("hf:") or text in _WEIGHTS_BY_NAME or Path(text).exists()
    return False


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}={one}" for name, one in value.items()]
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _figures(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _given(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}


def _hint(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Where each section and key stands, by the letters: the parser does not say."""
    section = ""
    found: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = header[1]
            found.setdefault((section, ""), number)
        elif key := _KEY.match(line):
            found.setdefault((section, key[1]), number)
            if not section:
                found.setdefault((key[1], ""), number)
    return found
