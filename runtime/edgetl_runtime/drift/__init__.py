"""Has the domain changed, and how: several tests whose pattern names the shift."""

from __future__ import annotations

from edgetl_runtime.drift.adwin import Adwin
from edgetl_runtime.drift.diagnosis import KINDS, Diagnosis, diagnose
from edgetl_runtime.drift.page_hinkley import PageHinkley
from edgetl_runtime.drift.reference import Reference, Sight
from edgetl_runtime.drift.table import DETECTORS, WATCHERS, DetectorRow, Watcher, WindowTest
from edgetl_runtime.drift.thinning import effective_count, independent_gap, thinned
from edgetl_runtime.drift.two_sample import TestOutcome, chi_square, hotelling, kolmogorov_smirnov, mmd

__all__ = [
    "DETECTORS",
    "KINDS",
    "WATCHERS",
    "Adwin",
    "DetectorRow",
    "Diagnosis",
    "PageHinkley",
    "Reference",
    "Sight",
    "TestOutcome",
    "Watcher",
    "WindowTest",
    "chi_square",
    "diagnose",
    "effective_count",
    "hotelling",
    "independent_gap",
    "kolmogorov_smirnov",
    "mmd",
    "thinned",
]
