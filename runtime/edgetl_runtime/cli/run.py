"""`edgetl-runtime run`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import signal
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any, Optional

from edgetl_runtime.arguments import number, whole
from edgetl_runtime.cli.keys import Keys
from edgetl_runtime.cli.sessions import add_keep_raw, add_policy, open_state
from edgetl_runtime.cli.view import View
from edgetl_runtime.errors import EdgetlError, SourceError
from edgetl_runtime.live import HeatGate, LabelRequest, LearningThread, Loop, Memory, inputs_of
from edgetl_runtime.preprocess import ArrayPreprocess
from edgetl_runtime.session import Session
from edgetl_runtime.sinks import open_sink
from edgetl_runtime.smoothing import MODES, DecisionFilter, RateLimit, Thinner
from edgetl_runtime.sources import open_source
from edgetl_runtime.watchdog import Watchdog
from edgetl_runtime.windows import Crop, CropSpec, WindowSpec

__all__ = ["EXAMPLE", "SWITCH_S", "add_arguments", "parse_label", "run"]

logger = logging.getLogger(__name__)

SWITCH_S = 0.0005
_NOW_S = 3.0  # for so long a label that names no input means the newest
_LONG_S = 1e15  # no clock counts so far; also keeps out NaN, and whole numbers too large for a float

EXAMPLE = (
    "edgetl-runtime run 'v4l2:///dev/video0?rate_hz=30' --state state/\n"
    "  edgetl-runtime run 'serial:///dev/ttyUSB0?schema=imu.toml' --to unix:///run/edgetl.sock --to mcap://day.mcap\n"
    "  edgetl-runtime run 'csi://0' --teach cup,plate,fork --view    (press c, p or f: what is seen is learnt)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("source", metavar="ADDRESS", help="a source: serial://, v4l2://, csi://, rtsp://, mcap://, ...")
    parser.add_argument(
        "--to", action="append", metavar="ADDRESS",
        help="where records go: stdout (default), file://LOG.jsonl, unix:///SOCKET, mcap://FILE, mqtt://BROKER/TOPIC,"
        " ros2://NODE; may be repeated. Labels come back by the last three with labels=yes, by a socket always",
    )  # fmt: skip
    parser.add_argument(
        "--labels", action="store_true",
        help='learn from lines on the standard input: {"label": "cup", "number": 12}, or "stamp_s", or a bare label; a'
        ' head of numbers from {"targets": {"angle": 0.2}, "number": 12}',
    )  # fmt: skip
    parser.add_argument("--teach", metavar="LABEL,...", help="learn at a key: the first letter free of each label")
    parser.add_argument("--name", default="", help="source under which samples are learnt (default: the address)")
    parser.add_argument(
        "--view", action="store_true", help="show what goes on in this terminal; without --to nothing else is written"
    )
    parser.add_argument("--smooth", type=number(), default=0.5, metavar="SECONDS", help="memory of decisions; 0: none")
    parser.add_argument(
        "--smooth-by", choices=MODES, default=MODES[0],
        help="decide by probabilities that fade, or by counting winners (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--unknown", type=number(-1e9), metavar="OUTLIER", help="decide nothing beyond this outlier score"
    )
    parser.add_argument("--no-observe", action="store_true", help="keep nothing that is unlabelled: no word of drift")
    parser.add_argument(
        "--labels-per-s", type=number(more=True), default=5.0, metavar="N", help="at most so many are learnt"
    )
    parser.add_argument(
        "--thin", type=number(), metavar="DISTANCE", help="leave out near-duplicates of what was learnt"
    )
    parser.add_argument(
        "--remember-mb", type=whole(0, 1 << 20), default=64, metavar="MB",
        help="of inputs, for labels that come late (default 64: 2 s of a 640x480 camera at 30 Hz, hours of an IMU)",
    )  # fmt: skip
    parser.add_argument("--rate-hz", type=number(more=True), help="of windows, for a bundle that does not say")
    parser.add_argument("--stride", type=whole(), help="steps from window to window")
    parser.add_argument(
        "--crop", action="append", metavar="NAME:LEFT,TOP,RIGHT,BOTTOM",
        help="judge this part of each frame on its own, in fractions of the frame; may be repeated",
    )  # fmt: skip
    parser.add_argument("--for", type=number(more=True), dest="seconds", metavar="SECONDS", help="stop after that long")
    add_policy(parser)
    add_keep_raw(parser)


def run(args: argparse.Namespace) -> int:
    """Predict until the source ends, the time is over, or Ctrl-C or SIGTERM; labels are learnt on the way."""
    # A prediction asks for the interpreter again after so long while another thread learns; Python's own is 5 ms.
    sys.setswitchinterval(SWITCH_S)
    with ExitStack() as opened:
        session = opened.enter_context(open_state(args, build="background"))
        source = opened.enter_context(open_source(args.source))
        memory = Memory(args.remember_mb << 20)
        loop = Loop(
            session, source, inputs_of(source.about, session.takes, _window(args, session), _crops(args)),
            memory=memory, smooth=_smoothing(args), watchdog=Watchdog(), observe=not args.no_observe,
        )  # fmt: skip
        learning = LearningThread(
            session, memory, loop.tell, source=args.name or source.about.name, gates=[HeatGate()],
            thinner=Thinner(args.thin) if args.thin is not None else None,
            limit=RateLimit(args.labels_per_s, burst=max(5, int(2 * args.labels_per_s))),
            newest_within_s=max(_NOW_S, 3.0 / (source.about.rate_hz or 1.0)) if source.about.live else None,
        )  # fmt: skip
        opened.callback(learning.close)

        def listen(line: str) -> None:
            try:
                learning.ask(parse_label(line))
            except SourceError as error:
                loop.tell({"kind": "refused", "label": None, "number": None, "reason": str(error)})

        sinks = []
        view = View(source.about.name, source.health, lambda: learning.paused) if _viewed(args) else None
        if view:
            opened.enter_context(view)
        for address in args.to or ([] if view else ["stdout"]):
            sinks.append(open_sink(address, listen, patient=not source.about.live))
            opened.callback(sinks[-1].close)
        for sink in [*sinks, *([view] if view else [])]:
            loop.add_sink(sink)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: loop.stop())
        if args.seconds is not None:
            timer = threading.Timer(args.seconds, loop.stop)
            timer.daemon = True
            timer.start()
        if args.labels:
            threading.Thread(target=_follow_lines, args=(listen,), daemon=True).start()
        if args.teach:
            keys = opened.enter_context(Keys(args.teach.split(",")))
            if view:
                view.keys = keys.help
            else:
                print(keys.help, file=sys.stderr)
            threading.Thread(target=_follow_keys, args=(keys, learning), daemon=True).start()
        began = time.monotonic()
        try:
            loop.run()
        finally:
            learning.close()
            for record in loop.leftover():
                for sink in sinks:
                    sink.write(record)
        seconds = time.monotonic() - began
    logger.info("%d inputs predicted in %.0f s, %d skipped", loop.predicted, seconds, loop.skipped)
    return 0


def parse_label(line: str) -> LabelRequest:
    """A request from a line: JSON with a `label` or with `targets`, or the bare label; raises SourceError."""
    if not line.lstrip().startswith("{"):
        return LabelRequest(line.strip())
    try:
        entries = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"a label is text, or JSON with the keys label and number: {error}") from error
    label, number, stamp_s = entries.pop("label", None), entries.pop("number", None), entries.pop("stamp_s", None)
    teach, place, targets = entries.pop("teach", False), entries.pop("place", None), entries.pop("targets", None)
    meant = isinstance(label, str) if targets is None else label is None and _are_numbers(targets)
    if not meant or type(teach) is not bool or not isinstance(place, (str, type(None))) or entries:
        known = "label (a text) or targets (numbers by name), number or stamp_s, place and teach"
        raise SourceError(f"a label has the keys {known}; got {line[:200]!r}")
    if number is not None and type(number) is not int:
        raise SourceError(f"the number of an input must be whole; got {number!r}")
    if stamp_s is not None and not (type(stamp_s) in (int, float) and -_LONG_S < stamp_s < _LONG_S):
        raise SourceError(f"the stamp of an input must be a number of seconds; got {stamp_s!r}")
    return LabelRequest(label, number, stamp_s, teach, place, targets)


def _are_numbers(targets: Any) -> bool:
    return isinstance(targets, dict) and all(type(value) in (int, float) for value in targets.values())


def _crops(args: argparse.Namespace) -> Optional[CropSpec]:
    found = []
    for text in args.crop or ():
        name, _, numbers = text.rpartition(":")
        try:
            left, top, right, bottom = map(float, numbers.split(","))
            found.append(Crop(name, left, top, right, bottom))
        except ValueError as error:
            wanted = "--crop is like door:0,0.2,0.5,1, in fractions of the frame"
            raise SourceError(f"{wanted}; got {text!r}: {error}") from error
    names = [crop.name for crop in found]
    if "" in names or len(set(names)) < len(names):
        raise SourceError(f"each --crop needs a name of its own; got {names}")
    return CropSpec(tuple(found)) if found else None


def _smoothing(args: argparse.Namespace) -> Optional[DecisionFilter]:
    if args.smooth <= 0:
        return None
    return DecisionFilter(args.smooth, args.smooth_by, most_outlier=args.unknown)


def _viewed(args: argparse.Namespace) -> bool:
    """A view is for a terminal: piped or under a supervisor the records are written as ever."""
    return bool(args.view) and sys.stdout.isatty()


def _window(args: argparse.Namespace, session: Session) -> Optional[WindowSpec]:
    """The window that the options ask for, in place of the bundle's."""
    if args.rate_hz is None and args.stride is None:
        return None
    takes = session.takes
    if not isinstance(takes, ArrayPreprocess) or len(takes.shape) != 2:
        raise SourceError("--rate-hz and --stride are for bundles that take windows of a time series")
    own = takes.window
    rate_hz = args.rate_hz if args.rate_hz is not None else own.rate_hz if own is not None else None
    if rate_hz is None:
        raise SourceError("this bundle does not say at which rate it takes windows; say --rate-hz")
    try:
        return WindowSpec(
            takes.shape[0], args.stride or (own.stride if own is not None else takes.shape[0]), rate_hz,
            own.channels if own is not None else (), own.units if own is not None else (),
            own.resample if own is not None else "linear",
        )  # fmt: skip
    except ValueError as error:
        raise SourceError(str(error)) from error


def _follow_lines(listen: Any) -> None:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a line that is no text must not end the thread
    for line in sys.stdin:
        if line.strip():
            listen(line.strip())


def _follow_keys(keys: Keys, learning: LearningThread) -> None:
    try:
        for label in keys:
            learning.ask(LabelRequest(label, on_purpose=True))
    except EdgetlError as error:
        logger.error("keys are not heard any more: %s", error)
