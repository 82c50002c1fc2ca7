"""Where a head of classes errs: confusion, probabilities, every class, the errors themselves, what answers rest on."""

from __future__ import annotations

import numpy as np

from edgetl.building.held_out_answers import Answers, calibration_error, chance_error, reliability
from edgetl.building.result import BuildResult
from edgetl.html.matrix import Heatmap
from edgetl.html.page import Columns, Folded, Part, Section, Table, Text
from edgetl.html.pictures import ContactSheet, Pairs, Tile
from edgetl.reporting.diagrams import Reliability
from edgetl.reporting.story import Story

__all__ = ["class_sections"]

_ROWS, _MOST_CONFUSIONS, _BESIDE = 20, 12, 12


def class_sections(result: BuildResult, story: Story) -> list[Section]:
    """Of a build that held samples out; their figures are those of the result."""
    sections = [_confusion(result)]
    if isinstance(result.answers, Answers):
        sections.append(_probabilities(result.answers))
    sections.append(_classes(result))
    if isinstance(result.answers, Answers):
        sections.append(_failures(result, result.answers, story))
        if story.looks:
            sections.append(_looks(result, result.answers, story))
    return sections


def _confusion(result: BuildResult) -> Section:
    counts = np.asarray(result.confusion)
    caption = "Held-out samples, each row shaded by its share: blue right, red wrong."
    parts = [Heatmap(caption, result.classes, counts.tolist()), _confusions(result.classes, counts)]
    return Section(
        "Where it errs",
        "The factory head on samples of the source that it was not fitted on.",
        [Columns(parts)] if len(result.classes) <= _BESIDE else parts,
    )


def _confusions(classes: tuple[str, ...], counts: np.ndarray) -> Part:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    rows = [[classes[i // len(classes)], classes[i % len(classes)], int(wrong.flat[i])] for i in order if wrong.flat[i]]
    if not rows:
        return Text(["No held-out sample was taken for another class."])
    return Table("Commonest confusions", ["is", "taken for", "times"], rows)


def _probabilities(answers: Answers) -> Section:
    bins = reliability(answers.probability, answers.right)
    own, crossed = calibration_error(bins), calibration_error(reliability(answers.crossed, answers.right))
    confident, share = float(answers.probability.mean()), float(answers.right.mean())
    leaning = "over-confident" if confident > share else "under-confident"
    words = [
        f"ECE {100 * own:.1f} %: so far apart are probability and share right, in the mean over all answers.",
        f"In the mean it says {100 * confident:.1f} % and is right in {100 * share:.1f} %: {leaning} by"
        f" {100 * abs(confident - share):.1f} points.",
        "The temperature of the head, one number, was fitted on these very samples. Fitted on one half of them and"
        f" judged on the other, ECE is {100 * crossed:.1f} %.",
        f"With {len(answers.said)} answers, probabilities that are exactly right would show an ECE of up to"
        f" {100 * chance_error(answers.crossed):.1f} % by chance (95 %).",
    ]
    caption = "Dots on the dashed line mean what they say; strokes are 95 % intervals, bars count the answers."
    parts = [Columns([Reliability(caption, bins), Text(words)])]
    return Section("Calibration", "Do its probabilities mean what they say?", parts)


def _classes(result: BuildResult) -> Section:
    counts = np.asarray(result.confusion)
    held, said, right = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    found, true = right / np.maximum(held, 1), right / np.maximum(said, 1)
    some = (i for i in range(len(held)) if held[i] or said[i])
    order = sorted(some, key=lambda i: (found[i], true[i], result.classes[i]))
    rows: list[list[str | float | int]] = [
        [
            result.classes[i], int(held[i]), int(right[i]),
            f"{100 * found[i]:.1f}" if held[i] else "", f"{100 * true[i]:.1f}" if said[i] else "",
        ]
        for i in order
    ]  # fmt: skip
    columns = ["class", "n held out", "right", "recall %", "precision %"]
    without = sum(1 for i in order if held[i] and right[i] == held[i])
    caption = f"The worst first; {without} of {len(order)} classes without an error in recall."
    parts: list[Part] = [Table(caption, columns, rows[:_ROWS])]
    if len(rows) > _ROWS:
        parts.append(Folded(f"{len(rows) - _ROWS} more classes", [Table("The better ones.", columns, rows[_ROWS:])]))
    recall, precision = _mean(right, held), _mean(right, said)
    lead = (
        "Recall: of the samples of a class, those found. Precision: of those said to be of it, those that are. Means"
        f" over classes: recall {100 * recall:.1f} %, precision {100 * precision:.1f} %."
    )
    return Section("Every class", lead, parts)


def _mean(right: np.ndarray, total: np.ndarray) -> float:
    some = total > 0
    return float(np.mean(right[some] / total[some])) if some.any() else 0.0


def _failures(result: BuildResult, answers: Answers, story: Story) -> Section:
    wrong = int((~answers.right).sum())
    if not wrong:
        return Section("Examples that fail", "", [Text(["None: every held-out answer was right."])])
    if not story.failures:
        words = f"{wrong} held-out answers are wrong; the samples were not at hand when this page was written."
        return Section("Examples that fail", "", [Text([words])])
    tiles = [
        Tile(
            one.image, f"is {_end(result.classes[answers.truth[one.row]])}",
            (
                f"said {_end(result.classes[answers.said[one.row]])}, {_percent(answers.probability[one.row])}",
                f"the truth {_percent(answers.of_truth[one.row])}", one.name,
            ),
        )
        for one in story.failures
    ]  # fmt: skip
    caption = f"{len(tiles)} of {wrong} wrong answers."
    lead = "The most confident errors first. Look whether the label, the picture or the head is wrong."
    return Section("Examples that fail", lead, [ContactSheet(caption, [tiles])])


def _looks(result: BuildResult, answers: Answers, story: Story) -> Section:
    tiles = []
    for look in story.looks:
        before, after = _chance(look.occlusion.evidence), _chance(look.occlusion.lowest)
        truth, said = result.classes[answers.truth[look.row]], result.classes[look.place]
        verdict = f"{_end(said)}, right" if truth == said else f"said {_end(said)}, is {_end(truth)}"
        rests = f"Of the channels it rests most on {look.strongest}." if look.strongest else ""
        lines = (f"{_percent(before)}; without its strongest part {_percent(after)}", rests)
        tiles.append(Tile(look.image, verdict, lines, look.lit))
    first = story.looks[0]
    if first.occlusion.fall.ndim == 2:
        lead = (
            "Parts of the sample are covered one after the other, and the deployed graph and head are asked again. What"
            " stays lit is what the answer falls without. A right answer that rests on the background will not survive"
            " a new place."
        )
    elif first.image:
        lead = (
            "Stretches of the window, and whole channels, are put to their mean one after the other, and the deployed"
            " graph and head are asked again. Shaded is what the answer falls without."
        )
    else:
        lead = "Each word is left out in turn, and the deployed graph and head are asked again. Marked is what counts."
    return Section("What it looks at", lead, [Pairs("Errors first, then right answers.", tiles)])


def _chance(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))


def _percent(share: float) -> str:
    if share < 0.01:
        return "below 1\N{NO-BREAK SPACE}%"
    if share > 0.9999:
        return "over 99.99\N{NO-BREAK SPACE}%"
    return f"{100 * share:.{2 if share > 0.995 else 0}f}\N{NO-BREAK SPACE}%"


def _end(name: str) -> str:
    """The last part of a path, as a class of a folder in a folder is named."""
    return name.rpartition("/")[2] or name
