"""What a bundle costs and computes on this machine: every way to run it, each in a fresh process."""

from __future__ import annotations

from edgetl_runtime.bench.report import device_report
from edgetl_runtime.bench.rows import BenchRow, bench_bundle, bench_ways

__all__ = ["BenchRow", "bench_bundle", "bench_ways", "device_report"]
