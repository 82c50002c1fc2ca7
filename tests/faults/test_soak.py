"""What a device needs does not grow with the time it lives."""

from __future__ import annotations

import pytest

from tests.faults.ground import Ground
from tests.faults.soak import soak

MIB = 1 << 20


def test_a_short_life_needs_no_more_at_its_end(ground: Ground) -> None:
    outcome = soak(ground, 6000, 600)
    assert outcome.learns == 600 and outcome.starts > 10
    assert outcome.growth["descriptors"] == outcome.growth["threads"] == 0
    assert outcome.growth["rss_bytes"] < 8 * MIB  # caches of this size fill up within minutes
    assert outcome.peak["disk_bytes"] < 3 * outcome.quota_bytes


def test_a_soak_catches_a_leak(ground: Ground) -> None:
    outcome = soak(ground, 6000, 600, "a leak")
    assert outcome.growth["rss_bytes"] > 12 * MIB and outcome.growth["descriptors"] > 300


@pytest.mark.slow
def test_a_long_life_needs_no_more_at_its_end(ground: Ground) -> None:
    outcome = soak(ground, 200_000, 20_000)
    assert outcome.growth["rss_bytes"] < 4 * MIB
    assert outcome.peak["disk_bytes"] < 3 * outcome.quota_bytes
