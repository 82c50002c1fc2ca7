from __future__ import annotations

import numpy as np
import pytest

import edgetl
from edgetl.errors import TuningError
from edgetl.tuning import RECIPES, tune
from edgetl.tuning.choice import _behind, _still_in, candidate_recipes
from edgetl.tuning.recipes import chosen_recipe
from tests.host.tuning.small import conv_net, series_net, stripes, waves, weights_digest

SHORT = {
    "head": RECIPES["head"],
    "full": chosen_recipe("full", {"epochs": 1}),
    "scratch": chosen_recipe("scratch", {"epochs": 6, "batch": 16}),
}


def test_auto_takes_what_is_better_on_the_training_part_and_trains_that(caplog) -> None:
    # Random features tell little of these stripes; a network trained on them does.
    data = stripes(240)
    result = tune(conv_net(), data, candidates=SHORT)
    assert result.name == "scratch" and result.recipe == SHORT["scratch"]
    assert result.choice.scores["scratch"] > result.choice.scores["head"] + 0.1
    assert result.comparison.tuned["slda"] > result.comparison.frozen["slda"] + 0.1
    assert "recipe scratch was chosen" in caplog.text
    named = tune(conv_net(), data, "scratch", epochs=6, batch=16)
    assert weights_digest(result.extractor) == weights_digest(named.extractor), "trials leave no trace in the run"


def test_who_falls_behind_leaves_and_held_out_samples_take_no_part() -> None:
    data = stripes(240)
    first = tune(conv_net(), data, candidates=SHORT).choice
    assert all(trial.samples < len(data.training) / 2 for trial in first.trials)
    assert len(first.trials) < 9, "somebody has left"
    # Other held-out samples, the same training part: the same trials.
    held = set(data.held_out.indices)
    frames = np.stack([np.full((12, 12), 9, np.uint8) if i in held else data.reader.read(i) for i in data.indices])
    other = edgetl.dataset(frames, data.labels, name="stripes")
    again = tune(conv_net(), other, candidates=SHORT).choice
    assert [(t.recipe, t.draw, t.score) for t in again.trials] == [(t.recipe, t.draw, t.score) for t in first.trials]


def test_an_interrupted_choice_goes_on_to_the_same_weights(tmp_path) -> None:
    data = stripes(180)
    whole = tune(conv_net(), data, candidates=SHORT)

    class Cut(Exception):
        pass

    def cut(step) -> None:
        if step.note.startswith("scratch, draw 1: loss"):
            said.append(step)
            if len(said) == 7:
                raise Cut

    said: list = []

    with pytest.raises(Cut):
        tune(conv_net(), data, candidates=SHORT, checkpoints=tmp_path, save_every_s=0.0, progress=cut)
    steps = []
    result = tune(conv_net(), data, candidates=SHORT, checkpoints=tmp_path, progress=steps.append)
    notes = [step.note for step in steps if step.stage == "choosing a recipe"]
    assert any("scratch, draw 1" in note for note in notes) and not any("full, draw 1" in note for note in notes)
    counts = [(step.done, step.total) for step in steps if step.stage == "choosing a recipe"]
    assert counts == sorted(counts) and counts[-1][0] == counts[-1][1]
    assert weights_digest(result.extractor) == weights_digest(whole.extractor)
    assert result.choice.scores == whole.choice.scores
    with pytest.raises(TuningError, match="another run, which differs in seed"):
        tune(conv_net(), data, candidates=SHORT, checkpoints=tmp_path, seed=1)


def test_numbers_are_chosen_by_r2_on_the_last_of_the_training_part() -> None:
    windows, speed = waves(500)
    data = edgetl.dataset(windows, targets={"speed": speed})
    rows = {"head": RECIPES["head"], "full": chosen_recipe("full", {"epochs": 12, "rate": 3e-3})}
    result = tune(series_net(), data, candidates=rows)
    assert result.name == "full" and {trial.draw for trial in result.choice.trials} == {0}


def test_changes_go_to_the_recipes_that_they_are_for() -> None:
    rows = candidate_recipes(None, {"epochs": 4, "rate": 1e-5, "mixup": 0.2, "batch": None})
    assert list(rows) == ["head", "last-blocks", "full", "scratch"] and rows["head"] == RECIPES["head"]
    assert (rows["full"].epochs, rows["full"].rate, rows["full"].mixup) == (4, 1e-5, 0.2)
    assert (rows["scratch"].epochs, rows["scratch"].rate, rows["scratch"].mixup) == (10, RECIPES["scratch"].rate, 0.2)
    for changes, why in (({"depth": 1}, "no depth"), ({"batch": 0}, "batch must be positive")):
        with pytest.raises(TuningError, match=why):
            candidate_recipes(["head"], changes)
    with pytest.raises(TuningError, match="no recipe 'lora'"):
        candidate_recipes(["lora"], {})
    with pytest.raises(TuningError, match="nothing to choose from"):
        candidate_recipes([], {})


def test_what_cannot_be_told_apart_is_not_chosen_by_chance() -> None:
    single = tune(conv_net(), stripes(48), candidates=["head"])
    assert single.name == "head" and single.choice.trials == () and single.choice.scores == {}
    few = tune(conv_net(), stripes(48), epochs=1)
    assert few.name == "full" and "samples would judge, too few" in few.choice.why
    right = np.array([1.0, 0.0] * 50)
    near, far = right.copy(), right.copy()
    near[:2] = 0.0, 1.0  # one sample better, one worse than the leader, and so on: no difference
    far[:40] = 0.0
    judged = {"scratch": right, "full": near, "head": far}
    assert _still_in(list(judged), judged) == ["scratch", "full"]
    assert {name: mean <= error for name, (mean, error) in _behind(list(judged), judged).items()}["full"]
