"""The bridge to InfluxDB, before Debian's InfluxDB 1.6; what 2.x is sent, before a plain server."""

import http.server
import json
import threading
import time

import pytest
from service.influxdb import InfluxDB
from service.running import serving
from service.test_ingest_kill import Publisher, stored

from fieldhand import dialects
from fieldhand.errors import ConfigError
from fieldhand.influxurl import InfluxUrl
from fieldhand.records import from_record
from fieldhand.service.arrivals import Arrival
from fieldhand.service.influx import InfluxBridge, line, waiting
from fieldhand.service.settings import load
from fieldhand.service.store.nodes import NodeRow

WAIT_S = 20.0


def reading(node="pool-1", org="org-123", time="2026-01-01T00:00:00Z", received=1_767_225_601.5):
    """A reading as the document of the DESE pools has it."""
    sensors = {"ph": 7.2, "chlorine": 1.5, "temperature": 25.3, "orp": 650}
    metadata = {"battery": 85, "signal_strength": -65, "firmware_version": "1.0.0"}
    payload = json.dumps(
        {
            **{"device_id": node, "timestamp": time, "organization_id": org},
            **{"sensors": sensors, "metadata": metadata},
        }
    ).encode()
    topic = f"devices/{org}/{node}/telemetry"
    (record,) = dialects.load("dese").decode(topic, payload)
    return from_record(record, received)


def arrived(*found) -> list[Arrival]:
    node = NodeRow.__new__(NodeRow)
    return [Arrival("", "telemetry", event, ("", 0), node, False) for event in found]


def until(wanted) -> None:
    deadline = time.monotonic() + WAIT_S
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_line_of_line_protocol():
    # 2026-01-01T00:00:00Z is 1767225600 s.
    assert line(waiting(reading())) == (
        "dese,node=pool-1,org=org-123 battery_level=85,chlorine=1.5,orp=650,ph=7.2,"
        "signal_strength=-65,water_temperature=25.3 1767225600000"
    )


def test_a_time_that_cannot_be_is_that_of_the_arrival():
    """Else it would be the last point of all for ever."""
    assert line(waiting(reading(time="2099-01-01T00:00:00Z"))).endswith(" 1767225601500")
    assert line(waiting(reading(time="2026-01-01T00:00:30Z"))).endswith(" 1767225630000")


def test_readings_of_a_fleet_are_in_influxdb(influx: InfluxDB, base: str, tmp_path):
    env = {"FIELDHAND_SERVICE_INFLUX": f"{influx.url}/?db={base}"}
    with serving(tmp_path, "--broker-port", "0", env=env) as serve:
        publisher = Publisher(serve.told["broker"]["port"])
        until(lambda: influx.rows("plantnanny", base))
        publisher.stop()
        until(lambda: len(stored(serve)) == len(publisher.sent))
        assert serve.stop() == 0  # which writes what waits
    rows = influx.rows("plantnanny", base)
    # The publisher's times are its numbers from there.
    assert {(row["node"], row["time"] // 1000 - 1_795_000_000) for row in rows} == set(
        publisher.sent
    )
    assert {row["air_temperature"] for row in rows} == {20.0}


def test_hostile_names_are_written_and_harm_nobody(influx: InfluxDB, base: str):
    names = ["a b", "a,b=c", 'q"uote', "back\\slash", "end\\", "ü°²", "x' OR 1=1", "a\\,b"]
    bridge = InfluxBridge(f"{influx.url}/?db={base}")
    bridge.start()
    bridge.committed(arrived(*(reading(name) for name in names), reading("last")))
    bridge.stop()
    assert bridge.counts["written"] == len(names) + 1
    found = {row["node"] for row in influx.rows("dese", base)}
    assert len(found) == len(names) + 1
    assert {"a b", "a,b=c", 'q"uote', "back\\slash", "ü°²", "x' OR 1=1", "last"} <= found


def test_the_same_reading_twice_is_one_point(influx: InfluxDB, base: str):
    bridge = InfluxBridge(f"{influx.url}/?db={base}")
    bridge.start()
    bridge.committed(arrived(reading()))
    bridge.committed(arrived(reading()))
    bridge.stop()
    assert len(influx.rows("dese", base)) == 1


def test_an_outage_is_waited_for_and_what_finds_no_room_is_counted(influx: InfluxDB, caplog):
    name = "later"  # which is not there yet
    bridge = InfluxBridge(f"{influx.url}/?db={name}", queue=10, drain_s=1)
    bridge.start()
    readings = [reading(time=f"2026-01-01T00:00:{n:02d}Z") for n in range(25)]
    bridge.committed(arrived(*readings[:20]))
    assert bridge.counts["dropped"] == 10
    until(lambda: bridge.counts["retries"] >= 2)
    assert "not found" in bridge.trouble
    bridge.committed(arrived(*readings[20:]))
    until(lambda: bridge.counts["dropped"] == 15)
    influx.query(f'CREATE DATABASE "{name}"')
    until(lambda: bridge.counts["written"] == 10)
    bridge.stop()
    # The latest are kept.
    times = [row["time"] for row in influx.rows("dese", name)]
    assert times == [1_767_225_600_000 + 1000 * n for n in range(15, 25)]
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2, told  # once that it is away, once that it is back
    assert "15 were dropped" in told[1]


def test_what_influxdb_will_not_have_is_counted_and_holds_nothing_up(influx: InfluxDB, base: str):
    # Of two in one write the older is beyond what the database keeps.
    influx.query(f'CREATE RETENTION POLICY "short" ON "{base}" DURATION 1h REPLICATION 1 DEFAULT')
    now = time.time()
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    bridge = InfluxBridge(f"{influx.url}/?db={base}")
    bridge.start()
    old = reading(time="2020-01-01T00:00:00Z", received=now)
    bridge.committed(arrived(old, reading(time=told, received=now)))
    bridge.stop()
    assert (bridge.counts["refused"], bridge.counts["written"]) == (1, 1)
    assert len(influx.rows("dese", base)) == 1


class TwoDotX(http.server.BaseHTTPRequestHandler):
    """Answers as the API of InfluxDB 2 does, at first that it is busy."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers["Authorization"], body))
        self.send_response(429 if len(self.server.seen) == 1 else 204)
        if len(self.server.seen) == 1:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_bucket_of_2_x_is_written_with_the_token():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TwoDotX)
    server.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/?org=farm&bucket=readings"
        bridge = InfluxBridge(url, token="secret")
        bridge.start()
        bridge.committed(arrived(reading()))
        until(lambda: bridge.counts["written"] == 1)
        bridge.stop()
    finally:
        server.shutdown()
        server.server_close()
    assert bridge.counts["retries"] == 1
    path, authorization, body = server.seen[1]
    assert path == "/api/v2/write?org=farm&bucket=readings&precision=ms"
    assert authorization == "Token secret"
    assert body == line(waiting(reading())).encode()


@pytest.mark.parametrize(
    "url",
    ["localhost:8086", "http://h/", "http://h/?db=a&bucket=b&org=c", "http://h/?bucket=b",
     "http://h/?db=a&x=1", "http://h:x/?db=a", "ftp://h/?db=a"],
)  # fmt: skip
def test_a_wrong_url_is_refused(url: str):
    with pytest.raises(ConfigError):
        InfluxUrl.of(url)


def test_a_token_in_a_file_is_refused():
    with pytest.raises(ConfigError, match="FIELDHAND_SERVICE_INFLUX_TOKEN"):
        load({"influx_token": "secret"}, environment={})
    given = load(environment={"FIELDHAND_SERVICE_INFLUX_TOKEN": "secret"})
    assert given.influx_token.get_secret_value() == "secret"
    assert "secret" not in repr(given)
