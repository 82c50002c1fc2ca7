"""Memory figures are those of this process, as the kernel counts them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from edgetl_runtime.board import peak_rss_bytes, rss_bytes


def test_resident_memory_follows_what_is_touched() -> None:
    before = rss_bytes()
    block = np.ones(64 << 20, np.uint8)
    assert rss_bytes() - before > 48 << 20
    assert peak_rss_bytes() >= rss_bytes() - (1 << 20)
    del block
    assert rss_bytes() - before < 32 << 20
    assert peak_rss_bytes() - before > 48 << 20


def test_a_child_is_not_charged_for_its_parent() -> None:
    block = np.ones(256 << 20, np.uint8)
    code = "from edgetl_runtime.board import peak_rss_bytes; print(peak_rss_bytes())"
    peak = int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)
    assert 1 << 20 < peak < 128 << 20 < block.nbytes
