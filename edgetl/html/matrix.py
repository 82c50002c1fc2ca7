"""The confusion matrix as inline SVG, legible from 2 classes to some hundred."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgetl.html.charts import drawing, lettered
from edgetl.html.page import captioned

__all__ = ["Heatmap"]

_SIDE = 460.0
_COUNTED = 20  # classes up to which every count is written, and the matrix is scaled to the page
_NAMED = 150  # classes up to which every row has a name; the matrix then keeps its size and scrolls
_CELL = 15.0


@dataclass(frozen=True)
class Heatmap:
    """Confusion matrix: `counts` (K, K), row = truth, column = what was said; each row is shaded by its share.

    Up to 20 classes every count is written, and the matrix is scaled to the page; up to 150 it keeps its size, with
    every name, and scrolls in a box of its own; beyond, there are only shades.
    """

    caption: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    row_label: str = "truth"
    column_label: str = "said"

    def html(self) -> str:
        """The matrix as one drawing."""
        count = len(self.classes)
        counted, named = count <= _COUNTED, count <= _NAMED
        names = _short(self.classes)
        size = _SIDE if counted or not named else count * _CELL
        cell = size / max(count, 1)
        # The style sheet enlarges the letters of a scaled matrix on narrow pages: room for 18 units is kept.
        letter = 18.0 if counted else 12.0
        left = 32 + max(map(len, names), default=0) * letter * 0.56 if named else 26.0
        upright = all(len(name) * letter * 0.6 < cell for name in names)
        top = 46.0 if upright or not named else left
        parts = [
            lettered("axis", left + size / 2, 14, self.column_label),
            lettered("axis", 14, top + size / 2, self.row_label, upwards=True),
            f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{size:.0f}" height="{size:.0f}"/>',
        ]
        if named and not counted:
            parts += [_rule(left, top, size, (place + 1) * cell) for place in range(4, count - 1, 5)]
        for i, row in enumerate(self.counts):
            x, y = left + (i + 0.5) * cell, top + (i + 0.5) * cell
            if named:
                parts.append(lettered("tick", left - 7, y + (5 if counted else 4), names[i], "end"))
                parts.append(
                    lettered("tick", x, top - 8, names[i])
                    if upright
                    else lettered("tick", x + letter * 0.35, top - 7, names[i], "start", upwards=True)
                )
            total = sum(row)
            for j, number in enumerate(row):
                if not number:
                    continue
                share = number / total
                corner = f'x="{left + j * cell + 0.5:.1f}" y="{y - cell / 2 + 0.5:.1f}"'
                said = f"{self.classes[i]}: {number} of {total} said to be {self.classes[j]}"
                parts.append(
                    f'<rect class="{"right" if i == j else "wrong"}" {corner} width="{max(cell - 1, 0.8):.1f}"'
                    f' height="{max(cell - 1, 0.8):.1f}" fill-opacity="{0.1 + 0.9 * math.sqrt(share):.2f}">'
                    f"<title>{escape(said)}</title></rect>"
                )
                if counted or (named and i != j):
                    kind = "cell heavy" if share > 0.25 else "cell"
                    parts.append(lettered(kind, left + (j + 0.5) * cell, y + (5 if counted else 4), str(number)))
        wide, high = round(left + size + 2), round(top + size + 2)
        svg = drawing(wide, high, self.caption, parts)
        if counted or not named:
            return captioned(svg, self.caption, "matrix")
        box = f'<div class="scroll"><div style="width:{wide}px">{svg}</div></div>'
        return captioned(box, self.caption, "matrix large")


def _rule(left: float, top: float, size: float, at: float) -> str:
    """A line after every fifth row and column, for the eye to follow."""
    across = f'x1="{left:.1f}" x2="{left + size:.1f}" y1="{top + at:.1f}" y2="{top + at:.1f}"'
    down = f'x1="{left + at:.1f}" x2="{left + at:.1f}" y1="{top:.1f}" y2="{top + size:.1f}"'
    return f'<line class="grid" {across}/><line class="grid" {down}/>'


def _short(names: Sequence[str]) -> list[str]:
    """Names that fit beside a matrix: the last part of a path where that tells them apart, and its end."""
    last = [name.rpartition("/")[2] for name in names]
    chosen = last if len(set(last)) == len(names) else list(names)
    return [name if len(name) <= 18 else "..." + name[-16:] for name in chosen]
