from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

import edgetl
from edgetl.data import TaskDataset
from edgetl.errors import MissingPackageError, TuningError
from edgetl.tuning import save_tuned, tune
from edgetl.tuning.objective import Objective
from edgetl.tuning.samples import Samples
from edgetl.tuning.tasks import task_objective
from tests.host.tuning.small import conv_net, series_net, stripes, waves, weights_digest


def speeds(missing: float = 0.5, count: int = 160) -> TaskDataset:
    """Windows of waves: how fast, as a number and as a class, each missing by chance."""
    windows, speed = waves(count)
    rng = np.random.default_rng(0)
    kinds = [None if rng.random() < missing else "slow" if one < 0.7 else "fast" for one in speed]
    numbers = np.where(rng.random(count) < missing, np.nan, speed)
    return edgetl.dataset(windows, tasks={"kind": kinds, "speed": numbers}, name="waves")


def _samples(truth: np.ndarray) -> Samples:
    return Samples(np.zeros((len(truth), 1)), truth, (), "", speeds().tasks)


def test_two_tasks_with_half_of_their_labels_share_one_network(tmp_path) -> None:
    data = speeds()
    result = tune(series_net(), data, "full", epochs=12, rate=3e-3, compare_alone=False)
    kind, speed = result.tasks["kind"], result.tasks["speed"]
    assert result.comparison is None and kind.samples < len(data.held_out) > speed.samples
    assert kind.tuned["slda"] > kind.plain and list(speed.tuned) == ["ridge"]
    assert speed.tuned["ridge"] > speed.frozen["ridge"] and 0 <= kind.own <= 1
    save_tuned(result, tmp_path / "w.safetensors")
    said = json.loads((tmp_path / "w.tuning.json").read_text())
    assert said["comparison"] is None and said["tasks"]["speed"]["score"] == "r2"
    assert said["tasks"]["kind"]["recipe"] == kind.tuned
    head = tune(result.extractor, data.task("kind"), "head").comparison
    assert head.frozen == pytest.approx(kind.tuned), "a bundle of one task sees the same samples and features"


def test_a_task_is_compared_with_itself_alone_and_a_loss_is_said(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        result = tune(
            series_net(), speeds(), "full", epochs=6, rate=3e-3, task_weights="kind=1,speed=0.0001", validation=0.0
        )
    alone = tune(series_net(), speeds().task("speed"), "full", epochs=6, rate=3e-3, validation=0.0)
    speed = result.tasks["speed"]
    assert speed.alone == alone.comparison.tuned and speed.tuned["ridge"] < speed.alone["ridge"] - 0.01
    assert "speed: the other tasks hurt here" in caplog.text


def test_a_missing_label_takes_no_part_in_the_loss_and_a_rare_one_counts_as_much() -> None:
    truth = np.array([[0.0, 0.5], [1.0, np.nan], [np.nan, 0.7], [np.nan, np.nan]])
    goal = task_objective(_samples(truth), "equal")
    wanted, output = goal.wanted(truth), torch.randn(4, 3, generator=torch.manual_seed(0), requires_grad=True)
    assert torch.isnan(wanted).tolist() == [[False] * 3, [False, False, True], [True, True, False], [True] * 3]
    losses = goal.losses(output, wanted, 0.0)
    classes, numbers = Objective(2), Objective(1, np.array([0.6]), np.array([0.1]))
    one = classes.losses(output[:2, :2], classes.wanted(np.array([0, 1])), 0.0)
    two = numbers.losses(output[[0, 2], 2:], numbers.wanted(np.array([[0.5], [0.7]])), 0.0)
    expected = torch.stack([one[0] + two[0], one[1], two[1], torch.zeros(())]) * 2  # half of each are missing
    torch.testing.assert_close(losses, expected)
    losses.sum().backward()
    assert torch.isfinite(output.grad).all() and not output.grad[3].any()


def test_uncertainty_weights_are_those_of_kendall_and_are_learnt() -> None:
    truth = np.array([[0.0, 0.5], [1.0, 0.7]])
    plain, doubtful = (task_objective(_samples(truth), how) for how in ("equal", "uncertainty"))
    output = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, -1.0]])
    wanted = plain.wanted(truth)
    one = torch.tensor([0.4, -0.3])
    with_doubts = torch.cat([output, one.expand(2, -1)], dim=1)
    kind = Objective(2).losses(output[:, :2], wanted[:, :2], 0.0)
    speed = (output[:, 2] - wanted[:, 2]) ** 2
    expected = torch.exp(-one[0]) * kind + one[0] / 2 + torch.exp(-one[1]) * speed / 2 + one[1] / 2
    torch.testing.assert_close(doubtful.losses(with_doubts, wanted, 0.0), expected)
    assert plain.scores(truth, output.numpy()) == doubtful.scores(truth, with_doubts.numpy())
    kinds = ("equal", "uncertainty")
    runs = [tune(series_net(), speeds(), "full", epochs=2, task_weights=kind, compare=False) for kind in kinds]
    assert weights_digest(runs[0].extractor) != weights_digest(runs[1].extractor)


def test_mixing_samples_keeps_labels_that_both_have(tmp_path) -> None:
    result = tune(series_net(), speeds(), "full", epochs=2, mixup=0.4, compare_alone=False, checkpoints=tmp_path)
    assert all(np.isfinite(result.losses))


def test_auto_chooses_for_all_tasks_together() -> None:
    result = tune(series_net(), speeds(count=500), candidates=["head", "full"], epochs=2, compare_alone=False)
    assert set(result.choice.scores) == {"head", "full"} and result.name in result.choice.scores


@pytest.mark.parametrize("weights", ["kind=1", "kind=1,speed=-1", "kind=x,speed=1", "learnt"])
def test_weights_that_cannot_be_are_said(weights: str) -> None:
    with pytest.raises(TuningError, match="task_weights is equal, uncertainty, or a positive weight a task"):
        tune(series_net(), speeds(), "full", epochs=1, task_weights=weights)


def test_a_task_without_a_label_to_train_on_is_said() -> None:
    windows, speed = waves()
    late = np.where(np.arange(160) < 140, np.nan, speed)
    with pytest.raises(TuningError, match="no sample to train on has a label of the task 'speed'"):
        tune(series_net(), edgetl.dataset(windows, tasks={"speed": late, "two": speed}), "full", epochs=1)


def test_the_network_is_taught_to_be_rounded_in_the_end() -> None:
    plain, aware = (
        tune(conv_net(), stripes(), "full", epochs=2, quantization_aware=passes, compare=False).extractor
        for passes in (0, 2)
    )
    assert aware.provenance["quantization_aware_epochs"] == 2 == aware.provenance["finetune"]["quantization_aware"]
    assert weights_digest(aware) != weights_digest(plain)


def test_a_log_for_tensorboard_holds_every_step_once_also_after_a_kill(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason='a log needs "edgetl[tensorboard]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Cut(Exception):
        pass

    def cut(step) -> None:
        if step.stage.startswith("training") and step.done == 5:
            raise Cut

    def run(progress) -> tuple[float, ...]:
        where = {"checkpoints": tmp_path / "run", "log": tmp_path / "log", "save_every_s": 0.0}
        return tune(conv_net(), stripes(), "full", epochs=2, progress=progress, **where).losses

    with pytest.raises(Cut):
        run(cut)
    losses = run(lambda step: None)
    log = EventAccumulator(str(tmp_path / "log" / "training-full"))
    log.Reload()
    steps = log.Scalars("step/loss")
    assert [one.step for one in steps] == list(range(1, len(losses) + 1))
    assert [one.value for one in steps] == pytest.approx(losses)
    assert {"step/rate", "epoch/loss", "epoch/validation_loss", "epoch/validation_right"} <= set(log.Tags()["scalars"])


def test_a_log_without_tensorboard_names_the_command(tmp_path, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(MissingPackageError, match=r'pip install "edgetl\[tensorboard\]"'):
        tune(conv_net(), stripes(48), "full", epochs=1, log=tmp_path)
