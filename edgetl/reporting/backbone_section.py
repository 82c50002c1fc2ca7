"""Which backbone and why: what was chosen from, what fine-tuning gave beside what needs none, and how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetl.building.result import BuildResult
from edgetl.choosing.page import ranking_table
from edgetl.html.charts import LineChart, Series
from edgetl.html.page import Part, Section, Table, Text
from edgetl.reporting.story import Story

__all__ = ["backbone_sections", "tuning_parts"]


def backbone_sections(result: BuildResult, story: Story) -> list[Section]:
    """The backbone, and the learning curves where there was a run."""
    extractor = (story.manifest.provenance if story.manifest else {}).get("extractor", {})
    facts: list[list[str | float | int]] = [["network", str(extractor.get("name", "unknown"))]]
    for key, what in (("file", "weights"), ("weights", "weights"), ("sha256", "sha256 of the weights")):
        if extractor.get(key) and not (key == "weights" and "file" in extractor):
            facts.append([what, str(extractor[key])])
    facts.append(["features", f"{result.dim} numbers a sample"])
    parts: list[Part] = [Table("The extractor of the bundle.", ["what", "value"], facts), *_choice(story, extractor)]
    sections = [Section("The backbone, and why", "", parts)]
    if story.tuning is None:
        parts.append(Text(["No record of a fine-tuning lies beside the weights: the network is as it was given."]))
        return sections
    gains, curves = tuning_parts(story.tuning)
    parts += gains
    return [*sections, *curves]


def tuning_parts(tuning: Mapping[str, Any]) -> tuple[list[Part], list[Section]]:
    """What fine-tuning gave, and its learning curves where it trained."""
    return _comparison(tuning), [_curves(tuning)] if tuning.get("epoch") else []


def _choice(story: Story, extractor: Mapping[str, Any]) -> list[Part]:
    ranking = story.ranking
    if ranking is None:
        words = "edgetl choose was not asked (--choice): nothing here says that another backbone would not do better."
        return [Text([words])]
    name = str(extractor.get("name", ""))
    judged = [one for one in ranking.candidates if not one.error]
    mine = [place for place, one in enumerate(judged) if one.name.startswith(name)]
    words = f"Ranked by edgetl choose on {ranking.samples} samples of {ranking.dataset}"
    if not name or not mine:
        return [ranking_table(ranking, words + "; this one is not among them.")]
    place = mine[0] + 1
    return [ranking_table(ranking, f"{words}; in bold the one that was taken, number {place}.", mine[:1])]


def _comparison(tuning: Mapping[str, Any]) -> list[Part]:
    tasks = {name: one for name, one in (tuning.get("tasks") or {}).items() if one}
    compared = {"": tuning["comparison"]} if tuning.get("comparison") else tasks
    if not compared:
        return [Text(["The fine-tuning held nothing out, so its gain was not measured."])]
    return [*_trials(tuning), *(_table(tuning, task, one) for task, one in compared.items())]


def _trials(tuning: Mapping[str, Any]) -> list[Part]:
    """What recipe "auto" chose from."""
    choice = tuning.get("choice")
    if not choice:
        return []
    if not choice["scores"]:
        return [Text([f"Recipe {tuning['recipe']} was taken without a trial: {choice.get('why') or 'no other fits'}."])]
    best = sorted(choice["scores"].items(), key=lambda item: -item[1])
    rows: list[list[str | float | int]] = [[name, f"{score:.3f}"] for name, score in best]
    strong = [place for place, (name, _) in enumerate(best) if name == tuning["recipe"]]
    caption = f"Mean score of short trials on the training part, in {choice['seconds']:.0f} s; in bold what was taken."
    return [Table(caption, ["recipe", "score"], rows, strong=strong)]


def _table(tuning: Mapping[str, Any], task: str, compared: Mapping[str, Any]) -> Table:
    numbers = compared["score"] == "r2"
    heads = list(compared["frozen"])
    rows: list[list[str | float | int]] = []

    def row(name: str, scores: Mapping[str, float]) -> None:
        if scores:
            rows.append([name, *("" if scores.get(h) is None else _score(scores[h], numbers) for h in heads)])

    plain = "always the mean" if numbers else "always the commonest class"
    row(plain, dict.fromkeys(heads, compared["plain"]))
    from_random = (tuning.get("settings") or {}).get("start") == "random"
    row("random weights, untrained" if from_random else "features as they were given", compared["frozen"])
    row("the same network from random weights", compared.get("scratch") or {})
    row("after the same recipe on this task alone", compared.get("alone") or {})
    trained = bool(tuning.get("epoch"))
    if trained:
        row(f"after recipe {tuning['recipe']}", compared["recipe"])
    own = compared.get("own")
    said = "" if own is None else f" The linear layer it was trained with: {_score(own, numbers)}."
    missing = "" if compared.get("scratch") or from_random else " Training from scratch was not tried (--scratch)."
    measure = ("R2" if numbers else "% right") + (f" of {task}" if task else "")
    caption = (
        f"{measure} on the {compared['samples']} held-out samples of the run, by the head fitted on the"
        f" features.{said}{missing}"
    )
    return Table(caption, ["", *heads], rows, strong=[len(rows) - 1] if trained else [])


def _curves(tuning: Mapping[str, Any]) -> Section:
    epochs = [float(epoch) for epoch in tuning["epoch"]]
    numbers = (tuning.get("comparison") or {}).get("score") == "r2"
    kept = tuning.get("kept_epoch")
    settings = tuning.get("settings") or {}
    lead = (
        f"Recipe {tuning['recipe']}, {len(epochs)} epochs of batches of {settings.get('batch', '?')} in"
        f" {tuning['seconds']:.0f} s; kept the weights after epoch {kept}."
    )
    factor = 1 if numbers else 100
    losses = [_series("training", epochs, tuning["training_loss"])]
    losses += [_series("validation", epochs, tuning["validation_loss"])]
    right = _series("validation", epochs, [None if v is None else v * factor for v in tuning["validation_right"]])
    if len(epochs) < 2:
        said = [f"{one.label} loss {one.points[-1][1]:.3f}" for one in losses if one.points]
        return Section("Learning curves", lead, [Text([", ".join(said) + ": one epoch draws no curve."])])
    caption = "Mean loss of each epoch. Mixing, smoothing and changed pictures make the training loss the harder one."
    parts: list[Part] = [_chart(caption, "loss", [one for one in losses if one.points], epochs, 3)]
    if right.points:
        caption = "On the part of the training samples that was set aside to choose the epoch."
        parts.append(_chart(caption, "R2" if numbers else "% right", [right], epochs, 3 if numbers else 1))
    else:
        parts.append(Text(["No samples were set aside to choose an epoch: the last one was kept."]))
    return Section("Learning curves", lead, parts)


def _chart(caption: str, y: str, series: Sequence[Series], epochs: Sequence[float], digits: int) -> Part:
    step = max(1, -(-len(epochs) // 8))
    return LineChart(caption, "epoch", y, series, x_ticks=epochs[::step], digits=digits)


def _series(label: str, epochs: Sequence[float], values: Sequence[float | None]) -> Series:
    return Series(label, [(epoch, value) for epoch, value in zip(epochs, values, strict=False) if value is not None])


def _score(value: float, numbers: bool) -> str:
    return f"{value:.3f}" if numbers else f"{100 * value:.1f}"
