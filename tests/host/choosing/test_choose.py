from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import edgetl
from edgetl.choosing import choose, compare_with_bundle
from edgetl.choosing.page import choice_page
from edgetl.choosing.similarity import source_gap
from edgetl.cli import main
from edgetl.errors import DatasetError, ProfileError, QuantizeError
from edgetl.export import export_onnx
from edgetl.quantize.speed import host_family
from tests.host.tuning.small import conv_net, series_net, stripes, waves


@pytest.fixture(scope="module")
def trained():
    return replace(edgetl.finetune(conv_net(), stripes(240, seed=7), "scratch", epochs=8), name="trained")


def test_the_network_that_knows_the_classes_comes_first_with_its_costs(trained) -> None:
    ranking = choose(stripes(), [conv_net(), "torchvision/no_such", trained], devices=["jetson-orin-nano-8gb"])
    assert [one.name for one in ranking.candidates] == ["trained", "small", "torchvision/no_such"]
    assert "no_such" in ranking[2].error and not ranking[0].error
    first = ranking[0]
    assert first.loo > ranking[1].loo and first.log_evidence > ranking[1].log_evidence
    assert first.latency_ms > 0 and first.peak_bytes > 1e7 and first.fits == (("jetson-orin-nano-8gb", True),)
    assert first.graph_bytes == len(export_onnx(trained)) and ranking.samples == len(stripes().training)


def test_numbers_are_ranked_by_r2() -> None:
    windows, speed = waves()
    ranking = choose(edgetl.dataset(windows, targets={"speed": speed}), [series_net()], most=50)
    assert ranking.numbers and ranking[0].h_score is None and ranking.samples == 50
    assert -1 < ranking[0].loo < 1 and np.isfinite(ranking[0].log_evidence)


def test_other_data_is_further_from_what_a_network_was_trained_on(trained) -> None:
    assert trained.module is not None
    # The running statistics are those of its data: they moved while it was trained.
    tensors = np.stack([trained.preprocess.apply(frame)[0] for frame, _ in stripes(120, seed=9)])
    assert source_gap(trained, tensors) < 0.2 * source_gap(trained, tensors // 4)
    assert source_gap(conv_net(), tensors) is None, "statistics of 0 and 1 say nothing"


def test_an_impossible_wish_is_refused() -> None:
    with pytest.raises(DatasetError, match="no backbone could be judged"):
        choose(stripes(), ["torchvision/no_such"])
    with pytest.raises(ProfileError, match="jetson-of-tomorrow"):
        choose(stripes(), [conv_net()], devices=["jetson-of-tomorrow"])


def test_the_page_names_every_backbone_and_needs_no_network(trained) -> None:
    page = choice_page(choose(stripes(60), [conv_net(), trained, "torchvision/no_such"]))
    assert all(name in page for name in ("trained", "small", "no_such"))
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("stripes")
    for number, (frame, label) in enumerate(stripes(36)):
        (root / label).mkdir(exist_ok=True)
        Image.fromarray(frame).save(root / label / f"{number}.png")
    return root


def test_commands_choose_and_finetune_and_build_take_what_the_one_before_gave(folder, tmp_path, capsys) -> None:
    torch.manual_seed(0)
    net = "torchvision/squeezenet1_1"
    page = str(tmp_path / "choice.html")
    assert main(["choose", "--data", str(folder), f"{net}@64", "--json", "--out", page]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in said["candidates"]} == {f"{net}@64"}
    weights = tmp_path / "tuned.safetensors"
    common = ["--backbone", net, "--data", str(folder), "--size", "64", "--resize", "64"]
    assert main(["finetune", *common, "--epochs", "1", "--set", "mixup=0.2", "--out", str(weights)]) == 0
    out = capsys.readouterr().out
    assert "features as they were" in out and "after recipe full" in out
    assert main(["finetune", *common, "--recipe", "head", "--json", "--weights", str(weights)]) == 0
    assert json.loads(capsys.readouterr().out)["kept_epoch"] is None
    assert main(["build", *common, "--weights", str(weights), "--out", str(tmp_path / "b.edgetl")]) == 0


@pytest.mark.parametrize("change", ["rank=3", "mixup=much", "mixup", "rate=0.1", "flip=maybe", "flip="])
def test_a_field_that_no_recipe_has_is_wrong_usage(change: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["finetune", "--backbone", "x", "--data", "y", "--set", change])
    assert stop.value.code == 2 and "--set" in capsys.readouterr().err


def test_precisions_are_candidates_of_their_own_and_a_choice_goes_on_where_it_was(trained, tmp_path) -> None:
    read: list[str] = []
    wanted = ["fp32", "int8", "fp16"]
    first = choose(stripes(), [trained], precisions=wanted, cache=tmp_path, progress=lambda s: read.append(s.stage))
    assert {one.precision for one in first.candidates} == {"fp32", "u8s8" if host_family() == "x86" else "s8s8", "fp16"}
    sizes = {one.precision: one.graph_bytes for one in first.candidates}
    assert len(set(sizes.values())) == 3 and all(not one.error for one in first.candidates)
    assert first.titles[0].startswith("trained ") and len(set(first.titles)) == 3
    assert sum("features in" in stage for stage in read) == 3 * len(stripes().training)
    read.clear()
    again = choose(stripes(), [trained], precisions=wanted, cache=tmp_path, progress=lambda s: read.append(s.stage))
    assert not any("features in" in stage for stage in read), "what was judged is not computed again"
    assert sorted((one.precision, one.loo) for one in again) == sorted((one.precision, one.loo) for one in first)


def test_int8_is_what_the_boards_want(trained) -> None:
    names = [one.precision for one in choose(stripes(60), [trained], precisions=["int8"], devices=["jetson-orin-nano"])]
    assert names == ["s8s8"]
    with pytest.raises(QuantizeError, match="fp32"):
        choose(stripes(60), [trained], precisions=["int7"])


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    return edgetl.build(trained, stripes(300, seed=3), out=tmp_path_factory.mktemp("bundle") / "stripes.edgetl").path


def test_a_bundle_knows_its_own_kind_of_data_and_says_how_far_other_data_is(bundle) -> None:
    own = compare_with_bundle(bundle, stripes(200, seed=4))
    dark = [(frame // 3, label if label != "slanted" else "upside") for frame, label in stripes(200, seed=4)]
    other = compare_with_bundle(bundle, edgetl.dataset([f for f, _ in dark], [name for _, name in dark]))
    assert own.kind == "none" and own.new_classes == () and own.known == own.samples
    assert other.kind != "none" and other.new_classes == ("upside",) and 0 < other.known < other.samples
    assert other.gap > 5 * own.gap and other.gap_own == own.gap_own
    assert own.right is not None and own.right_own is not None and other.right is not None
    assert own.right > other.right and abs(own.right - own.right_own) < 0.15
    with pytest.raises(DatasetError, match="gives classes"):
        frames = np.zeros((30, 12, 12), np.uint8)
        compare_with_bundle(bundle, edgetl.dataset(frames, targets={"speed": np.arange(30.0)}))


def test_the_command_says_what_a_bundle_makes_of_the_data(bundle, folder, capsys) -> None:
    assert main(["choose", "--data", str(folder), "--bundle", str(bundle)]) == 0
    out = capsys.readouterr().out
    assert "stripes beside" in out and "like nothing it knows, %" in out and "backbone" not in out
    assert main(["choose", "--data", str(folder), "--bundle", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"]["dataset"]
    assert main(["choose", "--data", str(folder)]) == 1
    assert "--bundle" in capsys.readouterr().err
