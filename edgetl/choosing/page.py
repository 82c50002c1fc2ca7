"""The page of a choice: accuracy against latency, and every figure of every backbone."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.bench import likely_share
from edgetl.choosing.ranking import Candidate, Ranking
from edgetl.html.charts import Point, Scatter
from edgetl.html.page import Part, Section, Table, Text, page

__all__ = ["choice_page", "ranking_table"]


def choice_page(ranking: Ranking) -> str:
    """The whole page as one text; nothing in it needs a network."""
    named = list(zip(ranking.titles, ranking.candidates, strict=True))
    judged = [(title, one) for title, one in named if not one.error]
    points = []
    for title, one in judged:
        share = max(0.0, one.loo)
        low, high = (share, share) if ranking.numbers else likely_share(share, ranking.samples)
        points.append(Point(title, one.latency_ms, 100 * one.loo, (100 * low, 100 * high)))
    measure = "R2 x 100" if ranking.numbers else "right, %"
    caption = (
        f"Ridge on the frozen features of {ranking.samples} samples of {ranking.dataset}, each left out in turn; one "
        "thread of this machine. The strokes are 95 % intervals."
    )
    chart: list[Part] = [Scatter(caption, "latency, ms", measure, points, " ms", "" if ranking.numbers else " %")]
    sections = [
        Section("Accuracy against latency", "Up and to the left is better.", chart),
        Section(
            "Every figure",
            "Ranked by leave-one-out. Gap: how far this data is from what the network saw in training, in nats.",
            [ranking_table(ranking, "Backbones")],
        ),
    ]
    if failed := [f"{title}: {one.error}" for title, one in named if one.error]:
        sections.append(Section("What could not be judged", "", [Text(failed)]))
    return page(
        f"Which backbone for {ranking.dataset}", f"{len(judged)} candidates, {ranking.samples} samples.", sections,
        "Memory and latency are of this machine; boards are judged by the memory budget of their profile alone.",
    )  # fmt: skip


def ranking_table(ranking: Ranking, caption: str, strong: Sequence[int] = ()) -> Table:
    """Every figure of every backbone that could be judged, the best first; `strong` are places set in bold."""
    judged = [(title, one) for title, one in zip(ranking.titles, ranking.candidates, strict=True) if not one.error]
    columns = ["backbone", "D", "input", "leave-one-out %", "LogME", "H-score", "gap", "ms", "graph MB", "peak MB"]
    columns += [f"fits {device}" for device, _ in (judged[0][1].fits if judged else ())]
    return Table(caption, columns, [_row(title, one) for title, one in judged], strong=strong)


def _row(title: str, one: Candidate) -> list[str | float | int]:
    return [
        title, one.dim, "x".join(map(str, one.size)), f"{100 * one.loo:.1f}", f"{one.log_evidence:.3f}",
        "" if one.h_score is None else f"{one.h_score:.2f}", "" if one.gap is None else f"{one.gap:.2f}",
        f"{one.latency_ms:.2f}", f"{one.graph_bytes / 1e6:.1f}", f"{one.peak_bytes / 1e6:.0f}",
        *("yes" if fits else "NO" for _, fits in one.fits),
    ]  # fmt: skip
