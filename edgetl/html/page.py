"""One self-contained HTML page: style and drawings inside, no script, no network, light and dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from edgetl_runtime.errors import SourceError

__all__ = [
    "Code", "Columns", "Figure", "Folded", "KeyFigures", "Part", "Remark", "Remarks", "Section", "Table", "Text",
    "captioned", "page", "style_sheet", "write_page",
]  # fmt: skip


class Part(Protocol):
    """Anything that can stand on a page; the charts of `edgetl.html.charts` are parts too."""

    def html(self) -> str:
        """This part as HTML, escaped."""


# A figure, with its error or its unit.
_NUMBER = re.compile(r"([+-]?[\d,.]+(e[+-]\d+)?( ± [\d.]+)?( ?(%|ms|s|MB|kB|dB))?|nan|)")

_LONG_WORD, _WORDS = 18, 40
_HASH = re.compile(r"(sha256:)?[0-9a-f]{32,}")


@dataclass(frozen=True)
class Section:
    """A heading, a sentence that says what is to be seen, and the parts that show it."""

    title: str
    lead: str
    parts: Sequence[Part]

    def html(self) -> str:
        """The section as HTML."""
        lead = f'<p class="lead">{escape(self.lead)}</p>' if self.lead else ""
        inside = "".join(part.html() for part in self.parts)
        return f'<section id="{_anchor(self.title)}"><h2>{escape(self.title)}</h2>{lead}{inside}</section>'


@dataclass(frozen=True)
class Text:
    """Paragraphs."""

    paragraphs: Sequence[str]

    def html(self) -> str:
        """One `<p>` each."""
        return "".join(f"<p>{escape(text)}</p>" for text in self.paragraphs)


@dataclass(frozen=True)
class Figure:
    """One number that matters, what it is, and what to hold it against."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class KeyFigures:
    """Numbers in large letters."""

    figures: Sequence[Figure]

    def html(self) -> str:
        """Cards that flow into as many columns as fit."""
        cards = "".join(
            f"<div><dt>{escape(f.label)}</dt><dd>{escape(f.value)}</dd>"
            + (f"<dd class='note'>{escape(f.note)}</dd>" if f.note else "")
            + "</div>"
            for f in self.figures
        )
        return f'<dl class="figures">{cards}</dl>'


@dataclass(frozen=True)
class Table:
    """Rows of text or numbers; a column whose cells are all numbers, or empty, is aligned to the right.

    `strong` names rows (by number) that are set in bold.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int]]
    digits: int = 1
    strong: Sequence[int] = ()

    def html(self) -> str:
        """A table that scrolls by itself when the page is narrower."""
        right = [
            any(row[i] != "" for row in self.rows) and all(_NUMBER.fullmatch(str(row[i])) for row in self.rows)
            for i in range(len(self.columns))
        ]

        def cell(tag: str, i: int, value: str | float | int) -> str:
            text = f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)
            kind, inside = _kind(text, right[i]), escape(text)
            if "long" in kind:  # rather after a mark than inside a word
                inside = re.sub(r"([/_=])", r"\1<wbr>", inside)
            return f"<{tag}{kind}>{inside}</{tag}>"

        head = "".join(cell("th", i, name) for i, name in enumerate(self.columns))
        body = "".join(
            f"<tr{' class=strong' if number in self.strong else ''}>"
            + "".join(cell("td", i, value) for i, value in enumerate(row))
            + "</tr>"
            for number, row in enumerate(self.rows)
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return captioned(f'<div class="scroll">{table}</div>', self.caption)


@dataclass(frozen=True)
class Remark:
    """One thing to know, in words: `severity` is "fault", "warning", "note" or "good"; `advice` what to do, or ""."""

    kind: str
    severity: str
    summary: str
    advice: str = ""


@dataclass(frozen=True)
class Remarks:
    """Remarks one below the other."""

    remarks: Sequence[Remark]

    def html(self) -> str:
        """A list; what is bad is marked by colour and by its word."""
        items = "".join(
            f'<li class="{one.severity}"><b>{escape(one.kind)}</b>'
            + (f" <em>{one.severity}</em>" if one.severity != "good" else "")
            + f"<span>{escape(one.summary)}</span>"
            + (f"<i>{escape(one.advice)}</i>" if one.advice else "") + "</li>"
            for one in self.remarks
        )
        return f'<ul class="findings">{items}</ul>'


@dataclass(frozen=True)
class Code:
    """Lines to type, or plain text that keeps its lines."""

    caption: str
    lines: Sequence[str]

    def html(self) -> str:
        """Text of fixed width; a long line scrolls in its own box."""
        text = escape("\n".join(self.lines))
        return captioned(f'<pre class="scroll">{text}</pre>', self.caption)


@dataclass(frozen=True)
class Folded:
    """Parts that are shown when their title is clicked."""

    title: str
    parts: Sequence[Part]

    def html(self) -> str:
        """Folded, without a script."""
        inside = "".join(part.html() for part in self.parts)
        return f"<details><summary>{escape(self.title)}</summary>{inside}</details>"


@dataclass(frozen=True)
class Columns:
    """Parts side by side where the page is wide enough."""

    parts: Sequence[Part]

    def html(self) -> str:
        """A grid of the parts."""
        return f'<div class="columns">{"".join(f"<div>{p.html()}</div>" for p in self.parts)}</div>'


def page(title: str, lead: str, sections: Sequence[Section], footer: str = "", contents: bool = False) -> str:
    """The whole page as one text, to be written in UTF-8. All texts are plain and are escaped here.

    `contents` puts the titles of the sections on top, to jump to.
    """
    style = style_sheet("drawing.css") + style_sheet("page.css")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(lead)}</p>{_contents(sections) if contents else ''}</header>"
        f"{''.join(section.html() for section in sections)}<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def style_sheet(name: str) -> str:
    """A style sheet of this room: `page.css`, or `drawing.css`, which a drawing needs where it stands alone too."""
    return files("edgetl.html").joinpath(name).read_text(encoding="utf-8")


def captioned(inside: str, caption: str, kind: str = "") -> str:
    """HTML with its caption below, which is escaped; `kind` is its class in the style sheet."""
    named = f' class="{kind}"' if kind else ""
    return f"<figure{named}>{inside}<figcaption>{escape(caption)}</figcaption></figure>"


def _kind(text: str, right: bool) -> str:
    """How a cell is set: numbers to the right; what would make a column too wide, or too narrow, by itself."""
    if right:
        return " class=n"
    if _HASH.fullmatch(text):
        return " class=hash"
    longest = max(map(len, text.split()), default=0)
    names = [name for name, holds in (("long", longest > _LONG_WORD), ("words", len(text) > _WORDS)) if holds]
    return f' class="{" ".join(names)}"' if names else ""


def _contents(sections: Sequence[Section]) -> str:
    links = (f'<a href="#{_anchor(section.title)}">{escape(section.title)}</a>' for section in sections)
    return f"<nav>{''.join(links)}</nav>"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def write_page(path: Path, text: str) -> None:
    """Write one HTML page; raises SourceError."""
    try:
        path.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    except OSError as error:
        raise SourceError(f"the page {path} cannot be written: {error.strerror or error}") from error
