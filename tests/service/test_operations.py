"""What an operator sees: metrics, readiness, the log; and a stop that loses nothing."""

import io
import json
import logging
import time
from collections.abc import Iterator

import pytest
from mosquitto import Mosquitto
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from service.running import Serve, Sse
from service.test_ingest_kill import Publisher, stored
from starlette.testclient import TestClient

from fieldhand.client import Fleet
from fieldhand.records import Status
from fieldhand.service import logs
from fieldhand.service.api.app import create_app
from fieldhand.service.arrivals import Arrival
from fieldhand.service.metrics import Latency
from fieldhand.service.service import Service
from fieldhand.service.settings import load
from fieldhand.service.store.nodes import NodeRow
from fieldproto.messages import Packet

WAIT_S = 30.0


def sample(families, name: str, **labels: str) -> float:
    found = [s.value for f in families for s in f.samples if s.name == name and s.labels == labels]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return float(found[0])


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    settings = load({"database": f"sqlite:///{tmp_path}/s.db", "open": True}, environment={})
    with Service(settings, embedded_port=0) as running:
        yield running


@pytest.fixture
def web(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service), base_url="http://127.0.0.1") as client:
        yield client


def families(web: TestClient):
    answer = web.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return list(text_string_to_metric_families(answer.text))


def test_metrics_tell_what_happened_and_name_nobody(service: Service, web: TestClient):
    broker = service.broker
    with Fleet(broker=broker, received=False) as fleet:
        connection = fleet._connection
        for node in range(3):
            payload = b'{"temperatureC": 20.0, "ts": %d}' % (1_795_000_000 + node)
            for _ in range(2):  # the second is the first again
                connection.publish(Packet(f"devices/n{node}/data", payload, 1, False))
        connection.publish(Packet("devices/n0/status", b'{"status":"online"}', 1, True))
        connection.publish(Packet("devices/n0/data", b"{", 1, False))
        deadline = time.monotonic() + WAIT_S
        while service.ingest.counts["invalid"] < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    found = families(web)
    assert sample(found, "fieldhand_messages_total") == 8
    assert sample(found, "fieldhand_stored_total", kind="reading") == 3
    assert sample(found, "fieldhand_stored_total", kind="status") == 1
    assert sample(found, "fieldhand_duplicates_total") == 3
    assert sample(found, "fieldhand_invalid_messages_total") == 1
    assert sample(found, "fieldhand_outages_total") == 0
    assert sample(found, "fieldhand_ready") == 1
    assert sample(found, "fieldhand_broker_connected") == 1
    assert sample(found, "fieldhand_live_clients") == 0
    assert sample(found, "fieldhand_commands_total", step="done") == 0
    # Seven events were made of the eight messages.
    assert sample(found, "fieldhand_latency_seconds_count") == 7
    assert sample(found, "fieldhand_latency_seconds_bucket", le="+Inf") == 7
    assert sample(found, "process_open_fds") > 3
    # However many nodes there are, the series are the same.
    series = {(s.name, *s.labels.items()) for family in found for s in family.samples}
    assert not [name for name in series if "n0" in str(name)]
    labels = {key for _, *pairs in series for key, _ in pairs}
    assert labels <= {"kind", "step", "le", "version", "generation",
                      "implementation", "major", "minor", "patchlevel"}  # fmt: skip


def test_metrics_in_the_openmetrics_format(web: TestClient):
    answer = web.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "fieldhand_messages" in {family.name for family in openmetrics(answer.text)}


def test_the_classes_of_the_latency():
    latency = Latency()
    latency.add(0.005, 2)  # a bound belongs to its class
    latency.add(0.15)
    latency.add(1000)
    buckets = {s.labels.get("le"): s.value for s in latency.metric("x", "").samples}
    assert [buckets[le] for le in ("0.005", "0.1", "0.2", "300", "+Inf")] == [2, 2, 3, 3, 4]


def test_not_ready_while_the_broker_is_away(own_mosquitto: Mosquitto, tmp_path):
    serve = Serve(tmp_path, "--broker", f"mqtt://127.0.0.1:{own_mosquitto.port}")
    try:
        serve.start()
        publisher = Publisher(own_mosquitto.port)
        time.sleep(0.2)
        publisher.stop()
        own_mosquitto.stop()
        deadline = time.monotonic() + WAIT_S
        while (told := serve.try_get("/readyz"))[0] != 503:
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
        assert str(own_mosquitto.port) in told[1]["reason"]
        assert serve.get("/healthz")["status"] == "ok"
        own_mosquitto.start()
        while serve.try_get("/readyz")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert set(stored(serve)) == set(publisher.sent)
        assert serve.stop() == 0
        # Once that it is away, once that it is back.
        lines = [json.loads(line) for line in serve.log.splitlines()]
        told = [line["message"] for line in lines if "fieldhand-service" in line["message"]]
        assert len(told) == 2, told
        assert "trying again" in told[0] and "connected again" in told[1]
    finally:
        serve.close()


def test_sigterm_under_load_stores_what_was_read_and_ends_well(mosquitto_quick, tmp_path):
    serve = Serve(tmp_path, "--broker", f"mqtt://127.0.0.1:{mosquitto_quick.port}")
    try:
        serve.start()
        stream = Sse(serve.url, "/live")
        publisher = Publisher(mosquitto_quick.port)
        time.sleep(0.5)
        assert serve.stop() == 0
        assert stream.wait_end()
        serve.start()
        publisher.stop()
        deadline = time.monotonic() + WAIT_S
        while len(found := stored(serve)) < len(publisher.sent) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert set(found) == set(publisher.sent)
        assert len(found) == len(set(found))
        assert "Traceback" not in serve.log
    finally:
        serve.close()


@pytest.fixture
def mosquitto_quick() -> Iterator[Mosquitto]:
    with Mosquitto(persistent=False, log_types="error") as broker:
        yield broker


# -- the log ---------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged as JSON; the handlers are as before afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_names_the_node_and_the_command(log: io.StringIO):
    of = {"node": "dese:farm:p1", "command": "c-1"}
    logging.getLogger("x").info("two\nlines of %s", "ü", extra=of)
    (line,) = lines(log)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "x", "message": "two\nlines of ü", **of}


def test_a_traceback_is_in_its_line(log: io.StringIO):
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("x").exception("failed")
    (line,) = lines(log)
    assert line["error"].endswith("ValueError: no")


def test_text_stays_on_one_line():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.TextFormatter())
    record = logging.LogRecord("x", logging.INFO, "", 1, "node \x1b[2J\nfake", (), None)
    handler.emit(record)
    assert stream.getvalue().count("\n") == 1 and "\x1b" not in stream.getvalue()


def test_what_a_node_tells_is_logged_with_its_id(log: io.StringIO, service: Service):
    alert = b'{"severity":"critical","message":"pH too low","sensor":"ph","value":6.1,' \
            b'"threshold":6.8,"timestamp":"2026-01-01T00:00:00Z"}'  # fmt: skip
    with Fleet(broker=service.broker, received=False) as fleet:
        for topic, payload in (
            ("devices/org-1/pool-1/alert", alert),
            ("devices/org-1/pool-1/alert", alert),  # again: told once
            ("devices/plant/status", b'{"status":"offline"}'),
        ):
            fleet._connection.publish(Packet(topic, payload, 1, False))
    deadline = time.monotonic() + WAIT_S
    while "plant" not in log.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    told = [(line["node"], line["message"]) for line in lines(log) if "node" in line]
    assert told == [
        ("dese:org-1:pool-1", "dese:org-1:pool-1: critical alert raised (ph): pH too low"),
        ("plantnanny:plant", "plantnanny:plant: says it is offline"),
    ]


def test_a_fleet_that_all_comes_back_at_once_is_a_number(log: io.StringIO):
    now = [10.0]
    journal = logs.Journal(lambda: now[0])
    many = [arrival_of(f"n{number}") for number in range(logs.MAX_NODE_LINES + 20)]
    journal.committed(many)
    now[0] += 1
    journal.committed([arrival_of("late")])
    told = [line["message"] for line in lines(log)]
    assert len(told) == logs.MAX_NODE_LINES + 2
    assert told[-2] == "20 more lines about nodes in that second"
    assert told[-1] == "plantnanny:late: says it is online"


def arrival_of(name: str) -> Arrival:
    said = Status(name, "plantnanny", "online", {}, None, 0.0)
    node = NodeRow.__new__(NodeRow)
    for key, value in (("dialect", "plantnanny"), ("tenant", {}), ("name", name)):
        object.__setattr__(node, key, value)
    return Arrival("", "status", said, ("", 0), node, False)
