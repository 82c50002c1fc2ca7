"""`make bad-input`: every kind of bad input, given for real, and what the user gets: a typed error, and nothing lost.

The cases of the host go through the command `edgetl build`, with a bundle already at the place to write, which
must stay; those of the device meet a state with 20 learnt samples, which must stay, in memory and on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.errors import EdgetlError, StateFullError
from PIL import Image

from benchmarks.evidence import ROOT, write_evidence

__all__ = ["CASES", "Answer", "run_case"]

GOLDEN = ROOT / "tests" / "golden"
BUNDLE = GOLDEN / "bundle-1.0.edgetl"
FRAMES = np.load(GOLDEN / "frames.npy")
LABELS = json.loads((GOLDEN / "labels.json").read_text())
BACKBONE = ("--backbone", "torchvision/mobilenet_v3_small", "--size", "32")
DISK_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What one case was answered with. `error` is None where the job must go on; `lost` lists what changed."""

    case: str
    error: str | None
    message: str
    lost: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    note: str = ""


def run_case(name: str, folder: Path) -> Answer:
    """Do what the case says in an empty folder; `faults` is empty when the answer is what it must be."""
    wanted, act = CASES[name]
    answer = replace(act(folder), case=name)
    faults = list(answer.faults)
    if answer.error != wanted:
        faults.append(f"expected {wanted or 'no error'}, got {answer.error or 'no error'}")
    if answer.error is not None and not answer.message.strip():
        faults.append("the message is empty")
    if "Traceback" in answer.message:
        faults.append("a traceback")
    return replace(answer, faults=(*faults, *(f"lost: {what}" for what in answer.lost)))


# -- the host


def _host(prepare: Callable[[Path], list[str]], built: bool = False) -> Callable[[Path], Answer]:
    """`edgetl build` over an older bundle on a folder of 3 classes that `prepare` spoils; it gives more arguments."""

    def act(folder: Path) -> Answer:
        data, out = folder / "data", folder / "out"
        out.mkdir()
        for index in range(60):
            if LABELS[index] in "012":
                (data / LABELS[index]).mkdir(parents=True, exist_ok=True)
                Image.fromarray(FRAMES[index]).save(data / LABELS[index] / f"{index}.png")
        shutil.copy(BUNDLE, out / "x.edgetl")
        arguments = [*BACKBONE, "--data", str(data), "--out", str(out / "x.edgetl"), *prepare(folder)]
        error, message = _command("edgetl", "build", *arguments)
        lost = []
        if not built and (out / "x.edgetl").read_bytes() != BUNDLE.read_bytes():
            lost.append("the bundle that was there")
        if not built and [path.name for path in out.iterdir()] != ["x.edgetl"]:
            lost.append(f"files are left: {sorted(path.name for path in out.iterdir())}")
        if built:
            rt.read_bundle(out / "x.edgetl")
        return Answer("", error, message, tuple(lost))

    return act


def _empty_class(folder: Path) -> list[str]:
    (folder / "data" / "3").mkdir()
    return []


def _one_class(folder: Path) -> list[str]:
    for name in "12":
        shutil.rmtree(folder / "data" / name)
    return []


def _unreadable_image(folder: Path) -> list[str]:
    good = min((folder / "data" / "1").iterdir())
    (folder / "data" / "1" / "rubbish.png").write_bytes(b"not an image")
    (folder / "data" / "1" / "cut.png").write_bytes(good.read_bytes()[:60])
    return []


def _no_data(folder: Path) -> list[str]:
    shutil.rmtree(folder / "data")
    return []


def _rubbish_weights(folder: Path) -> list[str]:
    (folder / "rubbish.safetensors").write_bytes(b"rubbish" * 100)
    return ["--weights", str(folder / "rubbish.safetensors")]


def _weights_of_another(folder: Path) -> list[str]:
    from safetensors.numpy import save_file

    save_file({"layer.weight": np.zeros((3, 3), np.float32)}, str(folder / "other.safetensors"))
    return ["--weights", str(folder / "other.safetensors")]


def _missing_named_class(folder: Path) -> Answer:
    """In Python a dataset may name the classes that must be there."""
    import edgetl

    (folder / "data" / "a").mkdir(parents=True)
    Image.fromarray(FRAMES[0]).save(folder / "data" / "a" / "0.png")
    error, message = _error_of(lambda: edgetl.dataset(folder / "data", ["a", "b"]))
    return Answer("", error, message)


# -- the device


def _device(act: Callable[[rt.Session], Any]) -> Callable[[Path], Answer]:
    """Something done to an open session that learnt 20 samples."""

    def run(folder: Path) -> Answer:
        state = _learnt(folder / "state")
        with _opened(state) as session:
            before = _view(session)
            error, message = _error_of(lambda: act(session))
            lost = _difference(before, _view(session), "in memory")
        with _opened(state) as session:
            lost += _difference(before, _view(session), "on disk")
            session.learn(FRAMES[50], LABELS[50])  # and it goes on
        return Answer("", error, message, tuple(lost))

    return run


def _opening(bundle: Callable[[Path], Path]) -> Callable[[Path], Answer]:
    """Another file opened on the state, by `edgetl-runtime install`."""

    def run(folder: Path) -> Answer:
        state = _learnt(folder / "state")
        with _opened(state) as session:
            before = _view(session)
        source = bundle(folder)
        error, message = _command("edgetl_runtime", "install", str(source), "--state", str(state), "--allow-unsigned")
        with _opened(state) as session:
            lost = _difference(before, _view(session), "on disk")
        kept = [path.stem for path in (state / "bundles").iterdir()]
        if kept != [rt.read_bundle(BUNDLE).id]:
            lost.append(f"bundles are left: {kept}")
        return Answer("", error, message, tuple(lost))

    return run


def _truncated(folder: Path) -> Path:
    path = folder / "cut.edgetl"
    path.write_bytes(BUNDLE.read_bytes()[:50_000])
    return path


def _another_bundle(folder: Path) -> Path:
    """Built here from another network: its features mean something else."""
    import torch
    from edgetl_runtime.preprocess import ImagePreprocess

    import edgetl
    from edgetl.backbones import from_module

    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    extractor = from_module(network, ImagePreprocess(8, 8, channels="L"), 0.0, 1 / 255, name="another")
    out = folder / "another.edgetl"
    edgetl.build(extractor, edgetl.dataset(FRAMES[:100], LABELS[:100]), out=out, name="digits-0-to-8")
    return out


def _unreadable_among_images(folder: Path) -> Answer:
    state = _learnt(folder / "state")
    (folder / "photos").mkdir()
    Image.fromarray(FRAMES[60]).save(folder / "photos" / "good.png")
    (folder / "photos" / "rubbish.png").write_bytes(b"not an image")
    arguments = (str(folder / "photos"), "--label", "x", "--state", str(state), "--allow-unsigned")
    error, message = _command("edgetl_runtime", "learn", *arguments)
    with _opened(state) as session:
        kept = session.status()["learnt_samples"]
    return Answer("", error, message, () if kept == 21 else (f"{kept} samples, not 21",))


def _full_disk(folder: Path) -> Answer:
    """In a file system of its own that fills up; without that right, with a limit on the size of files."""
    command = [sys.executable, "-m", "benchmarks.bad_input", "--full-disk", str(folder)]
    script = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$1" && exec "$2" -m benchmarks.bad_input --full-disk "$1"'
    alone = ["unshare", "-Urm", "sh", "-c", script, "sh", str(folder), sys.executable]
    note = f"a tmpfs of {DISK_BYTES >> 10} KiB"
    permitted = shutil.which("unshare") and not subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode
    if not permitted:
        note = f"files limited to {DISK_BYTES >> 10} KiB (no right to mount here)"
        alone = [*command, "--limit"]
    done = subprocess.run(alone, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        return Answer("", "child failed", done.stderr, note=note)
    found = json.loads(done.stdout.splitlines()[-1])
    return Answer("", found["error"], found["message"], tuple(found["lost"]), note=f"{note}: {found['told']}")


def _fill_disk(folder: Path, limit: bool) -> dict[str, Any]:
    """Learn until there is no room: the head answers as before, all acknowledged is there, room makes it go on."""
    state = folder / "state"
    room = folder / "ballast"
    room.write_bytes(b"\0" * (128 << 10))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, resource.RLIM_INFINITY))
    acknowledged: list[int] = []
    lost: list[str] = []
    with _opened(state) as session:
        while True:
            before = _view(session) if len(acknowledged) % 50 == 0 else None
            try:
                acknowledged.append(session.learn(FRAMES[len(acknowledged) % 200], LABELS[len(acknowledged) % 200]))
            except EdgetlError as error:
                failure = error
                break
        before = before or _view(session)
        for _ in range(3):  # again and again, and forgetting too: refused or done, never half
            with contextlib.suppress(StateFullError):
                acknowledged.append(session.learn(FRAMES[0], LABELS[0]))
                before = _view(session)
        lost += _difference(before, _view(session), "in memory")
    with _opened(state, read_only=True) as session:
        lost += _difference(before, _view(session), "on the full disk")
    room.unlink()
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with _opened(state) as session:
        lost += _difference(before, _view(session), "after room was made")
        if [sample.id for sample in session.samples()] != acknowledged:
            lost.append("acknowledged samples")
        session.learn(FRAMES[1], LABELS[1])
    told = f"{len(acknowledged)} samples acknowledged before, all kept; learning went on once room was made"
    return {"error": type(failure).__name__, "message": str(failure), "lost": lost, "told": told}


def _opened(state: Path, **options: Any) -> rt.Session:
    # What is learnt is live at once, so that an answer shows what was learnt.
    return rt.open(BUNDLE, state, allow_unsigned=True, threads=1, policy="immediate", **options)


def _learnt(state: Path) -> Path:
    with _opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20], source="before")
    return state


def _view(session: rt.Session) -> dict[str, Any]:
    status = session.status()
    return {
        "answers": [prediction.label for prediction in session.predict_many(FRAMES[150:])],
        "samples": [(sample.id, sample.label, sample.source) for sample in session.samples()],
        "classes": status["classes"],
        "generation": status["generation"],
    }


def _difference(before: dict[str, Any], after: dict[str, Any], where: str) -> list[str]:
    return [f"{what} {where}" for what in before if before[what] != after[what]]


def _error_of(act: Callable[[], Any]) -> tuple[str | None, str]:
    """Type and message; an error of any other kind is let through, and fails."""
    try:
        act()
    except EdgetlError as error:
        return type(error).__name__, str(error)
    return None, "accepted"


def _command(package: str, name: str, *arguments: str) -> tuple[str | None, str]:
    """Type and message of a command of that package, with what it warned of before, as they stand on the terminal."""
    module = importlib.import_module(f"{package}.cli.{name}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    parser.add_argument("--state")
    parser.add_argument("--allow-unsigned", action="store_true")
    parser.add_argument("--engine")
    parser.add_argument("--variant")
    parser.add_argument("--json", action="store_true")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(stream):
            error, message = _error_of(lambda: module.run(parser.parse_args(arguments)))
    finally:
        logging.getLogger().removeHandler(handler)
    said = [line for line in stream.getvalue().splitlines() if "not signed" not in line and "no --weights" not in line]
    program = {"edgetl": "edgetl", "edgetl_runtime": "edgetl-runtime"}[package]
    return error, "\n".join(said if error is None else [*said, f"{program} {name}: {message}"])


# Name -> (the error that it must be answered with, None where the job goes on; what is done).
CASES: dict[str, tuple[str | None, Callable[[Path], Answer]]] = {
    "host: no such folder": ("DatasetError", _host(_no_data)),
    "host: a class folder without images": ("DatasetError", _host(_empty_class)),
    "host: a class folder that must be there is missing": ("DatasetError", _missing_named_class),
    "host: one class only": ("DatasetError", _host(_one_class)),
    "host: unreadable images among good ones": (None, _host(_unreadable_image, built=True)),
    "host: weights that are no weights": ("WeightsError", _host(_rubbish_weights)),
    "host: weights of another network": ("WeightsError", _host(_weights_of_another)),
    "device: a truncated bundle": ("BundleCorruptError", _opening(_truncated)),
    "device: a release with other features": ("LearntLeftError", _opening(_another_bundle)),
    "device: an unreadable image among good ones": (None, _unreadable_among_images),
    "device: a frame of float": ("SampleError", _device(lambda s: s.learn(FRAMES[0] / 255.0, "1"))),
    "device: a frame of another shape": ("SampleError", _device(lambda s: s.learn(FRAMES[0].ravel(), "1"))),
    "device: a frame of NaN": ("SampleError", _device(lambda s: s.learn(np.full((8, 8), np.nan), "1"))),
    "device: no frame (None)": ("SampleError", _device(lambda s: s.learn(None, "1"))),
    "device: a bad frame in a batch": ("SampleError", _device(lambda s: s.learn_many([FRAMES[0], None], ["1", "1"]))),
    "device: a bad frame to predict": ("SampleError", _device(lambda s: s.predict(FRAMES[0] / 255.0))),
    "device: an empty label": ("LabelError", _device(lambda s: s.learn(FRAMES[0], ""))),
    "device: a label of 10 kB": ("LabelError", _device(lambda s: s.learn(FRAMES[0], "x" * 10_000))),
    "device: a full disk": ("StateFullError", _full_disk),
}


def main() -> int:
    if "--full-disk" in sys.argv:
        print(json.dumps(_fill_disk(Path(sys.argv[sys.argv.index("--full-disk") + 1]), "--limit" in sys.argv)))
        return 0
    logging.basicConfig(handlers=[logging.NullHandler()])
    answers = []
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                answer = run_case(name, Path(folder))
                answer = replace(answer, message=answer.message.replace(folder + os.sep, ""))
            except Exception as error:  # an error that nobody typed: what this is here to find
                answer = Answer(name, type(error).__name__, str(error), faults=("an untyped error",))
        answers.append(answer)
        verdict = "FAIL" if answer.faults else "ok  "
        print(f"{verdict} {name}: {answer.error or 'goes on'}; lost: {', '.join(answer.lost) or 'nothing'}")
        for line in (*answer.message.splitlines(), *([f"({answer.note})"] if answer.note else [])):
            print(textwrap.fill(line, 110, initial_indent=" " * 9, subsequent_indent=" " * 9))
        for fault in answer.faults:
            print(f"         FAULT: {fault}")
    failed = sum(bool(answer.faults) for answer in answers)
    print(f"\n{len(answers)} cases, {failed} failed, {sum(bool(answer.lost) for answer in answers)} lost something")
    print(write_evidence("bad-input", {"failed": failed, "cases": [asdict(a) for a in answers]}).relative_to(ROOT))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
