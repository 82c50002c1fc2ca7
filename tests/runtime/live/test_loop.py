"""The loop on a real session: every input answered, labels learnt beside it, and nothing learnt from a bad sensor."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy as np
import pytest
from edgetl_runtime.live import Input, LabelRequest, LearningThread, Loop, Memory, inputs_of
from edgetl_runtime.session import Session
from edgetl_runtime.smoothing import DecisionFilter, RateLimit, Thinner
from edgetl_runtime.sources import About, Sample, Source
from edgetl_runtime.sources.array_feed import ArrayFeed
from edgetl_runtime.sources.pacing import PacedFeed
from edgetl_runtime.sources.simulated_feed import SimulatedFeed
from edgetl_runtime.watchdog import Watchdog
from edgetl_runtime.windows import Crop, CropSpec

from tests.runtime import golden

COUNT = 60


class Kept:
    """A sink that keeps what it was given."""

    lost = 0

    def __init__(self) -> None:
        self.records: List[Dict[str, Any]] = []

    def write(self, record: Any) -> None:
        self.records.append(dict(record))

    def close(self) -> None: ...

    def of(self, kind: str) -> List[Dict[str, Any]]:
        return [record for record in self.records if record["kind"] == kind]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with golden.opened(tmp_path / "state") as opened:
        yield opened


def recorded(rates: Optional[Dict[str, float]] = None) -> Source:
    feed: Any = ArrayFeed("digits", golden.frames()[:COUNT], rate_hz=10.0)
    return Source(SimulatedFeed(feed, np.random.default_rng(2), rates) if rates else feed)


def wait_for(done: Callable[[], Any]) -> bool:
    until = time.monotonic() + 20.0
    while not done() and time.monotonic() < until:
        time.sleep(0.005)
    return bool(done())


def test_every_input_of_a_recording_is_answered_as_the_session_does(session: Session) -> None:
    kept = Kept()
    with recorded() as source:
        Loop(session, source, inputs_of(source.about, session.takes), [kept]).run()
    expected = session.predict_many(golden.frames()[:COUNT])
    found = kept.of("prediction")
    assert [record["label"] for record in found] == [prediction.label for prediction in expected]
    assert [record["number"] for record in found] == list(range(1, COUNT + 1))
    assert [record["outlier"] for record in found] == pytest.approx([prediction.outlier for prediction in expected])
    assert kept.of("health")[-1]["state"] in ("ok", "ended")


def test_decisions_are_smoothed_and_abstain(session: Session) -> None:
    kept = Kept()
    with recorded() as source:
        Loop(
            session, source, inputs_of(source.about, session.takes), [kept], smooth=DecisionFilter(memory_s=1.0)
        ).run()
    found = kept.of("prediction")  # another digit each time
    assert sum(record["decision"] is None for record in found) > COUNT // 2
    assert {record["reason"] for record in found} <= {"", "unsure"}


def taught(session: Session, source: Source, requests: List[LabelRequest], **options: Any) -> Kept:
    """The loop over a recording, then labels for it."""
    kept, memory = Kept(), Memory()
    loop = Loop(session, source, inputs_of(source.about, session.takes), [kept], memory=memory)
    learning = LearningThread(session, memory, loop.tell, source="a table", **options)
    loop.run()
    for request in requests:
        learning.ask(request)
    learning.close()
    kept.records += loop.leftover()
    return kept


def test_places_of_a_frame_are_judged_decided_and_taught_each_on_its_own(session: Session) -> None:
    """Two digits side by side, one before each crop; a label without a place could mean either."""
    frames = golden.frames()[:COUNT]
    pairs = np.concatenate([frames, np.repeat(frames[:1], COUNT, axis=0)], axis=2)
    crops = CropSpec((Crop("left", 0.0, 0.0, 0.5, 1.0), Crop("right", 0.5, 0.0, 1.0, 1.0)))
    kept, memory = Kept(), Memory()
    source = Source(ArrayFeed("digits", pairs, rate_hz=10.0))
    loop = Loop(
        session, source, inputs_of(source.about, session.takes, crops=crops), [kept],
        memory=memory, smooth=DecisionFilter(memory_s=1.0),
    )  # fmt: skip
    learning = LearningThread(session, memory, loop.tell)
    loop.run()
    found = kept.of("prediction")
    assert [record["number"] for record in found] == list(range(1, 2 * COUNT + 1))
    left, right = found[::2], found[1::2]
    assert {record["place"] for record in left} == {"left"} and {record["place"] for record in right} == {"right"}
    alone = session.predict_many(frames)
    assert [record["label"] for record in left] == [prediction.label for prediction in alone]
    assert right[-1]["decision"] == alone[0].label and left[-1]["decision"] is None  # another digit each time
    learning.ask(LabelRequest("eleven", stamp_s=0.7))
    learning.ask(LabelRequest("eleven", stamp_s=0.7, place="left"))
    learning.ask(LabelRequest("twelve", number=2))
    learning.close()
    told = loop.leftover()
    assert [record["number"] for record in told if record["kind"] == "learnt"] == [15, 2]
    assert ["which place" in record["reason"] for record in told if record["kind"] == "refused"] == [True]


def test_labels_that_come_late_are_learnt_for_the_input_they_name(session: Session) -> None:
    requests = [LabelRequest("eleven", number=3), LabelRequest("eleven", stamp_s=0.7), LabelRequest("twelve")]
    kept = taught(session, recorded(), requests)
    assert [record["number"] for record in kept.of("learnt")] == [3, 8, COUNT]
    learnt = session.samples()
    assert [sample.label for sample in learnt] == ["eleven", "eleven", "twelve"]
    assert {sample.source for sample in learnt} == {"a table"}
    assert [record["id"] for record in kept.of("learnt")] == [sample.id for sample in learnt]


def test_what_cannot_be_learnt_is_refused_with_the_reason(session: Session) -> None:
    requests = [
        (LabelRequest("x", number=9999), f"no such input yet: the newest is {COUNT}"),
        (LabelRequest("x", number=0), "not remembered: the newest 60 inputs are, of 5.9 s"),
        (LabelRequest("x", stamp_s=99.0), "not remembered"),
        (LabelRequest("x", place="door"), "no place 'door'"),
        (LabelRequest("", number=3), "empty"),
        (LabelRequest("a\tb", number=3), "control"),
    ]
    kept = taught(session, recorded(), [request for request, _ in requests])
    reasons = [record["reason"] for record in kept.of("refused")]
    assert len(reasons) == len(requests) and not kept.of("learnt") and not session.samples()
    assert [words in reason for (_, words), reason in zip(requests, reasons)] == [True] * len(requests)
    learning = LearningThread(session, Memory(), kept.write)
    learning.ask(LabelRequest("x"))
    learning.close()
    assert kept.of("refused")[-1]["reason"] == "nothing was seen yet"


def test_a_key_pressed_before_an_unplugged_sensor_teaches_nothing(session: Session) -> None:
    """T8: the newest input is of before; who names one by number or stamp means just that."""
    kept, memory = Kept(), Memory()
    loop = Loop(session, recorded(), lambda _: [], [kept])
    learning = LearningThread(session, memory, loop.tell, newest_within_s=3.0)
    memory.keep(Input(1, golden.frames()[0], time.monotonic() - 60.0, time.monotonic() - 60.0))
    learning.ask(LabelRequest("wrong"))
    learning.ask(LabelRequest("eleven", number=1))
    memory.keep(Input(2, golden.frames()[1], time.monotonic(), time.monotonic()))
    learning.ask(LabelRequest("twelve"))
    learning.close()
    assert [sample.label for sample in session.samples()] == ["eleven", "twelve"]
    refused = [record["reason"] for record in loop.leftover() if record["kind"] == "refused"]
    assert refused == ["nothing was seen for 60 s"]


@pytest.mark.parametrize("fault", ["freeze", "black"])
def test_no_head_learns_from_a_doubtful_sensor_and_prediction_goes_on(session: Session, fault: str) -> None:
    before = session.status()["generation"]
    requests = [LabelRequest("wrong", number=number) for number in range(1, COUNT + 1)]
    source = recorded({fault: 1.0})
    kept = taught(session, source, requests)
    answered = [record["number"] for record in kept.of("prediction")]
    assert len(answered) == COUNT
    doubted = {record["number"] for record in kept.of("prediction") if record["doubt"]}
    assert len(doubted) >= COUNT - 3
    assert {record["number"] for record in kept.of("refused")} == doubted
    assert {sample.label for sample in session.samples()} <= {"wrong"}
    assert len(session.samples()) == COUNT - len(doubted)  # only what came before it could be seen
    assert session.status()["generation"] <= before + len(session.samples())


def test_the_same_view_again_is_not_learnt_and_a_flood_of_labels_is_held_back(session: Session) -> None:
    again = [LabelRequest("seven", number=5)] * 4
    kept = taught(session, recorded(), again, thinner=Thinner(0.05))
    assert len(kept.of("learnt")) == 1 and len(kept.of("refused")) == 3
    many = [LabelRequest("seven", number=number) for number in range(1, 21)]
    kept = taught(session, recorded(), many, limit=RateLimit(per_s=0.001, burst=5))
    assert len(kept.of("learnt")) == 5 and len(kept.of("refused")) == 15
    senseless = [LabelRequest("seven", number=0)] * 20  # what is searched for in vain counts too
    kept = taught(session, recorded(), senseless, limit=RateLimit(per_s=0.001, burst=5))
    assert ["faster" in record["reason"] for record in kept.of("refused")] == [False] * 5 + [True] * 15


def test_who_asks_senselessly_fast_holds_no_prediction_up_and_fills_no_memory(session: Session) -> None:
    kept = Kept()
    with recorded() as source:
        loop = Loop(session, source, inputs_of(source.about, session.takes), [kept])
        for number in range(5000):
            loop.tell({"kind": "refused", "number": number, "label": "x", "reason": "senseless"})
        loop.tell({"kind": "learnt", "number": 1, "label": "x", "id": 1})
        loop.run()
    assert len(kept.of("prediction")) == COUNT
    assert len(kept.of("refused")) == 1000 and len(kept.of("learnt")) == 1  # what was learnt is always said
    assert loop.untold == 4000


def test_what_is_seen_without_labels_is_observed_and_a_doubtful_sensor_is_not(session: Session) -> None:
    for rates, least, most in ((None, 5, 7), ({"black": 1.0}, 0, 1)):  # one a second, of six seconds
        before = session.status()["drift"]["kept"]
        with recorded(rates) as source:
            cut = inputs_of(source.about, session.takes)
            Loop(session, source, cut, [Kept()], observe=True).run()
        assert least <= session.status()["drift"]["kept"] - before <= most


class Gate:
    def __init__(self) -> None:
        self.hot = "the board is hot"

    def reason(self) -> str:
        return self.hot


def test_heat_pauses_learning_and_never_a_prediction(session: Session) -> None:
    gate, kept, memory = Gate(), Kept(), Memory()
    with recorded() as source:
        loop = Loop(session, source, inputs_of(source.about, session.takes), [kept], memory=memory)
        learning = LearningThread(session, memory, loop.tell, gates=[gate])
        assert loop.step()
        learning.ask(LabelRequest("eleven"))
        assert wait_for(lambda: learning.paused)
        for _ in range(20):
            assert loop.step()
        assert len(kept.of("prediction")) == 21 and not session.samples()
        gate.hot = ""
        assert wait_for(lambda: session.samples())
        learning.close()


def test_a_gate_that_fails_does_not_end_learning(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def reason(self) -> str:
            raise OSError("sysfs is gone")

    kept, memory = Kept(), Memory()
    with recorded() as source:
        loop = Loop(session, source, inputs_of(source.about, session.takes), [kept], memory=memory)
        learning = LearningThread(session, memory, loop.tell, gates=[Broken()])
        loop.step()
        learning.ask(LabelRequest("eleven"))
        assert wait_for(session.samples)
        learning.close()


def test_a_slow_learner_holds_no_prediction_up(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    def slow(*_: Any, **__: Any) -> int:
        assert held.wait(30.0)
        return 1

    monkeypatch.setattr(session, "learn", slow)
    kept, memory = Kept(), Memory()
    with recorded() as source:
        loop = Loop(session, source, inputs_of(source.about, session.takes), [kept], memory=memory)
        learning = LearningThread(session, memory, loop.tell)
        loop.step()
        learning.ask(LabelRequest("eleven"))
        loop.run()
        assert len(kept.of("prediction")) == COUNT and not kept.of("learnt")
        held.set()
        learning.close()
    assert [record["kind"] for record in loop.leftover()] == ["learnt"]


def test_pings_stop_when_the_engine_blocks_and_go_on_when_a_learner_does(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """T13: a watchdog that is fed by a loop that hangs would be none."""
    address, blocked, inside = str(tmp_path / "notify"), threading.Event(), threading.Event()
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    run = session._extractor._engine.run

    def stuck(*arguments: Any) -> Any:
        if blocked.is_set():
            inside.set()
            assert free.wait(60.0)
        return run(*arguments)

    free = threading.Event()
    monkeypatch.setattr(session._extractor._engine, "run", stuck)
    monkeypatch.setattr(session, "learn", lambda *_, **__: free.wait(60.0))  # a learner that never comes back
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(address)
        supervisor.settimeout(30.0)
        feed: Any = PacedFeed(ArrayFeed("digits", golden.frames(), rate_hz=50.0), replace(_LIVE, rate_hz=50.0), 1.0)
        with Source(feed) as source:
            memory = Memory()
            loop = Loop(
                session, source, inputs_of(source.about, session.takes), memory=memory, watchdog=Watchdog()
            )
            learning = LearningThread(session, memory, loop.tell)
            thread = threading.Thread(target=loop.run, daemon=True)
            thread.start()
            assert supervisor.recv(100) == b"READY=1"
            assert wait_for(lambda: memory.find() is not None)
            learning.ask(LabelRequest("eleven"))
            assert [supervisor.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
            blocked.set()
            assert inside.wait(30.0)
            supervisor.settimeout(1.0)
            with pytest.raises(socket.timeout):
                while True:  # what was on its way
                    supervisor.recv(100)
            blocked.clear()
            loop.stop()
            free.set()
            thread.join(30.0)
            learning.close()


_LIVE = About("digits", "frame", live=True)


def test_a_live_source_is_followed_at_its_newest(session: Session) -> None:
    class Camera:
        about = About("camera", "vector", tuple("abcdefgh"), rate_hz=None, live=True)
        connected, drops = True, {}  # type: ignore[var-annotated]
        sent = False

        def read(self, timeout_s: float) -> Any:
            if self.sent:
                return None
            self.sent = True
            return [Sample(np.full(8, n), float(n)) for n in range(50)]

        def close(self) -> None: ...

    kept = Kept()
    with Source(Camera()) as source:
        source._thread.join()  # type: ignore[union-attr]
        Loop(session, source, inputs_of(source.about, _vectors()), [kept]).run()
    assert kept.of("health")[-1]["skipped"] == 46


def _vectors() -> Any:
    from edgetl_runtime.preprocess import ArrayPreprocess

    return ArrayPreprocess((8,))


def test_what_cannot_be_used_is_counted_and_the_loop_goes_on(session: Session) -> None:
    feed = ArrayFeed("wrong", np.random.default_rng(0).normal(size=(5, 3)), rate_hz=10.0)
    kept = Kept()
    with Source(feed) as source:
        loop = Loop(session, source, inputs_of(source.about, _three()), [kept])
        loop.run()
    assert loop.unusable == 5 and loop.predicted == 0 and not kept.of("prediction")


def _three() -> Any:
    from edgetl_runtime.preprocess import ArrayPreprocess

    return ArrayPreprocess((3,))
