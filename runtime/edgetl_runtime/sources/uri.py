"""A source's address: `serial:///dev/ttyUSB0?baud=115200&schema=imu.toml`."""

from __future__ import annotations

import math
import urllib.parse
from typing import Dict, List, Optional, Tuple

from edgetl_runtime.errors import SourceError

__all__ = ["Uri"]

_WITH_QUERIES = ("http", "https", "rtsp")


class Uri:
    """Scheme, path and options. Each option is taken once; `finish` refuses those that nobody took."""

    def __init__(self, text: str) -> None:
        try:
            parts = urllib.parse.urlsplit(text)
        except ValueError as error:
            raise SourceError(f"an address whose brackets do not close: {error}") from error
        if not parts.scheme or ":" not in text:
            raise SourceError(f"{text!r} is no address; write it like serial:///dev/ttyUSB0 or file://a.mcap")
        self.text, self.scheme = text, parts.scheme
        self.path = urllib.parse.unquote(parts.netloc + parts.path)
        host = parts.netloc if parts.password is None else parts.netloc.rpartition("@")[2]
        self._shown = urllib.parse.unquote(host + parts.path)
        self._located = parts.netloc + urllib.parse.unquote(parts.path)
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        self._options: Dict[str, str] = {}
        self._known: List[str] = []
        for name, value in pairs:
            if name in self._options:
                raise SourceError(f"{self.name}: the option {name} is given twice")
            self._options[name] = value

    @staticmethod
    def of_path(path: str) -> str:
        """The `file://` address of a plain path."""
        return "file://" + urllib.parse.quote(path)

    @property
    def name(self) -> str:
        """The address without its options, as it may be logged and shown: a password is left out, and whose it is."""
        return f"{self.scheme}://{self._shown}"

    @property
    def location(self) -> str:
        """The address without its options, as a library opens it: user and password stay escaped as they came."""
        return f"{self.scheme}://{self._located}"

    def with_scheme(self, scheme: str) -> Uri:
        """The same path and remaining options under another scheme."""
        other = Uri(f"{scheme}:")
        other.text, other.path, other._options, other._known = self.text, self.path, self._options, self._known
        other._shown, other._located = self._shown, self._located
        return other

    def option(self, name: str, default: str = "") -> str:
        """An option's text."""
        self._known.append(name)
        return self._options.pop(name, default)

    def words(self, name: str) -> Tuple[str, ...]:
        """An option's comma-separated words."""
        text = self.option(name)
        return tuple(word.strip() for word in text.split(",")) if text else ()

    def number(self, name: str, default: Optional[float] = None, least: float = 0.0) -> Optional[float]:
        """An option's number, at least `least`."""
        text = self.option(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value >= least and math.isfinite(value)):
            raise SourceError(f"{self.name}: {name} must be a number of at least {least:g}; got {text!r}")
        return value

    def integer(self, name: str, default: int, least: int = 0) -> int:
        """An option's whole number, at least `least`."""
        text = self.option(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise SourceError(f"{self.name}: {name} must be a whole number of at least {least}; got {text!r}")
        return int(text)

    def choice(self, name: str, choices: Tuple[str, ...]) -> str:
        """An option that must be one of `choices`; the first is the default."""
        text = self.option(name, choices[0])
        if text not in choices:
            raise SourceError(f"{self.name}: {name} must be one of {choices}; got {text!r}")
        return text

    def finish(self) -> None:
        """Refuse what nobody asked for: a misspelt option must not be ignored."""
        if self._options:
            theirs = ". A question mark of the camera's own is written %3F" if self.scheme in _WITH_QUERIES else ""
            known = sorted(set(self._known))
            raise SourceError(f"{self.name} has no option {sorted(self._options)}; it has {known}{theirs}")
