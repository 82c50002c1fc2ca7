"""Is the data fit to be built from: copies, leaks, wrong labels, skew, damage, and what the device will see instead."""

from edgetl.checking.check import check_data
from edgetl.checking.page import check_page
from edgetl.checking.result import CheckResult, Finding

__all__ = ["CheckResult", "Finding", "check_data", "check_page"]
