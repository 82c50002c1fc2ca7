"""The first way that serves is taken; what was refused is said; a wrong engine never serves."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from edgetl_runtime.bundle import read_bundle, write_bundle
from edgetl_runtime.errors import (
    BundleFormatError,
    BundleParityError,
    EngineError,
    EngineUnavailableError,
    StateMismatchError,
)
from edgetl_runtime.session import Session

from tests.runtime import golden
from tests.runtime.serving import bundles
from tests.runtime.serving.bundles import BOARD, FIRST, fixed, plan, register, two_variants

FRAMES, LABELS = golden.frames(), golden.labels()
FEATURES = bundles.golden_features()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return bundles.orin(tmp_path / "root")


def opened(tmp_path: Path, root: Path, *rows: Any, state: str = "state", **options: Any) -> Session:
    bundle = two_variants(tmp_path / "x.edgetl", {BOARD: plan(*rows), "any": plan((FIRST.name, "onnxruntime"))})
    return golden.opened(tmp_path / state, bundle, board_root=root, **options)


def right(session: Session) -> bool:
    """The features of the golden bundle, whatever runs it."""
    with golden.opened(Path(str(session._store.path) + ".expected"), engine="onnxruntime") as other:
        return all(np.allclose(session.features(frame), other.features(frame), atol=1e-3) for frame in FRAMES[:5])


def test_the_first_of_the_plan_that_serves_is_taken_and_the_rest_not_even_loaded(
    tmp_path: Path, root: Path, monkeypatch: Any
) -> None:
    good, spare = fixed(monkeypatch, "good"), fixed(monkeypatch, "spare")
    with opened(tmp_path, root, ("other", "good"), ("other", "spare")) as session:
        status = session.status()
        assert (status["variant"], status["engine"], status["engines_refused"]) == ("other", "good 1.0", [])
        assert status["building"] is None and status["variant_held"] is None
        assert right(session)
    assert len(good) == 1 and good[0].closed and spare == []
    with opened(tmp_path, tmp_path, ("other", "good"), state="elsewhere") as session:  # no board that has a plan
        assert session.status()["variant"] == FIRST.name


def drift(features: Any) -> Any:
    return features + np.float32(0.05 * np.abs(FEATURES).max())


FAULTS: Dict[str, Any] = {
    "it is not installed": (None, "no_such_package", "which is not installed"),
    "it is installed and does not load": (ImportError("libnvinfer.so.8: no such file"), "numpy", "libnvinfer"),
    "it refuses the graph": (EngineError("no kernel for Conv"), "numpy", "no kernel"),
    "it has no device": (EngineUnavailableError("no device here"), "numpy", "no device"),
    "it runs out of memory": (MemoryError(), "numpy", "out of memory"),
    "it computes something else": (drift, "numpy", "off by 5"),
    "it gives NaN": (lambda features: features * np.float32("nan"), "numpy", "NaN"),
    "it gives zeros": (lambda features: features * 0, "numpy", "off by"),
    "it gives too few features": (lambda features: features[:, :-1], "numpy", "gives (63,) features"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_that_fails_is_said_and_the_next_one_serves(
    fault: str, tmp_path: Path, root: Path, monkeypatch: Any, caplog: Any
) -> None:
    what, needs, says = FAULTS[fault]
    if needs != "numpy":
        register(monkeypatch, "bad", lambda graph, threads, **more: None, needs)
    elif callable(what):
        bad = fixed(monkeypatch, "bad", what)
    else:
        fixed(monkeypatch, "bad", error=what)
    with opened(tmp_path, root, ("other", "bad"), ("other", "onnxruntime")) as session:
        status = session.status()
        (words,) = status["engines_refused"]
        assert words.startswith("other in bad: ") and says in words
        assert status["engine"].startswith("onnxruntime ") and status["variant"] == "other"
        assert right(session)
    assert "other in bad is not used" in caplog.text
    if callable(what):
        assert all(engine.closed for engine in bad)


def test_a_decision_that_differs_within_the_tolerance_is_refused_too(
    tmp_path: Path, root: Path, monkeypatch: Any
) -> None:
    def turned(features: Any) -> Any:
        return np.roll(features, 7, axis=1)

    fixed(monkeypatch, "bad", turned)
    with opened(tmp_path, root, ("other", "bad", {}, 1.0), ("other", "onnxruntime")) as session:
        (words,) = session.status()["engines_refused"]
        assert "golden samples otherwise" in words


def test_each_pair_is_held_to_the_tolerance_that_the_host_measured_for_it(
    tmp_path: Path, root: Path, monkeypatch: Any
) -> None:
    fixed(monkeypatch, "rough", lambda features: features * np.float32(1.02))
    with opened(tmp_path, root, ("other", "rough", {}, 0.05)) as session:
        assert session.status()["engine"] == "rough 1.0"
    with opened(tmp_path, root, ("other", "rough"), ("other", "onnxruntime"), state="b") as session:
        assert "off by" in session.status()["engines_refused"][0]


def test_when_none_serves_the_error_lists_all(tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    fixed(monkeypatch, "first", drift)
    fixed(monkeypatch, "second", error=EngineError("no kernel"))
    fixed(monkeypatch, "third", error=EngineUnavailableError("no device"))
    with pytest.raises(EngineError, match=r"1\. other in first: .*off by.*; 2\. other in second: no kernel; 3\. "):
        opened(tmp_path, root, ("other", "first"), ("other", "second"), ("other", "third"))
    with pytest.raises(EngineUnavailableError, match=r"1\. .*; 2\. "):
        opened(tmp_path, root, ("other", "third"), ("other", "abacus"))
    with pytest.raises(EngineUnavailableError, match=r"^no device$"):  # once, where it is the same for all
        opened(tmp_path, root, ("other", "third"), (FIRST.name, "third"))
    with pytest.raises(BundleParityError, match=r"1\. other in first: .*; 2\. "):
        opened(tmp_path, root, ("other", "first"), ("other", "third"))
    assert not (tmp_path / "state" / "bundles").exists()


def test_an_engine_of_the_users_own_that_fails_is_an_error(tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    fixed(monkeypatch, "bad", drift)
    rows = [("other", "bad"), ("other", "onnxruntime")]
    with pytest.raises(BundleParityError, match=r"bad 1\.0 gives features that are off"):
        opened(tmp_path, root, *rows, engine="bad")
    with pytest.raises(EngineUnavailableError, match="no engine 'abacus'"):
        opened(tmp_path, root, *rows, engine="abacus")
    with opened(tmp_path, root, *rows, engine="onnxruntime") as session:
        assert session.status()["engines_refused"] == []


def test_the_golden_samples_are_run_again_after_every_change_of_engine_variant_version_or_machine(
    tmp_path: Path, root: Path, monkeypatch: Any
) -> None:
    runs: List[int] = []
    version = ["1.0"]

    def load(graph: bytes, threads: Any, *, cache_dir: Any = None, progress: Any = None) -> Any:
        return bundles.Double(graph, f"counted {version[0]}", lambda features: runs.append(1) or features)  # type: ignore[func-returns-value]

    register(monkeypatch, "counted", load)
    rows = [("other", "counted"), ("other", "onnxruntime"), (FIRST.name, "counted")]

    def checked(**options: Any) -> bool:
        runs.clear()
        opened(tmp_path, options.pop("root", root), *rows, **options).close()
        return bool(runs)

    assert checked() and not checked()
    version[0] = "1.1"
    assert checked() and not checked()
    assert not checked(engine="onnxruntime") and checked() and not checked()
    assert checked(variant=FIRST.name)
    elsewhere = bundles.orin(tmp_path / "elsewhere")
    (elsewhere / "proc" / "cpuinfo").write_bytes(b"processor\t: 0\nCPU implementer\t: 0x42\n")
    assert checked() and checked(root=elsewhere) and not checked(root=elsewhere)


# -- a state belongs to one feature space


def test_a_state_that_learnt_keeps_its_variant_through_a_new_plan_and_says_so(
    tmp_path: Path, root: Path, monkeypatch: Any
) -> None:
    fixed(monkeypatch, "fast")
    with opened(tmp_path, root, (FIRST.name, "onnxruntime")) as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        seen = golden.views(session)
    with opened(tmp_path, root, ("other", "fast"), (FIRST.name, "fast"), (FIRST.name, "onnxruntime")) as session:
        status = session.status()
        assert (status["variant"], status["engine"]) == (FIRST.name, "fast 1.0")
        assert FIRST.name in status["variant_held"] and "prefers other" in status["variant_held"]
        assert golden.close_to(golden.views(session), seen) and status["learnt_samples"] == 10
    # Also where the new plan has no way for it.
    with opened(tmp_path, root, ("other", "fast")) as session:
        assert session.status()["variant"] == FIRST.name
    for read_only in (False, True):
        with pytest.raises(StateMismatchError, match="another bundle"):
            opened(tmp_path, root, ("other", "fast"), variant="other", read_only=read_only)
    with golden.opened(tmp_path / "state", None, board_root=root) as session:
        assert session.status()["learnt_samples"] == 10 and golden.close_to(golden.views(session), seen)


def test_a_state_that_learnt_nothing_follows_a_new_plan(tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    fixed(monkeypatch, "fast")
    opened(tmp_path, root, (FIRST.name, "onnxruntime")).close()
    with opened(tmp_path, root, ("other", "fast")) as session:
        assert session.status()["variant"] == "other" and session.status()["variant_held"] is None
        session.learn(FRAMES[0], "1")
    with opened(tmp_path, root, (FIRST.name, "onnxruntime")) as session:
        assert session.status()["variant"] == "other" and session.status()["learnt_samples"] == 1


def test_who_only_reads_follows_the_one_who_learns(tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    opened(tmp_path, root, (FIRST.name, "onnxruntime")).close()
    with opened(tmp_path, root, ("other", "onnxruntime"), read_only=True) as session:
        assert session.status()["variant"] == FIRST.name


def test_a_damaged_fact_does_not_lose_what_was_learnt(tmp_path: Path, root: Path) -> None:
    with opened(tmp_path, root, ("other", "onnxruntime"), (FIRST.name, "onnxruntime")) as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        seen = golden.views(session)
    connection = sqlite3.connect(str(tmp_path / "state" / "state.sqlite"))
    with connection:
        connection.execute("UPDATE meta SET value = 'd' || value WHERE key = 'feature_space'")
    connection.close()
    with golden.opened(tmp_path / "state", None, board_root=root) as session:
        assert session.status()["variant"] == "other" and golden.close_to(golden.views(session), seen)


def test_a_bundle_whose_parts_do_not_fit_is_refused_whatever_the_engine(tmp_path: Path, root: Path) -> None:
    bundle = read_bundle(two_variants(tmp_path / "x.edgetl", {"any": plan(("other", "onnxruntime"))}))
    renamed = (*bundle.manifest.classes[:-1], "x")
    write_bundle(
        tmp_path / "y.edgetl", dataclasses.replace(bundle.manifest, classes=renamed), bundle.members, None
    )
    with pytest.raises(BundleFormatError, match="build the bundle again"):
        golden.opened(tmp_path / "state", tmp_path / "y.edgetl")


def test_the_reason_for_the_variant_is_not_said_where_there_is_none(tmp_path: Path, root: Path) -> None:
    with opened(tmp_path, root, ("other", "onnxruntime")) as session:
        session.learn(FRAMES[0], "1")
    with golden.opened(tmp_path / "state", None, board_root=root) as session:
        assert session.status()["variant_held"] is None
