"""The ground of the fault suites, made once; and skips that say what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.calls import Server
from tests.faults.cuts import loop_missing
from tests.faults.ground import Ground, made_ground
from tests.faults.scarcity import namespaces_missing
from tests.faults.tracing import strace_missing


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    with made_ground() as ground:
        yield ground


@pytest.fixture(scope="session")
def traced(ground: Ground) -> Ground:
    """The ground, where strace can be used."""
    return _or_skip(ground, strace_missing())


@pytest.fixture(scope="session")
def mounting(ground: Ground) -> Ground:
    """The ground, where an image can be mounted."""
    return _or_skip(ground, loop_missing())


@pytest.fixture(scope="session")
def namespaces(ground: Ground) -> Ground:
    """The ground, where a process can mount file systems of its own."""
    return _or_skip(ground, namespaces_missing())


@pytest.fixture(scope="module")
def server(traced: Ground) -> Iterator[Server]:
    with Server(traced) as server:
        yield server


def _or_skip(ground: Ground, why: str) -> Ground:
    if why:
        pytest.skip(why)
    return ground
