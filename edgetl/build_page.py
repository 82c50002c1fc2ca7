"""The page of a build: how well the factory head does, where it errs, parity, and what the bundle holds."""

from __future__ import annotations

import numpy as np

from edgetl.build_result import BuildResult
from edgetl.charts import Bar, Bars, Heatmap
from edgetl.report import Columns, Figure, KeyFigures, Part, Section, Table, Text, page
from edgetl.variants_page import variant_sections

__all__ = ["build_page"]

_MOST_ROWS = 40
_MOST_CONFUSIONS = 12


def build_page(result: BuildResult) -> str:
    """The whole page as one text; nothing in it needs a network."""
    sections = [Section("What came out", "", [_key_figures(result)])]
    if result.output_errors:
        sections.append(_errors(result))
    elif result.held_out_samples:
        sections.append(_accuracy(result))
    else:
        sections.append(Section("How well it does", "", [Text(["Nothing was held out, so nothing was measured."])]))
    sections += [_parity(result), *variant_sections(result), _content(result)]
    return page(
        f"The bundle {result.path.name}",
        f"{_said(result)} from {result.training_samples} training samples, {result.dim} features.",
        sections,
        f"Bundle {result.bundle_id}. Feature space {result.feature_space}.",
    )


def _key_figures(result: BuildResult) -> Part:
    figures = []
    if result.held_out_accuracy is not None and result.majority_accuracy is not None:
        figures.append(
            Figure(
                "Right on held-out samples",
                f"{100 * result.held_out_accuracy:.1f} %",
                f"of {result.held_out_samples}; always the commonest class: {100 * result.majority_accuracy:.1f} %",
            )
        )
    skipped = sum(result.skipped.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.skipped.items()) or "none skipped"
    return KeyFigures(
        [
            *figures,
            Figure("Decisions equal", f"{100 * result.decisions_agreed:.0f} %", "source framework and exported graph"),
            Figure("Bundle", f"{result.bundle_bytes / 1e6:.1f} MB", "signed" if result.signed else "NOT SIGNED"),
            Figure("Training samples", str(result.training_samples), f"{skipped} skipped: {reasons}"),
            Figure("Time", f"{result.seconds['total']:.0f} s", "on this host"),
        ]
    )


def _said(result: BuildResult) -> str:
    names = ", ".join(output.name for output in result.outputs)
    return f"The numbers {names}" if result.outputs else f"{len(result.classes)} classes"


def _errors(result: BuildResult) -> Section:
    rows = [
        [
            f"{one.output.name}{f', {one.output.unit}' if one.output.unit else ''}",
            f"{one.rmse:.4g}",
            f"{one.rmse_of_mean:.4g}",
            f"{one.r2:.3f}",
            f"{one.deviation:.4g}",
        ]
        for one in result.output_errors
    ]
    return Section(
        "How well it does",
        f"On the last {result.held_out_samples} samples, which it was not fitted on and which come after those it was.",
        [
            Table(
                "Root mean square errors",
                ["number", "the head", "always the training mean", "R2", "error that the head expects"],
                rows,
            )
        ],
    )


def _accuracy(result: BuildResult) -> Section:
    counts = np.asarray(result.confusion)
    totals = counts.sum(axis=1)
    shares = np.where(totals > 0, np.diag(counts) / np.maximum(totals, 1), np.nan)
    erring = [i for i in np.argsort(shares, kind="stable") if totals[i] and shares[i] < 1]
    worst = erring[:_MOST_ROWS]
    without = int((totals > 0).sum()) - len(erring)
    rows = [[result.classes[i], int(totals[i]), int(counts[i, i]), 100 * float(shares[i])] for i in worst]
    return Section(
        "Where it errs",
        "The factory head on samples of the source that it was not fitted on; worst class first.",
        [
            Heatmap("Held-out samples, each row shaded by its share", result.classes, counts.tolist()),
            Columns(
                [
                    Table(
                        f"Per class; {without} more classes without an error",
                        ["class", "held out", "right", "right %"],
                        rows,
                    ),
                    _confusions(result.classes, counts),
                ]
            ),
        ],
    )


def _confusions(classes: tuple[str, ...], counts: np.ndarray) -> Part:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    rows = [[classes[i // len(classes)], classes[i % len(classes)], int(wrong.flat[i])] for i in order if wrong.flat[i]]
    if not rows:
        return Text(["No held-out sample was taken for another class."])
    return Table("Commonest confusions", ["is", "taken for", "times"], rows)


def _parity(result: BuildResult) -> Section:
    parity = result.parity
    return Section(
        "Parity",
        f"{parity.samples} samples through the framework the network comes from and through the exported graph.",
        [
            Table(
                "Features and decisions",
                ["what", "value"],
                [
                    ["largest difference of a feature", f"{parity.max_abs:.2e}"],
                    ["the same, of the largest feature", f"{parity.max_rel:.2e}"],
                    ["cosine of the least similar pair", f"{parity.cosine_min:.9f}"],
                    ["decisions that agree", f"{100 * result.decisions_agreed:.1f} %"],
                ],
            )
        ],
    )


def _content(result: BuildResult) -> Section:
    members = [
        Bar(name, float(size), f"{size / 1e6:.2f} MB")
        for name, size in sorted(result.member_bytes.items(), key=lambda item: -item[1])
    ]
    times = [Bar(n, s, f"{s:.1f} s", 1) for n, s in result.seconds.items() if n != "total"]
    warning = (
        f" The head is refitted on the device from stored samples: it carries the features of"
        f" {result.source_features} source samples, which can tell much of those samples."
    )
    return Section(
        "What is inside",
        "The device gets exactly these members; each is checked against its hash at every start."
        + (warning if result.source_features else ""),
        [Columns([Bars("Size of each member", members), Bars("Where the time of this build went", times)])],
    )
