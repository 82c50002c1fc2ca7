"""MQTT against a real broker: records go out, labels come in, and a broker that goes away is waited for."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks import open_sink

from tests.runtime.sinks.brokers import MqttBroker

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")


def wait_for(done: Callable[[], Any]) -> bool:
    until = time.monotonic() + 20.0
    while not done() and time.monotonic() < until:
        time.sleep(0.01)
    return bool(done())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MqttBroker]:
    running = MqttBroker(tmp_path)
    yield running
    running.stop()


class Reader:
    """Another client, that hears everything and may publish."""

    def __init__(self, port: int) -> None:
        self.heard: List[Tuple[str, str]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        ready = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe("#")
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = lambda _, __, m: self.heard.append((m.topic, m.payload.decode("utf-8", "replace")))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert ready.wait(20.0)

    def of(self, topic: str) -> List[Any]:
        return [json.loads(text) for name, text in list(self.heard) if name == topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def reader(broker: MqttBroker) -> Iterator[Reader]:
    opened = Reader(broker.port)
    yield opened
    opened.close()


@pytest.mark.parametrize("qos", [0, 1])
def test_records_go_out_by_kind_in_their_order_and_its_end_is_said(
    broker: MqttBroker, reader: Reader, qos: int
) -> None:
    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}/robot 7/sorter?qos={qos}")
    for number in range(200):
        sink.write({"kind": "prediction", "number": number, "label": "Tasse ü"})
    sink.write({"kind": "health", "state": "ok"})
    sink.close()
    sink.close()
    assert wait_for(lambda: reader.of("robot 7/sorter/online") == [True, False])
    assert [record["number"] for record in reader.of("robot 7/sorter/prediction")] == list(range(200))
    assert reader.of("robot 7/sorter/health") == [{"kind": "health", "state": "ok"}]
    assert sink.lost == 0


def test_labels_come_in_when_asked_for_and_not_otherwise(broker: MqttBroker, reader: Reader) -> None:
    heard: Dict[str, List[str]] = {"yes": [], "no": []}
    reader.client.publish("a/yes/label", "kept from yesterday", qos=1, retain=True).wait_for_publish(10)
    sinks = [open_sink(f"mqtt://127.0.0.1:{broker.port}/a/{ask}?labels={ask}", heard[ask].append) for ask in heard]
    assert wait_for(lambda: all(reader.of(f"a/{ask}/online") for ask in heard))
    until = time.monotonic() + 20.0
    while not heard["yes"] and time.monotonic() < until:  # its subscription is on its way
        for ask in heard:
            reader.client.publish(f"a/{ask}/label", '{"label": "cup", "number": 7}', qos=1).wait_for_publish(10)
        time.sleep(0.1)
    reader.client.publish("a/yes/label", "x" * 5000, qos=1).wait_for_publish(10)
    reader.client.publish("a/yes/label", b"\xff\xfe saucer", qos=1).wait_for_publish(10)
    assert wait_for(lambda: heard["yes"][-1].endswith("saucer"))
    assert heard["no"] == [] and set(heard["yes"][:-1]) == {'{"label": "cup", "number": 7}'}
    for sink in sinks:
        sink.close()


def test_a_listener_that_fails_ends_nothing(broker: MqttBroker, reader: Reader) -> None:
    heard: List[str] = []

    def listen(line: str) -> None:
        heard.append(line)
        raise RuntimeError("a fault of ours")

    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}/a?labels=yes", listen)
    assert wait_for(lambda: reader.client.publish("a/label", "x", qos=1) and time.sleep(0.1) is None and len(heard) > 2)
    sink.write({"kind": "health", "state": "ok"})
    assert wait_for(lambda: reader.of("a/health"))
    sink.close()


def test_a_broker_that_goes_away_is_waited_for_and_holds_nobody_up(broker: MqttBroker) -> None:
    sink: Any = open_sink(f"mqtt://127.0.0.1:{broker.port}/a?qos=1")
    sink.write({"kind": "prediction", "number": 0})
    assert wait_for(lambda: sink._inner._connected.is_set())
    broker.stop()
    assert wait_for(lambda: not sink._inner._connected.is_set())
    for number in range(1, 3001):  # none of these waits
        sink.write({"kind": "prediction", "number": number})
    assert sink._waiting.qsize() <= 1000 and sink.lost >= 1900
    broker.start()
    reader = Reader(broker.port)
    assert wait_for(lambda: 3000 in [record["number"] for record in reader.of("a/prediction")])
    found = [record["number"] for record in reader.of("a/prediction")]
    assert sorted(set(found)) == sorted(found) or len(set(found)) > 900
    assert set(range(2001, 3001)) <= set(found)
    sink.close()
    reader.close()


def test_a_broker_that_is_not_there_ends_nothing_and_what_did_not_leave_is_counted() -> None:
    sink = open_sink("mqtt://127.0.0.1:9/a")
    for number in range(5):
        sink.write({"kind": "prediction", "number": number})
    sink.close()
    assert sink.lost == 5


@pytest.mark.parametrize("password", ["", "p%41/ss"])
def test_a_password_arrives_as_it_is_in_the_environment_and_unescaped_from_the_address(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if password:
        monkeypatch.setenv("EDGETL_MQTT_PASSWORD", password)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20.0)
        sink = open_sink(f"mqtt://me:se%40cret@127.0.0.1:{server.getsockname()[1]}/robot")
        connection = server.accept()[0]
        with connection:
            connection.settimeout(20.0)
            hello = connection.recv(4096)  # MQTT 3.1.1, section 3.1: the user, and then the password
        sink.close()
    assert hello.endswith(b"me\0" + bytes([len(password or "se@cret")]) + (password or "se@cret").encode())


@pytest.mark.parametrize(
    ("address", "message"),
    [("mqtt://127.0.0.1", "a broker and a topic"), ("mqtt:///a", "a broker and a topic"), ("mqtt://h/a/#", "without #"),
     ("mqtt://h:x/a", "must be a number"), ("mqtt://h/a?qos=2", "must be one of"), ("mqtt://h/a?user=1", "no option"),
     ("mqtts://h/a?ca=/no/such/file", "cannot be read")],
)  # fmt: skip
def test_an_address_that_means_nothing_is_refused(address: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_sink(address)
