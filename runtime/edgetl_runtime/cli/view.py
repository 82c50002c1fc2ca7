"""`run --view`: what goes on, in a terminal; by rich where it is installed, else one line that is rewritten."""

from __future__ import annotations

import collections
import importlib.util
import logging
import os
import sys
import threading
import time
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, TextIO, Tuple

from edgetl_runtime.sources import Health
from edgetl_runtime.terminal import shown

__all__ = ["Facts", "View"]

_EVERY_S = 0.25
_KEPT = 240
_SHOWN_MESSAGES = 4
_BARS = " ▁▂▃▄▅▆▇█"
_GOOD = ("ok", "starting", "ended")
Pair = Tuple[str, str]


class Facts:
    """The newest of what the records said. Written by the loop, read by the view."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.prediction: Dict[str, Any] = {}
        self.health: Dict[str, Any] = {}
        self.outliers: Deque[float] = collections.deque(maxlen=_KEPT)
        self.latencies_ms: Deque[float] = collections.deque(maxlen=_KEPT)
        self.ages_ms: Deque[float] = collections.deque(maxlen=_KEPT)
        self.at_s: Deque[float] = collections.deque(maxlen=_KEPT)
        self.drift = ""
        self.learnt = self.refused = 0
        self.why = ""

    def take(self, record: Mapping[str, Any]) -> None:
        """One record."""
        kind = record.get("kind")
        if kind == "prediction":
            self.prediction = dict(record)
            self.at_s.append(time.monotonic())
            self.latencies_ms.append(record["latency_ms"])
            self.outliers.append(record["outlier"])
            if "age_ms" in record:
                self.ages_ms.append(record["age_ms"])
        elif kind == "health":
            self.health = dict(record)
        elif kind == "drift":
            self.drift = str(record["words"])
        elif kind == "learnt":
            self.learnt, self.why = self.learnt + 1, f"learnt {_told(record)}"
        elif kind == "refused":
            self.refused, self.why = self.refused + 1, f"refused {_told(record)}: {record['reason']}"

    def rows(self, health: Health, paused: str) -> List[Pair]:
        """What to show, as names and texts."""
        said, others = self.prediction, [fault for fault in health.faults if fault != health.state]
        counted = {name: self.health.get(name, 0) for name in ("skipped", "unusable", "unwritten")}
        lost = {**health.drops, **{name: count for name, count in counted.items() if count}}
        state = health.state + (f" ({', '.join(others)})" if others else "")
        if health.state not in _GOOD:
            state += f", nothing for {health.age_s:.0f} s" if health.age_s >= 1.0 else ""
        rows = [
            ("source", f"{state}    {self.source}"),
            ("rate", f"{health.rate_hz:.1f} Hz of samples, {self.predictions_hz():.1f} predictions a second"),
            ("drops", ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items())) or "none"),
            ("class", self._answer()),
            ("outlier", f"{_sparks(self.outliers)} {said.get('outlier', 0.0):.1f}" + self._course()),
            ("drift", self.drift or "nothing looked at yet"),
            ("generation", f"{said.get('generation', '-')}    learnt {self.learnt}, refused {self.refused}"),
            ("latency", f"{_middle(self.latencies_ms)} of the model"),
        ]
        if self.ages_ms:
            rows[-1] = ("latency", f"{rows[-1][1]}, {_middle(self.ages_ms)} from sample to answer")
        if paused:
            rows.append(("waiting", f"learning waits: {paused}"))
        elif self.why:
            rows.append(("newest", self.why))
        return rows

    def predictions_hz(self) -> float:
        """Predictions a second, of late."""
        now_s = time.monotonic()
        recent = [at_s for at_s in list(self.at_s) if now_s - at_s <= 5.0]
        return (len(recent) - 1) / max(now_s - recent[0], 1e-3) if len(recent) > 1 else 0.0

    def _answer(self) -> str:
        said = self.prediction
        if "values" in said:
            return ", ".join(f"{name} {value:.3g}" for name, value in said["values"].items())
        if not said:
            return "nothing yet"
        best = ", ".join(f"{label} {100 * share:.0f} %" for label, share in said["best"][:3])
        if "decision" not in said:
            return best
        best = f"{best} at {said['place']}" if "place" in said else best
        return f"{said['decision'] if said['decision'] is not None else said['reason']}    now {best}"

    def _course(self) -> str:
        """How the newest eighth of the outlier scores lies to the rest."""
        scores = list(self.outliers)
        if len(scores) < 32:
            return ""
        cut = len(scores) - len(scores) // 8
        before, now = sorted(scores[:cut]), sorted(scores[cut:])
        return f"    median {now[len(now) // 2]:.1f}, before {before[len(before) // 2]:.1f}"


class View:
    """A sink that draws four times a second, from a thread of its own, while it is open."""

    lost = 0

    def __init__(
        self, source: str, health: Callable[[], Health], paused: Callable[[], str] = lambda: "",
        stream: Optional[TextIO] = None, plain: Optional[bool] = None,
    ) -> None:  # fmt: skip
        self.facts, self.keys = Facts(source), ""
        self._health, self._paused, self._stream = health, paused, stream or sys.stdout
        self._plain = importlib.util.find_spec("rich") is None if plain is None else plain
        self._messages = _Messages()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgetl view", daemon=True)

    def write(self, record: Mapping[str, Any]) -> None:
        """Take one record in."""
        self.facts.take(record)

    def close(self) -> None:
        """Draw for the last time; harmless when repeated."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        self._messages.give_back()

    def __enter__(self) -> View:
        self._messages.take_over()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self._draw_plain() if self._plain else self._draw_rich()
        except Exception:  # a terminal that went away must not end the session
            logging.getLogger(__name__).exception("the view has ended")

    def _rows(self) -> List[Pair]:
        rows = self.facts.rows(self._health(), self._paused()) + ([("keys", self.keys)] if self.keys else [])
        rows += [("log", line) for line in self._messages.newest]
        # A label that was refused, or the name of a source, may be anybody's.
        return [(name, _line(text)) for name, text in rows]

    def _draw_plain(self) -> None:
        width, shown = 0, 0
        while True:
            ending = self._closing.wait(2 * _EVERY_S)
            rows = dict(self._rows())
            fresh, shown = self._messages.count - shown, self._messages.count
            for message in list(self._messages.newest)[-fresh:] if fresh else ():
                self._stream.write("\r" + _line(message).ljust(width) + "\n")
            rate = f"{self.facts.predictions_hz():.1f}/s"
            line = f"{rows['source']}: {rows['class']}, {rate}, drops {rows['drops']}, generation {rows['generation']}"
            line = line.replace(f"    {self.facts.source}", "").replace("    ", ", ")[: _columns(self._stream) - 1]
            self._stream.write("\r" + line.ljust(width) + ("\n" if ending else ""))
            self._stream.flush()
            width = len(line)
            if ending:
                return

    def _draw_rich(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        def drawn() -> Panel:
            table = Table.grid(padding=(0, 2))
            table.add_column(style="dim", no_wrap=True, min_width=10)
            table.add_column(overflow="ellipsis", no_wrap=True)
            well = self._health().state in _GOOD
            for name, text in self._rows():
                colour = {"source": "green" if well else "bold red", "class": "bold", "waiting": "yellow",
                          "log": "yellow"}.get(name, "")  # fmt: skip
                table.add_row(name, Text(text, style=colour))
            return Panel(table, title="edgetl-runtime run", title_align="left", border_style="dim")

        console = Console(file=self._stream)
        with Live(drawn(), console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            while not self._closing.wait(_EVERY_S):
                live.update(drawn(), refresh=True)
            live.update(drawn(), refresh=True)


class _Messages(logging.Handler):
    """Takes the place of the root's handlers, whose lines would be drawn over."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: Deque[str] = collections.deque(maxlen=_SHOWN_MESSAGES)
        self.count = 0
        self._before: List[logging.Handler] = []

    def take_over(self) -> None:
        root = logging.getLogger()
        self._before, root.handlers = root.handlers, [self]

    def give_back(self) -> None:
        root = logging.getLogger()
        if self in root.handlers:
            root.handlers = self._before

    def emit(self, record: logging.LogRecord) -> None:
        self.newest.append(f"{time.strftime('%H:%M:%S')} {record.getMessage()}")
        self.count += 1


def _told(record: Mapping[str, Any]) -> str:
    """The label or the numbers that a record of learning is about; a line that could not be read has neither."""
    if "targets" in record:
        return ", ".join(f"{name} {value}" for name, value in record["targets"].items())
    return "a label" if record["label"] is None else str(record["label"])


def _line(text: str) -> str:
    return " ".join(shown(text).splitlines())


def _sparks(scores: Any) -> str:
    newest = list(scores)[-24:]
    if not newest:
        return ""
    low, high = min(newest), max(newest)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((score - low) / step)] for score in newest)


def _middle(times_ms: Any) -> str:
    ordered = sorted(times_ms)
    if not ordered:
        return "-"
    return f"p50 {ordered[len(ordered) // 2]:.1f} ms, p99 {ordered[len(ordered) * 99 // 100]:.1f} ms"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 80
