"""Memory of this process, by plain reads of /proc."""

from __future__ import annotations

import os
import resource
from pathlib import Path

__all__ = ["peak_rss_bytes", "rss_bytes"]


def rss_bytes() -> int:
    """Resident memory of this process now, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far, in bytes.

    From /proc: `ru_maxrss` of a child starts at its parent's value, so it would blame a small runtime
    for a large launcher.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
