"""A state that outgrows its quota gives up what can be spared, in that order, and nothing that was learnt."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.errors import FoldedSampleError, UnknownSampleError
from edgetl_runtime.merging import merge_states
from edgetl_runtime.store import open_store
from edgetl_runtime.teaching.holding import Holding

from tests.runtime import golden
from tests.runtime.golden import close_to, views

FRAMES = np.concatenate([golden.frames()] * 3)
LABELS = golden.labels() * 3
COUNT = len(LABELS)
# Less than all samples and the generations take, more than a sum of features takes.
QUOTA_BYTES = 240_000


def taught(state: Path, **options: Any) -> Any:
    with golden.opened(state, **options) as session:
        for start in range(0, COUNT, 100):
            part = slice(start, start + 100)
            session.learn_many(FRAMES[part], LABELS[part], source=f"day {start // 200}")
        return views(session)


def test_nothing_learnt_is_lost_when_samples_make_room(tmp_path: Path) -> None:
    expected = taught(tmp_path / "roomy")
    assert close_to(taught(tmp_path / "tight", quota_bytes=QUOTA_BYTES), expected)
    with golden.opened(tmp_path / "tight", None, quota_bytes=QUOTA_BYTES) as session:
        status = session.status()
        assert status["quota"]["used_bytes"] <= QUOTA_BYTES
        assert status["learnt_samples"] == COUNT > len(session.samples())
        assert any("summed up" in entry.words for entry in session.history())
        session.learn(FRAMES[0], LABELS[0])
        assert session.status()["learnt_samples"] == COUNT + 1
        seen = views(session)
        samples = session.samples()
    with golden.opened(tmp_path / "roomy", None) as session:
        session.learn(FRAMES[0], LABELS[0])
        assert close_to(views(session), seen)
        assert {label: row["learnt"] for label, row in session.status()["classes"].items()} == {
            label: LABELS.count(label) + (label == LABELS[0]) for label in sorted({*LABELS})
        }
    assert samples[0].id > 1


def test_what_is_part_of_a_sum_cannot_be_forgotten_alone_and_that_is_said(tmp_path: Path) -> None:
    taught(tmp_path / "state", quota_bytes=QUOTA_BYTES)
    with golden.opened(tmp_path / "state", None, quota_bytes=QUOTA_BYTES) as session:
        seen, samples = views(session), session.samples()
        for what in ({"sample_id": 1}, {"label": LABELS[0]}, {"source": "day 0"}):
            with pytest.raises(FoldedSampleError, match="quota_bytes"):
                session.forget(**what)
        with pytest.raises(UnknownSampleError, match="no learnt sample"):
            session.forget(9999)
        assert np.array_equal(views(session), seen)
        assert session.forget(samples[-1].id) == 1
        after = views(session)
    with golden.opened(tmp_path / "without") as without:
        without.learn_many(FRAMES[:-1], LABELS[:-1])
        assert close_to(views(without), after)


def test_states_with_sums_merge_exactly(tmp_path: Path) -> None:
    taught(tmp_path / "one", quota_bytes=QUOTA_BYTES)
    with golden.opened(tmp_path / "two") as two:
        two.learn_many(FRAMES[:30], LABELS[:30])
    merge_states([tmp_path / "one", tmp_path / "two"], tmp_path / "fleet")
    with golden.opened(tmp_path / "pooled") as pooled, golden.opened(tmp_path / "fleet", None) as fleet:
        pooled.learn_many(np.concatenate([FRAMES, FRAMES[:30]]), [*LABELS, *LABELS[:30]])
        assert close_to(views(fleet), views(pooled))
        assert fleet.status()["learnt_samples"] == COUNT + 30


def test_a_damaged_sum_is_set_aside_and_the_live_head_answers_on(tmp_path: Path) -> None:
    seen = taught(tmp_path / "state", quota_bytes=QUOTA_BYTES)
    store = open_store(tmp_path / "state")
    with store.change():
        store.database.execute("UPDATE statistics SET samples = samples + 1")
    store.close()
    with golden.opened(tmp_path / "state", None, quota_bytes=QUOTA_BYTES) as session:
        assert np.array_equal(views(session), seen)
        session.learn(FRAMES[0], LABELS[0])
        assert session.status()["quarantined"] == 1
        assert 0 < session.status()["learnt_samples"] < COUNT


def test_the_last_two_good_generations_and_the_live_one_outlast_any_quota(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state", quota_bytes=100_000) as session:
        answers = {}
        for start in range(0, 100, 10):
            session.learn_many(FRAMES[start : start + 10], LABELS[start : start + 10])
            answers[session.status()["generation"]] = views(session)
        assert session.status()["generations"][-2:] == [9, 10]
        session.rollback()
        assert np.array_equal(views(session), answers[9])
        session.learn(FRAMES[150], LABELS[150])
        assert {9, 10, 11} <= set(session.status()["generations"])


# -- samples that judge


def test_the_same_samples_are_held_again_in_a_replay() -> None:
    one, other = Holding(7, [], 0), Holding(7, [], 0)
    draws = [one.draw(number, 10) for number in range(1, 400)]
    assert draws == [other.draw(number, 10) for number in range(1, 400)]
    assert 20 < sum(draw.held for draw in draws) < 60
    assert draws != [Holding(8, [], 0).draw(number, 10) for number in range(1, 400)]


def test_a_class_that_taught_little_gives_nothing_to_the_guard() -> None:
    holding = Holding(7, [], 0)
    assert not any(holding.draw(number, 4).held for number in range(1, 500))


def test_what_is_held_is_bounded_and_a_fair_draw_of_all_that_was_offered() -> None:
    late = 0
    for seed in range(20):
        holding = Holding(seed, [], 0)
        released = [draw.released for draw in (holding.draw(n, 10) for n in range(1, 12_001)) if draw.released]
        assert len(holding.held) == len(set(holding.held)) == 512
        assert not set(released) & set(holding.held)
        late += sum(number > 6000 for number in holding.held)
    assert 0.45 < late / (20 * 512) < 0.55


# -- a full disk


FULL = """
import sys
from pathlib import Path
import numpy as np
from tests.runtime import golden
from edgetl_runtime.errors import StateFullError
state = Path(sys.argv[1])
with golden.opened(state) as session:
    for start in (0, 20):
        session.learn_many(golden.frames()[start:start + 20], golden.labels()[start:start + 20])
    session.rollback(to=1)
    one = golden.views(session)
    session.rollback(to=2)
    try:
        with open(state / "filler", "wb") as filler:
            while True:
                filler.write(bytes(4096))
                filler.flush()
    except OSError:
        pass
    learnt = 40
    try:
        for i in range(40, 200):
            session.learn(golden.frames()[i], golden.labels()[i])
            learnt += 1
    except StateFullError:
        pass
    assert learnt < 200
    assert session.status()["learnt_samples"] == learnt
    two = session.predict(golden.frames()[0])
    assert session.rollback(to=1) == 1
    assert np.array_equal(golden.views(session), one)
with golden.opened(state, None) as session:
    assert np.array_equal(golden.views(session), one)
    assert session.status()["learnt_samples"] == learnt
    assert session.status()["unconfirmed_starts"] == 0
print("served", learnt)
"""


def test_on_a_full_disk_a_device_answers_starts_and_goes_back(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=1500k none "$1" && mkdir "$1/state" && exec "$0" -c "$2" "$1/state"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, str(tmp_path / "disk"), FULL],
        capture_output=True, cwd=str(root), check=False,
    )  # fmt: skip
    if b"Operation not permitted" in done.stderr or b"unshare failed" in done.stderr:
        pytest.skip("no namespaces for this user: " + done.stderr.decode())
    assert done.returncode == 0, done.stderr.decode()
    assert b"served" in done.stdout
