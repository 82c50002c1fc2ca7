"""`make recordings`: real recordings read, windowed, cut and damaged, beside the reference libraries.

Messages beside `mcap`'s own reader, samples beside rosbags' deserialisation (and Pillow for pictures), arrays beside
NumPy, windows beside numpy.interp. Every file is cut at 200 random points: a message that is not in the whole file, or
out of its order, would be a wrong one. Of those whose writer put checksums in, 200 single bits are flipped too. The
last rows are recordings made by
`edgetl-runtime record`'s own writer from real motion and real frames: what a cut loses of them, in seconds.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.sinks.recorder import Recorder
from edgetl_runtime.sources import About, Sample, open_source
from edgetl_runtime.sources.images import read_image
from edgetl_runtime.sources.mcap_feed import raw_messages
from edgetl_runtime.windows import Windower, WindowSpec, cut_windows
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
from PIL import Image
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from benchmarks.evidence import ROOT, data_folder, write_evidence

CUTS, FLIPS = 200, 200
LOSS_LIMIT_S = 1.0
Message = tuple[str, int, bytes]


def messages(data: bytes) -> list[Message]:
    return [(m.topic, m.log_time_ns, m.data) for m in raw_messages(io.BytesIO(data), {})]


def reference(data: bytes) -> list[Message]:
    """By mcap's own reader, in the order of the log."""
    found = make_reader(io.BytesIO(data)).iter_messages()
    return [(channel.topic, message.log_time, message.data) for _, channel, message in found]


def wrong_in(found: list[Message], expected: list[Message]) -> int:
    """How many of `found` are not in `expected`, or not in that order."""
    rest = iter(expected)
    return sum(not any(message == other for other in rest) for message in found)


def has_checksums(data: bytes) -> bool:
    """Did the writer put a checksum into every chunk? Without one nobody can see a flipped bit."""
    records = StreamReader(io.BytesIO(data), emit_chunks=True).records
    chunks = [record.uncompressed_crc for record in records if isinstance(record, Chunk)]
    return bool(chunks) and all(chunks)


def damaged(name: str, whole: bytes, expected: list[Message], generator: np.random.Generator) -> dict[str, Any]:
    """Cuts give a beginning; flipped bits cost chunks; neither gives a wrong message."""
    wrong, shares = 0, []
    for cut in generator.integers(0, len(whole), CUTS):
        found = messages(whole[: int(cut)])
        wrong += found != expected[: len(found)]
        shares.append(len(found) / len(expected) - cut / len(whole))
    row: dict[str, Any] = {
        "file": name, "messages": len(expected), "cuts": CUTS, "wrong_after_cut": wrong,
        "behind_the_cut_most": -float(min(shares)), "checksums": has_checksums(whole),
    }  # fmt: skip
    if not row["checksums"]:
        return {**row, "flips": 0, "wrong_after_flip": 0, "flips_that_cost_messages": 0}
    lost, flipped = 0, 0
    for _ in range(FLIPS):
        copy = bytearray(whole)
        copy[int(generator.integers(8, len(whole)))] ^= 1 << int(generator.integers(8))
        found = messages(bytes(copy))
        flipped += wrong_in(found, expected)
        lost += len(found) < len(expected)
    return {**row, "flips": FLIPS, "wrong_after_flip": flipped, "flips_that_cost_messages": lost}


def samples_of(address: Any) -> list[Sample]:
    with open_source(address) as source:
        return list(source)


def motion_of(message: Any) -> list[float]:
    one, other = message.linear_acceleration, message.angular_velocity
    return [one.x, one.y, one.z, other.x, other.y, other.z]


def same(name: str, found: list[Sample], expected: list[Any], stamps: list[float]) -> dict[str, Any]:
    """Samples beside what a reference library gives."""
    different = abs(len(found) - len(expected)) + sum(
        not np.array_equal(sample.data, other) or abs(sample.stamp_s - stamp_s) > 1e-9 * max(1.0, stamp_s)
        for sample, other, stamp_s in zip(found, expected, stamps, strict=False)
    )
    return {"what": name, "samples": len(found), "different": different}


def ros_samples(folder: Path, logs: Path) -> Iterator[dict[str, Any]]:
    """The one real recording of a camera and a motion sensor: as it is, and written again as ROS 1 and ROS 2 bags."""
    path = logs / "camera_imu_20s.mcap"
    with AnyReader([path]) as bag:
        rows = [(connection, at, bag.deserialize(data, connection.msgtype)) for connection, at, data in bag.messages()]
    motion = [message for connection, _, message in rows if connection.topic == "/imu/data"]
    frames = [message for connection, _, message in rows if connection.topic != "/imu/data"]
    stamp = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in motion]
    found = samples_of(f"mcap://{path}?topic=/imu/data")
    yield same("MCAP, sensor_msgs/Imu, beside rosbags", found, [motion_of(m) for m in motion], stamp)
    pixels = [np.asarray(Image.open(io.BytesIO(m.data.tobytes())).convert("RGB")) for m in frames]
    shown = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in frames]
    found = samples_of(f"mcap://{path}?topic=/camera/image/compressed")
    yield same("MCAP, sensor_msgs/CompressedImage, beside rosbags and Pillow", found, pixels, shown)
    for name, first in (("drive.bag", True), ("drive", False)):
        written = folder / name
        store = get_typestore(Stores.ROS1_NOETIC if first else Stores.ROS2_HUMBLE)
        with (Writer1(written) if first else Writer2(written, version=9)) as writer:
            connection = writer.add_connection("/imu/data", "sensor_msgs/msg/Imu", typestore=store)
            for number, message in enumerate(motion):
                header = message.header
                time_type = store.types["builtin_interfaces/msg/Time"]
                at = time_type(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
                number_too = {"seq": number} if first else {}
                made = store.types["std_msgs/msg/Header"](**number_too, stamp=at, frame_id=header.frame_id)
                again = type(message)(**{**message.__dict__, "header": made})
                pack = store.serialize_ros1 if first else store.serialize_cdr
                writer.write(connection, round(stamp[number] * 1e9), pack(again, "sensor_msgs/msg/Imu"))
        kind = "ROS 1 bag" if first else "ROS 2 bag (SQLite)"
        yield same(f"{kind}, the same motion", samples_of(f"bag://{written}"), [motion_of(m) for m in motion], stamp)


def array_samples(data: Path) -> Iterator[dict[str, Any]]:
    """Arrays, and pictures in a folder."""
    with np.load(data / "spsw_har" / "spsw.npz", allow_pickle=False) as stored:
        key = sorted({name.split("/")[0] for name in stored.files})[0]
        values, stamps = stored[f"{key}/x"].astype(np.float64), stored[f"{key}/t_ms"].astype(np.float64) / 1000.0
    address = f"numpy://{data / 'spsw_har' / 'spsw.npz'}?data={key}/x&stamps={key}/t_ms&stamp_unit=ms"
    rising = np.concatenate([[True], np.diff(stamps) > 0])
    found = samples_of(f"{address}&constant_after=0&stuck_after=0")
    yield same(f"NumPy archive {key}, beside NumPy", found, list(values[rising]), stamps[rising].tolist())
    folder = data / "donkey_tub" / "images"
    paths = sorted(folder.iterdir())
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    yield same("1,000 pictures of a drive, beside Pillow", samples_of(f"dir://{folder}"), pixels,
               [float(number) for number in range(len(paths))])  # fmt: skip


def windows(logs: Path) -> dict[str, Any]:
    """Real motion in windows: live, sample by sample, and at once; beside numpy.interp."""
    samples = samples_of(f"mcap://{logs / 'camera_imu_20s.mcap'}?topic=/imu/data")
    stamps, values = np.array([s.stamp_s for s in samples]), np.stack([s.data for s in samples])
    spec = WindowSpec(length=20, stride=10, rate_hz=20.0)
    at_once, windower = cut_windows(spec, stamps, values), Windower(spec)
    live = [window for stamp, value in zip(stamps, values, strict=True) for window in windower.push([stamp], [value])]
    apart = 0.0
    for start_s, data in zip(at_once.start_s, at_once.data, strict=True):
        steps = start_s + np.arange(spec.length) / spec.rate_hz
        expected = np.stack([np.interp(steps, stamps, column) for column in values.T], axis=1)
        apart = max(apart, float(np.abs(data - expected).max()))
    different = abs(len(live) - len(at_once.data)) + sum(
        not np.array_equal(window.data, data) for window, data in zip(live, at_once.data, strict=False)
    )
    return {"windows": len(live), "live_differs_from_at_once": different, "from_interp_most": apart,
            "scale": float(np.abs(values).max())}  # fmt: skip


def recorded(folder: Path, data: Path, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """What a cut loses of a recording of ours."""
    with np.load(data / "spsw_har" / "spsw.npz", allow_pickle=False) as stored:
        values = stored[sorted(name for name in stored.files if name.endswith("/x"))[0]].astype(np.float64)
    motion = About("imu", "vector", ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s^2",) * 3 + ("rad/s",) * 3,
                   rate_hz=100.0, live=True)  # fmt: skip
    camera = About("camera", "frame", rate_hz=20.0, live=True)
    pictures = sorted((data / "donkey_tub" / "images").iterdir())[:200]
    for name, about, rows in (
        ("motion at 100 Hz", motion, [values[n % len(values)] for n in range(2000)]),
        ("frames at 20 Hz", camera, [read_image(path) for path in pictures]),
    ):
        assert about.rate_hz is not None
        path, clock = folder / f"{about.name}.mcap", itertools.count(10**18, round(1e9 / about.rate_hz))
        ends = []
        with Recorder(path, about, clock_ns=clock.__next__) as recorder:
            for number, row in enumerate(rows):
                recorder.add(Sample(row, 1.0 + number / about.rate_hz))
                ends.append(path.stat().st_size)
        whole = path.read_bytes()
        expected, losses, wrong = messages(whole), [], 0
        for cut in generator.integers(0, ends[-1], CUTS):
            found = messages(whole[: int(cut)])
            wrong += found != expected[: len(found)]
            handed = int(np.searchsorted(ends, cut, side="right"))  # samples whose bytes the system had by then
            losses.append((handed - len(found)) / about.rate_hz)
        behind = max(number - sum(end <= size for end in ends[:number])
                     for number, size in enumerate(ends, 1)) / about.rate_hz  # fmt: skip
        yield {"what": name, "messages": len(expected), "cuts": CUTS, "wrong_after_cut": wrong,
               "lost_s_most": max(losses), "unwritten_s_most": behind}  # fmt: skip


def main() -> int:
    logging.disable(logging.WARNING)  # each cut is said in the log
    began, data, generator = time.perf_counter(), data_folder(), np.random.default_rng(7)
    logs = data / "logs"
    print("| real recording | messages | as mcap's reader | cuts | wrong | bits flipped | wrong |")
    print("|---|---:|---|---:|---:|---:|---:|")
    files = []
    for path in sorted(logs.glob("*.mcap")):
        whole = path.read_bytes()
        found, expected = messages(whole), reference(whole)
        row = damaged(path.name, whole, found, generator)
        row["as_reference"] = sorted(found, key=lambda message: message[1]) == expected
        files.append(row)
        print(f"| {path.name} | {row['messages']} | {row['as_reference']} | {CUTS} | {row['wrong_after_cut']}"
              f" | {row['flips'] or 'no checksums in it'} | {row['wrong_after_flip'] if row['flips'] else ''} |",
              flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as text:
        samples = [*ros_samples(Path(text), logs), *array_samples(data)]
        ours = list(recorded(Path(text), data, generator))
    print()
    for row in samples:
        print(f"{row['what']}: {row['samples']} samples, {row['different']} different")
    cut = windows(logs)
    print(f"{cut['windows']} windows of real motion: {cut['live_differs_from_at_once']} differ when they arrive sample"
          f" by sample; from numpy.interp at most {cut['from_interp_most']:.1e}, of values up to {cut['scale']:.0f}")
    for row in ours:
        print(f"recorded {row['what']}: {row['cuts']} cuts, {row['wrong_after_cut']} wrong; a cut of the file loses at"
              f" most {row['lost_s_most']:.2f} s of what the system had")  # fmt: skip
    good = all(not row["wrong_after_cut"] and not row["wrong_after_flip"] and row["as_reference"] for row in files)
    good = good and not any(row["different"] for row in samples) and not cut["live_differs_from_at_once"]
    good = good and cut["from_interp_most"] <= 1e-6 * max(1.0, cut["scale"])
    good = good and all(not row["wrong_after_cut"] and row["lost_s_most"] < LOSS_LIMIT_S for row in ours)
    seconds = time.perf_counter() - began
    evidence = {"files": files, "samples": samples, "windows": cut, "recorded": ours, "passed": good}
    path = write_evidence("recordings", json.loads(json.dumps({**evidence, "seconds": seconds})))
    print(f"\n{'all hold' if good else 'MISSED'}; {seconds:.0f} s; {path.relative_to(ROOT)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
