"""T8 end to end: a real stream with faults injected gives dropped, doubted or good samples, and windows to match."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import About, Sample, Source, open_source
from edgetl_runtime.sources.array_feed import ArrayFeed
from edgetl_runtime.sources.simulated_feed import FAULTS, SimulatedFeed
from edgetl_runtime.windows import Windower, WindowSpec

STAMPS = 50.0 + np.arange(4000) / 100.0


def simulated(rates: Dict[str, float], seed: int = 0, frames: bool = False) -> Any:
    generator = np.random.default_rng(seed)
    data = (
        generator.integers(0, 256, (400, 32, 32, 3), dtype=np.uint8)
        if frames
        else np.sin(STAMPS[:, None] * [1.0, 2.0, 3.0]) + generator.normal(size=(4000, 3)) * 0.01
    )
    feed = ArrayFeed("recording", data, STAMPS[: len(data)], rate_hz=100.0)
    feed.about = replace(feed.about, limits=((-4.0, 4.0),) * 3)
    return SimulatedFeed(feed, np.random.default_rng(seed), rates)


def run(feed: Any) -> Any:
    with Source(feed) as source:
        return list(source), source.health()


def test_without_faults_it_is_the_recording() -> None:
    samples, health = run(simulated({}))
    assert len(samples) == 4000 and health.drops == {}
    assert not any(sample.doubt for sample in samples)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("nan", "not_finite"), ("shape", "shape"), ("duplicate", "duplicate"), ("late", "out_of_order")],
)
def test_what_cannot_be_used_is_dropped_for_its_reason_and_exactly_so(fault: str, reason: str) -> None:
    feed = simulated({fault: 0.01})
    samples, health = run(feed)
    assert feed.counts[fault] > 20
    assert health.drops == {reason: feed.counts[fault]}
    lost = feed.counts[fault] if fault != "duplicate" else 0
    assert len(samples) == 4000 - lost


@pytest.mark.parametrize(("fault", "doubt"), [("freeze", "constant"), ("black", "saturated")])
def test_what_can_be_used_and_not_learnt_is_doubted(fault: str, doubt: str) -> None:
    feed = simulated({fault: 0.01}, frames=fault == "black")
    samples, health = run(feed)
    assert feed.counts[fault] >= 2 and health.drops == {}
    assert {sample.doubt for sample in samples} == {"", doubt}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_window_is_bent_and_none_without_a_doubt_holds_a_fault(fault: str) -> None:
    samples, _ = run(simulated({fault: 0.004}, seed=3))
    windower, windows = Windower(WindowSpec(25, 25, 50.0), source_rate_hz=100.0), []
    for sample in samples:
        windows += windower.push([sample.stamp_s], [sample.data], [sample.doubt])
    assert len(windows) > 10
    good = 0
    for window in windows:
        shift = round((np.mean([window.start_s, window.end_s]) - 70.0) / 3600.0) * 3600.0  # a clock that was set back
        steps = window.start_s - shift + np.arange(25) / 50.0
        error = np.abs(window.data - np.sin(steps[:, None] * [1.0, 2.0, 3.0])).max()
        assert error < 0.15 or window.doubt
        good += not window.doubt
    assert good > 5


def test_faults_are_the_same_for_a_seed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(500, 2)))

    def counts(seed: int) -> Any:
        address = f"sim://{tmp_path / 'a.npy'}?rate_hz=100&seed={seed}&nan=0.05&lost=0.05&unplug=0.01&unplug_s=0.1"
        with open_source(address) as source:
            samples = list(source)
            return [sample.stamp_s for sample in samples], dict(source.health().drops)

    assert counts(1) == counts(1) != counts(2)
    with pytest.raises(SourceError, match="a probability"):
        open_source(f"sim://{tmp_path / 'a.npy'}?rate_hz=1&nan=3")
    with pytest.raises(SourceError, match="no option"):
        open_source(f"sim://{tmp_path / 'a.npy'}?rate_hz=1&gremlins=1")


def test_a_camera_that_is_slower_read_than_it_gives_keeps_the_newest() -> None:
    class Camera:
        """A hundred frames at once, numbered."""

        about = About("camera", "frame", live=True)
        connected, drops = True, {}  # type: ignore[var-annotated]

        def __init__(self) -> None:
            self.given = 0

        def read(self, timeout_s: float) -> Any:
            if self.given >= 100:
                return None
            self.given += 1
            return [Sample(np.random.default_rng(self.given).integers(0, 255, (8, 8, 3), np.uint8), self.given)]

        def close(self) -> None: ...

    with Source(Camera()) as source:
        source._thread.join()  # type: ignore[union-attr]
        samples = source.read()
        assert samples is not None and [sample.stamp_s for sample in samples] == [100]
        assert source.health().drops == {"overrun": 99}
        assert source.read() is None
