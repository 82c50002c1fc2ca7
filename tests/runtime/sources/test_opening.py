"""Sources are opened by their address; what cannot be is said with what to do, and nothing is ignored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import SOURCES, Uri, open_source
from PIL import Image


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "runs.npz"
    stamps = np.arange(300) * 10
    np.savez(path, x=np.random.default_rng(0).normal(size=(300, 3)), t=stamps, y=np.repeat(["a", "b"], 150))
    return path


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("carrier-pigeon://x", "no source 'carrier-pigeon'; there are"),
        ("file://notes.docx", r"no source reads this kind of file"),
        ("numpy://none.npy", "cannot be read"),
        ("csi://front", "."),
        ("http://[10.0.0.7/video", "brackets do not close"),
    ],
)
def test_an_address_that_means_nothing_is_refused(address: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(address)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("data=x&rate_hz=100&colour=red", r"no option \['colour'\]"),
        ("data=x", "a rate is needed"),
        ("data=z&rate_hz=1", "has no array 'z'; .*x, t, y"),
        ("rate_hz=1", "say data=NAME"),
        ("data=x&rate_hz=-1", "at least 0"),
        ("data=x&rate_hz=x", "must be a number"),
        ("data=x&rate_hz=nan", "must be a number"),
        ("data=x&rate_hz=1&keep=-3", "whole number"),
        ("data=x&rate_hz=1&rate_hz=2", "given twice"),
        ("data=x&stamps=t&stamp_unit=h", "must be one of"),
        ("data=x&stamps=x", "one a sample"),
        ("data=t&rate_hz=1", r"samples must be \(N, C\)"),
        ("data=y&rate_hz=1", r"samples must be \(N, C\)"),
        ("data=x&rate_hz=1&channels=a,b", "3 columns, 2 channels"),
        ("data=x&rate_hz=1&units=a,b", "3 columns, 3 channels, 2 units"),
    ],
)
def test_an_option_that_is_wrong_or_not_known_is_refused(vectors: Path, options: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"numpy://{vectors}?{options}")


@pytest.mark.parametrize("options", ["?channel=1", "?keep=1&keep=2", "?rate_hz=fast"])
def test_a_password_is_in_no_message_and_reaches_the_library_as_it_came(options: str) -> None:
    address = "rtsp://me:p%40ss%2Fword@10.0.0.7:554/a%3Fview=1"
    assert Uri(address).name == "rtsp://10.0.0.7:554/a?view=1"
    assert Uri(address).location == "rtsp://me:p%40ss%2Fword@10.0.0.7:554/a?view=1"
    with pytest.raises(SourceError) as refused:
        uri = Uri(address + options)
        uri.integer("keep", 0)
        uri.number("rate_hz")
        uri.finish()
    said = str(refused.value)
    assert said.startswith("rtsp://10.0.0.7:554/a") and not any(part in said for part in ("p@ss", "p%40ss", "word"))
    assert ("is written %3F" in said) == ("channel" in options)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    needing = {name: row for name, row in SOURCES.items() if row.needs}
    assert {"serial", "v4l2", "csi", "http", "https", "rtsp", "video", "mcap", "bag"} == set(needing)
    for name, row in needing.items():
        for module in (row.module, row.needs):
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        advice = f"needs {row.needs}, which is not installed: pip install 'edgetl-runtime"
        with pytest.raises(SourceError, match=advice):
            open_source(f"{name}://x")


def test_paths_with_spaces_and_signs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a b?#ü%20 2026-11-21T10:00.npy"
    np.save(path, np.zeros((3, 2)) + np.arange(3)[:, None])
    address = Uri.of_path(str(path))
    with open_source(f"{address}?rate_hz=10") as source:
        assert [sample.data[0] for sample in source] == [0, 1, 2]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "4.png")
    (tmp_path / "10:30 % #1").mkdir()
    (tmp_path / "4.png").rename(tmp_path / "10:30 % #1" / "4.png")
    for plain in ("10:30 % #1", str(tmp_path / "10:30 % #1")):
        with open_source(plain) as source:
            assert [sample.data.shape for sample in source] == [(4, 4, 3)]


def test_arrays_are_read_with_stamps_units_and_labels(vectors: Path) -> None:
    address = f"file://{vectors}?data=x&stamps=t&stamp_unit=ms&labels=y&channels=ax,ay,az&units=g,g,g"
    with open_source(address) as source:
        assert source.about.channels == ("ax", "ay", "az") and source.about.units == ("g",) * 3
        samples = list(source)
        assert source.health().state == "ended" and source.read() is None
    assert np.array_equal(np.stack([sample.data for sample in samples]), np.load(vectors)["x"])
    assert [sample.stamp_s for sample in samples] == pytest.approx(np.arange(300) / 100)
    assert [sample.label for sample in samples] == ["a"] * 150 + ["b"] * 150


def test_arrays_of_frames_are_frames(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    with open_source(f"file://{tmp_path / 'frames.npy'}?rate_hz=30") as source:
        assert source.about.kind == "frame"
        assert np.array_equal(np.stack([sample.data for sample in source]), frames)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match="cannot be read as an array"):
        open_source(f"file://{tmp_path / 'a.npy'}?rate_hz=1")
    np.savez(tmp_path / "b.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SourceError, match="is damaged"):
        open_source(f"file://{tmp_path / 'b.npz'}?rate_hz=1")


def test_a_folder_of_pictures_gives_frames_with_their_labels(tmp_path: Path) -> None:
    for number, name in enumerate(["cat/1.png", "cat/2.png", "dog/big/1.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4 + number, 5, 3), 50 * number + 20, np.uint8)).save(tmp_path / name)
    (tmp_path / "dog" / "torn.png").write_bytes(b"\x89PNG")
    with open_source(f"dir://{tmp_path}?labels=yes&rate_hz=5") as source:
        samples = list(source)
        assert source.health().drops == {"unreadable": 1}
    assert [sample.label for sample in samples] == ["cat", "cat", "dog/big"]
    assert [sample.data.shape for sample in samples] == [(4, 5, 3), (5, 5, 3), (6, 5, 3)]
    assert [sample.stamp_s for sample in samples] == pytest.approx([0.0, 0.2, 0.4])
    with open_source(tmp_path) as source:
        assert [sample.label for sample in source] == [None] * 3
    with pytest.raises(SourceError, match="holds no picture"):
        open_source(f"dir://{tmp_path / 'cat'}/none" if (tmp_path / "cat/none").mkdir() is None else "")


def test_a_recording_played_at_a_speed_is_live_and_loses_nothing(vectors: Path) -> None:
    with open_source(f"numpy://{vectors}?data=x&stamps=t&stamp_unit=ms&speed=30") as source:
        assert source.about.live
        samples = list(source)
        assert source.health().drops == {}
    assert len(samples) == 300
    assert np.diff([sample.stamp_s for sample in samples]) == pytest.approx(0.01 / 30, abs=1e-6)


def test_live_sources_have_no_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("serial")
    from tests.runtime.sources.ports import Board

    schema = tmp_path / "a.json"
    schema.write_text('{"format": "csv", "field": [{"name": "a"}]}')
    address = f"serial://{Board().device}?schema={schema}"
    with pytest.raises(SourceError, match="speed is for recordings"):
        open_source(f"{address}&speed=2")
    open_source(address).close()  # and the port was given free


def test_a_feed_that_fails_is_an_error_for_who_reads(vectors: Path) -> None:
    from edgetl_runtime.sources import About, Source

    class Failing:
        about = About("camera", "frame", live=True)
        connected, drops = True, {}  # type: ignore[var-annotated]

        def read(self, timeout_s: float) -> Any:
            raise ZeroDivisionError("in the driver")

        def close(self) -> None: ...

    with Source(Failing()) as source:
        for _ in range(2):
            with pytest.raises(SourceError, match="camera failed: ZeroDivisionError: in the driver"):
                source.read()
