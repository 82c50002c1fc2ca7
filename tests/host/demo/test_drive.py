from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgetl.demo.domains import SHOTS, target_of
from edgetl.demo.drive import drive_device, write_data
from edgetl.demo.environment import runtime_requirement
from edgetl.errors import DemoError

HERE = Path(sys.executable)


@pytest.fixture
def device(few, printed, tmp_path):
    """(bundle, folder with the device's data)."""
    write_data(tmp_path / "data", target_of(few, 0))
    return printed[0] / "seed-0" / "digits.edgetl", tmp_path


def _script(folder, text):
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("kill_after", [1, 10, 50, 99])
def test_wherever_it_is_killed_it_goes_on_and_measures_every_stage(device, kill_after):
    bundle, folder = device
    heard = []
    run = drive_device(HERE, bundle, folder, kill_after, heard.append)
    assert run.lost == 0
    assert kill_after <= run.kill.acknowledged <= run.kill.found
    assert sorted(run.measured) == [0, *SHOTS]
    assert run.done["learnt_samples"] == 100 and len(run.done["kept"]) == 100
    assert len(run.learn_ms) == 100 - run.kill.found
    assert heard == sorted(heard) and heard[-1] >= 99


def test_the_order_of_learning_is_the_same_with_and_without_a_kill(device, few, tmp_path):
    bundle, folder = device
    write_data(tmp_path / "other" / "data", target_of(few, 0))
    early = drive_device(HERE, bundle, folder, 2, lambda done: None)
    late = drive_device(HERE, bundle, tmp_path / "other", 98, lambda done: None)
    for stage in (0, *SHOTS):
        assert early.measured[stage]["said"] == late.measured[stage]["said"]


def test_a_device_that_forgets_is_found_out(device):
    bundle, folder = device
    forgetful = _script(folder, f'[ -e ran ] && rm -rf state; touch ran; exec {HERE} "$@"')
    run = drive_device(forgetful, bundle, folder, 7, lambda done: None)
    assert run.lost >= run.kill.acknowledged >= 7
    assert run.kill.found == 0


def test_a_device_that_cannot_start_says_why(device):
    _, folder = device
    with pytest.raises(DemoError, match=r"ended with 1 before it could be killed.*No such file"):
        drive_device(HERE, folder / "absent.edgetl", folder, 5, lambda done: None)
    with pytest.raises(DemoError, match="cannot start the device's Python"):
        drive_device(folder / "absent", folder / "absent.edgetl", folder, 5, lambda done: None)


def test_a_device_that_breaks_after_its_restart_says_why(device):
    bundle, folder = device
    broken = _script(folder, f'[ -e ran ] && echo "out of order" >&2 && exit 3; touch ran; exec {HERE} "$@"')
    with pytest.raises(DemoError, match="ended with 3 after its restart: out of order"):
        drive_device(broken, bundle, folder, 5, lambda done: None)


def test_the_device_gets_the_runtime_that_the_host_has():
    requirement = runtime_requirement()
    assert requirement.startswith("edgetl-runtime[onnxruntime]")
    if "file:" in requirement:
        assert Path(requirement.partition("file://")[2]).exists()
    else:
        from edgetl_runtime import __version__

        assert requirement.endswith(f"=={__version__}")
