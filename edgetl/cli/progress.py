"""Progress on a terminal as a bar, elsewhere as a line a stage; always on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edgetl_runtime.terminal import shown

from edgetl.progress import Progress, Step

__all__ = ["say_stage", "shown_progress"]


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """A progress function to hand to the library, drawn while the block runs."""
    if sys.stderr.isatty():
        with _bars() as draw:
            yield draw
    else:
        yield _Lines().show


def say_stage(stage: str) -> None:
    """A line for what takes seconds and has no steps, such as to import torch."""
    print(shown(f"{stage} ..."), file=sys.stderr, flush=True)


class _Lines:
    def __init__(self) -> None:
        self._stage = ""

    def show(self, step: Step) -> None:
        if step.stage != self._stage:
            self._stage = step.stage
            count = f" ({step.total})" if step.total and step.total > 1 else ""
            say_stage(f"{step.stage}{count}")


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    # No markup: a file name may look like it.
    name, note = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
    columns = name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), note
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks = {}
        room = max(24, bars.console.width - 76)  # beside the longest stage, a short bar, a count and a time

        def show(step: Step) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(step.stage, total=step.total, note="")
            bars.update(tasks[step.stage], completed=step.done, total=step.total, note=_cut(step.note, room))

        with _logged_above():
            yield show


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


@contextmanager
def _logged_above() -> Iterator[None]:
    """While bars are drawn, what is logged goes through them, to stand above; else they are drawn over it."""
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
    before = [(one, one.setStream(sys.stderr)) for one in handlers if one.stream is sys.__stderr__]
    try:
        yield
    finally:
        for one, stream in before:
            if stream is not None:
                one.setStream(stream)
