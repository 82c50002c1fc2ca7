"""The top of the page: is this bundle good, held against what, and what to know before it goes to a robot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from edgetl.bench import likely_share
from edgetl.building.held_out_answers import Answers, calibration_error, chance_error, reliability
from edgetl.building.result import BuildResult
from edgetl.html.page import Figure, KeyFigures, Part, Remark, Remarks, Section
from edgetl.reporting.origin_sections import size_of
from edgetl.reporting.story import Story

__all__ = ["summary", "transfer_warnings"]

_FEW, _FEW_OF_A_CLASS, _GAIN = 30, 5, 0.005
_SHOWN = 6


def summary(result: BuildResult, story: Story) -> Section:
    """Figures in large letters, then remarks: the verdict first."""
    parts: list[Part] = [Remarks([_verdict(result)]), KeyFigures(list(_figures(result, story)))]
    found = list(_remarks(result, story))
    if found:
        parts.append(Remarks(found))
    return Section("In short", "", parts)


def _figures(result: BuildResult, story: Story) -> Iterator[Figure]:
    if result.held_out_accuracy is not None and result.majority_accuracy is not None:
        low, high = likely_share(result.held_out_accuracy, result.held_out_samples)
        yield Figure(
            "Right on held-out samples",
            f"{100 * result.held_out_accuracy:.1f} %",
            f"of {result.held_out_samples}; 95 % interval {100 * low:.1f} to {100 * high:.1f}",
        )
        yield Figure("Baseline", f"{100 * result.majority_accuracy:.1f} %", "always the commonest class")
        before = _before(story)
        if before is not None:
            random = ((story.tuning or {}).get("settings") or {}).get("start") == "random"
            name, note = "Backbone untouched", "the same kind of head, before fine-tuning"
            if random:
                name, note = "Untrained network", "the same kind of head on random weights"
            yield Figure(name, f"{100 * before:.1f} %", note)
        if result.oracle_accuracy is not None:
            oracle = f"{100 * result.oracle_accuracy:.1f} %"
            yield Figure("Oracle", oracle, "the same head, having seen the held-out samples too")
    for place, one in enumerate(result.output_errors):
        unit = f" {one.output.unit}" if one.output.unit else ""
        oracle = f"; oracle {result.oracle_rmse[place]:.3g}" if result.oracle_rmse else ""
        note = f"root mean square error; always the mean: {one.rmse_of_mean:.3g}{oracle}"
        yield Figure(f"Error of {one.output.name}", f"{one.rmse:.3g}{unit}", note)
    skipped = sum(result.skipped.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.skipped.items()) or "none skipped"
    yield Figure("Decisions equal", f"{100 * result.decisions_agreed:.0f} %", "source framework and exported graph")
    if story.costs is not None:
        note = "sample to answer, median here, one thread; no board was measured"
        yield Figure("One sample", f"{sum(story.costs.steps.values()):.3g} ms", note)
    yield Figure("Bundle", size_of(result.bundle_bytes), "signed" if result.signed else "NOT SIGNED")
    told = f"{skipped} skipped: {reasons}" if skipped else reasons
    yield Figure("Training samples", str(result.training_samples), told)


def _verdict(result: BuildResult) -> Remark:
    """One sentence, from the figures alone."""
    kind = "Verdict"
    if result.output_errors:
        bad = [one.output.name for one in result.output_errors if one.rmse >= one.rmse_of_mean]
        if bad:
            said = f"{', '.join(bad)}: no better than always saying the mean of the training samples."
            return Remark(kind, "fault", said, "Do not ship it: look at the data, another backbone, or more samples.")
        said = "; ".join(
            f"{one.output.name} is off by {one.rmse:.3g} (always the mean: {one.rmse_of_mean:.3g}), R2 {one.r2:.2f}"
            for one in result.output_errors
        )
        return Remark(kind, "good", f"Better than always saying the mean: {said}.")
    if result.held_out_accuracy is None or result.majority_accuracy is None:
        said = "Nothing was held out, so nothing was measured: this page cannot say how good it is."
        return Remark(kind, "warning", said, "Build with --holdout 0.2.")
    low = likely_share(result.held_out_accuracy, result.held_out_samples)[0]
    said = f"{100 * result.held_out_accuracy:.1f} % right; always the commonest class:"
    said += f" {100 * result.majority_accuracy:.1f} %"
    if result.oracle_accuracy is not None:
        said += f", oracle: {100 * result.oracle_accuracy:.1f} %"
    if low <= result.majority_accuracy:
        return Remark(
            kind, "fault", f"Not shown to be better than always saying the commonest class: {said}.",
            "Do not ship it: look at the data (edgetl data check), another backbone (edgetl choose), or more samples.",
        )  # fmt: skip
    return Remark(kind, "good", f"Better than the baseline: {said}.")


def _remarks(result: BuildResult, story: Story) -> Iterator[Remark]:
    if 0 < result.held_out_samples < _FEW:
        said = f"Only {result.held_out_samples} held-out samples: every figure is rough."
        yield Remark("Few samples", "warning", said)
    if result.decisions_agreed < 1:
        share = f"{100 * (1 - result.decisions_agreed):.1f} %"
        yield Remark("Parity", "warning", f"{share} of decisions differ between the framework and the exported graph.")
    yield from _weak(result)
    answers = result.answers
    if isinstance(answers, Answers):
        crossed = calibration_error(reliability(answers.crossed, answers.right))
        chance = chance_error(answers.crossed)
        if crossed > max(0.05, chance):
            said = f"Its probabilities are off by {100 * crossed:.1f} points in the mean (ECE, cross-fitted); by chance"
            said += f" up to {100 * chance:.1f} would be."
            yield Remark("Probabilities", "warning", said, "Trust no fixed threshold on a probability.")
    comparison = (story.tuning or {}).get("comparison") or {}
    warnings = transfer_warnings(story.tuning or {})
    for one in warnings:
        yield Remark("Transfer", "warning", one)
    before, after = _before(story), (comparison.get("recipe") or {}).get("slda")
    if before is not None and after is not None and 0 <= after - before < _GAIN and not warnings:
        said = f"Fine-tuning gave {100 * (after - before):.1f} points over the backbone as it was."
        yield Remark("Fine-tuning", "note", said, "The simpler way is to build from the backbone as it was.")
    if result.source_features:
        said = f"The head carries the features of {result.source_features} source samples, which can tell much of them."
        yield Remark("Source features", "warning", said)
    if result.caution:
        yield Remark("Limits", "warning", result.caution + ".")
    if not result.signed:
        said = "It is not signed: a device opens it only where it is told to."
        yield Remark("Signature", "warning", said, "edgetl keygen, then edgetl sign, or build with --key.")


def _weak(result: BuildResult) -> Iterator[Remark]:
    counts = np.asarray(result.confusion)
    if not counts.size:
        return
    totals = counts.sum(axis=1)
    weak = [i for i in np.argsort(np.diag(counts) / np.maximum(totals, 1), kind="stable") if totals[i]]
    weak = [i for i in weak if 2 * counts[i, i] < totals[i] and totals[i] >= _FEW_OF_A_CLASS]
    if weak:
        named = ", ".join(f"{result.classes[i]} ({counts[i, i]} of {totals[i]})" for i in weak[:_SHOWN])
        more = f" and {len(weak) - _SHOWN} more" if len(weak) > _SHOWN else ""
        yield Remark(
            "Weak classes", "warning", f"Right in less than half: {named}{more}.",
            "More samples of these, or join classes that look alike.",
        )  # fmt: skip
    usual = float(np.median(totals[totals > 0])) if totals.any() else 0.0
    if 0 < usual < _FEW_OF_A_CLASS:
        said = f"Held-out samples a class, in the median: {usual:.0f}. The figures of single classes are hints."
        yield Remark("Few samples a class", "warning", said, "Hold out more (--holdout), or collect more.")
    unseen = [result.classes[i] for i in range(len(totals)) if not totals[i]]
    if unseen and result.held_out_samples:
        named = ", ".join(unseen[:_SHOWN]) + (" ..." if len(unseen) > _SHOWN else "")
        yield Remark("Not measured", "warning", f"Classes without a held-out sample: {named}.")


def transfer_warnings(tuning: Mapping[str, Any]) -> list[str]:
    """What the run itself warned of."""
    return [str(one) for one in (tuning.get("comparison") or {}).get("warnings") or ()]


def _before(story: Story) -> float | None:
    """Share right of the head that a bundle has by default, on the features before fine-tuning."""
    comparison = (story.tuning or {}).get("comparison") or {}
    frozen = comparison.get("frozen") or {}
    if comparison.get("score") != "right" or frozen.get("slda") is None or not (story.tuning or {}).get("epoch"):
        return None
    return float(frozen["slda"])
