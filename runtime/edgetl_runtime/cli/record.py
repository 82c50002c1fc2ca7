"""`edgetl-runtime record`."""

from __future__ import annotations

import argparse
import json
import signal
import time
from pathlib import Path

from edgetl_runtime.arguments import number
from edgetl_runtime.cli.progress import shown_count
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import open_source

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime record 'serial:///dev/ttyUSB0?baud=115200&schema=imu.toml' --out walk.mcap --for 60\n"
    "  edgetl-runtime record 'v4l2:///dev/video0?rate_hz=15' --out shop.mcap"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("source", metavar="ADDRESS", help="a source: serial://, v4l2://, csi://, rtsp://, mcap://, ...")
    parser.add_argument("--out", required=True, metavar="FILE.mcap", help="a new file; one that is there is kept")
    parser.add_argument("--for", type=number(more=True), dest="seconds", metavar="SECONDS", help="stop after that long")
    parser.add_argument("--lossless", action="store_true", help="frames as PNG in place of JPEG")


def run(args: argparse.Namespace) -> int:
    """Record until the source ends, the time is over, or Ctrl-C or SIGTERM."""
    try:
        from edgetl_runtime.sinks.recorder import Recorder
    except ImportError as error:
        raise SourceError(f"recording needs mcap: {error}; pip install 'edgetl-runtime[mcap]'") from error
    stopped = []
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stopped.append(True))
    began = time.monotonic()
    with open_source(args.source) as source, Recorder(
        Path(args.out), source.about, args.lossless
    ) as recorder, shown_count("samples ...") as tell:
        while not stopped and (args.seconds is None or time.monotonic() - began < args.seconds):
            samples = source.read(0.2)
            if samples is None:
                break
            for sample in samples:
                recorder.add(sample)
            tell(recorder.samples)
        health = source.health()
    if args.json:
        print(json.dumps({"out": args.out, "samples": recorder.samples, "drops": dict(health.drops)}))
    else:
        drops = ", ".join(f"{count} {reason}" for reason, count in sorted(health.drops.items()))
        print(f"{recorder.samples} samples in {args.out}" + (f"; not recorded: {drops}" if drops else ""))
    return 0
