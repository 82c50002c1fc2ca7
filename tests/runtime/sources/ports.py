"""Pseudo terminals in the place of serial devices: real file descriptors, opened by pyserial."""

from __future__ import annotations

import os
import tty
from pathlib import Path
from typing import Optional


class Board:
    """The far end of a serial line; `link` is the name under which it is found, as udev's by-id links."""

    def __init__(self, link: Optional[Path] = None) -> None:
        self._link = link
        self.plug_in()

    def plug_in(self) -> None:
        """A new pseudo terminal, mostly under another number."""
        self.end, far = os.openpty()
        tty.setraw(far)
        self.device = os.ttyname(far)
        os.close(far)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.device)

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.end, data) :]

    def unplug(self) -> None:
        os.close(self.end)
        if self._link is not None:
            self._link.unlink()
