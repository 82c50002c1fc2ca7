"""Charts as inline SVG, from the standard library alone: no script, no network, legible on a phone.

A line chart is drawn twice, for a wide and for a narrow page, and the style sheet shows one of them: scaled down, the
letters of a single drawing would be too small on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgetl.html.page import captioned, style_sheet

__all__ = ["Bar", "Bars", "LineChart", "Point", "Scatter", "Series", "drawing", "lettered", "nice_ticks"]

# Letters of these classes are 13 units high; their mean width is a little under 7.
_LETTER = 6.9
_MARKS = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Series:
    """One line through points (x, y), with a band (low, high) a point where there is one.

    With a single point it is a level: a dashed line over the whole width.
    """

    label: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()

    @property
    def is_level(self) -> bool:
        """Whether this is one value that holds for every x."""
        return len(self.points) == 1


@dataclass(frozen=True)
class LineChart:
    """Lines over numbers. `x_ticks` are the x that were measured; `unit` follows each value."""

    caption: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    x_ticks: Sequence[float] = ()
    unit: str = ""
    digits: int = 1

    def html(self) -> str:
        """The chart, twice: one is for narrow pages, with its legend below."""
        legend = "".join(
            f'<li><svg class="swatch" viewBox="0 0 26 12" aria-hidden="true">{_sample_line(i, s)}</svg>'
            f"<span>{escape(s.label)}</span><b>{self._value(s.points[-1][1])}</b></li>"
            for i, s in enumerate(self.series)
        )
        wide, narrow = self._svg(900, 430, named=True), self._svg(360, 300, named=False)
        below = f'<div class="narrow">{narrow}<ul class="legend">{legend}</ul></div>'
        return captioned(f'<div class="wide">{wide}</div>{below}', self.caption, "chart")

    def svg(self) -> str:
        """The wide drawing as a file of its own, for a README or a slide; it follows the reader's light or dark."""
        inside = self._svg(900, 430, named=True)
        style = f'<style>{style_sheet("drawing.css")}</style><rect width="100%" height="100%" fill="var(--paper)"/>'
        font = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"'
        start, rest = inside.split(">", 1)
        return f'{start} xmlns="http://www.w3.org/2000/svg" {font}>{style}{rest}\n'

    def _value(self, y: float) -> str:
        return f"{y:.{self.digits}f}{escape(self.unit)}"

    def _svg(self, width: int, height: int, named: bool) -> str:
        xs = [x for s in self.series if not s.is_level for x, _ in s.points]
        ys = [y for s in self.series for pair in s.band for y in pair]
        ys += [y for s in self.series for _, y in s.points]
        ticks = nice_ticks(min(ys), max(ys), 6)
        x_ticks = list(self.x_ticks) or nice_ticks(min(xs), max(xs), 6)
        low_x, high_x = min(xs + x_ticks), max(xs + x_ticks)
        widest = max(len(f"{self._value(s.points[-1][1])}  {s.label}") for s in self.series)
        left, top, bottom = 52.0, 26.0, 46.0
        right = min(26 + widest * _LETTER, width * 0.42) if named else 12.0

        def at(x: float, y: float) -> tuple[float, float]:
            across = (x - low_x) / ((high_x - low_x) or 1.0)
            up = (y - ticks[0]) / ((ticks[-1] - ticks[0]) or 1.0)
            return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

        edge = width - right
        parts = [
            f'<line class="grid" x1="{left}" x2="{edge:.1f}" y1="{at(low_x, t)[1]:.1f}" y2="{at(low_x, t)[1]:.1f}"/>'
            f'<text class="tick" x="{left - 8}" y="{at(low_x, t)[1] + 4.5:.1f}" text-anchor="end">{t:g}</text>'
            for t in ticks
        ]
        parts += [
            f'<text class="tick" x="{at(x, ticks[0])[0]:.1f}" y="{height - bottom + 20}"'
            f' text-anchor="middle">{x:g}</text>'
            for x in x_ticks
        ]
        parts.append(f'<text class="axis" x="{(left + edge) / 2:.1f}" y="{height - 6}" text-anchor="middle">')
        parts.append(f'{escape(self.x_label)}</text><text class="axis" x="4" y="13">{escape(self.y_label)}</text>')
        for i, s in enumerate(self.series):
            if s.band:
                outline = [at(p[0], b[1]) for p, b in zip(s.points, s.band, strict=True)]
                outline += [at(p[0], b[0]) for p, b in zip(s.points, s.band, strict=True)][::-1]
                parts.append(f'<polygon class="band s{i % 6}" points="{_points(outline)}"/>')
        for i, s in enumerate(self.series):
            if s.is_level:
                y = at(low_x, s.points[0][1])[1]
                parts.append(f'<line class="level s{i % 6}" x1="{left}" x2="{edge:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
                continue
            places = [at(x, y) for x, y in s.points]
            parts.append(f'<polyline class="line s{i % 6}" points="{_points(places)}"/>')
            parts += [
                f"<g>{_mark(i, px, py)}<title>{escape(s.label)}, {x:g}: {self._value(y)}</title></g>"
                for (px, py), (x, y) in zip(places, s.points, strict=True)
            ]
        if named:
            wanted = [at(high_x, s.points[-1][1])[1] for s in self.series]
            for i, y in enumerate(_apart(wanted, 18, top, height - bottom)):
                s, own = self.series[i], wanted[i]
                parts.append(
                    f'<path class="leader s{i % 6}" d="M{edge + 3:.1f} {own:.1f}L{edge + 14:.1f} {y:.1f}"/>'
                    f'<text class="name" x="{edge + 18:.1f}" y="{y + 4.5:.1f}">'
                    f'<tspan class="value">{self._value(s.points[-1][1])}</tspan>  {escape(s.label)}</text>'
                )
        return drawing(width, height, self.caption, parts)


@dataclass(frozen=True)
class Point:
    """One measured thing: x, y, the interval (low, high) in which y is likely to lie, and the kind that colours it."""

    label: str
    x: float
    y: float
    interval: tuple[float, float]
    kind: str = ""


@dataclass(frozen=True)
class Scatter:
    """Points over two measures, numbered, with what each is below; x starts at zero."""

    caption: str
    x_label: str
    y_label: str
    points: Sequence[Point]
    x_unit: str = ""
    y_unit: str = ""

    def html(self) -> str:
        """The chart, once for wide and once for narrow pages, with a legend for both."""
        kinds = list(dict.fromkeys(point.kind for point in self.points))
        legend = "".join(
            f'<li><svg class="swatch" viewBox="0 0 26 12" aria-hidden="true">{_mark(kinds.index(p.kind), 13, 6)}</svg>'
            f"<span>{number}. {escape(p.label)}</span>"
            f"<b>{p.y:.1f}{escape(self.y_unit)}, {p.x:.2f}{escape(self.x_unit)}</b></li>"
            for number, p in enumerate(self.points, 1)
        )
        wide, narrow = self._svg(900, 400, kinds), self._svg(360, 300, kinds)
        both = f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
        return captioned(f'{both}<ul class="legend">{legend}</ul>', self.caption, "chart")

    def _svg(self, width: int, height: int, kinds: Sequence[str]) -> str:
        ticks = nice_ticks(min(p.interval[0] for p in self.points), max(p.interval[1] for p in self.points), 6)
        x_ticks = nice_ticks(0.0, max(p.x for p in self.points), 6)
        left, top, bottom, right = 52.0, 26.0, 46.0, 16.0

        def at(x: float, y: float) -> tuple[float, float]:
            up = (y - ticks[0]) / ((ticks[-1] - ticks[0]) or 1.0)
            across = x / (x_ticks[-1] or 1.0)
            return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

        parts = []
        for tick in ticks:
            y = at(0, tick)[1]
            parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(lettered("tick", left - 8, y + 4.5, f"{tick:g}", "end"))
        parts += [lettered("tick", at(tick, ticks[0])[0], height - bottom + 20, f"{tick:g}") for tick in x_ticks]
        parts.append(lettered("axis", (left + width - right) / 2, height - 6, self.x_label))
        parts.append(lettered("axis", 4, 13, self.y_label, "start"))
        for number, point in enumerate(self.points, 1):
            kind = kinds.index(point.kind)
            (x, y), low, high = at(point.x, point.y), at(0, point.interval[0])[1], at(0, point.interval[1])[1]
            said = f"{point.label}: {point.y:.1f}{self.y_unit}, {point.x:.2f}{self.x_unit}"
            parts.append(
                f'<g><path class="leader s{kind % 6}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>{_mark(kind, x, y)}'
                f"<title>{escape(said)}</title></g>"
            )
            parts.append(lettered("name", x + 8, y + 5, str(number), "start"))
        return drawing(width, height, self.caption, parts)


@dataclass(frozen=True)
class Bar:
    """One value with what to write beside it; `series` picks a colour (0..5)."""

    label: str
    value: float
    text: str
    series: int = 0


@dataclass(frozen=True)
class Bars:
    """Horizontal bars from zero, all to one scale."""

    caption: str
    bars: Sequence[Bar]

    def html(self) -> str:
        """The bars as a list that reflows: no drawing needed."""
        longest = max((bar.value for bar in self.bars), default=0.0) or 1.0
        rows = "".join(
            f"<li><span>{escape(bar.label)}</span><i><b class=\"f{bar.series % 6}\""
            f' style="width:{max(100 * bar.value / longest, 0.4):.1f}%"></b></i><em>{escape(bar.text)}</em></li>'
            for bar in self.bars
        )
        return captioned(f"<ul>{rows}</ul>", self.caption, "bars")


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers, evenly spaced, that enclose [low, high]."""
    span = (high - low) or abs(high) or 1.0
    raw = span / max(count - 1, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:  # one value alone, such as 100 %: room is below it, unless it is nothing
        first, last = (first - 1, last) if high > 0 else (first, last + 1)
    digits = 3 - math.floor(math.log10(step))
    return [round(i * step, digits) for i in range(first, last + 1)]


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as may be to the wanted ones, at least `gap` from each other, in the same order."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    below = low - gap
    for i in order:
        below = placed[i] = max(wanted[i], below + gap)
    above = high + gap
    for i in reversed(order):
        above = placed[i] = min(placed[i], above - gap)
    return placed


def drawing(width: int, height: int, caption: str, parts: Sequence[str]) -> str:
    """One SVG of these parts, in units of its own, as wide as the page lets it."""
    box = f'viewBox="0 0 {width} {height}"'
    return f'<svg {box} role="img" aria-label="{escape(caption)}">{"".join(parts)}</svg>'


def lettered(
    kind: str, x: float, y: float, text: str, anchor: str = "middle", style: str = "", upwards: bool = False
) -> str:
    """Text at a place of a drawing; `kind` is its class in the style sheet."""
    place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"' if upwards else f'x="{x:.1f}" y="{y:.1f}"'
    styled = f' style="{style}"' if style else ""
    return f'<text class="{kind}" {place} text-anchor="{anchor}"{styled}>{escape(text)}</text>'


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _mark(series: int, x: float, y: float) -> str:
    shape, kind = _MARKS[series % len(_MARKS)], f'class="mark s{series % 6}"'
    if shape == "circle":
        return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if shape == "square":
        return f'<rect {kind} x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    corners = [(x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y)]
    if shape == "triangle":
        corners = [(x, y - 5.5), (x + 5, y + 4), (x - 5, y + 4)]
    return f'<polygon {kind} points="{_points(corners)}"/>'


def _sample_line(i: int, series: Series) -> str:
    kind = "level" if series.is_level else "line"
    line = f'<line class="{kind} s{i % 6}" x1="1" x2="25" y1="6" y2="6"/>'
    return line if series.is_level else line + _mark(i, 13, 6)
