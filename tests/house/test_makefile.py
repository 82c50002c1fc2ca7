"""The daily commands: each is there, is listed, and leads to a program."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.house.source import REPO

MAKEFILE = (REPO / "Makefile").read_text()
EVIDENCE = re.findall(r"^EVIDENCE := (.*)$", MAKEFILE, re.M)[0].split()


def make(*arguments: str) -> str:
    # These tests run under make themselves, and would be taken for a part of that run.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", *arguments]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_is_the_default_and_lists_every_target() -> None:
    listed = set(re.findall(r"^make (\S+)", make(), re.M))
    assert make() == make("help")
    assert listed == {"help", "demo", "test", "faults", "nightly", "lint", "clean", *EVIDENCE}


@pytest.mark.parametrize("target", EVIDENCE)
def test_evidence_comes_from_a_benchmark_of_that_name(target: str) -> None:
    name = target.replace("-", "_")
    assert f".venv/bin/python -m benchmarks.{name}\n" in make("-n", target)
    text = (REPO / "benchmarks" / f"{name}.py").read_text()
    assert f'"{target}"' in text, f"it should write build/evidence/{target}.json"
    assert '__name__ == "__main__"' in text


def test_the_test_target_ends_in_pytest_and_is_what_ci_runs() -> None:
    commands = [line for line in make("-n", "test").splitlines() if not line.startswith("echo")]
    assert commands[-1] == '.venv/bin/python -m pytest -m "not slow"'
    assert {".venv/bin/ruff check .", ".venv/bin/mypy"} <= set(commands)
    ci = (REPO / ".ci" / "run").read_text().splitlines()
    assert "set -euo pipefail" in ci
    assert ci[-1].startswith("make test")
