"""How far off a head of numbers is: predicted against true, error by value, the worst samples, what they rest on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edgetl.building.held_out_answers import NumberAnswers
from edgetl.building.result import BuildResult
from edgetl.html.charts import Bar, Bars
from edgetl.html.page import Columns, Part, Section, Table
from edgetl.html.pictures import ContactSheet, Pairs, Tile
from edgetl.reporting.diagrams import PredictedTrue
from edgetl.reporting.story import Story

__all__ = ["number_sections"]

_DOTS, _BINS = 800, 8


def number_sections(result: BuildResult, story: Story) -> list[Section]:
    """Of a build with numbers in place of classes that held samples out."""
    sections = [_errors(result)]
    if isinstance(result.answers, NumberAnswers):
        sections.append(_by_value(result, result.answers))
        if story.failures:
            sections.append(_failures(result, result.answers, story))
        if story.looks:
            sections.append(_looks(result, result.answers, story))
    return sections


def _errors(result: BuildResult) -> Section:
    rows: list[list[str | float | int]] = [
        [
            _named(result, place), f"{one.rmse:.4g}", f"{one.rmse_of_mean:.4g}",
            f"{result.oracle_rmse[place]:.4g}" if result.oracle_rmse else "", f"{one.r2:.3f}", f"{one.deviation:.4g}",
        ]
        for place, one in enumerate(result.output_errors)
    ]  # fmt: skip
    columns = ["number", "the head", "always the training mean", "oracle", "R2", "error that the head expects"]
    caption = "Root mean square errors. The oracle is the same head, fitted on the held-out samples too."
    parts: list[Part] = [Table(caption, columns, rows)]
    if isinstance(result.answers, NumberAnswers):
        answers = result.answers
        chosen = np.linspace(0, len(answers.truth) - 1, min(_DOTS, len(answers.truth))).round().astype(int)
        parts.append(
            Columns(
                [
                    PredictedTrue(
                        f"{output.name}: {len(chosen)} of {len(answers.truth)} held-out samples.", output.name,
                        answers.truth[chosen, place].tolist(), answers.said[chosen, place].tolist(),
                    )
                    for place, output in enumerate(result.outputs)
                ]
            )
        )  # fmt: skip
    return Section(
        "Predicted against true",
        f"On the last {result.held_out_samples} samples, which it was not fitted on and which come after those it was.",
        parts,
    )


def _by_value(result: BuildResult, answers: NumberAnswers) -> Section:
    parts: list[Part] = []
    for place in range(len(result.outputs)):
        truth, error = answers.truth[:, place], answers.said[:, place] - answers.truth[:, place]
        edges = np.unique(np.quantile(truth, np.linspace(0, 1, _BINS + 1)))
        bars = []
        for low, high in pairwise(edges):
            inside = (truth >= low) & ((truth < high) | (high == edges[-1]))
            rmse = float(np.sqrt(np.mean(error[inside] ** 2)))
            leaning = float(error[inside].mean())
            label = f"{low:.3g} to {high:.3g} (n {int(inside.sum())})"
            bars.append(Bar(label, rmse, f"{rmse:.3g}, mean {leaning:+.2g}", place))
        if bars:
            parts.append(Bars(f"{_named(result, place)}: root mean square and mean error; n samples.", bars))
    lead = "By true value, as many samples in each stretch as can be. A mean error far from zero is a lean to one side."
    return Section("Error by value", lead, [Columns(parts)])


def _failures(result: BuildResult, answers: NumberAnswers, story: Story) -> Section:
    tiles = []
    for one in story.failures:
        lines = [
            f"{output.name}: said {answers.said[one.row, place]:.3g} ± {answers.deviation[one.row, place]:.2g},"
            f" is {answers.truth[one.row, place]:.3g}"
            for place, output in enumerate(result.outputs)
        ]
        tiles.append(Tile(one.image, "", (*lines, one.name)))
    lead = "The largest errors first, in units of the error of each number; ± is the error that the head expected."
    return Section("Examples that fail", lead, [ContactSheet(f"{len(tiles)} of {len(answers.truth)}.", [tiles])])


def _looks(result: BuildResult, answers: NumberAnswers, story: Story) -> Section:
    tiles = []
    for look in story.looks:
        name = result.outputs[look.place].name
        said = f"{name}: said {look.occlusion.evidence:.3g}, is {answers.truth[look.row, look.place]:.3g}"
        lines = (f"without its strongest part: {look.occlusion.lowest:.3g}",)
        tiles.append(Tile(look.image, said, lines, look.lit))
    lead = (
        "Parts of the sample are covered one after the other, and the deployed graph and head are asked again. What"
        " stays lit changes the number most."
    )
    return Section("What it looks at", lead, [Pairs("The largest errors first, then small ones.", tiles)])


def _named(result: BuildResult, place: int) -> str:
    output = result.outputs[place]
    return f"{output.name}{f', {output.unit}' if output.unit else ''}"
