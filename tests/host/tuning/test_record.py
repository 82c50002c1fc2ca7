from __future__ import annotations

import hashlib
import json

import pytest
from edgetl_runtime.errors import SourceError
from PIL import Image

from edgetl.cli import main
from edgetl.tuning import record_path, save_tuned, tune
from tests.host.tuning.small import conv_net, series_net, stripes, waves

LISTS = ("epoch", "training_loss", "validation_loss", "validation_right", "rate")


def test_a_record_lies_beside_the_weights_and_says_how_the_run_went(tmp_path) -> None:
    result = tune(conv_net(), stripes(), "full", epochs=3)
    path = save_tuned(result, tmp_path / "stripes.v1.safetensors", ["edgetl", "finetune"])
    assert path == record_path(tmp_path / "stripes.v1.safetensors") == tmp_path / "stripes.v1.tuning.json"
    said = json.loads(path.read_text())
    assert [len(said[name]) for name in LISTS] == [3] * 5 and said["epoch"] == [1, 2, 3]
    assert said["training_loss"] == [one.loss for one in result.epochs]
    assert said["validation_right"] == [one.score for one in result.epochs]
    assert all(loss > 0 for loss in said["validation_loss"])
    assert said["rate"] == sorted(said["rate"], reverse=True) and said["rate"][0] <= result.recipe.rate
    assert len(said["step_loss"]) == len(result.losses) and said["kept_epoch"] in (1, 2, 3)
    for name, scores in (("frozen", result.comparison.frozen), ("recipe", result.comparison.tuned)):
        assert said["comparison"][name] == scores
    assert said["comparison"]["scratch"] == {} and said["comparison"]["score"] == "right"
    digest = hashlib.sha256((tmp_path / "stripes.v1.safetensors").read_bytes()).hexdigest()
    assert said["weights"] == {"file": "stripes.v1.safetensors", "sha256": digest}
    assert said["command"] == ["edgetl", "finetune"] and said["data"] == {"name": "stripes", "hash": stripes().hash}


def test_a_run_on_numbers_says_so_and_one_without_validation_has_nothing_of_it(tmp_path) -> None:
    import edgetl

    windows, speed = waves()
    data = edgetl.dataset(windows, targets={"speed": speed}, holdout=0.0)
    save_tuned(tune(series_net(), data, "full", epochs=2, validation=0.0), tmp_path / "w.safetensors")
    said = json.loads((tmp_path / "w.tuning.json").read_text())
    assert said["validation_loss"] == said["validation_right"] == [None, None] and said["comparison"] is None
    held = tune(series_net(), edgetl.dataset(windows, targets={"speed": speed}), "head")
    save_tuned(held, tmp_path / "h.safetensors")
    said = json.loads((tmp_path / "h.tuning.json").read_text())
    assert said["comparison"]["score"] == "r2" and said["epoch"] == [] and said["kept_epoch"] is None


def test_a_resumed_run_leaves_the_record_of_the_whole_run(tmp_path) -> None:
    first = tune(conv_net(), stripes(48), "full", epochs=2, checkpoints=tmp_path)
    assert tune(conv_net(), stripes(48), "full", epochs=2, checkpoints=tmp_path).epochs == first.epochs


def test_weights_go_where_they_can_only(tmp_path) -> None:
    result = tune(conv_net(), stripes(48), "head")
    for out, words in (("weights.pth", r"is a \.safetensors file"), ("nowhere/w.safetensors", "there is no folder")):
        with pytest.raises(SourceError, match=words):
            save_tuned(result, tmp_path / out)


def test_the_command_leaves_the_record_and_prints_the_same(tmp_path, capsys) -> None:
    for place, (sample, label) in enumerate(stripes(30)):
        (tmp_path / "data" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample).save(tmp_path / "data" / str(label) / f"{place}.png")
    command = ["finetune", "--backbone", "torchvision/squeezenet1_1", "--data", str(tmp_path / "data"), "--size", "32"]
    command += ["--recipe", "last-blocks", "--epochs", "1", "--out", str(tmp_path / "tuned.safetensors"), "--json"]
    assert main(command) == 0
    printed, kept = json.loads(capsys.readouterr().out), json.loads((tmp_path / "tuned.tuning.json").read_text())
    assert printed["comparison"] == kept["comparison"] and printed["epoch"] == kept["epoch"] == [1]
    assert kept["recipe"] == "last-blocks"


def test_one_network_for_several_tasks_makes_a_bundle_for_each(tmp_path, capsys) -> None:
    rows = ["path,kind,speed"]
    for place, (sample, label) in enumerate(stripes(40)):
        Image.fromarray(sample).save(tmp_path / f"{place}.png")
        rows.append(f"{place}.png,{label if place % 3 else ''},{place / 40 if place % 4 else ''}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = ["--backbone", "torchvision/squeezenet1_1", "--size", "32", "--data", str(tmp_path / "t.csv")]
    data += ["--tasks", "kind:class,speed:number", "--weights", str(tmp_path / "w.safetensors")]
    trained = [*data[:-2], "--recipe", "last-blocks", "--epochs", "1", "--no-alone", "--out", data[-1]]
    assert main(["finetune", *trained]) == 0
    printed = capsys.readouterr().out
    assert "kind: % right on" in printed and "speed: R2 on" in printed and "a bundle has one task" in printed
    assert main(["build", *data, "--out", str(tmp_path / "b.edgetl")]) == 1
    assert "a bundle has one task: say --task, one of kind, speed" in capsys.readouterr().err
    assert main(["build", *data, "--task", "kind", "--out", str(tmp_path / "b.edgetl")]) == 0
    assert (tmp_path / "b.edgetl").exists()
