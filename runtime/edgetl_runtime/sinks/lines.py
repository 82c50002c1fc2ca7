"""JSON lines: on the standard output, or at the end of a file."""

from __future__ import annotations

import logging
import sys
from typing import Any, Mapping, Optional, TextIO

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.sources import Uri

__all__ = ["Lines", "load"]

logger = logging.getLogger(__name__)


def load(uri: Uri, listener: Any) -> Lines:
    """The sink of `stdout:` or `file://PATH`."""
    uri.finish()
    if uri.scheme == "stdout":
        return Lines(sys.stdout, owned=False)
    try:
        return Lines(open(uri.path, "a", encoding="utf-8"))  # noqa: PTH123
    except OSError as error:
        raise SourceError(f"{uri.path} cannot be written to: {error}") from error


class Lines:
    """One line a record, flushed at once."""

    def __init__(self, stream: TextIO, owned: bool = True) -> None:
        self._stream: Optional[TextIO] = stream
        self._owned, self.lost = owned, 0

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one line; raises OSError where it cannot be."""
        if self._stream is not None:
            self._stream.write(line_of(record))
            self._stream.flush()

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        stream, self._stream = self._stream, None
        if stream is not None and self._owned:
            try:
                stream.close()
            except OSError as error:  # what could not be flushed was lost before
                logger.debug("%s: %s", stream.name, error)
