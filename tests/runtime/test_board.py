"""Memory figures are those of this process, as the kernel counts them."""

from __future__ import annotations

import mmap
import subprocess
import sys

import numpy as np
from edgetl_runtime.board import peak_rss_bytes, rss_bytes


def test_resident_memory_follows_what_is_touched() -> None:
    before = rss_bytes()
    block = mmap.mmap(-1, 64 << 20)  # not from the heap, which may have as much to spare already
    np.frombuffer(block, np.uint8)[:] = 1
    held = rss_bytes()
    assert held - before > 48 << 20
    assert peak_rss_bytes() >= held - (1 << 20)
    block.close()
    assert held - rss_bytes() > 48 << 20


def test_a_child_is_not_charged_for_its_parent() -> None:
    block = np.ones(256 << 20, np.uint8)
    code = "from edgetl_runtime.board import peak_rss_bytes; print(peak_rss_bytes())"
    peak = int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)
    assert 1 << 20 < peak < 128 << 20 < block.nbytes
