"""The demo: the whole loop on real digits, with a device process that is killed while it learns."""

from edgetl.demo.results import DemoResult, SeedResult
from edgetl.demo.run import run_demo

__all__ = ["DemoResult", "SeedResult", "run_demo"]
