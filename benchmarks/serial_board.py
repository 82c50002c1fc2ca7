"""The board of `make serial-noise`: another process, which sends frames over a pseudo terminal with a noisy line.

It reads a job a line (JSON: fault, rate, hz, frames, seed, pace), answers with what it is about to send, and sends it
when it reads the next line. What the noise has left whole is found out here, without the decoder under test.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import tty
from collections.abc import Callable
from typing import Any

import numpy as np
from edgetl_runtime.framing import encode_frame

__all__ = ["BAUD", "FAULTS", "FRAME_BYTES", "PAYLOAD_BYTES", "noisy", "payloads", "whole"]

PAYLOAD_BYTES = 32
FRAME_BYTES = 46  # 7 of header, 32, 4 of CRC, 1 of stuffing, 2 zeros
BAUD = 460_800  # of which 1 kHz of these frames takes all, 100 Hz a tenth: noise falls on the idle line too
BURST = 16
_LINE_BYTES_A_S = BAUD / 10
Bytes = np.ndarray


def payloads(count: int, seed: int) -> Bytes:
    """(count, 32) uint8: what frame number i carries, its number first; both processes make it."""
    data = np.random.default_rng(seed).integers(0, 256, (count, PAYLOAD_BYTES), dtype=np.uint8)
    data[:, 16:24] = 0  # and zeros, as real numbers have
    data[:, :4] = np.arange(count, dtype="<u4").view(np.uint8).reshape(-1, 4)
    return data


def encoded(count: int, seed: int, hz: float) -> Bytes:
    """(count, 46) uint8: the frames."""
    period_us = round(1e6 / hz)
    frames = [encode_frame(row.tobytes(), i, i * period_us) for i, row in enumerate(payloads(count, seed))]
    return np.frombuffer(b"".join(frames), np.uint8).reshape(count, FRAME_BYTES)


def events(total: int, rate: float, generator: np.random.Generator) -> Bytes:
    """Places 0..total-1 at which something happens that does at each with that probability."""
    gaps = generator.geometric(rate, size=int(total * rate + 6 * (total * rate + 9) ** 0.5 + 9))
    places = np.cumsum(gaps) - 1
    return places[places < total]


def bit(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Single bits flipped; on an idle line a flipped bit reads as a byte of ones."""
    line = frames.ravel().copy()
    places = events(8 * len(line), rate, generator)
    np.bitwise_xor.at(line, places // 8, (1 << (places % 8)).astype(np.uint8))
    return idle_noise(line, generator.poisson(10 * idle * rate, len(frames)), lambda n: np.full(n, 255, np.uint8))


def drop(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Bytes lost."""
    return np.delete(frames.ravel(), events(frames.size, rate, generator))


def insert(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Strange bytes, in frames and on the idle line."""
    places = events(frames.size, rate, generator)
    line = np.insert(frames.ravel(), places, generator.integers(0, 256, len(places), dtype=np.uint8))
    if not idle:
        return line
    # The idle line is taken apart from the frames: what comes on it comes between two of them.
    parts = np.split(frames.ravel(), np.arange(FRAME_BYTES, frames.size, FRAME_BYTES))
    counts = generator.poisson(idle * rate, len(frames))
    inside = np.bincount(places // FRAME_BYTES, minlength=len(frames))
    out = []
    for part, strange, within in zip(parts, counts, inside, strict=True):
        if within:
            where = generator.integers(0, FRAME_BYTES, within)
            part = np.insert(part, where, generator.integers(0, 256, within, dtype=np.uint8))
        out += [part, generator.integers(0, 256, strange, dtype=np.uint8)] if strange else [part]
    return np.concatenate(out)


def duplicate(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Bytes that come twice."""
    times = np.ones(frames.size, dtype=np.int64)
    times[events(frames.size, rate, generator)] = 2
    return np.repeat(frames.ravel(), times)


def burst(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Sixteen bytes on end replaced by anything."""
    line = frames.ravel().copy()
    for place in events(len(line), rate, generator):
        part = line[place : place + BURST]
        part[:] = generator.integers(0, 256, len(part), dtype=np.uint8)
    anything: Callable[[int], Bytes] = lambda n: generator.integers(0, 256, n, dtype=np.uint8)  # noqa: E731
    return idle_noise(line, BURST * generator.poisson(idle * rate, len(frames)), anything)


def stuck(level: int) -> Callable[..., Bytes]:
    def apply(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
        """The line held at one level for 1 to 200 bytes."""
        line = frames.ravel().copy()
        for place in events(len(line), rate, generator):
            line[place : place + int(generator.integers(1, 201))] = level
        counts = 100 * generator.poisson(idle * rate, len(frames))
        return idle_noise(line, counts, lambda n: np.full(n, level, np.uint8))

    return apply


def baud(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Read at `rate` times the speed it was sent at: each bit sampled in its middle, as a UART does."""
    line = frames.ravel()
    levels = np.ones((len(line), 10 + 2), np.uint8)  # start, eight bits from the lowest, stop, and some idle
    levels[:, 0] = 0
    levels[:, 1:9] = np.unpackbits(line[:, None], axis=1, bitorder="little")
    wire, length = levels.tobytes(), 1.0 / rate
    offsets = [(1.5 + k) * length for k in range(8)]
    position, read = 0, bytearray()
    while (start := wire.find(b"\0", position)) >= 0 and start + 9.5 * length < len(wire):
        read.append(sum(wire[int(start + offset)] << k for k, offset in enumerate(offsets)))
        position = max(start + 1, int(start + 9.5 * length))
    return np.frombuffer(bytes(read), np.uint8)


def anything(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Nothing but random bytes, as many as the frames would be."""
    return generator.integers(0, 256, frames.size, dtype=np.uint8)


def mixed(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    """Bits flipped at `rate`, then bytes lost at ten times that."""
    line = frames.ravel().copy()
    places = events(8 * len(line), rate, generator)
    np.bitwise_xor.at(line, places // 8, (1 << (places % 8)).astype(np.uint8))
    return np.delete(line, events(len(line), 10 * rate, generator))


def none(frames: Bytes, rate: float, idle: int, generator: np.random.Generator) -> Bytes:
    return frames.ravel()


def idle_noise(line: Bytes, counts: Bytes, make: Callable[[int], Bytes]) -> Bytes:
    """`counts` bytes between frame and frame."""
    ends = np.repeat(np.arange(1, len(counts) + 1) * FRAME_BYTES, counts)
    return np.insert(line, ends, make(int(counts.sum())))


FAULTS: dict[str, Callable[..., Bytes]] = {
    "none": none, "bit errors": bit, "bytes dropped": drop, "bytes inserted": insert, "bytes duplicated": duplicate,
    "bursts": burst, "stuck at 0x00": stuck(0), "stuck at 0xFF": stuck(255), "wrong baud": baud,
    "random bytes": anything, "mixed": mixed,
}  # fmt: skip


def noisy(fault: str, rate: float, hz: float, count: int, seed: int) -> tuple[Bytes, Bytes]:
    """What arrives, and (count,) which frames the noise left whole."""
    frames = encoded(count, seed, hz)
    idle = max(0, round(_LINE_BYTES_A_S / hz) - FRAME_BYTES)
    line = FAULTS[fault](frames, rate, idle, np.random.default_rng([seed, 1]))
    return line, whole(frames, line)


def whole(frames: Bytes, line: Bytes) -> Bytes:
    """A frame is whole when its 44 bytes arrived, unchanged and on end, between two zeros."""
    arrived = set(line.tobytes().split(b"\0")[1:-1])
    return np.array([row[1:-1].tobytes() in arrived for row in frames])


def send(end: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(end, view) :]


def main() -> int:
    end, far = os.openpty()
    tty.setraw(far)
    print(os.ttyname(far), flush=True)
    for text in sys.stdin:
        job: dict[str, Any] = json.loads(text)
        line, left = noisy(job["fault"], job["rate"], job["hz"], job["frames"], job["seed"])
        mask = base64.b64encode(np.packbits(left).tobytes()).decode()
        print(json.dumps({"bytes": len(line), "whole": mask}), flush=True)
        sys.stdin.readline()
        data = line.tobytes()
        if not job["pace"]:
            send(end, data)
            continue
        began = time.monotonic()
        for number in range(job["frames"]):
            time.sleep(max(0.0, began + number / job["hz"] - time.monotonic()))
            first, last = (len(data) * k // job["frames"] for k in (number, number + 1))
            send(end, data[first:last])
    return 0


if __name__ == "__main__":
    sys.exit(main())
