"""`make live`: what a running session costs: 1 kHz motion in windows, and a 640x480 camera at 30 frames a second.

The motion is sent by another process over a pseudo terminal; the camera is a video file played at its own rate
(OpenCV, `video://FILE?speed=1`), because no camera and no v4l2loopback can be had here. Source, loop and session are
those of `edgetl-runtime run`. CPU time by stage: of the thread that reads (port or decoder, and the runtime's checks)
and of the loop (resize, engine, and all else of the runtime). One engine thread. For how long its threads were ready
and got no core says whether a frame was lost to the runtime or to what else ran.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.framing import parse_schema
from edgetl_runtime.live import Loop, Memory, inputs_of
from edgetl_runtime.smoothing import DecisionFilter
from edgetl_runtime.sources import Source, Uri, open_feed
from edgetl_runtime.sources.images import read_image
from edgetl_runtime.sources.serial_feed import SerialFeed
from edgetl_runtime.sources.serial_port import SerialPort
from edgetl_runtime.windows import WindowSpec

import edgetl
from benchmarks.evidence import ROOT, data_folder, write_evidence
from benchmarks.motion import CHANNELS, UNITS, motion_bundle, streams

SECONDS, HZ, FPS = 20, 1000, 30.0
WORK = ROOT / "build" / "live"
OWN_LIMIT_MS = 1.0
SCHEMA = {
    "format": "edgetl", "rate_hz": HZ,
    "field": [{"name": name, "type": "f32", "unit": unit} for name, unit in zip(CHANNELS, UNITS, strict=True)],
}  # fmt: skip


class Clocked:
    """Counts the CPU time that a thread spends in some calls of an object, and how often; all else is its own."""

    def __init__(self, inner: Any, method: str) -> None:
        self._inner, self._method = inner, method
        self.cpu_s, self.calls = 0.0, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._timed(found) if name == self._method else found

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*arguments, **options)
            finally:
                self.cpu_s += time.thread_time() - began
                self.calls += 1

        return timed


class Kept:
    """A sink that writes lines, as `--to file://` does, and keeps what is measured."""

    lost = 0

    def __init__(self, path: Path) -> None:
        from edgetl_runtime.sinks import open_sink

        self._sink = open_sink(f"file://{path}")
        self.ages_ms: list[float] = []

    def write(self, record: dict[str, Any]) -> None:
        if record["kind"] == "prediction":
            self.ages_ms.append(record["age_ms"])
        self._sink.write(record)

    def close(self) -> None:
        self._sink.close()


def starved_s() -> float:
    """Seconds for which threads of this process that live now waited for a core, so far."""
    waits = [path.read_text().split() for path in Path("/proc/self/task").glob("*/schedstat")]
    return sum(int(row[1]) for row in waits if len(row) > 1) / 1e9


def others_cpu_s() -> float:
    """CPU seconds of the other Python threads so far: a decoder's own threads are not the runtime's."""
    mine = threading.get_native_id()
    threads = [thread.native_id for thread in threading.enumerate() if thread.native_id not in (None, mine)]
    return sum(int(Path(f"/proc/self/task/{number}/schedstat").read_text().split()[0]) for number in threads) / 1e9


def measured(
    name: str, bundle: Path, feed: Any, folder: Path, window: WindowSpec | None = None,
    start: Callable[[], Any] = lambda: None,
) -> dict[str, Any]:  # fmt: skip
    """Run the loop over a live feed to its end, or for the time, and say what it cost."""
    reading = Clocked(feed, "read")
    with rt.open(bundle, folder / name, allow_unsigned=True, threads=1) as session, Source(reading) as source:
        kept, cut = Kept(folder / f"{name}.jsonl"), inputs_of(source.about, session.takes, window)
        extractor = session._extractor
        resize, engine = Clocked(extractor.takes, "apply"), Clocked(extractor._engine, "run")
        extractor.takes, extractor._engine = resize, engine
        loop = Loop(session, source, cut, [kept], memory=Memory(), smooth=DecisionFilter(), observe=True)
        wall, process, mine = time.perf_counter(), time.process_time(), time.thread_time()
        starved, others = starved_s(), others_cpu_s()
        start()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and loop.step():
            pass
        wall, process, mine = (
            now - then for now, then in zip((time.perf_counter(), time.process_time(), time.thread_time()),
                                            (wall, process, mine), strict=True)
        )  # fmt: skip
        starved, others = starved_s() - starved, others_cpu_s() - others
        health = source.health()
        extractor.takes, extractor._engine = resize._inner, engine._inner
        kept.close()
    count = loop.predicted
    stages = {
        "read": reading.cpu_s, "the decoder's own threads": max(0.0, process - mine - others),
        "checks": max(0.0, others - reading.cpu_s), "resize": resize.cpu_s, "engine": engine.cpu_s,
        "the rest of the loop": mine - resize.cpu_s - engine.cpu_s,
    }  # fmt: skip
    ages = np.percentile(kept.ages_ms, [50, 99])
    own_ms = (stages["checks"] + stages["the rest of the loop"]) / count * 1e3
    return {
        "what": name, "seconds": wall, "samples": health.samples, "predicted": count, "skipped": loop.skipped,
        "drops": dict(health.drops), "cpu_share_of_a_core": process / wall, "age_ms_p50": float(ages[0]),
        "age_ms_p99": float(ages[1]), "stages_ms": {stage: cpu / count * 1e3 for stage, cpu in stages.items()},
        "waited_for_a_core_s": starved, "own_ms": own_ms,
        "own_us_a_sample": own_ms * 1e3 * count / max(1, health.samples),
    }  # fmt: skip


def motion(folder: Path) -> dict[str, Any]:
    values = np.concatenate([stream.values for stream in streams("sp", range(8, 15))])[: HZ * (SECONDS + 2)]
    np.save(folder / "motion.npy", values.astype(np.float32))
    command = [sys.executable, "-m", "benchmarks.robot_board", str(folder / "motion.npy"), str(folder / "imu"), str(HZ)]
    board = subprocess.Popen([*command, "[]"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert board.stdout is not None
    board.stdout.readline()
    feed = SerialFeed(SerialPort(str(folder / "imu"), 115200, by_id=folder), parse_schema(SCHEMA), "serial://imu")

    def start() -> None:
        assert board.stdin is not None
        board.stdin.write(b"\n")
        board.stdin.flush()

    window = WindowSpec(20, 10, 200.0, CHANNELS, UNITS)
    try:
        return measured("1 kHz motion", motion_bundle(WORK / "motion.edgetl"), feed, folder, window, start)
    finally:
        board.kill()
        board.wait()


def picture_bundle() -> Path:
    path = WORK / "pictures.edgetl"
    if not path.exists():
        data = data_folder()
        weights = data / "models" / "mobilenet_v2_torchvision_fp16.safetensors"
        extractor = edgetl.extractor("torchvision/mobilenet_v2", weights=weights, mean=127.5, scale=1 / 127.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        edgetl.build(extractor, edgetl.dataset(data / "grocery_fruitveg" / "val"), out=path, name="pictures")
    return path


def camera(folder: Path) -> dict[str, Any]:
    """Frames of a real drive, enlarged to 640x480, as a video that is played at 30 frames a second."""
    path = folder / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (640, 480))
    pictures = data_folder() / "donkey_tub" / "images"
    for number in range(int(FPS * (SECONDS + 1))):
        frame = read_image(pictures / f"{number}_cam_image_array_.jpg")
        writer.write(cv2.cvtColor(cv2.resize(frame, (640, 480), interpolation=cv2.INTER_CUBIC), cv2.COLOR_RGB2BGR))
    writer.release()
    bundle = picture_bundle()
    return measured("640x480 camera", bundle, open_feed(Uri(f"video://{path}?speed=1")), folder)


def main() -> int:
    began, rows = time.perf_counter(), []
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as text:
        for run in (motion, camera):
            rows.append(run(Path(text)))
            row = rows[-1]
            print(f"{row['what']}: {row['samples']} samples, {row['predicted']} predictions in {row['seconds']:.0f} s")
            print(f"  drops {row['drops'] or 0}, skipped {row['skipped']}; {row['cpu_share_of_a_core']:.2f} of a core")
            print(f"  sample to answer: p50 {row['age_ms_p50']:.1f} ms, p99 {row['age_ms_p99']:.1f} ms")
            print(f"  its threads were ready and waited for a core for {row['waited_for_a_core_s']:.1f} s in all")
            stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in row["stages_ms"].items())
            print(f"  CPU ms a prediction: {stages}; the runtime's own {row['own_ms']:.2f}"
                  f" ({row['own_us_a_sample']:.0f} us a sample)")  # fmt: skip
    good = all(not row["drops"] and not row["skipped"] for row in rows) and rows[1]["own_ms"] < OWN_LIMIT_MS
    evidence = {"rows": rows, "passed": good, "seconds": time.perf_counter() - began}
    path = write_evidence("live", json.loads(json.dumps(evidence)))
    print(f"{'all hold' if good else 'MISSED'}; {evidence['seconds']:.0f} s; {path.relative_to(ROOT)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
