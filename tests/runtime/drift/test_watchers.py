"""ADWIN and Page-Hinkley raise the alarms that river raises, value for value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgetl_runtime.drift import Adwin, PageHinkley

from tests.runtime.drift.streams import stream

# Alarms of river 0.26.1 on these hundred streams; benchmarks/adapt_detect.py compares with a living river.
RIVER = json.loads((Path(__file__).parent / "river.json").read_text())
THRESHOLDS = (5.0, 20.0, 50.0)


@pytest.mark.parametrize("index", range(100))
def test_alarms_are_those_of_river(index):
    adwin, page_hinkley = Adwin(), PageHinkley(threshold=THRESHOLDS[index % 3])
    alarms, others = [], []
    for place, value in enumerate(stream(index)):
        if adwin.update(value):
            alarms.append([place, adwin.width])
        if page_hinkley.update(value):
            others.append(place)
    assert alarms == RIVER["adwin"][index]
    assert others == RIVER["page_hinkley"][index]


def test_the_streams_are_worth_comparing():
    assert sum(map(len, RIVER["adwin"])) > 100 and sum(map(len, RIVER["page_hinkley"])) > 100
    assert sum(not alarms for alarms in RIVER["adwin"]) > 10


def test_adwin_forgets_what_came_before_the_jump():
    adwin = Adwin()
    for value in [0.0, 1.0] * 300 + [1.0] * 400:
        adwin.update(value)
    assert adwin.width <= 450 and adwin.mean > 0.9


def test_a_delta_that_is_no_chance_is_refused():
    for delta in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="delta"):
            Adwin(delta=delta)
