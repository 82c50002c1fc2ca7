"""What a session promises: exact, durable, all or nothing, and always an answer from one generation."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest
from edgetl_runtime.bundle.members import GoldenSamples
from edgetl_runtime.errors import (
    BundleCorruptError,
    BundleFormatError,
    BundleParityError,
    BundleUnsignedError,
    EdgetlError,
    EngineError,
    LabelError,
    SampleError,
    StateBusyError,
    StateError,
    StateMismatchError,
    UnknownSampleError,
)
from edgetl_runtime.session import Session, open_session

from tests.runtime import golden

FRAMES, LABELS = golden.frames(), golden.labels()
LABELLED = list(zip(FRAMES, LABELS))


def views(session: Session, count: int = 40) -> Any:
    """Probabilities (N, K) and outlier scores (N, 1) of the last frames, in the order of the classes."""
    found = session.predict_many(FRAMES[-count:])
    classes = sorted(found[0].probabilities)
    return np.array([[p.probabilities[c] for c in classes] + [p.outlier] for p in found])


def facts(session: Session) -> Dict[str, Any]:
    status = session.status()
    del status["rss_bytes"]
    return {**status, "samples": [sample.__dict__ for sample in session.samples()]}


def stored(state: Path) -> List[Any]:
    connection = sqlite3.connect((state / "state.sqlite").as_uri() + "?mode=ro", uri=True)
    try:
        tables = ("meta", "samples", "events")
        return [connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]
    finally:
        connection.close()


def close_to(one: Any, other: Any) -> bool:
    return bool(np.abs(one - other).max() <= 1e-9 * max(1.0, float(np.abs(other).max())))


# -- what was made once must be read for ever


@pytest.mark.parametrize("path", sorted(golden.GOLDEN.glob("bundle-*.edgetl")), ids=lambda path: path.name)
def test_every_released_bundle_is_read_and_passes_its_golden_samples(path: Path, tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state", path) as session:
        assert session.predict(FRAMES[0]).generation == 0
        assert session.learn(FRAMES[0], "new class") == 1
        assert "new class" in session.predict(FRAMES[0]).probabilities


def test_the_golden_state_answers_as_it_did(tmp_path: Path) -> None:
    answers = golden.answers()
    with golden.opened(golden.golden_state(tmp_path / "state")) as session:
        assert [p.label for p in session.predict_many(FRAMES)] == answers["predictions"]
        assert session.status()["generation"] == answers["generation"]
        assert session.status()["learnt_samples"] == answers["learnt"]
    with golden.opened(tmp_path / "state", None, read_only=True) as session:
        assert [p.label for p in session.predict_many(FRAMES)] == answers["predictions"]


# -- exact


def test_one_by_one_and_all_at_once_end_in_the_same_head_also_after_a_restart(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "one") as one, golden.opened(tmp_path / "many") as many:
        for frame, label in LABELLED[:60]:
            one.learn(frame, label)
            if label == "3":
                one.predict(frame)  # reading in between changes nothing
        many.learn_many(FRAMES[:60], LABELS[:60])
        live = views(one)
        assert close_to(live, views(many))
        assert one.status()["classes"] == many.status()["classes"]
    for name in ("one", "many"):
        with golden.opened(tmp_path / name, None) as again:
            assert close_to(views(again), live)


def test_the_order_of_samples_does_not_matter(tmp_path: Path) -> None:
    order = list(range(60))
    results = []
    for seed in range(3):
        random.Random(seed).shuffle(order)
        with golden.opened(tmp_path / str(seed)) as session:
            for start in range(0, 60, 7):
                chosen = order[start : start + 7]
                session.learn_many([FRAMES[i] for i in chosen], [LABELS[i] for i in chosen])
            results.append(views(session))
    assert close_to(results[1], results[0]) and close_to(results[2], results[0])


@pytest.mark.parametrize("which", ["sample", "label", "source"])
def test_forgotten_is_as_if_never_learnt(which: str, tmp_path: Path) -> None:
    def dropped(i: int) -> bool:
        return {"sample": i == 11, "label": LABELS[i] == "9", "source": i % 3 == 1}[which]

    with golden.opened(tmp_path / "never") as never, golden.opened(tmp_path / "forgot") as forgot:
        for i in range(50):
            if not dropped(i):
                never.learn(FRAMES[i], LABELS[i], source=str(i % 3))
        ids = [forgot.learn(FRAMES[i], LABELS[i], source=str(i % 3)) for i in range(50)]
        views(forgot)
        what: Dict[str, Any] = {"sample": {"sample_id": ids[11]}, "label": {"label": "9"}, "source": {"source": "1"}}
        assert forgot.forget(**what[which]) == sum(map(dropped, range(50)))
        expected, live = views(never), views(forgot)
        assert np.array_equal(live, expected)  # to the last bit
        assert forgot.status()["classes"] == never.status()["classes"]
        assert forgot.status()["generation"] == 51
    with golden.opened(tmp_path / "forgot") as again:
        assert np.array_equal(views(again), expected)


def test_forgetting_all_gives_the_factory_head_back(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        factory = views(session)
        session.learn_many(FRAMES[:20], LABELS[:20], source="shift 1")
        assert not np.array_equal(views(session)[:, :9], factory[:, :9])
        assert session.forget(source="shift 1") == 20
        assert np.array_equal(views(session), factory)
        assert session.predict(FRAMES[0]).generation == 2


def test_a_class_is_there_after_one_sample(tmp_path: Path) -> None:
    nines = [i for i, label in enumerate(LABELS) if label == "9"]
    with golden.opened(tmp_path / "state") as session:
        assert "9" not in session.predict(FRAMES[nines[0]]).probabilities
        session.learn(FRAMES[nines[0]], "9")
        found = session.predict(FRAMES[nines[0]])
        assert found.label == "9" and found.generation == 1
        assert abs(sum(found.probabilities.values()) - 1.0) < 1e-9
        assert any(session.predict(FRAMES[i]).label == "9" for i in nines[1:])


def test_labels_are_kept_in_one_spelling(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn(FRAMES[0], " cafe\u0301 ", source="left ")
        session.learn(FRAMES[1], "caf\u00e9")
        assert session.status()["classes"]["caf\u00e9"] == {"source": 0, "learnt": 2}
        assert session.forget(source=" left") == 1
        assert session.forget(label="cafe\u0301") == 1


# -- durable

CHILD = """
import json, sys
import numpy as np
from tests.runtime import golden
with golden.opened(__import__("pathlib").Path(sys.argv[1]), golden.BUNDLE) as session:
    print("ready", flush=True)
    i = 0
    while True:
        i = (i + 1) % 200
        print(session.learn(golden.frames()[i], golden.labels()[i], source=sys.argv[2]), flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Not a power cut: the page cache outlives the process. What is shown is that nothing waits in memory."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "OMP_NUM_THREADS": "1"}
    acknowledged: List[int] = []
    for run in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "state"), str(run)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == b"ready\n"
            for _ in range(5 + 7 * run):
                acknowledged.append(int(child.stdout.readline()))
        finally:
            child.kill()
        rest, _ = child.communicate()
        acknowledged += [int(line) for line in rest.split(b"\n")[:-1]]  # whole lines only
        assert child.returncode == -signal.SIGKILL
        with golden.opened(tmp_path / "state", None, read_only=True) as session:
            kept = [sample.id for sample in session.samples()]
            assert set(acknowledged) <= set(kept)
            assert len(kept) <= len(acknowledged) + run + 1  # one a run may be durable and not yet said
            assert session.status()["learnt_samples"] == len(kept)
    assert len(acknowledged) == len(set(acknowledged)) > 50


# -- all or nothing


def bad_inputs() -> List[Tuple[str, Any, Any, type]]:
    frame = FRAMES[0]
    return [
        ("no frame", None, "1", SampleError),
        ("a float frame", frame / 255.0, "1", SampleError),
        ("a frame of int64", frame.astype(np.int64), "1", SampleError),
        ("one dimension", frame.ravel(), "1", SampleError),
        ("four dimensions", frame[None, None], "1", SampleError),
        ("two channels", np.dstack([frame, frame]), "1", SampleError),
        ("no pixels", frame[:0], "1", SampleError),
        ("NaN", np.full((8, 8), np.nan), "1", SampleError),
        ("text", "photo.jpg", "1", SampleError),
        ("objects", np.array([[object()]]), "1", SampleError),
        ("ragged", [[1, 2], [3]], "1", SampleError),
        ("no label", frame, None, LabelError),
        ("an empty label", frame, "", LabelError),
        ("a blank label", frame, " \t ", LabelError),
        ("a label of a number", frame, 3, LabelError),
        ("a label of bytes", frame, b"3", LabelError),
        ("a label of 10 kB", frame, "x" * 10_000, LabelError),
        ("a label of two lines", frame, "a\nb", LabelError),
        ("a label of half a character", frame, "\ud800", LabelError),
    ]


@pytest.mark.parametrize(("frame", "label", "error"), [c[1:] for c in bad_inputs()], ids=[c[0] for c in bad_inputs()])
def test_what_cannot_be_learnt_changes_nothing(frame: Any, label: Any, error: type, tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        before, seen, rows = facts(session), views(session), stored(tmp_path / "state")
        with pytest.raises(error) as caught:
            session.learn(frame, label)
        assert len(str(caught.value)) < 400
        with pytest.raises(error):
            session.learn_many([FRAMES[10], frame, FRAMES[11]], ["1", label, "2"])
        assert (facts(session), stored(tmp_path / "state")) == (before, rows)
        assert np.array_equal(views(session), seen)
        assert session.learn(FRAMES[10], LABELS[10]) == 11
    with golden.opened(tmp_path / "state") as again:
        assert again.status()["learnt_samples"] == 11


def test_a_bad_source_or_a_wrong_number_of_labels_changes_nothing(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        for source in ("x" * 300, "a\nb", 5):
            with pytest.raises(LabelError, match="source"):
                session.learn(FRAMES[0], "1", source=source)  # type: ignore[arg-type]
        for samples, labels in (
            (FRAMES[:2], ["1"]), (FRAMES[:1], ["1", "2"]), (FRAMES[:2], "12"), (FRAMES[:1], None), (None, ["1"]),
        ):  # fmt: skip
            with pytest.raises(LabelError):
                session.learn_many(samples, labels)  # type: ignore[arg-type]
        assert session.learn_many([], []) == []
        assert session.learn_many((frame for frame in FRAMES[:2]), iter(LABELS[:2])) == [1, 2]
        assert session.status()["generation"] == 1


def test_nothing_forgotten_changes_nothing(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        before, seen = facts(session), views(session)
        unknown: List[Dict[str, Any]] = [{}, {"sample_id": 11}, {"sample_id": -1}, {"sample_id": 2**80}]
        for what in [*unknown, {"label": "unknown"}, {"source": "x"}]:
            with pytest.raises(UnknownSampleError):
                session.forget(**what)
        assert facts(session) == before
        assert np.array_equal(views(session), seen)


def test_predicting_changes_nothing(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        rows, before = stored(tmp_path / "state"), facts(session)
        frame = FRAMES[50].copy()
        first = session.predict(frame)
        for bad in (None, frame / 255.0):
            with pytest.raises(SampleError):
                session.predict(bad)
        assert session.features(frame).shape == (session.status()["dim"],)
        assert np.array_equal(frame, FRAMES[50])
        again = session.predict(frame)
        assert dataclasses.replace(again, latency_ms=first.latency_ms) == first
        assert (stored(tmp_path / "state"), facts(session)) == (rows, before)


# -- beside others


def test_a_reader_answers_from_one_generation_beside_a_writer(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as writer:
        writer.learn_many(FRAMES[:20], LABELS[:20])
        seen = views(writer)
        with golden.opened(tmp_path / "state", None, read_only=True) as reader:
            writer.learn_many(FRAMES[20:40], LABELS[20:40])
            assert np.array_equal(views(reader), seen)
            assert (reader.status()["generation"], reader.status()["learnt_samples"]) == (1, 20)
            with pytest.raises(StateError, match="read_only"):
                reader.learn(FRAMES[0], "1")
            with pytest.raises(StateError, match="read_only"):
                reader.forget(label="1")
        with golden.opened(tmp_path / "state", None, read_only=True) as reader:
            assert close_to(views(reader), views(writer))
            assert reader.status()["generation"] == 2


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as first:
        first.learn(FRAMES[0], "1")
        with pytest.raises(StateBusyError):
            golden.opened(tmp_path / "state")
        first.learn(FRAMES[1], "1")
    with golden.opened(tmp_path / "state") as second:
        assert second.status()["learnt_samples"] == 2


def test_each_answer_belongs_to_one_generation_while_another_thread_learns(tmp_path: Path) -> None:
    """The probe's answer in each generation is known from a session that nobody disturbs."""
    probe = FRAMES[-1]
    expected = {}
    with golden.opened(tmp_path / "quiet") as quiet:
        for i in range(31):
            answer = quiet.predict(probe)
            expected[answer.generation] = answer.probabilities
            quiet.learn(FRAMES[i], LABELS[i] if i % 5 else f"new {i}")
    found: List[Any] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            found.append(session.predict(probe))
            session.status()

    with golden.opened(tmp_path / "busy") as session:
        threads = [threading.Thread(target=watch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for i in range(30):
            session.learn(FRAMES[i], LABELS[i] if i % 5 else f"new {i}")
        stop.set()
        for thread in threads:
            thread.join()
        found.append(session.predict(probe))
    assert len({answer.generation for answer in found}) > 5
    for answer in found:
        right = expected[answer.generation]
        assert set(answer.probabilities) == set(right)
        assert max(abs(answer.probabilities[c] - right[c]) for c in right) < 1e-9
        assert answer.label == max(right, key=lambda c: answer.probabilities[c])


def test_threads_may_learn_together_and_nothing_is_lost(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        threads = [
            threading.Thread(target=lambda start=start: [session.learn(*LABELLED[i]) for i in range(start, 40, 4)])  # type: ignore[misc]
            for start in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        together = views(session)
        assert session.status()["generation"] == 40
        assert [sample.id for sample in session.samples()] == list(range(1, 41))
    with golden.opened(tmp_path / "again") as again:
        again.learn_many(FRAMES[:40], LABELS[:40])
        assert close_to(together, views(again))


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    session = golden.opened(tmp_path / "state")
    session.close()
    session.close()
    with pytest.raises(EngineError):
        session.predict(FRAMES[0])
    with pytest.raises(EdgetlError):
        session.learn(FRAMES[0], "1")


# -- the wrong state, and damage


def test_the_state_of_another_bundle_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    other = golden.other_space(tmp_path / "other.edgetl")
    with golden.opened(tmp_path / "elsewhere", other) as session:
        assert session.learn(FRAMES[0], "1") == 1  # it is a whole bundle
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen = views(session)
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    for read_only in (False, True):
        with pytest.raises(StateMismatchError, match="another bundle"):
            golden.opened(state, other, read_only=read_only)
    rows = stored(state)
    files = {path for path in state.rglob("*") if path.is_file() and path.name[-4:] not in ("-wal", "-shm")}
    assert files == set(before)
    with golden.opened(state, None) as session:
        assert np.array_equal(views(session), seen)
    assert stored(state) == rows


def test_a_new_release_with_the_same_extractor_keeps_what_was_learnt(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen, old = views(session), session.status()["bundle"]["id"]
    release = golden.changed_bundle(tmp_path / "2.edgetl", sequence=2)
    with golden.opened(state, release) as session:
        assert np.array_equal(views(session), seen)
    with golden.opened(state, None) as session:
        assert session.status()["bundle"]["id"] not in ("", old)
        assert session.status()["learnt_samples"] == 20


def test_a_damaged_row_costs_that_row_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session, golden.opened(tmp_path / "without") as without:
        session.learn_many(FRAMES[:20], LABELS[:20])
        without.learn_many(np.delete(FRAMES[:20], 4, 0), LABELS[:4] + LABELS[5:20])
        expected = views(without)
    connection = sqlite3.connect(str(state / "state.sqlite"), isolation_level=None)
    connection.execute("UPDATE samples SET features = zeroblob(length(features)) WHERE id = 5")
    connection.close()
    with golden.opened(state, None) as session:
        assert close_to(views(session), expected)
        assert session.status()["quarantined"] == 1
        assert session.predict(FRAMES[0]).generation == 2
    assert "sample 5" in caplog.text


def test_rubbish_instead_of_the_state_ends_in_the_factory_head_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        factory = views(session)
        session.learn_many(FRAMES[:20], LABELS[:20])
    for content in (b"rubbish" * 1000, b""):
        for path in state.glob("state.sqlite*"):
            path.unlink()
        (state / "state.sqlite").write_bytes(content)
        caplog.clear()
        with golden.opened(state, None) as session:  # not even the name of the bundle is known any more
            assert np.array_equal(views(session), factory)
            assert session.status()["kept_aside"] == ["state.sqlite.corrupt-1"]
            assert session.learn(FRAMES[0], "1") == 1
        assert any(record.levelno == logging.ERROR and "kept as" in record.message for record in caplog.records)
        assert (state / "state.sqlite.corrupt-1").read_bytes() == content


def test_a_cut_through_the_state_keeps_what_can_be_read(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        for frame, label in LABELLED:
            session.learn(frame, label)
    whole = (state / "state.sqlite").read_bytes()
    (state / "state.sqlite").write_bytes(whole[: len(whole) * 3 // 4 // 4096 * 4096])
    with golden.opened(state, None) as session:
        learnt = session.status()["learnt_samples"]
        assert 50 < learnt < 200
        assert session.predict(FRAMES[0]).generation > 0


def test_the_state_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    state = golden.golden_state(tmp_path / "state")
    connection = sqlite3.connect(str(state / "state.sqlite"))
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = (state / "state.sqlite").read_bytes()
    with pytest.raises(StateError, match="upgrade edgetl-runtime"):
        golden.opened(state)
    assert (state / "state.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_made_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="state folder"):
        golden.opened(tmp_path / "file" / "state")
    with pytest.raises(StateError, match="no state to read"):
        golden.opened(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    with pytest.raises(StateError, match="no state folder"):
        golden.opened(tmp_path / "fresh", None)
    assert not (tmp_path / "fresh").exists()
    (tmp_path / "fresh").mkdir()
    with pytest.raises(StateError, match="no bundle is installed"):
        golden.opened(tmp_path / "fresh", None)


def test_a_state_on_a_disk_mounted_read_only_is_read(tmp_path: Path) -> None:
    """Root may write where nobody else may, so the disk itself is made read-only, in a namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        expected = [p.label for p in session.predict_many(FRAMES[:30])]
    code = (
        "import json, sys; from pathlib import Path; from tests.runtime import golden\n"
        "from edgetl_runtime.errors import StateError\n"
        "with golden.opened(Path(sys.argv[1]), None, read_only=True) as s:\n"
        "    print(json.dumps([p.label for p in s.predict_many(golden.frames()[:30])]))\n"
        "try:\n"
        "    golden.opened(Path(sys.argv[1]), None)\n"
        "except StateError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).resolve().parents[2]
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$0" -c "$2" "$1"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, str(state), code],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        check=False,
    )
    if b"Operation not permitted" in done.stderr or b"unshare failed" in done.stderr:
        pytest.skip("no namespaces for this user: " + done.stderr.decode())
    assert done.returncode == 0, done.stderr.decode()
    answers, refusal = done.stdout.decode().splitlines()
    assert json.loads(answers) == expected
    assert "Read-only file system" in refusal


# -- the golden samples


def tampered(path: Path, **changes: Any) -> Path:
    manifest = golden.bundle().manifest
    dims = {variant.name: variant.dim for variant in manifest.variants}
    data = golden.bundle().members["golden.safetensors"]
    samples = GoldenSamples.unpack(data, "golden", dims, len(manifest.classes))
    return golden.changed_bundle(path, {"golden.safetensors": dataclasses.replace(samples, **changes).pack()})


def golden_parts() -> Tuple[str, GoldenSamples]:
    manifest = golden.bundle().manifest
    dims = {variant.name: variant.dim for variant in manifest.variants}
    data = golden.bundle().members["golden.safetensors"]
    return manifest.variants[0].name, GoldenSamples.unpack(data, "golden", dims, len(manifest.classes))


@pytest.mark.parametrize("what", ["features", "decisions", "samples", "dtype"])
def test_an_engine_that_does_not_reproduce_the_golden_samples_is_not_used(what: str, tmp_path: Path) -> None:
    name, parts = golden_parts()
    features = parts.features[name].copy()
    features[3, 5] += 0.05 * np.abs(features).max()
    changes: Dict[str, Dict[str, Any]] = {
        "features": {"features": {name: features}},
        "decisions": {"decisions": (parts.decisions + 1) % 9},
        "samples": {"samples": tuple(np.roll(sample, 2) for sample in parts.samples)},
        "dtype": {"samples": tuple(sample / 255.0 for sample in parts.samples)},
    }
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen, installed = views(session), session.status()["bundle"]["id"]
    bad = tampered(tmp_path / "bad.edgetl", **changes[what])
    for _ in range(2):  # and is not remembered as checked
        with pytest.raises(BundleParityError):
            golden.opened(state, bad)
    assert [path.stem for path in (state / "bundles").iterdir()] == [installed]
    with golden.opened(state, None) as session:
        assert np.array_equal(views(session), seen)
        assert session.status()["bundle"]["id"] == installed


def test_golden_features_within_the_tolerance_are_accepted(tmp_path: Path) -> None:
    name, parts = golden_parts()
    tolerance = golden.bundle().manifest.variants[0].feature_tolerance
    features = parts.features[name] + np.float32(0.5 * tolerance * np.abs(parts.features[name]).max())
    with golden.opened(tmp_path / "state", tampered(tmp_path / "x.edgetl", features={name: features})) as session:
        assert session.predict(FRAMES[0]).generation == 0


def test_a_bundle_whose_parts_do_not_fit_is_refused_before_it_serves(tmp_path: Path) -> None:
    from edgetl_runtime.bundle.members import HeadMember

    found = golden.bundle()
    variant = found.manifest.variants[0]
    member = HeadMember.unpack(found.members[variant.head], variant.head, variant.feature_space, variant.dim)
    renamed = (*found.manifest.classes[:-1], "x")
    cases: List[Tuple[Dict[str, Any], Optional[Dict[str, bytes]]]] = [
        ({"classes": renamed}, None),
        ({}, {variant.head: dataclasses.replace(member, options={"n0": -1}).pack()}),
        ({}, {variant.head: dataclasses.replace(member, options={"magic": True}).pack()}),
        ({"variants": (dataclasses.replace(variant, features=dataclasses.replace(variant.features, name="x")),)}, None),
    ]
    for number, (fields, members) in enumerate(cases):
        path = golden.changed_bundle(tmp_path / f"{number}.edgetl", members, **fields)
        with pytest.raises(BundleFormatError, match="build the bundle again"):
            golden.opened(tmp_path / f"state {number}", path)
    narrow = dataclasses.replace(variant, features=dataclasses.replace(variant.features, shape=(1, 63)))
    path = golden.changed_bundle(tmp_path / "narrow.edgetl", variants=(narrow,))
    with pytest.raises(BundleCorruptError, match=r"another extractor|features"):
        golden.opened(tmp_path / "state", path)


def test_unsigned_bundles_are_refused_unless_allowed_and_then_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BundleUnsignedError):
        open_session(golden.BUNDLE, tmp_path / "state")
    golden.opened(tmp_path / "state").close()
    assert "not signed" in caplog.text
    with pytest.raises(BundleUnsignedError):  # at every start
        open_session(None, tmp_path / "state")
