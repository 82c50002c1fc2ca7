"""`make serial-noise`: what a noisy serial line makes of edgetl's frames.

A second process plays the board (`serial_board`) behind a pseudo terminal; this one reads it with pyserial, through
the same port and decoder as `serial://`. 32-byte payloads at 100 Hz and 1 kHz on a line of 460,800 baud, sent as fast
as the pseudo terminal takes them; two rows run in real time through a whole source. A frame that the noise left whole
must come out, one that it damaged must not. `theory` is the share left whole by the closed form, where there is one.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.framing import Schema, open_decoder, parse_schema
from edgetl_runtime.sources import Source
from edgetl_runtime.sources.serial_feed import SerialFeed
from edgetl_runtime.sources.serial_port import SerialPort

from benchmarks.evidence import ROOT, write_evidence
from benchmarks.serial_board import BAUD, BURST, FRAME_BYTES, payloads

MANY, FEW, SECONDS = 175_000, 50_000, 10
WANTED_DAMAGED = 1_000_000
CHANNELS = 8
RATES, LAST = ((1e-4, FEW), (1e-3, FEW)), (1e-2, MANY)  # probability a byte or bit, frames
# Fault, rate, frames, and the share that should be left whole.
CASES: list[tuple[str, float, int, float | None]] = [
    ("none", 0.0, FEW, 1.0),
    *(("bit errors", p, n, (1 - p) ** (8 * FRAME_BYTES)) for p, n in ((1e-5, FEW), (1e-4, FEW), (1e-3, MANY), LAST)),
    *(("bytes dropped", q, n, (1 - q) ** 44 * (1 - q * q) ** 2) for q, n in (*RATES, LAST)),
    *(("bytes inserted", q, n, (1 - q) ** 43 * (1 - q * 255 / 256) ** 2) for q, n in (*RATES, LAST)),
    *(("bytes duplicated", q, n, (1 - q) ** 44) for q, n in (*RATES, LAST)),
    *(("bursts", q, n, (1 - q) ** (FRAME_BYTES + BURST - 1)) for q, n in (*RATES, LAST)),
    *((f"stuck at {level}", q, FEW, None) for level in ("0x00", "0xFF") for q in (1e-4, 1e-3)),
]  # fmt: skip
# Baud rate read at over the one sent at; random bytes as many as ten megabytes of frames.
ONCE = [("wrong baud", ratio, 30_000, 0.0) for ratio in (1 / 12, 0.5, 2.0)] + [("random bytes", 1.0, 225_000, 0.0)]
LIVE_RATE = 1e-4


def schema_at(hz: float) -> Schema:
    return parse_schema(
        {"format": "edgetl", "rate_hz": hz, "field": [{"name": f"c{i}", "type": "u32"} for i in range(CHANNELS)]}
    )


class Board:
    """The other process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.serial_board"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.device = self._line().strip()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def prepare(self, job: dict[str, Any]) -> tuple[int, np.ndarray]:
        """How many bytes it will send, and which frames are whole in them."""
        self.tell(json.dumps(job))
        answer = json.loads(self._line())
        mask = np.unpackbits(np.frombuffer(base64.b64decode(answer["whole"]), np.uint8))
        return answer["bytes"], mask[: job["frames"]].astype(bool)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def judged(job: dict[str, Any], whole: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """What came out, (n, 8) values, against what was sent and what of it was whole."""
    sent = payloads(job["frames"], job["seed"]).view("<u4")
    numbers = values[:, 0].astype(np.int64) if len(values) else np.empty(0, np.int64)
    known = (numbers >= 0) & (numbers < len(sent))
    right = known.copy()
    right[known] = (values[known] == sent[numbers[known]]).all(axis=1) & whole[numbers[known]]
    seen = np.unique(numbers[right])
    missing = whole.copy()
    missing[seen] = False
    return {
        "fault": job["fault"], "rate": job["rate"], "hz": job["hz"], "sent": len(sent),
        "damaged": int(np.count_nonzero(~whole)),
        "accepted_damaged": len(values) - len(seen),  # wrong ones, damaged ones, and any that came out twice
        "delivered": len(seen), "expected": int(np.count_nonzero(whole)),
        # A whole frame that does not come out was lost to what came before it.
        "lost_after_damage": int(np.count_nonzero(missing)),
    }  # fmt: skip


def fast(board: Board, job: dict[str, Any]) -> dict[str, Any]:
    """One row as fast as the line takes it: port and decoder."""
    total, whole = board.prepare(job)
    decoder, readings, received, kept = open_decoder(schema_at(job["hz"])), [], 0, 0
    port = SerialPort(board.device, BAUD, gather_s=0.0)
    began, used = time.perf_counter(), time.process_time()
    board.tell("go")
    while received < total:
        data = port.read(1.0)
        if not data:
            break
        received += len(data)
        readings += decoder.feed(data)
        kept = max(kept, decoder.waiting_bytes)
    used, wall = time.process_time() - used, time.perf_counter() - began
    port.close()
    if received != total:
        raise SystemExit(f"the pseudo terminal gave {received} of {total} bytes: nothing can be said of {job}")
    values = np.array([reading.values for reading in readings]).reshape(-1, CHANNELS)
    return {
        **judged(job, whole, values), "most_kept_bytes": kept, "seconds": wall,
        "cpu_us_a_frame": used / job["frames"] * 1e6, "faults": decoder.faults,
    }  # fmt: skip


def live(board: Board, job: dict[str, Any]) -> dict[str, Any]:
    """One row in real time, through port, decoder, clock, checks and thread: what a session would get."""
    _, whole = board.prepare(job)
    with Source(SerialFeed(SerialPort(board.device, BAUD), schema_at(job["hz"]), "serial://board")) as source:
        began, used, samples, quiet = time.perf_counter(), time.process_time(), [], 0
        board.tell("go")
        while quiet < 5:
            came = source.read(0.1) or []
            samples += came
            quiet = 0 if came or not samples else quiet + 1
        used, wall = time.process_time() - used, time.perf_counter() - began
        health = source.health()
    values = np.array([sample.data for sample in samples]).reshape(-1, CHANNELS)
    steps = np.diff([sample.stamp_s for sample in samples]) * job["hz"]
    return {
        **judged(job, whole, values), "in_real_time": True, "seconds": wall, "cpu_share": used / wall,
        "cpu_us_a_frame": used / job["frames"] * 1e6, "drops": health.drops,
        "stamps_off_by_most": float(np.abs(steps - np.round(steps)).max()),
    }  # fmt: skip


def passed(row: dict[str, Any], theory: float | None) -> bool:
    near = 0.005 * row["sent"]
    good = row["accepted_damaged"] == 0 and row["delivered"] >= row["expected"] - near
    good = good and row["lost_after_damage"] == 0 and row.get("most_kept_bytes", 0) <= 2 * FRAME_BYTES
    return good and (theory is None or abs(row["expected"] - theory * row["sent"]) <= near)


def shown(row: dict[str, Any], theory: float | None) -> None:
    share = "" if theory is None else f"{100 * theory:6.2f}"
    print(
        f"| {row['fault']:<16} | {row['rate']:<7.5g} | {row['hz']:>4} | {row['sent']:>7} | {row['damaged']:>7}"
        f" | {row['accepted_damaged']:>3} | {row['delivered']:>7} | {row['expected']:>7}"
        f" | {100 * row['expected'] / row['sent']:6.2f} | {share:>6} | {row.get('most_kept_bytes', ''):>4}"
        f" | {row['cpu_us_a_frame']:5.1f} | {'' if row['passed'] else 'MISSED'}",
        flush=True,
    )


def main() -> int:
    began, rows, board = time.perf_counter(), [], Board()
    print("| fault | rate | Hz | sent | damaged | accepted | delivered | whole | % | theory % | kept | CPU us |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    jobs = [(fault, rate, hz, frames, theory, False) for hz in (100, 1000) for fault, rate, frames, theory in CASES]
    jobs += [(fault, rate, 1000, frames, theory, False) for fault, rate, frames, theory in ONCE]
    whole = (1 - LIVE_RATE) ** (8 * FRAME_BYTES) * (1 - 10 * LIVE_RATE) ** 44
    jobs += [("mixed", LIVE_RATE, hz, hz * SECONDS, None if hz == 100 else whole, True) for hz in (100, 1000)]
    for seed, (fault, rate, hz, frames, theory, pace) in enumerate(jobs):
        job = {"fault": fault, "rate": rate, "hz": hz, "frames": frames, "seed": seed, "pace": pace}
        row = live(board, job) if pace else fast(board, job)
        row["theory"] = None if theory is None else theory * row["sent"]
        row["passed"] = passed(row, theory)
        rows.append(row)
        shown(row, theory)
    board.close()
    accepted = sum(row["accepted_damaged"] for row in rows)
    damaged = sum(row["damaged"] for row in rows if row["fault"] != "random bytes")  # in which there are no frames
    good = all(row["passed"] for row in rows) and damaged >= WANTED_DAMAGED
    seconds = time.perf_counter() - began
    path: Path = write_evidence("serial-noise", {"rows": rows, "damaged": damaged, "accepted_damaged": accepted,
                                                 "passed": good, "seconds": seconds})  # fmt: skip
    print(f"\n{damaged:,} damaged frames, {accepted} of them accepted; {sum(row['sent'] for row in rows):,} sent")
    print(f"{'all rows hold' if good else 'NOT ALL ROWS HOLD'}; {seconds:.0f} s; {path.relative_to(ROOT)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
