"""The doctor says what is true of this machine, and of what is missing the command that gets it."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import onnxruntime
import pytest
from edgetl_runtime.board import read_board
from edgetl_runtime.board.tree import Tree
from edgetl_runtime.cli import main
from edgetl_runtime.doctor import diagnose, storage
from edgetl_runtime.doctor.software import ENGINE_LIBRARIES, find_library

from tests.runtime import boards
from tests.runtime.boards import lay_out


def examine(*arguments: str, path: Optional[Path] = None, text: bool = False) -> Tuple[int, Any, str]:
    """In a process of its own; `path` is searched for packages before all others."""
    python_path = os.pathsep.join([*([str(path)] if path else []), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "edgetl_runtime.cli", "doctor", *([] if text else ["--json"]), *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    out = done.stdout.decode()
    return done.returncode, out if text else json.loads(out), done.stderr.decode()


def findings(document: Dict[str, Any], severity: str) -> List[str]:
    return [finding["what"] for finding in document["findings"] if finding["severity"] == severity]


def engine(document: Dict[str, Any], name: str) -> Dict[str, Any]:
    (found,) = (engine for engine in document["engines"] if engine["name"] == name)
    return dict(found)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Tuple[int, Any, Path]:
    folder = tmp_path_factory.mktemp("here")
    code, document, err = examine("--state", str(folder / "state"))
    assert "Traceback" not in err
    return code, document, folder


def test_a_machine_that_runs_these_tests_can_run_edgetl(here: Tuple[int, Any, Path]) -> None:
    code, document, _ = here
    assert (code, document["can_run"], findings(document, "problem")) == (0, True, [])


def test_versions_and_providers_are_those_in_use(here: Tuple[int, Any, Path]) -> None:
    document = here[1]
    assert document["python"] == ".".join(map(str, sys.version_info[:3]))
    assert document["sqlite"] == sqlite3.sqlite_version
    versions = {library["name"]: library["version"] for library in document["libraries"]}
    assert versions["numpy"] == np.__version__
    found = engine(document, "onnxruntime")
    assert (found["version"], found["problem"], found["adapted"]) == (onnxruntime.__version__, None, True)
    assert sorted(found["providers"]) == sorted(onnxruntime.get_available_providers())


def test_no_engine_is_loaded_into_the_doctor_itself(tmp_path: Path) -> None:
    code = (
        "import sys; from edgetl_runtime.doctor import diagnose; diagnose(sys.argv[1]);"
        "print([n for n in ('onnxruntime', 'openvino', 'tensorrt', 'cryptography', 'PIL') if n in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, env=environment, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_the_state_folder_is_tried_and_left_as_it_was(here: Tuple[int, Any, Path], tmp_path: Path) -> None:
    _, document, folder = here
    state = document["state"]
    assert (state["exists"], state["problem"], state["path"]) == (False, None, str(folder / "state"))
    assert state["free_bytes"] > 0 and list(folder.iterdir()) == []
    (tmp_path / "kept").write_text("x")
    again = storage.examine_state_folder(str(tmp_path))
    assert (again.exists, again.problem) == (True, None)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_state_folder_that_cannot_be_made_is_a_problem_with_a_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = str(tmp_path / "file" / "my state")
    code, document, _ = examine("--state", state)
    assert (code, document["can_run"]) == (1, False)
    (problem,) = findings(document, "problem")
    assert "is not a folder" in problem
    assert document["findings"][0]["command"] == f"sudo install -d -o $(id -un) '{state}'"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('libcublas.so.12: cannot open shared object file')", "libcublas.so.12"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashes as it loads (signal 11)"),
        ("import sys; sys.exit(3)", "it said nothing"),
        ("print('chatter'); import sys; sys.exit(0)", "it said nothing"),
    ],
)
def test_an_engine_that_does_not_load_is_a_problem_and_not_a_crash(code: str, words: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {f"{name}/__init__.py": code.encode() for name in ENGINE_LIBRARIES})
    exit_code, document, err = examine("--state", str(tmp_path / "state"), path=tmp_path)
    assert exit_code == 1 and "Traceback" not in err
    problems = {finding["what"].partition(": ")[0]: finding for finding in document["findings"]}
    told = problems["onnxruntime"]
    assert told["severity"] == "problem" and words in told["what"]
    assert told["command"].startswith("pip install") and "edgetl-runtime[onnxruntime]" in told["command"]


def test_what_lies_in_the_current_folder_is_not_taken_for_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, {"onnxruntime.py": b"raise SystemExit('the wrong one')"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (found,) = (engine for engine in diagnose(str(tmp_path)).engines if engine.name == "onnxruntime")
    assert (found.version, found.problem) == (onnxruntime.__version__, None)


def test_a_missing_library_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"safetensors", "cryptography", *ENGINE_LIBRARIES}
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in absent else real(name))
    diagnosis = diagnose(str(tmp_path))
    assert not diagnosis.can_run and not find_library("safetensors").found
    told = {finding.what: (finding.severity, finding.command) for finding in diagnosis.findings}
    assert told["safetensors is not installed"] == ("problem", "pip install safetensors")
    assert told["onnxruntime: not installed"] == ("problem", "pip install 'edgetl-runtime[onnxruntime]'")
    (signing,) = (value for what, value in told.items() if what.startswith("cryptography"))
    assert signing == ("warning", "pip install 'edgetl-runtime[sign]'")


def test_sqlite_that_is_too_old_or_missing_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, words in (("3.22.0", "3.31"), (None, "without sqlite3")):
        monkeypatch.setattr("edgetl_runtime.doctor.sqlite_version", lambda version=version: version)
        diagnosis = diagnose(str(tmp_path))
        assert not diagnosis.can_run and words in diagnosis.findings[0].what
    monkeypatch.setattr("edgetl_runtime.doctor.sqlite_version", lambda: "3.31.1")
    assert diagnose(str(tmp_path)).can_run


@pytest.mark.parametrize(
    ("folder", "file_system"),
    [("/data/edge", "ext4"), ("/data", "ext4"), ("/database", "overlay"), ("/mnt/my disk/a", "nfs4"), ("/", "overlay")],
)
def test_the_file_system_is_that_of_the_nearest_mount(folder: str, file_system: str, tmp_path: Path) -> None:
    mounts = b"overlay / overlay rw 0 0\n/dev/nvme0n1p1 /data ext4 rw 0 0\nnas:/x /mnt/my\\040disk nfs4 rw 0 0\nodd\n"
    tree = Tree(lay_out(tmp_path, {"proc/self/mounts": mounts}))
    assert storage.file_system_of(Path(folder), tree) == file_system
    assert storage.file_system_of(Path(folder), Tree(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("file_system", "free", "severity", "words"),
    [
        ("nfs4", 1 << 40, "problem", "local file system"),
        ("tmpfs", 1 << 40, "warning", "goes with the power"),
        ("ext4", 5 << 20, "problem", "5 MB free"),
    ],
)
def test_a_folder_that_cannot_keep_what_is_learnt_is_told(
    file_system: str, free: int, severity: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = storage.StateFolder(str(tmp_path), True, None, free, file_system)
    monkeypatch.setattr("edgetl_runtime.doctor.examine_state_folder", lambda path: folder)
    diagnosis = diagnose(str(tmp_path))
    assert diagnosis.can_run == (severity == "warning")
    assert any(words in finding.what and finding.severity == severity for finding in diagnosis.findings)


def test_boards_are_told_by_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        "orin nano": ["jetson-orin-nano-8gb", "JetPack 6.2, Jetson Linux 36.4.3", "MAXN_SUPER", "passive 99", "6 of 6"],
        "agx orin": ["jetson-agx-orin-32gb", "JetPack 5.1,", "8 of 12 cores"],
        "xavier nx": ["jetson-xavier-nx", "MODE_10W_DESKTOP again after the next start", "slows down from 90"],
        "thor": ["jetson-t5000", "JetPack 7.0", "122.9 GiB", "120W"],
        "nano": ["jetson-nano", "has Python 3.6, out of reach", "container", "trips: not read"],
        "raspberry pi 5": ["raspberry-pi-5", "Raspberry Pi 5 Model B Rev 1.0"],
        "x86": ["x86-openvino", "NUC11PAHi7"],
    }
    for name, words in expected.items():
        root = lay_out(tmp_path / name, boards.BOARDS[name])
        assert main(["doctor", "--root", str(root), "--state", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        assert [word for word in words if word not in out] == [], out
        assert "edgetl can run here" in out


def test_each_fact_that_was_not_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(tmp_path), "--state", str(tmp_path / "state")]) == 0
    lines = capsys.readouterr().out.splitlines()
    for fact in read_board(tmp_path).unread:
        assert any(line.startswith("not read") and line.endswith(fact) for line in lines)
    assert not any(line.startswith(("cpu", "memory", "thermal", "power")) for line in lines)


def test_an_unknown_jetson_is_not_taken_for_another(tmp_path: Path) -> None:
    tree = boards.device_tree("NVIDIA Jetson Next", "nvidia,p9999-0001", "nvidia,tegra299")
    diagnosis = diagnose(str(tmp_path), str(lay_out(tmp_path / "root", tree)))
    assert diagnosis.board.identity.board is None and diagnosis.can_run
    assert any("which no profile has" in finding.what for finding in diagnosis.findings)


def test_another_python_than_that_of_the_jetpack_is_told_with_the_way_out(tmp_path: Path) -> None:
    ours = "{}.{}".format(*sys.version_info[:2])
    for name, python in (("agx orin", "3.8"), ("orin nano", "3.10"), ("thor", "3.12")):
        found = diagnose(str(tmp_path), str(lay_out(tmp_path / name, boards.BOARDS[name]))).findings
        commands = [finding.command for finding in found if "TensorRT of this JetPack" in finding.what]
        assert commands == ([] if python == ours else [f"python{python} -m venv --system-site-packages .venv"])


def test_tensorrt_is_a_part_of_jetpack_and_a_package_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tensorrt" else real(name))
    x86 = {**boards.X86, "proc/driver/nvidia/version": b"NVRM version: 580\n"}
    trees = {"orin nano": boards.ORIN_NANO, "x86": x86}
    for isolated in (False, True):
        monkeypatch.setattr("edgetl_runtime.doctor.python_is_isolated", lambda isolated=isolated: isolated)
        commands = {}
        for name, files in trees.items():
            found = diagnose(str(tmp_path), str(lay_out(tmp_path / name, files))).findings
            commands[name] = [finding.command for finding in found if finding.what.startswith("tensorrt comes first")]
        (jetson,), (other,) = commands["orin nano"], commands["x86"]
        assert other == "pip install tensorrt"
        assert jetson is not None and jetson.startswith("sudo apt install python3-libnvinfer")
        assert ("--system-site-packages" in jetson) == isolated


def test_a_root_that_is_no_folder_is_an_error_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(tmp_path / "none")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("edgetl-runtime doctor: there is no folder") and len(err.splitlines()) == 1


def test_the_table_ends_with_the_verdict(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases = [(tmp_path, 0, "edgetl can run here"), (tmp_path / "file", 1, "edgetl cannot run here")]
    for state, code, verdict in cases:
        exit_code, out, _ = examine("--state", str(state), text=True)
        assert exit_code == code
        assert out.splitlines()[-1].startswith("verdict") and verdict in out.splitlines()[-1]
