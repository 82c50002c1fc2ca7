"""The page of a recorded stream: what the drift tests saw, what each adapter would have done, what the guard decided.

Drawn here and not on the device: the device measures (`edgetl-runtime drift RECORDING --json`), and needs no charts.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import SourceError

from edgetl.html.charts import LineChart, Series
from edgetl.html.page import Figure, KeyFigures, Part, Section, Table, Text, page

__all__ = ["drift_page", "read_rehearsal"]

_KEYS = {"samples", "labelled", "kind", "words", "why", "follows", "steps", "decisions", "challengers", "refused"}
_MOST_SURE = 20.0


def read_rehearsal(path: Path) -> dict[str, Any]:
    """What `edgetl-runtime drift RECORDING --json` printed; raises SourceError on anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not set(found) >= _KEYS or not found["steps"]:
        raise SourceError(f"{path} is not what `edgetl-runtime drift RECORDING --json` prints; make it with that")
    return found


def drift_page(found: dict[str, Any]) -> str:
    """The whole page as one text; nothing in it needs a network. Raises SourceError for a value of another kind."""
    try:
        return _page(found)
    # It comes from another machine, and says hundreds of numbers: each is tried where it is drawn.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SourceError(
            f"what was measured cannot be drawn ({type(error).__name__}: {error}); make it again:"
            " edgetl-runtime drift RECORDING --json"
        ) from error


def _page(found: dict[str, Any]) -> str:
    sections = [_summary(found), _tests(found)]
    if found["labelled"]:
        sections.append(_right(found))
    sections += [_changes(found), _decisions(found)]
    where = found.get("recording", "a recording")
    return page(
        f"Drift in {where}",
        f"{found['samples']} samples, {found['labelled']} with labels; bundle {found.get('bundle', '')}.",
        sections,
        "Adapters are tried on the part that follows the samples they were made of. Labels judge; none of them taught.",
    )


def _summary(found: dict[str, Any]) -> Section:
    figures = [
        Figure("at the end", found["kind"], found["words"]),
        Figure("the guard", f"follows by {found['follows']}" if found["follows"] else "stays", found["why"]),
    ]
    last = [step for step in found["steps"] if step["right"]]
    if last:
        shares = last[-1]["right"]
        note = f"of the last {last[-1]['labels']} with labels; the guard's choice {_percent(shares['guard'])}"
        figures.append(Figure("live head right", _percent(shares["live"]), note))
    return Section("What happened", "", [KeyFigures(figures)])


def _tests(found: dict[str, Any]) -> Section:
    steps = found["steps"]
    names = list(dict.fromkeys(name for step in steps for name in step["tests"]))
    series = [
        Series(name, [(step["samples"], _sureness(step["tests"][name])) for step in steps if name in step["tests"]])
        for name in names
    ]
    parts: list[Part] = [Text(["There were too few independent samples to test."])]
    if any(len(one.points) > 1 for one in series):
        caption = "-log10 of the p-value of each drift test; above 2 chance alone comes once in a hundred looks"
        level = Series("one in a hundred", [(steps[-1]["samples"], 2.0)])
        parts = [LineChart(caption, "samples", "-log10 p", [one for one in series if len(one.points) > 1] + [level])]
    lead = "Which tests fire together names the shift: labels alone a label shift, features a covariate shift."
    return Section("Drift statistics", lead, parts)


def _right(found: dict[str, Any]) -> Section:
    steps = [step for step in found["steps"] if step["right"]]
    return Section(
        "What each adapter would have done",
        "Right on each part, by heads that were made before it. The guard's line is what would have been live.",
        [_lines(steps, "right", "right, %", "Right on each part of the stream, in %"), _means(steps)],
    )


def _changes(found: dict[str, Any]) -> Section:
    caption = "Answers that differ from those of the live head, in %"
    return Section(
        "What would be answered otherwise",
        "A head that changes much without labels to prove it better is a risk, not a gain.",
        [_lines(found["steps"], "changes", "changed, %", caption)],
    )


def _lines(steps: list[dict[str, Any]], key: str, unit: str, caption: str) -> Part:
    names = [name for name in dict.fromkeys(name for step in steps for name in step[key]) if _wanted(name, key)]
    series = []
    for name in names:
        points = [(step["samples"], 100 * step[key][name]) for step in steps if name in step[key]]
        if len(points) > 1:
            series.append(Series(_named(name), points))
    if not series:
        return Text(["Nothing to draw: no adapter was made for more than one part."])
    return LineChart(caption, "samples", unit, series, unit=" %", digits=0)


def _means(steps: list[dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for step in steps for name in step["right"]))
    rows: list[list[str | float | int]] = []
    for name in names:
        mine = [step for step in steps if name in step["right"]]
        count = sum(step["labels"] for step in mine)
        share, live = (sum(step["labels"] * step["right"][key] for step in mine) / count for key in (name, "live"))
        rows.append([_named(name), len(mine), 100 * share, 100 * live, 100 * (share - live)])
    return Table("On the parts where each was there", ["head", "parts", "right %", "live head %", "gained"], rows)


def _decisions(found: dict[str, Any]) -> Section:
    rows: list[list[str | float | int]] = [
        [one["samples"], one["decision"], one["adapter"], one["reason"]] for one in found["decisions"]
    ]
    parts: list[Part] = [Table("In order", ["after samples", "what", "adapter", "why"], rows)]
    told = [f"Refused: {name}, because {why}" for name, why in found["refused"].items()]
    if found.get("verdict"):
        told.insert(0, f"At the end the guard says: {found['verdict']['decision']}. {found['verdict']['reason']}.")
    if told:
        parts.append(Text(told))
    return Section("What was diagnosed, and what the guard decided", "", parts)


def _wanted(name: str, key: str) -> bool:
    return not (key == "changes" and name == "live")


def _named(name: str) -> str:
    return {"live": "live head", "guard": "guard's choice"}.get(name, name)


def _sureness(p_value: float) -> float:
    return min(_MOST_SURE, -math.log10(max(p_value, 1e-300)))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
