"""Samples to look at: pictures as small JPEGs or as they are, windows of a time series as traces, texts as words."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.html.page import captioned

__all__ = [
    "ContactSheet", "Pairs", "Picture", "Pictures", "Strip", "Strips", "Tile", "jpeg", "shown", "text_of", "traces",
    "words",
]  # fmt: skip

_SIDE = 120
_COLUMNS, _MOST_WORDS = 120, 40


@dataclass(frozen=True)
class Picture:
    """Pixels (H, W) or (H, W, 3) uint8 with a short caption."""

    pixels: NDArray[Any]
    caption: str = ""


@dataclass(frozen=True)
class Pictures:
    """A row of small pictures, embedded as PNG and shown without smoothing at `side` CSS pixels."""

    caption: str
    pictures: Sequence[Picture]
    side: int = 64

    def html(self) -> str:
        """The pictures; each is embedded as it is and enlarged by the browser."""
        items = "".join(
            f'<li><img alt="{escape(p.caption)}" width="{self.side}" height="{self.side}" src="{_png(p.pixels)}">'
            f"<span>{escape(p.caption)}</span></li>"
            for p in self.pictures
        )
        return captioned(f"<ul>{items}</ul>", self.caption, "pictures")


@dataclass(frozen=True)
class Tile:
    """One picture of a contact sheet: a JPEG or a drawing ("" where there is none), its title and what stands below.

    `beside` is a second picture for `Pairs`.
    """

    image: str
    title: str
    lines: Sequence[str]
    beside: str = ""


@dataclass(frozen=True)
class ContactSheet:
    """Pictures in rows that reflow, each with its words; `rows` keep together what belongs together."""

    caption: str
    rows: Sequence[Sequence[Tile]]

    def html(self) -> str:
        """The sheet; pictures are JPEGs inside the page."""
        body = "".join(f'<ul class="sheet">{"".join(_tile(tile) for tile in row)}</ul>' for row in self.rows)
        return captioned(body, self.caption)


@dataclass(frozen=True)
class Pairs:
    """Tiles of two pictures each, as many a row as fit."""

    caption: str
    tiles: Sequence[Tile]

    def html(self) -> str:
        """One list; both pictures of a tile stay side by side."""
        items = "".join(
            f"<li><div>{_image(tile.image, 150)}{_image(tile.beside, 150)}</div><b>{escape(tile.title)}</b>"
            f"{''.join(f'<span>{escape(line)}</span>' for line in tile.lines if line)}</li>"
            for tile in self.tiles
        )
        return captioned(f'<ul class="pairs">{items}</ul>', self.caption)


@dataclass(frozen=True)
class Strip:
    """A name, what is said of it, and its pictures (JPEGs or drawings)."""

    name: str
    note: str
    images: Sequence[str]


@dataclass(frozen=True)
class Strips:
    """A strip of small pictures for each of several names, side by side as many as fit."""

    caption: str
    strips: Sequence[Strip]

    def html(self) -> str:
        """One list; each strip keeps together."""
        items = "".join(
            f"<li><b>{escape(one.name)}</b> <em>{escape(one.note)}</em>"
            f"<div>{''.join(_image(image, 64) for image in one.images)}</div></li>"
            for one in self.strips
        )
        return captioned(f'<ul class="strips">{items}</ul>', self.caption)


def jpeg(frame: NDArray[Any], side: int = _SIDE, quality: int = 80) -> str:
    """A frame (H, W), (H, W, 1) or (H, W, 3) uint8 as a JPEG inside an address, at most `side` pixels long."""
    image = Image.fromarray(frame[:, :, 0] if frame.ndim == 3 and frame.shape[2] == 1 else frame)
    image.thumbnail((side, side))
    return _address(image.convert("RGB"), "jpeg", quality=quality)


def traces(window: NDArray[Any], shares: Sequence[float] = (), side: int = _SIDE) -> str:
    """A window (T, C) as a drawing, a line a channel, all to one scale.

    `shares` (0..1) shade as many stretches of equal length.
    """
    rows = np.asarray(window, np.float64).reshape(len(window), -1)
    if len(rows) > 2 * _COLUMNS:  # the ends of each stretch, so that no peak is lost
        whole = rows[: len(rows) // _COLUMNS * _COLUMNS].reshape(_COLUMNS, -1, rows.shape[1])
        rows = np.stack([whole.min(axis=1), whole.max(axis=1)], axis=1).reshape(2 * _COLUMNS, -1)
    low, high = float(rows.min()), float(rows.max())
    y = side - 4 - (rows - low) / ((high - low) or 1.0) * (side - 8)
    x = np.linspace(2, side - 2, len(rows))
    parts = []
    for place, share in enumerate(shares):
        if share > 0.02:
            wide = (side - 4) / len(shares)
            box = f'x="{2 + place * wide:.1f}" y="0" width="{wide:.1f}" height="{side}"'
            parts.append(f'<rect class="lit" {box} fill-opacity="{0.75 * share:.2f}"/>')
    for channel in range(rows.shape[1]):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y[:, channel], strict=True))
        parts.append(f'<polyline class="trace s{channel % 6}" points="{points}"/>')
    return f'<svg class="window" viewBox="0 0 {side} {side}" role="img" aria-label="a window">{"".join(parts)}</svg>'


def words(texts: Sequence[str], shares: Sequence[float] = ()) -> str:
    """Words as one quoted line, each marked by its share (0..1); a long line is cut."""
    marked = [
        f'<mark style="background:rgba(214,110,30,{0.75 * share:.2f})">{escape(one)}</mark>'
        if share > 0.02
        else escape(one)
        for one, share in zip(texts, shares or [0.0] * len(texts), strict=True)
    ]
    more = " ..." if len(marked) > _MOST_WORDS else ""
    return f"<q>{' '.join(marked[:_MOST_WORDS])}{more}</q>"


def text_of(sample: Any) -> str:
    """A sample that is a text, or its UTF-8 (N,) uint8, as `edgetl_runtime` takes texts; "" for any other."""
    if isinstance(sample, str):
        return sample
    if sample.dtype != np.uint8 or sample.ndim != 1:
        return ""
    return bytes(sample).decode("utf-8", errors="replace")


def shown(sample: Any, side: int = _SIDE) -> str:
    """A sample as a picture, as traces or as a quoted text; "" where it is none of these."""
    if text := text_of(sample):
        return words(text.split())
    if sample.dtype == np.uint8 and (sample.ndim == 2 or (sample.ndim == 3 and sample.shape[2] in (1, 3))):
        return jpeg(sample, side)
    if sample.dtype.kind == "f" and sample.ndim in (1, 2) and len(sample) > 1:
        return traces(sample, side=side)
    return ""


def _png(pixels: NDArray[Any]) -> str:
    return _address(Image.fromarray(pixels), "png", optimize=True)


def _address(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def _tile(tile: Tile) -> str:
    lines = "".join(f"<span>{escape(line)}</span>" for line in tile.lines if line)
    return f"<li>{_image(tile.image, _SIDE)}<b>{escape(tile.title)}</b>{lines}</li>"


def _image(image: str, side: int) -> str:
    if not image or image.startswith("<"):
        return image
    return f'<img alt="" width="{side}" height="{side}" src="{image}">'
