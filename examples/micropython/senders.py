"""Senders for MicroPython, a function a format; each gives the bytes of one sample of three inputs.

On a board (a Pico, say, with sys.stdout as its USB line):

    from machine import ADC
    import sys, time, senders

    inputs, number = [ADC(26), ADC(27), ADC(28)], 0
    while True:
        values = [pin.read_u16() >> 6 for pin in inputs]
        sys.stdout.buffer.write(senders.edgetl_frame(number, time.ticks_us(), values))
        number += 1
        time.sleep_ms(10)

They are plain Python too, so that the tests of this repository run them.
"""

import binascii
import struct


def edgetl_frame(number, stamp_us, values, stream=0):
    """0x00, COBS(stream, sequence, stamp, payload, CRC-32), 0x00."""
    content = struct.pack("<BHI3H", stream, number & 0xFFFF, stamp_us & 0xFFFFFFFF, *values)
    content += struct.pack("<I", binascii.crc32(content) & 0xFFFFFFFF)
    parts = content.split(b"\0")  # shorter than 254 bytes: one code byte a part is enough
    return b"\0" + b"".join(bytes([len(part) + 1]) + part for part in parts) + b"\0"


def csv_line(number, stamp_us, values):
    """microseconds,a0,a1,a2*CRC-32"""
    line = ",".join(str(value) for value in [stamp_us, *values]).encode()
    return line + b"*%08X\r\n" % (binascii.crc32(line) & 0xFFFFFFFF)


def packed_binary(number, stamp_us, values):
    """0xAA 0x55, u32 microseconds, three u16, sum of all bytes before."""
    frame = b"\xaa\x55" + struct.pack("<I3H", stamp_us & 0xFFFFFFFF, *values)
    return frame + bytes([sum(frame) & 0xFF])


def nmea(number, stamp_us, values):
    """$PADCA,microseconds,a0,a1,a2*checksum"""
    body = ",".join(str(value) for value in ["PADCA", stamp_us, *values])
    folded = 0
    for character in body:
        folded ^= ord(character)
    return b"$%s*%02X\r\n" % (body.encode(), folded)
