from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

import edgetl
from edgetl.errors import TuningError
from edgetl.features import reference_features
from edgetl.tuning import RECIPES, Comparison, tune
from edgetl.tuning.comparison import warnings_of
from edgetl.tuning.network import joined_network, parameter_groups, stages_of
from edgetl.tuning.recipes import chosen_recipe
from tests.host.tuning.small import conv_net, series_net, stripes, waves, weights_digest


def test_scratch_learns_what_random_features_do_not_tell() -> None:
    before, data = conv_net(), stripes(240)
    digest = weights_digest(before)
    result = tune(before, data, "scratch", epochs=10, patience=6)
    compared = result.comparison
    assert isinstance(compared, Comparison)
    assert compared.tuned["slda"] > compared.frozen["slda"] + 0.1
    assert compared.plain < 0.4 and compared.samples == len(data.held_out)
    assert weights_digest(before) == digest, "the extractor that was given stays as it is"


def test_the_extractor_is_of_the_same_kind_and_says_how_it_was_made() -> None:
    before = conv_net()
    tuned = edgetl.finetune(before, stripes(), "last-blocks", epochs=2)
    assert (tuned.preprocess, tuned.mean, tuned.scale, tuned.dim) == (before.preprocess, before.mean, before.scale, 24)
    made = json.loads(json.dumps(tuned.provenance, allow_nan=False))["finetune"]
    assert made["recipe"] == "last-blocks" and made["epochs"] == 2 and 0 <= made["comparison"]["tuned"]["slda"] <= 1
    assert not any(p.requires_grad for p in tuned.module.parameters()) and not tuned.module.training
    frames = np.zeros((2, 12, 12, 1), np.uint8)
    assert reference_features(tuned, frames).shape == (2, 24)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = edgetl.finetune(conv_net(), stripes(), "full", epochs=2, seed=4)
    assert torch.equal(torch.rand(3), expected)
    two, other = (edgetl.finetune(conv_net(), stripes(), "full", epochs=2, seed=seed) for seed in (4, 5))
    assert weights_digest(one) == weights_digest(two) != weights_digest(other)


def test_only_the_last_blocks_change_and_batch_statistics_stay() -> None:
    before = conv_net()
    state = before.module.state_dict()
    tuned = edgetl.finetune(before, stripes(), "last-blocks", epochs=2).module.state_dict()
    changed = {name for name in state if not torch.equal(state[name], tuned[name])}
    assert changed == set(stages_of(before.module)[-1])
    moving = edgetl.finetune(before, stripes(), "full", epochs=2, batch_statistics="moving").module.state_dict()
    assert not torch.equal(state["1.running_mean"], moving["1.running_mean"])


def test_rates_fall_towards_the_input_and_gradual_stages_join_later() -> None:
    recipe = chosen_recipe("gradual", {"epochs": 9})
    groups = parameter_groups(joined_network(conv_net(), 3, recipe, 0), recipe)
    stages = [group for group in groups if group["weight_decay"]][:-1]
    assert stages[-1]["rate"] == recipe.rate and stages[0]["rate"] == pytest.approx(recipe.rate * recipe.depth_rate)
    assert [g["since"] for g in stages] == sorted((g["since"] for g in stages), reverse=True)
    assert stages[0]["since"] == 6


def test_weights_are_drawn_to_where_they_started() -> None:
    before = conv_net()

    def moved(toward: float) -> float:
        after = edgetl.finetune(before, stripes(), "full", epochs=3, toward_start=toward, weight_decay=0.0, rate=3e-3)
        pairs = zip(before.module.parameters(), after.module.parameters(), strict=True)
        return float(sum(((a - b) ** 2).sum() for a, b in pairs))

    assert moved(300.0) < 0.25 * moved(0.0)


def test_recomputing_stages_changes_memory_and_no_weight() -> None:
    plain, again = (edgetl.finetune(conv_net(), stripes(), "full", epochs=2, recompute=on) for on in (False, True))
    assert weights_digest(plain) == weights_digest(again)


def test_windows_of_a_series_and_numbers_are_trained_as_images_and_classes_are() -> None:
    windows, speed = waves()
    labels = ["slow" if one < 0.7 else "fast" for one in speed]
    classes = tune(series_net(), edgetl.dataset(windows, labels), "scratch", epochs=12, jitter=0.3)
    assert classes.comparison.tuned["slda"] > 0.85
    numbers = tune(series_net(), edgetl.dataset(windows, targets={"speed": speed}), "full", epochs=12, rate=3e-3)
    assert list(numbers.comparison.tuned) == ["ridge"]
    assert numbers.comparison.tuned["ridge"] > numbers.comparison.frozen["ridge"]


def test_recipe_head_changes_nothing_and_compares_every_closed_form_head() -> None:
    before = conv_net()
    result = tune(before, stripes(), "head")
    assert result.extractor.module is before.module and result.kept_epoch is None
    assert set(result.comparison.frozen) == {"gaussian_nb", "ncm", "ridge", "slda"}


def test_a_cached_feature_is_found_again_only_for_the_same_network_and_data(tmp_path) -> None:
    first = tune(conv_net(), stripes(), "head", cache=tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert tune(conv_net(), stripes(), "head", cache=tmp_path).comparison == first.comparison
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    tune(conv_net(seed=1), stripes(), "head", cache=tmp_path)
    tune(conv_net(), stripes(seed=1), "head", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3 * len(files)
    next(iter(files)).write_bytes(b"cut off")
    assert tune(conv_net(), stripes(), "head", cache=tmp_path).comparison == first.comparison


def test_training_that_hurts_is_said(caplog) -> None:
    # A rate that ruins what there is; nothing is kept back to choose an earlier epoch by.
    good = edgetl.finetune(conv_net(), stripes(240), "scratch", epochs=8)
    with caplog.at_level(logging.WARNING):
        result = tune(good, stripes(240), "full", epochs=2, rate=30.0, clip=0.0, validation=0.0, depth_rate=1.0)
    assert result.comparison.warnings and "training the network hurts here" in caplog.text


def test_warnings_name_the_side_that_hurts() -> None:
    def said(head: str, frozen: float, tuned: float, scratch: float | None = None, **more: float) -> tuple[str, ...]:
        others = {name: {head: value} for name, value in more.items()}
        from_random = {} if scratch is None else {head: scratch}
        return warnings_of(Comparison(9, 0.1, {head: frozen}, {head: tuned}, from_random, **others))

    assert said("slda", 0.9, 0.895, 0.9) == ()
    assert "training the network hurts" in said("slda", 0.9, 0.88)[0]
    assert "learnt elsewhere hurts" in said("slda", 0.8, 0.85, 0.9)[0]
    assert "R2 0.200" in said("ridge", 0.5, 0.2)[0]
    assert "the other tasks hurt here: 80.0 % right together, 85.0 %" in said("slda", 0.7, 0.8, alone=0.85)[0]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs(name: str) -> None:
    result = tune(conv_net(), stripes(48), name, epochs=None if name == "head" else 1)
    assert result.name == name and len(result.epochs) == (0 if name == "head" else 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"recipe": "lora"}, "no recipe 'lora'; there are head, last-blocks"),
        ({"learning_rate": 1.0}, "no learning_rate; it has"),
        ({"batch": 0}, "batch must be positive"),
        ({"mixup": -1.0}, "mixup must not be negative"),
        ({"validation": 1.5}, "validation is a share"),
        ({"rate": 1e300}, r"rate is at most 1e\+30"), ({"clip": float("inf")}, "clip is at most"),
        ({"flip": 2}, "flip is true or"), ({"batch": 1.5}, "batch is a whole"), ({"rate": "0.1"}, "rate is a number"),
        ({"precision": "fp8"}, "precision is one of auto, bf16, fp32"),
        ({"recompute": True, "batch_statistics": "moving"}, "recompute would count every batch twice"),
        ({"recipe": "full", "epochs": 1, "rate": 1e30, "clip": 0.0}, "the loss of epoch 1 is"),
    ],
)
def test_what_cannot_be_done_is_said(changes: dict, why: str) -> None:
    with pytest.raises(TuningError, match=why):
        edgetl.finetune(conv_net(), stripes(48), **{"recipe": "last-blocks", **changes})
