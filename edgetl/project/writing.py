"""A commented project file, filled in with what lies there."""

from __future__ import annotations

import json
from pathlib import Path

from edgetl_runtime.bundle.container import replace_file
from edgetl_runtime.terminal import shown

from edgetl.errors import ProjectError
from edgetl.project.reading import FILE
from edgetl.project.survey import Survey, survey
from edgetl.tuning.recipes import RECIPES

__all__ = ["init_project"]

_BACKBONES = {
    "images": "torchvision/mobilenet_v3_small",
    "numbers": "torchvision/mobilenet_v3_small",
    "windows": "edgetl/conv1d-s",
}


def init_project(folder: str | Path = ".") -> tuple[Path, Survey]:
    """Write the project file of `folder` with what `survey` finds there; one that is there raises ProjectError."""
    root = Path(folder)
    if not root.is_dir():
        raise ProjectError(f"there is no folder {root}; make it, and put the data into it, or beside it")
    path = root / FILE
    if path.exists():
        raise ProjectError(f"{path} is there already and is not overwritten; take it away, or name another folder")
    found = survey(root)
    try:
        replace_file(path, _text(found, root).encode())
    except UnicodeEncodeError as error:
        raise ProjectError(f"a name in {root} is no valid text, and cannot stand in {FILE}: {error}") from error
    return path, found


def _text(found: Survey, root: Path) -> str:
    windows, kind = found.kind == "windows", found.kind or "images"
    name = root.resolve().name or "project"
    where = "photos" if found.path is None else found.path.relative_to(root).as_posix()
    seen = found.seen or "nothing was found here: put data there, or name another place"
    lines = [
        "# What `edgetl data check`, `choose`, `finetune` and `build` are told in this folder; in Python",
        '# edgetl.read_project(). An option on the command line wins over this file. Paths start at this file.',
        "# A line that begins with # is not used: it shows what could stand there.",
        "",
        "[data]",
        f"path = {_quoted(where)}",
        f"# {seen}",
        '# or a CSV (path,label), a COCO .json with images = "FOLDER", an .npz, or "hf:NAME"',
    ]  # fmt: skip
    if found.kind == "numbers":
        lines += [f"targets = {json.dumps(list(found.targets))}  # numbers in place of classes; NAME:LOW:HIGH:UNIT too"]
    else:
        lines += ['# targets = ["angle:-1:1"]  # numbers in place of classes: columns of a CSV']
    if windows or found.kind == "numbers":
        lines += [f"# {found.why}"]
    else:
        lines += [
            f"split = {_quoted(found.split)}",
            f"# {found.why}",
            '# or "group:BY", "time:BY", "domain:BY=NAME,NAME"; BY is a column or a regular expression in the name',
        ]
    lines += [
        "holdout = 0.2  # share kept from training, to measure",
        "seed = 0",
        '# device_data = "robot.mcap"  # what the device sees, to compare with',
        "",
    ]
    mark = "" if windows else "# "
    window = {"length": 50, "rate_hz": 50.0, **found.window}
    lines += [
        f"{mark}[window]" + ("" if windows else "  # recordings of a sensor, cut into windows"),
        f"{mark}length = {window['length']}  # steps of one window: here a second",
        f"{mark}rate_hz = {window['rate_hz']}  # recordings are resampled to it",
        "# stride = 25  # steps from window to window; left out, half of one",
        '# groups = "person(\\\\d+)"  # finds in a path who or where it was: groups are held out whole',
        "# turn = 30  # degrees by which the sensor may be mounted askew",
        "",
        "[network]",
        f"backbone = {_quoted(_BACKBONES[kind])}",
    ]
    if windows:
        lines += ["# small enough to be trained on your data by `build`; edgetl/conv1d-m, for sound edgetl/logmel-s"]
    else:
        lines += [
            'weights = "DEFAULT"  # downloads them; or a file',
            '# backbone = "timm/NAME", or "onnx:net.onnx" with output = "TENSOR"',
            "# mean = 127.5        # what the weights were trained with, where their library does not say",
            "# scale = 0.00784314",
            "# size = 160          # side of the input; smaller is faster",
        ]
    lines += [
        "",
        "[choose]  # edgetl choose: which backbone, before any training",
        "backbones = [",
        *(f"  {_quoted(one)}," for one in _candidates(windows)),
        "]",
        'precisions = ["fp32"]  # and "int8", "fp16": each is judged',
        'cache = "build/features"  # to go on after an interruption',
        'out = "choice.html"',
        "",
    ]  # fmt: skip
    pictures = kind == "images"
    lines += ["[check]  # edgetl data check", 'out = "data.check.html"'] if pictures else []
    others = {other: path.relative_to(root).as_posix() for other, path in found.others.items()}
    told = ", ".join(f"{other} = {_quoted(path)}" for other, path in others.items()) or 'test = "photos/test"'
    lines += [f"{'' if others else '# '}other = {{ {told} }}  # further splits", ""] if pictures else []
    mark = "# " if windows else ""
    lines += [
        f"{mark}[finetune]  # edgetl finetune; its weights are then those of edgetl build",
        f"# recipe = {_quoted('last-blocks')}  # {', '.join(RECIPES)}; left out, what edgetl takes for the best",
        "# epochs = 12",
        "# set = { mixup = 0.2 }  # any other field of the recipe",
        f'{mark}checkpoints = "build/checkpoints"  # to go on after an interruption',
        f'{mark}out = "tuned.safetensors"',
        "",
        "[build]",
        f"out = {_quoted(name + '.edgetl')}",
        'devices = []  # the boards it is for, such as "jetson-orin-nano"; see edgetl devices',
        '# precisions = ["int8", "fp32"]  # left out, what each board wants',
        "# max_drop = 0.5       # points of accuracy that a precision may cost",
        "# min_agreement = 98   # percent of decisions that must be as in float32",
        '# key = "signing.key"  # edgetl keygen; without it, devices must allow an unsigned bundle',
        "sequence = 1  # raise it with every release",
        "",
    ]
    # Names of folders stand in comments too: none ends its line and goes on as a key.
    return "\n".join(shown(line.replace("\n", " ")) for line in lines)


def _candidates(windows: bool) -> list[str]:
    if windows:
        return ["edgetl/conv1d-s", "edgetl/conv1d-m"]
    return [f"torchvision/{name}=DEFAULT" for name in ("mobilenet_v3_small", "mobilenet_v2", "resnet18")]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate({code: f"\\u{code:04x}" for code in range(127, 160)})
