"""Sensor values in a CSV: what the host builds from is what the device can play."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import open_source
from edgetl_runtime.sources.csv_feed import read_table

TEXT = "time [ms],ax [m/s^2],label,gyro z (rad/s),group\n0,1.5,walk,-2,a\n10,,walk,3e1,a\n\n20,7,,4,b\n"


def test_a_csv_is_played_with_its_clock_channels_units_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "motion.csv"
    path.write_text("\ufeff" + TEXT, encoding="utf-8")
    with open_source(path) as source:
        samples = list(source)
        assert sum(source.health().drops.values()) == 1  # the value that is missing
        assert (source.about.channels, source.about.units) == (("ax", "gyro z"), ("m/s^2", "rad/s"))
    assert [sample.stamp_s for sample in samples] == [0.0, 0.02]
    assert [sample.label for sample in samples] == ["walk", None]
    assert np.array_equal([sample.data for sample in samples], [[1.5, -2], [7, 4]])
    table = read_table(path)
    assert table.groups == ["a", "a", "b"]
    assert np.array_equal(table.values[1], [np.nan, 30], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "needs a column `time`"),
        (b"ax,ay\n1,2\n", "needs a column `time`"),
        (b"time [h],ax\n1,2\n", "unit of time must be one of"),
        (b"time,label\n1,walk\n", "no column beside"),
        (b"time,ax\n0,1\n1,fast\n", "line 3: each channel must be a number"),
        (b"time,ax\n0\n", "line 2: each channel must be a number"),
        (b"time,ax\n\xff\xfe,1\n", "in UTF-8"),
        (b"time,ax\n0," + b"1" * 200_000 + b"\n", "in UTF-8|must be a number"),
        (b"time,ax\n0,\x001\n", "in UTF-8|must be a number"),
    ],
)
def test_a_csv_that_is_wrong_says_where(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "motion.csv"
    path.write_bytes(text)
    with pytest.raises(SourceError, match=message):
        open_source(path)
