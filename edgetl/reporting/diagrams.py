"""Diagrams of how right a head is, as inline SVG: probabilities against shares, predicted against true numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgetl.bench import likely_share
from edgetl.building.held_out_answers import ReliabilityBin
from edgetl.html.charts import drawing, lettered, nice_ticks
from edgetl.html.page import captioned

__all__ = ["PredictedTrue", "Reliability"]

_SIDE = 360.0
_LEFT, _TOP, _BOTTOM, _RIGHT = 46.0, 26.0, 44.0, 12.0


@dataclass(frozen=True)
class Reliability:
    """Share right by the probability that the head gave: on the diagonal probabilities mean what they say.

    The strokes are 95 % intervals; the bars below are how many answers fell where.
    """

    caption: str
    bins: Sequence[ReliabilityBin]

    def html(self) -> str:
        """The diagram as one drawing, small enough for a phone."""
        most = max((one.count for one in self.bins), default=1)
        high = _SIDE + 76
        parts = [_frame(_SIDE)]
        for tick in (0, 25, 50, 75, 100):
            x, y = _across(tick / 100), _up(tick / 100)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_SIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(lettered("tick", _LEFT - 7, y + 4.5, str(tick), "end"))
            parts.append(lettered("tick", x, high - 24, str(tick)))
        parts.append(_diagonal())
        parts.append(lettered("axis", 4, 13, "share right, %", "start"))
        parts.append(lettered("axis", (_LEFT + _SIDE - _RIGHT) / 2, high - 6, "probability that it gave, %"))
        floor = high - 42
        for one in self.bins:
            low, top = likely_share(one.right, one.count)
            x = _across(one.confidence)
            tall = 64 * one.count / most
            said = (
                f"{one.count} answers of {100 * one.low:.0f} to {100 * one.high:.0f} %: {100 * one.confidence:.1f} % in"
                f" the mean, {100 * one.right:.1f} % right"
            )
            wide = _across(one.high) - _across(one.low) - 3
            parts.append(
                f'<g><rect class="bar" x="{_across(one.low) + 1.5:.1f}" y="{floor - tall:.1f}" width="{wide:.1f}"'
                f' height="{max(tall, 1):.1f}"/><path class="leader s0" d="M{x:.1f} {_up(low):.1f}V{_up(top):.1f}"/>'
                f'<circle class="mark s0" cx="{x:.1f}" cy="{_up(one.right):.1f}" r="5.5"/>'
                f"<title>{escape(said)}</title></g>"
            )
            middle = (_across(one.low) + _across(one.high)) / 2
            parts.append(lettered("count", middle, floor - tall - 4, str(one.count)))
        svg = drawing(round(_SIDE), round(high), self.caption, parts)
        return captioned(svg, self.caption, "square")


@dataclass(frozen=True)
class PredictedTrue:
    """What a head said against what was true, a dot a sample: on the diagonal it is right."""

    caption: str
    name: str
    truth: Sequence[float]
    said: Sequence[float]

    def html(self) -> str:
        """The diagram as one drawing, small enough for a phone."""
        values = [*self.truth, *self.said]
        ticks = nice_ticks(min(values), max(values), 5)
        low, span = ticks[0], (ticks[-1] - ticks[0]) or 1.0
        parts = [_frame(_SIDE)]
        for tick in ticks:
            x, y = _across((tick - low) / span), _up((tick - low) / span)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_SIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(lettered("tick", _LEFT - 7, y + 4.5, f"{tick:g}", "end"))
            parts.append(lettered("tick", x, _SIDE - _BOTTOM + 18, f"{tick:g}"))
        parts.append(_diagonal())
        for a, b in zip(self.truth, self.said, strict=True):
            place = f'cx="{_across((a - low) / span):.1f}" cy="{_up((b - low) / span):.1f}"'
            parts.append(f'<circle class="dot s0" {place} r="3.2"/>')
        parts.append(lettered("axis", 4, 13, f"{self.name} as said", "start"))
        parts.append(lettered("axis", (_LEFT + _SIDE - _RIGHT) / 2, _SIDE - 5, f"{self.name} in truth"))
        svg = drawing(round(_SIDE), round(_SIDE), self.caption, parts)
        return captioned(svg, self.caption, "square")


def _across(share: float) -> float:
    return _LEFT + share * (_SIDE - _LEFT - _RIGHT)


def _up(share: float) -> float:
    return _SIDE - _BOTTOM - share * (_SIDE - _TOP - _BOTTOM)


def _frame(side: float) -> str:
    box = f'width="{side - _LEFT - _RIGHT:.0f}" height="{side - _TOP - _BOTTOM:.0f}"'
    return f'<rect class="frame" x="{_LEFT}" y="{_TOP}" {box}/>'


def _diagonal() -> str:
    ends = f'x1="{_across(0):.1f}" y1="{_up(0):.1f}" x2="{_across(1):.1f}" y2="{_up(1):.1f}"'
    return f'<line class="level s1" {ends}/>'
