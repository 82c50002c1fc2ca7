from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from edgetl.errors import TuningError
from edgetl.tuning import tune
from tests.host.tuning.small import ROOT, conv_net, run, stripes, weights_digest


class _Cut(Exception):
    pass


def _silent(step) -> None:
    pass


@pytest.fixture(scope="module")
def untouched() -> tuple[str, tuple[float, ...]]:
    result = run(None, 0.0, _silent)
    return weights_digest(result.extractor), result.losses


@pytest.mark.parametrize("stop", [1, 7, 17])
def test_a_run_cut_off_at_a_step_ends_in_the_same_weights(tmp_path, untouched, stop: int) -> None:
    def cut(step) -> None:
        if step.stage.startswith("training") and step.done == stop:
            raise _Cut

    with pytest.raises(_Cut):
        run(str(tmp_path), 0.0, cut)
    done = []
    result = run(str(tmp_path), 0.0, lambda step: done.append(step.done) if "training" in step.stage else None)
    assert done[0] == stop  # the step that was cut off was not saved; those before are not done again
    assert (weights_digest(result.extractor), result.losses) == untouched


def test_a_finished_run_is_not_trained_again(tmp_path) -> None:
    first = run(str(tmp_path), 60.0, _silent)
    trained = []
    second = run(str(tmp_path), 60.0, lambda step: trained.append(step) if "training" in step.stage else None)
    assert not trained and weights_digest(second.extractor) == weights_digest(first.extractor)
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["run.json", "state"]


def test_a_checkpoint_of_another_run_is_refused_and_says_what_differs(tmp_path) -> None:
    tune(conv_net(), stripes(48), "full", epochs=1, checkpoints=tmp_path)
    with pytest.raises(TuningError, match="another run, which differs in rate; name another folder"):
        tune(conv_net(), stripes(48), "full", epochs=1, rate=0.5, checkpoints=tmp_path)
    with pytest.raises(TuningError, match="differs in data"):
        tune(conv_net(), stripes(60), "full", epochs=1, checkpoints=tmp_path)
    state = next(tmp_path.glob("state-*"))
    state.write_bytes(state.read_bytes()[:-1] + b"\0")
    with pytest.raises(TuningError, match="is damaged"):
        tune(conv_net(), stripes(48), "full", epochs=1, checkpoints=tmp_path)


def _program(folder: str, changes: dict, processes: int = 1) -> list[str]:
    several = []
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        several = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(port)]
    return [sys.executable, *several, "-m", "tests.host.tuning.small", folder, json.dumps(changes)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def _result(command: list[str]) -> dict:
    done = subprocess.run(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_twenty_kills_at_random_points_change_no_weight(tmp_path) -> None:
    expected = _result(_program("-", {"epochs": 12}))
    rng = np.random.default_rng()
    steps = len(expected["losses"])
    kills, reached = 0, 0
    while kills < 20:
        command = _program(str(tmp_path / "run"), {"epochs": 12})
        process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True)
        # Some steps further and a random moment after, which falls into the next step, or into writing it down.
        wanted = reached + int(rng.integers(1, max(2, 2 * (steps - reached) // (21 - kills))))
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step "):
                reached = int(line.split()[1])
            if reached >= min(wanted, steps - 1):
                break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=float(rng.uniform(0, 0.1)))
        assert process.poll() is None, "the run ended before it was killed twenty times; lower the steps between"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kills += 1
    assert _result(_program(str(tmp_path / "run"), {"epochs": 12})) == expected


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [{"average": 0.0, "mixup": 0.0}, {"batch": 17}])
def test_two_processes_have_the_loss_curve_of_one_with_the_whole_batch(recipe: dict) -> None:
    pytest.importorskip("accelerate", reason='several processes need "edgetl[distributed]"')
    # Each process has dropout and batch statistics of its own, so they are out.
    changes = {"batch_statistics": "frozen", "dropout": 0.0, "epochs": 3, **recipe}
    one, two = (_result(_program("-", changes, processes)) for processes in (1, 2))
    assert len(one["losses"]) == len(two["losses"])
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
