"""Words from elsewhere for a terminal: what it would obey is shown, not sent."""

from __future__ import annotations

import logging
from typing import Dict

__all__ = ["clean_record", "shown"]

# Control characters (C0 but tab and line end, C1), line ends of Unicode, and what turns the direction of text around.
_OBEYED = [*range(9), *range(11, 32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED: Dict[int, str] = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _OBEYED}

_PLAIN = logging.Formatter()


def shown(text: str) -> str:
    """The text with every character that a terminal obeys as its escape: a name from a file or a network may hold any.

    Tabs and line ends stay.
    """
    return text.translate(_ESCAPED)


def clean_record(record: logging.LogRecord) -> bool:
    """A filter for the handlers of a program: what is logged, as `shown`."""
    record.msg, record.args = shown(record.getMessage()), None
    if record.exc_info and not record.exc_text:
        record.exc_text = shown(_PLAIN.formatException(record.exc_info))
    return True
