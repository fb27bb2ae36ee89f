"""Live streams: the documents' own, resuming, and clients that do not read."""

import asyncio
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from e2e.nodes import backend
from service.running import WAIT_S, Serve, Sse, serving
from service.web import Web
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from fieldhand.records import Provenance, Reading, Status
from fieldhand.service.api import streams
from fieldhand.service.live.hub import RESUME_EVENTS, Hub, LiveEvent
from fieldhand.service.live.wire import document, plantnanny
from fieldhand.service.store.nodes import NodeRow

# Payloads of the seed documents.
PLANT = {
    "temperatureC": 24.3,
    "humidityPct": 56.0,
    "luminosityPct": 75.5,
    "ts": 1704825600,
    "uptime": 123456,
}
SOLAR = {
    "battery": 13.5,
    "solar_v": 21.2,
    "solar_a": 4.5,
    "water": 80,
    "extra": {"temp": 32.5, "vibration": 0.01},
}
FARM = {
    "farm_id": "farm_001",
    "timestamp": "2026-01-09T18:40:00Z",
    "moisture": 45.5,
    "temp": 28.3,
    "humidity": 65.2,
    "npk": 420,
    "ec_salinity": 1.2,
    "wind_speed": 12.5,
    "soil_ph": 6.5,
}


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    with serving(folder, "--broker-port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def mqtt(serve: Serve):
    with backend(serve.told["broker"]["port"]) as client:
        yield client


def websocket(serve: Serve, path: str) -> ClientConnection:
    return connect(serve.url.replace("http", "ws", 1) + path, open_timeout=WAIT_S)


def receive(client: ClientConnection, wanted=lambda message: True):
    deadline = time.monotonic() + WAIT_S
    while True:
        message = json.loads(client.recv(timeout=max(0.01, deadline - time.monotonic())))
        if wanted(message):
            return message


def known(serve: Serve, mqtt, name: str, topic: str, payload: object) -> None:
    """A node becomes known by what it says."""
    mqtt.publish(topic, payload)
    serve.until("/nodes", lambda page: any(node["name"] == name for node in page["nodes"]))


def test_a_device_stream_asks_for_a_reading_and_gives_it_in_the_documents_words(serve, mqtt):
    known(serve, mqtt, "esp32-001", "devices/esp32-001/data", PLANT)
    mark = mqtt.mark()
    stream = Sse(serve.url, "/devices/esp32-001/stream")
    assert stream.wait(lambda name, data: name == "reading") == {"device_id": "esp32-001", **PLANT}
    asked = mqtt.wait("devices/esp32-001/command", since=mark)
    assert asked["action"] == "send_now"
    mqtt.publish("devices/esp32-001/data", {**PLANT, "temperatureC": 25.1, "ts": 1704825660})
    seen = stream.wait(lambda name, data: data.get("ts") == 1704825660)
    assert seen["temperatureC"] == 25.1
    mqtt.publish("devices/esp32-001/status", {"status": "offline"})
    assert stream.wait(lambda name, data: name == "status") == {
        "device_id": "esp32-001",
        "status": "offline",
    }
    stream.close()


def test_many_streams_of_a_device_ask_it_once(serve, mqtt):
    known(serve, mqtt, "busy", "devices/busy/data", PLANT)
    mark = mqtt.mark()
    streams_open = [Sse(serve.url, "/devices/busy/stream") for _ in range(5)]
    mqtt.wait("devices/busy/command", since=mark)
    mqtt.publish("devices/busy/data", {**PLANT, "ts": 1704825700})
    for stream in streams_open:
        stream.wait(lambda name, data: data.get("ts") == 1704825700)
        stream.close()
    assert len(mqtt.all("devices/busy/command", since=mark)) == 1


def test_a_machine_over_a_websocket(serve, mqtt):
    topic = "company/acme/machine/m1"
    known(serve, mqtt, "m1", f"{topic}/telemetry", SOLAR)
    with websocket(serve, "/realtime/m1") as client:
        first = receive(client)
        whose = {"type": "telemetry", "machine_id": "m1", "company_id": "acme"}
        assert {k: v for k, v in first.items() if k != "timestamp"} == {**whose, **SOLAR}
        mqtt.publish(
            f"{topic}/status", {"status": "Running", "energy": 150.5, "water": 25.0, "area": 450.0}
        )
        status = receive(client, lambda message: message["type"] == "status")
        assert (status["status"], status["energy"]) == ("Running", 150.5)
        assert (status["water"], status["area"]) == (25.0, 450.0)
        mqtt.publish("company/acme/machine/other/telemetry", SOLAR)
        mqtt.publish(f"{topic}/telemetry", {**SOLAR, "battery": 12.9})
        assert receive(client)["battery"] == 12.9


def test_a_farm_over_a_websocket(serve, mqtt):
    known(serve, mqtt, "farm_001", "farm/telemetry", FARM)
    with websocket(serve, "/ws/farm_001") as client:
        update = receive(client, lambda message: message["type"] == "sensor_update")
        assert update["data"] == FARM
        assert update["timestamp"] == FARM["timestamp"]


def test_an_actuators_status_lights_the_farms_lamp(serve, mqtt):
    """The document's command flow, step 6; what is broadcast is what was published."""
    known(serve, mqtt, "farm_003", "farm/telemetry", {**FARM, "farm_id": "farm_003"})
    answer = {
        "type": "STATUS",
        "irrigation": "ON",
        "farm_id": "farm_003",
        "timestamp": "2026-01-24T22:30:01Z",
    }
    with websocket(serve, "/ws/farm_003") as client:
        receive(client, lambda message: message["type"] == "sensor_update")
        mqtt.publish("farm/telemetry", {**answer, "farm_id": "farm_004"})
        mqtt.publish("farm/telemetry", answer)
        assert receive(client, lambda message: message["type"] == "STATUS") == answer


def test_a_farm_that_has_said_nothing_yet_and_its_first_analysis(serve, mqtt):
    node = {"dialect": "farm", "name": "farm_002"}
    assert Web(serve.url).ask("POST", "/nodes", node).status == 201
    with websocket(serve, "/ws/farm_002") as client:
        mqtt.publish("farm/telemetry", {**FARM, "farm_id": "farm_002"})
        seen = {message["type"]: message for message in (receive(client), receive(client))}
    assert seen["sensor_update"]["data"]["farm_id"] == "farm_002"
    analysis = seen["agronomy_analysis"]
    # A dry 28.3 degrees at 65.2 %: es - ea = 3.846 * (1 - 0.652) kPa by FAO-56 (11).
    assert analysis["analysis"]["vpd"]["value"] == pytest.approx(1.34, abs=0.01)
    assert analysis["recommendations"]


@pytest.mark.parametrize("path", ["/ws/nobody", "/realtime/nobody", "/realtime/esp32-001"])
def test_a_websocket_of_nobody_is_closed_with_a_code_a_page_can_see(serve, mqtt, path):
    known(serve, mqtt, "esp32-001", "devices/esp32-001/data", PLANT)
    with websocket(serve, path) as client:
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=WAIT_S)
        assert client.close_code == streams.NOT_FOUND
        assert client.close_reason


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/live", "fh_wrong", 401),
        ("/live?node=nobody", None, 404),
        ("/live?kind=" + "x" * 65, None, 422),
        ("/nothing", None, 403),
    ],
)
def test_a_websocket_that_is_refused_is_a_problem_and_one_line_of_the_log(
    serve, path, token, status
):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    before = len(serve.log)
    with pytest.raises(InvalidStatus) as refused:
        connect(serve.url.replace("http", "ws", 1) + path, additional_headers=headers)
    answer = refused.value.response
    assert answer.status_code == status == json.loads(answer.body)["status"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    deadline = time.monotonic() + WAIT_S
    while "refused" not in serve.log[before:]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lines = [json.loads(line) for line in serve.log[before:].splitlines()]
    where = path.partition("?")[0]
    told = [line["message"] for line in lines if "WebSocket" in line["message"]]
    assert told == [f"a WebSocket for {where} was refused: {status}"]
    assert not [line for line in lines if line["level"] == "error"]


def test_the_general_stream_has_filters(serve, mqtt):
    known(serve, mqtt, "p1", "devices/p1/data", PLANT)
    known(serve, mqtt, "p2", "devices/p2/data", PLANT)
    with websocket(serve, "/live?node=plantnanny:p1&kind=status&state=false") as client:
        mqtt.publish("devices/p2/status", {"status": "online"})
        mqtt.publish("devices/p1/data", {**PLANT, "ts": 1})
        mqtt.publish("devices/p1/status", {"status": "online"})
        message = receive(client)
        assert message["type"] == "status"
        assert message["data"]["node_id"] == "plantnanny:p1"


def test_who_comes_back_gets_what_was_missed_once(serve, mqtt):
    known(serve, mqtt, "back", "devices/back/data", {**PLANT, "ts": 1704830000})
    path = "/live?node=plantnanny:back&kind=reading"
    with websocket(serve, path) as client:
        mqtt.publish("devices/back/data", {**PLANT, "ts": 1704830001})
        last = receive(client, lambda m: m["data"]["time"] == 1704830001)["id"]
        # The node is back before the client is.
        mqtt.publish("devices/back/data", {**PLANT, "ts": 1704830002})
        receive(client, lambda m: m["data"]["time"] == 1704830002)
    stream = Sse(serve.url, path, {"Last-Event-ID": last})
    stream.wait(lambda name, data: data["time"] == 1704830002)
    mqtt.publish("devices/back/data", {**PLANT, "ts": 1704830003})
    stream.wait(lambda name, data: data["time"] == 1704830003)
    assert [data["time"] for _, data in stream.events] == [1704830002, 1704830003]
    stream.close()


def test_an_id_of_another_life_gets_the_state_instead(serve, mqtt):
    known(serve, mqtt, "old", "devices/old/data", {**PLANT, "ts": 1704840000})
    stream = Sse(serve.url, "/live?node=plantnanny:old", {"Last-Event-ID": "0123abcd-7"})
    stream.wait(lambda name, data: name == "reading" and data["time"] == 1704840000)
    stream.close()


@pytest.mark.parametrize("kind", ["sse", "websocket"])
def test_a_client_that_does_not_read_is_dropped_and_delays_no_other(tmp_path, kind):
    # A small queue, so that a few hundred readings do what hours would.
    environment = {"FIELDHAND_SERVICE_LIVE_QUEUE": "20", "FIELDHAND_SERVICE_NODE_RATE": "0"}
    environment["FIELDHAND_SERVICE_LIVE_STALL_S"] = "1"
    with serving(tmp_path, "--broker-port", "0", env=environment) as own:
        with backend(own.told["broker"]["port"]) as client:
            known(own, client, "n", "devices/n/data", PLANT)
            parts = urlsplit(own.url)
            stuck = socket.socket()
            stuck.connect((parts.hostname, parts.port))
            upgrade = (
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            )
            stuck.sendall(
                b"GET /live HTTP/1.1\r\nHost: %b\r\n%b\r\n"
                % (parts.netloc.encode(), upgrade if kind == "websocket" else b"")
            )
            good = Sse(own.url, "/live?kind=reading&state=false")
            # 1.5 MB in all: more than the buffers take that a live stream may have on its way,
            # less than the kernel takes when nobody says how much.
            long = {"status": "online", "_fh": {"also": {"text": "x" * 15_000}}}
            for number in range(100):
                client.publish("devices/n/status", long)
                if number % 10 == 0:
                    client.publish("devices/n/data", {**PLANT, "ts": 1704850000 + number})
            good.wait(lambda name, data: data["time"] == 1704850090)
            assert [data["time"] for name, data in good.events] == [
                1704850000 + number for number in range(0, 100, 10)
            ]
            assert not good.ended
            deadline = time.monotonic() + WAIT_S
            while "took nothing for 1 s and was dropped" not in own.log:
                assert time.monotonic() < deadline, own.log
                time.sleep(0.05)
            good.close()
            stuck.close()
        assert own.stop() == 0
        told = [json.loads(line) for line in own.log.splitlines()]
        # A client that goes is no fault of ours: one line, and no error.
        assert [line for line in told if line["level"] == "error" or "error" in line] == []
        assert len([line for line in told if "dropped" in line["message"]]) == 1


def event(number: int = 0) -> LiveEvent:
    return LiveEvent("status", {"n": number})


def test_the_hub_drops_the_slow_client_only():
    async def scenario():
        hub = Hub(queue=5)
        hub.bind(asyncio.get_running_loop())
        slow, quick = hub.subscribe(), hub.subscribe()
        got = []
        for number in range(20):
            hub.publish([event(number)])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            got += [item.data["n"] for item in quick.take()]
        assert got == list(range(20))
        assert slow.dropped and slow.closed and await slow.get() is None
        assert not quick.dropped
        assert (hub.clients, hub.dropped_clients) == (1, 1)

    asyncio.run(scenario())


def test_the_hub_continues_only_what_it_has_whole():
    async def scenario():
        hub = Hub()
        hub.bind(asyncio.get_running_loop())
        hub.subscribe()
        start = hub.position
        hub.publish([event(number) for number in range(3)])
        await asyncio.sleep(0.01)
        assert [item.data["n"] for item in hub.since(start) or []] == [0, 1, 2]
        assert hub.since(hub.position) == []
        for wrong in ("", "x", "-", f"{start}9", start.replace("-0", "--1"), "zz-0"):
            assert hub.since(wrong) is None
        hub.publish([event(number) for number in range(RESUME_EVENTS)])
        await asyncio.sleep(0.05)
        assert hub.since(start) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("form", [streams.framed, plantnanny])
def test_a_stream_without_news_has_a_heartbeat(monkeypatch, form):
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(streams, "LOOK_S", 0.01)

    async def scenario():
        hub = Hub()
        hub.bind(asyncio.get_running_loop())
        sent: list[bytes] = []
        pinged = asyncio.Event()

        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message.get("body", b""))
            if sent.count(b"event: ping\ndata: {}\n\n") == 2:
                pinged.set()

        stream = streams.EventStream(hub.subscribe(lambda event: False), (), form)
        task = asyncio.create_task(stream({"type": "http"}, receive, send))
        await asyncio.wait_for(pinged.wait(), WAIT_S)
        hub.close()
        await asyncio.wait_for(task, WAIT_S)
        assert hub.dropped_clients == 0

    asyncio.run(scenario())


def test_who_stops_a_stream_stops_it(monkeypatch):
    async def scenario():
        hub = Hub()
        hub.bind(asyncio.get_running_loop())

        async def never(*_):
            await asyncio.Event().wait()

        stream = streams.EventStream(hub.subscribe())
        task = asyncio.create_task(stream({"type": "http"}, never, never))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hub.clients == 0

    asyncio.run(scenario())


def test_a_form_is_made_once_for_all_clients():
    one = event()
    assert one.sse is one.sse
    assert one.text is one.text
    assert json.loads(one.text) == {"type": "status", "id": "", "data": {"n": 0}}


def test_what_the_document_has_no_word_for_stands_apart():
    reading = Reading(
        "n", "plantnanny", {"air_temperature": 24.3, "soil_moisture": 41.5}, 1704825600, 0.0
    )
    assert document(reading) == {
        "temperatureC": 24.3,
        "ts": 1704825600,
        "also": {"soil_moisture": 41.5},
    }


def test_a_reading_without_all_the_document_wants_is_shown_all_the_same():
    partial = Reading("f", "farm", {"soil_moisture": 40.0}, None, 0.0, Provenance("1-a", 3))
    assert document(partial) == {"farm_id": "f", "moisture": 40.0}


def test_an_offline_status_in_the_documents_words():
    status = Status(
        "m", "solar", "offline", {"activity": "offline"}, None, 0.0, tenant={"company": "acme"}
    )
    found = document(status)
    assert found is not None and found["status"] == "offline"


def test_org_of_an_event_is_its_nodes():
    row = NodeRow(1, "dese", {"org": "o"}, "n", "o", False, {}, True, None, None)
    assert LiveEvent("status", {}, row).org == "o"
    assert LiveEvent("status", {}).org is None
