"""NumPy's threads are limited where that can be done, in a process of its own; and what cannot be told is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = (
    "import json, sys, numpy as np\n"
    "from edgetl_runtime.blas import blas_threads, limit_blas_threads\n"
    "first = blas_threads(); told = limit_blas_threads(int(sys.argv[1])); a = np.ones((300, 300)); a @ a\n"
    "print(json.dumps([first, told, blas_threads()]))\n"
)


def asked(count: int, **variables: str) -> Any:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(count)], check=True, stdout=subprocess.PIPE,
        env={**kept, **variables, "PYTHONPATH": path},
    )  # fmt: skip
    return json.loads(done.stdout)


def test_numpys_threads_are_limited_after_it_was_imported() -> None:
    first, told, after = asked(1)
    if not first:
        pytest.skip("this NumPy has no OpenBLAS")
    assert told and set(after) == {1} and len(after) == len(first)
    if (os.cpu_count() or 1) > 1:
        assert max(first) > 1
        assert max(asked(2)[2]) == 2


def test_without_numpy_there_is_nothing_to_limit() -> None:
    code = "from edgetl_runtime.blas import *; print(limit_blas_threads(1), blas_threads())"
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout == b"False []\n"


def test_a_session_limits_them_unless_told_not_to(tmp_path: Any) -> None:
    code = (
        "import sys, pathlib; from tests.runtime import golden; from edgetl_runtime.blas import blas_threads\n"
        "before = blas_threads(); count = {'none': None}.get(sys.argv[2], 1)\n"
        "golden.opened(pathlib.Path(sys.argv[1]), blas_threads=count).close()\n"
        "assert blas_threads() == (before if count is None else [1] * len(before)), (before, blas_threads())\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    path = os.pathsep.join([str(Path.cwd()), *(part for part in sys.path if part)])
    for which in ("none", "one"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / which), which], check=True, env={**kept, "PYTHONPATH": path}
        )
