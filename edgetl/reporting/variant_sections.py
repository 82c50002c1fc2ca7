"""The part of a build's page about precisions: what each keeps of float32, where it loses, and who is to use it."""

from __future__ import annotations

from edgetl.building.result import BuildResult, VariantReport
from edgetl.html.charts import Bar, Bars
from edgetl.html.page import Columns, Part, Section, Table, Text

__all__ = ["variant_sections"]


def variant_sections(result: BuildResult) -> list[Section]:
    """[] for a build that was for no device."""
    if not result.variants:
        return []
    sections = [_fidelity(result)]
    quantized = [variant for variant in result.variants if variant.groups]
    if quantized:
        sections.append(_losses(quantized))
    return [*sections, _plans(result)]


def _fidelity(result: BuildResult) -> Section:
    limits = result.limits
    lead = (
        ""
        if limits is None
        else f"A variant may lose {limits.max_drop:g} points of cross-validated accuracy and must decide"
        f" {limits.min_agreement:g} % of samples as float32 does."
    )
    judged = [
        [
            variant.name,
            engine,
            f"{one.snr_db:.1f} dB",
            f"{one.cosine_min:.4f}",
            f"{one.max_rel:.3f}",
            f"{100 * one.float_accuracy:.2f}",
            f"{100 * one.accuracy:.2f}",
            f"{one.drop:.2f} ± {one.drop_error:.2f}",
            f"{one.agreement:.2f}",
        ]
        for variant in result.variants
        for engine, one in variant.fidelity.items()
    ]
    parts: list[Part] = [
        Table(
            "Against float32, cross-validated over training and held-out samples (± one standard error)",
            [
                "variant", "engine", "features", "least cosine", "largest error", "float32 right %",
                "own head right %", "points lost", "decisions equal %",
            ],
            judged,
        )
    ] if judged else []  # fmt: skip
    held_out = [
        [
            variant.name,
            "yes" if variant.shipped else "no",
            f"{variant.graph_bytes / 1e6:.2f} MB" if variant.graph_bytes else "",
            *(
                ["", "", ""]
                if variant.held_out is None
                else [
                    f"{100 * variant.held_out.float_head:.1f}",
                    f"{100 * variant.held_out.own_head:.1f}",
                    f"{100 * variant.held_out.agreement:.1f}",
                ]
            ),
            variant.why,
        ]
        for variant in result.variants
    ]
    parts.append(
        Table(
            "What was tried, and what it does on held-out samples",
            ["variant", "shipped", "graph", "float32 head right %", "own head right %", "decisions equal %", "why"],
            held_out,
        )
    )
    engines = [
        [
            variant.name,
            figures.description,
            "" if figures.latency_ms is None else f"{figures.latency_ms:.2f} ms",
            "" if figures.speedup is None else f"{figures.speedup:.2f}",
            f"{figures.parity.max_rel:.1e}",
            f"{100 * figures.decisions_agreed:.1f}",
        ]
        for variant in result.variants
        for figures in variant.engines.values()
    ]
    if engines:
        parts.append(
            Table(
                "Engines of this host, against the features that the bundle calls right; medians of runs in turn",
                ["variant", "engine", "latency", "times float32's speed", "largest error", "decisions equal %"],
                engines,
            )
        )
    if result.caution:
        parts.append(Text([result.caution + "."]))
    return Section("Precisions", lead, parts)


def _losses(quantized: list[VariantReport]) -> Section:
    parts: list[Part] = []
    for variant in quantized:
        corrected = "biases corrected" if variant.corrected else "biases as they were"
        tuned = f", after {variant.tuned_epochs} epochs of tuning" if variant.tuned_epochs else ""
        bars = [
            Bar(
                f"{group.name}{', kept in float32' if group.name in variant.kept else ''}",
                max(group.gain_db, 0.0),
                f"{group.gain_db:+.2f} dB",
            )
            for group in variant.groups
        ]
        rungs = [
            [rung.what, engine, f"{one.drop:.2f}", f"{one.agreement:.2f}", "yes" if rung.holds else "no"]
            for rung in variant.rungs
            for engine, one in rung.fidelity.items()
        ]
        parts.append(
            Columns(
                [
                    Bars(
                        f"{variant.name}: what the features gain when one group alone stays in float32;"
                        f" {variant.calibration_samples} calibration samples, {corrected}{tuned}",
                        bars,
                    ),
                    Table(
                        f"{variant.name}: what was tried, until the limits held",
                        ["layers", "engine", "points lost", "decisions equal %", "limits hold"],
                        rungs,
                    ),
                ]
            )
        )
    return Section("Where INT8 loses", "The groups that cost most are kept in float32 first.", parts)


def _plans(result: BuildResult) -> Section:
    tried: list[list[str | float | int]] = [
        [device, number, choice.variant, choice.engine, choice.why]
        for device, choices in (result.plans or {}).items()
        for number, choice in enumerate(choices, 1)
    ]
    refused = [
        [verdict.wish.device, verdict.wish.precision, verdict.wish.engine, verdict.why]
        for verdict in result.verdicts
        if not verdict.offered
    ]
    parts: list[Part] = [Table("In this order", ["device", "", "variant", "engine", "why"], tried)]
    if refused:
        parts.append(Table("Wished for and not offered", ["device", "variant", "engine", "why"], refused))
    return Section(
        "What each device tries", "The first whose engine is there and whose golden samples pass is used.", parts
    )
