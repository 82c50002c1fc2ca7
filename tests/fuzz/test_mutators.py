"""Changes by form: most of them get past the lengths, checksums and quotes at which blind ones end."""

from __future__ import annotations

import contextlib
import io
import json
import random
import zipfile
from typing import Callable, Dict

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("mcap_ros2")

from mcap.stream_reader import StreamReader
from safetensors.numpy import load

from tests.fuzz.mutators import changed_bytes
from tests.fuzz.targets import TARGETS


def _zip_or_json(data: bytes) -> object:
    if data[:1] != b"P":
        return json.loads(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.testzip()


def _readings(data: bytes) -> None:
    from edgetl_runtime.framing import open_decoder, parse_schema

    from tests.fuzz.targets import schema_of

    if not open_decoder(parse_schema(schema_of(data))).feed(data[2:]):
        raise ValueError("no reading")


FORMS: Dict[str, Callable[[bytes], object]] = {
    "manifest": json.loads,
    "container": _zip_or_json,
    "tensors": load,
    "tokenizer": json.loads,
    "frames": _readings,
    "recording": lambda data: list(StreamReader(io.BytesIO(data), validate_crcs=True).records),
}


def _share(name: str, change: Callable[[bytes, random.Random], bytes]) -> float:
    """Of 300 changed seeds, how many are still of their form: their lengths and checksums right."""
    rng, seeds, whole = random.Random(1), TARGETS[name].seeds(), 0
    for number in range(300):
        with contextlib.suppress(Exception):  # libraries raise nearly anything on what is broken
            FORMS[name](change(seeds[number % len(seeds)], rng))
            whole += 1
    return whole / 300


@pytest.mark.parametrize("name", list(FORMS))
def test_more_inputs_keep_their_form_than_by_blind_changes(name: str) -> None:
    by_form, blind = _share(name, TARGETS[name].change), _share(name, changed_bytes)
    assert by_form > max(0.3, 1.5 * blind), (by_form, blind)


@pytest.mark.parametrize("name", list(TARGETS))
def test_the_same_chance_makes_the_same_change_and_most_are_new(name: str) -> None:
    seed = TARGETS[name].seeds()[0]
    changed = [TARGETS[name].change(seed, random.Random(number)) for number in range(50)]
    assert changed == [TARGETS[name].change(seed, random.Random(number)) for number in range(50)]
    assert len(set(changed) - {seed}) > 25
