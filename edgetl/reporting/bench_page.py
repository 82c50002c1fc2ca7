"""The page of a measurement: accuracy against latency, and every figure of every way."""

from __future__ import annotations

from edgetl.bench import BenchResult, Measured, likely_share
from edgetl.html.charts import Bar, Bars, Point, Scatter
from edgetl.html.page import Part, Section, Table, Text, page

__all__ = ["bench_page"]


def bench_page(result: BenchResult) -> str:
    """The whole page as one text; nothing in it needs a network."""
    sections = [_plot(result), _figures(result)]
    failed = [f"{way.row.variant} in {way.row.engine}: {way.row.error}" for way in result.ways if way.row.error]
    if failed:
        sections.append(Section("What does not run here", "", [Text(failed)]))
    return page(
        f"The bundle {result.name} on this machine",
        f"{len(result.ways)} ways to run it; batch 1, each measured in a process of its own.",
        sections,
        f"Bundle {result.bundle_id}. Latency is of one frame, from input tensor to checked features.",
    )


def _plot(result: BenchResult) -> Section:
    points = []
    for way in result.ways:
        if way.accuracy is not None and way.row.p50_ms is not None:
            low, high = likely_share(way.accuracy, result.samples)
            interval = (100 * low, 100 * high)
            points.append(Point(_name(way), way.row.p50_ms, 100 * way.accuracy, interval, way.row.engine))
    parts: list[Part] = []
    if points:
        caption = (
            f"Factory head of each variant on {result.samples} samples of {result.dataset}. The strokes are 95 %"
            " intervals of one accuracy; ways judged on the same samples differ by less than that by chance."
        )
        parts.append(Scatter(caption, "p50 latency, ms", "right, %", points, " ms", " %"))
    running = [way for way in result.ways if way.row.p50_ms is not None]
    bars = [Bar(_name(way), way.row.p50_ms or 0.0, f"{way.row.p50_ms:.2f} ms") for way in running]
    parts.append(Bars("Median latency of one frame", bars))
    lead = "Up and to the left is better." if points else "Without labelled samples there is no accuracy to show."
    return Section("Accuracy against latency", lead, parts)


def _figures(result: BenchResult) -> Section:
    columns = [
        "way", "p50 ms", "p99 ms", "frames/s", "runtime adds %", "start s", "peak MB", "golden error", "right %",
        "same decisions %",
    ]  # fmt: skip
    rows: list[list[str | float | int]] = []
    for way in result.ways:
        row = way.row
        if row.error:
            continue
        golden = f"{row.golden['max_rel']:.1e}" if row.passed else "WRONG"
        rows.append(
            [
                _name(way), _two(row.p50_ms), _two(row.p99_ms), _one(row.frames_per_s), _one(row.overhead_pct),
                _two(row.cold_start_s), _one(None if row.peak_rss_bytes is None else row.peak_rss_bytes / 1e6), golden,
                _one(None if way.accuracy is None else 100 * way.accuracy),
                _one(None if way.agreement is None else 100 * way.agreement),
            ]
        )  # fmt: skip
    return Section("Every figure", "Golden error is relative to the largest feature.", [Table("Ways", columns, rows)])


def _name(way: Measured) -> str:
    told = "".join(f" {name}={value}" for name, value in way.row.options.items())
    return f"{way.row.variant} in {way.row.engine}{told}"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _one(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
