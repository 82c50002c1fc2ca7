"""Where what a device decided goes: a row and a file a kind, opened by an address.

`stdout:` and `file://log.jsonl` JSON lines, `unix:///run/edgetl.sock` JSON lines to whoever connects and labels back,
`mcap://decisions.mcap` for Foxglove and ROS 2.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Protocol

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import Uri

__all__ = ["SINKS", "Listener", "Sink", "SinkRow", "open_sink"]

Listener = Callable[[str], None]


class Sink(Protocol):
    """Takes records (plain dictionaries with a `kind`) from one thread; neither waits nor raises when nobody reads."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Pass one record on."""

    def close(self) -> None:
        """Release it; harmless when repeated."""


class SinkRow(NamedTuple):
    """Where a kind of sink lives, what it imports ("" for nothing more), and how to get that."""

    module: str
    needs: str
    how: str


_HERE = "edgetl_runtime.sinks"
SINKS: Dict[str, SinkRow] = {
    "file": SinkRow(f"{_HERE}.lines", "", ""),
    "mcap": SinkRow(f"{_HERE}.decisions", "mcap", "pip install 'edgetl-runtime[mcap]'"),
    "stdout": SinkRow(f"{_HERE}.lines", "", ""),
    "unix": SinkRow(f"{_HERE}.unix_socket", "", ""),
}


def open_sink(address: str, listener: Optional[Listener] = None) -> Sink:
    """Open a sink by its address; `listener` is given the lines that come back, where a kind has them.

    Raises SourceError for an address that means nothing, a missing package, and what cannot be opened.
    """
    uri = Uri(address if ":" in address else f"{address}:")
    if uri.scheme not in SINKS:
        raise SourceError(f"there is no sink {uri.scheme!r}; there are {sorted(SINKS)}")
    row = SINKS[uri.scheme]
    if row.needs and importlib.util.find_spec(row.needs) is None:
        raise SourceError(f"the sink {uri.scheme} needs {row.needs}, which is not installed: {row.how}")
    sink: Sink = importlib.import_module(row.module).load(uri, listener)
    return sink
