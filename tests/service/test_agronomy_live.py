"""A farm's telemetry, published as the document has it, comes out analysed: live and on demand."""

import json
import time

import paho.mqtt.client as mqtt
import pytest
from service.running import Sse, serving
from starlette.testclient import TestClient
from websockets.sync.client import connect

from fieldhand.received import NodeKey
from fieldhand.service.agronomy import observing
from fieldhand.service.api.app import create_app
from fieldhand.service.api.deps import LOCAL, current_caller
from fieldhand.service.service import Service
from fieldhand.service.settings import load
from fieldhand.service.store import nodes
from fieldproto.timestamps import format_utc

PLACE = {"latitude": 50.8, "altitude": 100, "longitude": 4.36}
WAIT_S = 20.0


class Farm:
    """Publishes telemetry and waits for each acknowledgement: it is stored then."""

    def __init__(self, port):
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "agronomy-test")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._client.disconnect()
        self._client.loop_stop()

    def says(self, at, farm_id="farm_001", **change):
        values = {
            "farm_id": farm_id,
            "timestamp": format_utc(int(at)),
            "moisture": 17.0,
            "temp": 26.1,
            "humidity": 41.9,
            "npk": 389,
            "ec_salinity": 1.06,
            "wind_speed": 20.6,
            "soil_ph": 8.1,
        }
        payload = json.dumps({k: v for k, v in (values | change).items() if v is not None})
        self._client.publish("farm/telemetry", payload, 1).wait_for_publish(WAIT_S)


def web(service):
    app = create_app(service)
    app.dependency_overrides[current_caller] = lambda: LOCAL
    return TestClient(app)


def settings(**more):
    return {"FIELDHAND_SERVICE_AGRONOMY": json.dumps({"*": PLACE | more})}


def test_a_day_of_telemetry_is_analysed_live_and_on_demand(tmp_path):
    with serving(tmp_path, "--broker-port", "0", env=settings()) as serve:
        now = time.time()
        with Farm(serve.told["broker"]["port"]) as farm:
            for n in range(47, 0, -1):
                farm.says(now - n * 3600, temp=18.0 + n % 8, humidity=60 + n % 20)
            serve.until("/nodes/farm_001/readings", lambda found: len(found["readings"]) == 47)
            stream = Sse(serve.url, "/live")
            url = serve.url.replace("http", "ws", 1) + "/ws/farm_001"
            with connect(url) as socket:
                farm.says(now)
                live = stream.wait(lambda name, data: name == "agronomy_analysis")
                shown = {}
                while shown.get("type") != "agronomy_analysis":
                    shown = json.loads(socket.recv(WAIT_S))
            stream.close()
        asked = serve.get("/nodes/farm_001/agronomy")
    assert live["node_id"] == "farm:farm_001"
    # The document's shape: STEP 8.
    assert {"type", "analysis", "recommendations"} <= set(shown)
    assert shown["analysis"] == live["analysis"]
    assert shown["recommendations"] == live["recommendations"]
    et0 = live["analysis"]["et0"]
    # 18 to 26.1 °C at 50.8°: more than dew, less than any desert has.
    assert 0.5 < et0["value"] < 12
    assert et0["inputs"]["t_max"] == {
        "value": 26.1, "unit": "°C", "source": "measured", "how": "the node's own, last 24 hours",
    }  # fmt: skip
    assert et0["inputs"]["radiation"]["source"] == "estimated"
    assert asked["analysis"]["et0"]["value"] == et0["value"]
    assert asked["timestamp"] == live["timestamp"] == format_utc(int(now))
    advice = {item["subject"]: item["advice"] for item in asked["recommendations"]}
    assert advice == {"irrigation": "now", "fertilization": "blocked", "ph": "lower"}


def test_what_comes_late_is_part_of_the_next_analysis(tmp_path):
    """What an outage held back has old times: the hours kept at hand take it in."""
    service = Service(
        load(
            {
                "database": f"sqlite:///{tmp_path}/s.db",
                "agronomy_every_s": 1,
                "agronomy": {"*": PLACE},
            }
        ),
        embedded_port=0,
    )
    with service, web(service) as client:
        now = time.time()
        with Farm(service.broker.port) as farm:
            assert client.get("/nodes/farm_001/agronomy").status_code == 404
            farm.says(now - 120)
            _until(client, "farm_001")
            with client.websocket_connect("/ws/farm_001") as socket:
                farm.says(now - 60)
                first = _next_analysis(socket)
                assert "has " in first["analysis"]["et0"]["missing"]
                for n in range(23, 0, -1):
                    farm.says(now - n * 3600 - 60)
                farm.says(now)
                while True:
                    later = _next_analysis(socket)
                    if later["timestamp"] == format_utc(int(now)):
                        break
                assert later["analysis"]["et0"]["details"]["hours_measured"] >= 23
        assert client.get("/nodes/farm_001/agronomy").json()["timestamp"] == format_utc(int(now))


def test_a_farm_is_analysed_no_more_often_than_set(tmp_path):
    chosen = load({"database": f"sqlite:///{tmp_path}/s.db", "agronomy_every_s": 3600})
    service = Service(chosen, embedded_port=0)
    with service, web(service) as client, Farm(service.broker.port) as farm:
        now = time.time()
        farm.says(now - 30)
        _until(client, "farm_001")
        with client.websocket_connect("/ws/farm_001") as socket:
            for n in range(20, 0, -1):
                farm.says(now - n, moisture=20.0 + n)
            seen = [socket.receive_json()]
            while seen[-1]["type"] != "sensor_update" or seen[-1]["data"]["moisture"] != 21.0:
                seen.append(socket.receive_json())
            deadline = time.monotonic() + WAIT_S
            while not service.agronomy.analysed and time.monotonic() < deadline:
                time.sleep(0.02)
            assert service.agronomy.analysed == 1


@pytest.mark.parametrize("temp", [-237.3, 1e6])
def test_a_value_that_cannot_be_spoils_nothing(tmp_path, temp, database_url):
    """-237.3 °C is a pole of e°(T). The dialect bounds no temperature."""
    service = Service(load({"database": database_url, "agronomy": {"*": PLACE}}), embedded_port=0)
    with service, web(service) as client, Farm(service.broker.port) as farm:
        now = time.time()
        for n in range(25, 0, -1):
            farm.says(now - n * 3600, temp=20.0 + n % 3)
            if n > 20:
                farm.says(now - n * 3600 + 1, temp=temp)
        farm.says(now, temp=temp)
        newest = format_utc(int(now))
        deadline = time.monotonic() + WAIT_S
        while (found := client.get("/nodes/farm_001/agronomy")).json().get("timestamp") != newest:
            assert found.status_code in (200, 404)
            assert time.monotonic() < deadline
            time.sleep(0.05)
    results = found.json()["analysis"]
    assert results["et0"]["inputs"]["t_max"]["value"] == 22.0
    assert "no plausible value" in results["vpd"]["missing"]


def _next_analysis(socket):
    while True:
        message = socket.receive_json()
        if message["type"] == "agronomy_analysis":
            return message


def test_on_demand(tmp_path):
    database = f"sqlite:///{tmp_path}/s.db"
    service = Service(load({"database": database}), embedded_port=0)
    with (
        service,
        web(service) as client,
        Farm(service.broker.port) as farm,
    ):
        assert client.get("/nodes/farm_001/agronomy").status_code == 404
        farm.says(time.time(), wind_speed=None, soil_ph=None)
        _until(client, "farm_001")
        found = client.get("/nodes/farm_001/agronomy").json()
        results = found["analysis"]
        assert results["et0"]["missing"] == "needs 18 of the last 24 hours measured, has 1"
        assert results["nutrient_lockout"]["missing"] == (
            "the latest reading has no plausible value of the soil's pH"
        )
        # As the command would be: the wind is not known.
        advice = {item["subject"]: item for item in found["recommendations"]}
        assert advice["fertilization"]["advice"] == "blocked"
        assert "not known" in advice["fertilization"]["text"]
        with service.database.writing() as connection:
            nodes.register(
                connection,
                service.database,
                NodeKey("farm", "{}", "farm_001"),
                options={"agronomy": {"latitude": 95}},
            )
            nodes.register(connection, service.database, NodeKey("plantnanny", "{}", "fern"))
        other = client.get("/nodes/fern/agronomy")
        assert other.status_code == 404
        assert other.json()["detail"] == "'plantnanny:fern' is of dialect plantnanny, no farm"
        answer = client.get("/nodes/farm_001/agronomy")
        assert answer.status_code == 400
        assert "agronomy.latitude" in answer.text


def test_what_was_last_told_long_ago_is_no_ground_to_water(tmp_path):
    service = Service(load({"database": f"sqlite:///{tmp_path}/s.db"}), embedded_port=0)
    with service, web(service) as client, Farm(service.broker.port) as farm:
        farm.says(time.time() - 3 * 86_400, moisture=3.0)
        _until(client, "farm_001")
        found = client.get("/nodes/farm_001/agronomy").json()
    assert found["analysis"]["age"]["state"] == "old"
    assert found["analysis"]["age"]["value"] == pytest.approx(72, abs=0.1)
    assert {item["advice"] for item in found["recommendations"]} == {"unknown"}


def test_a_broken_model_file_is_told_and_physics_takes_over(tmp_path):
    database = f"sqlite:///{tmp_path}/s.db"
    chosen = load({"database": database, "agronomy": {"*": PLACE}})
    service = Service(chosen, embedded_port=0)
    folder = observing.models_folder(chosen, service.database, None)
    assert folder == tmp_path / "agronomy"
    folder.mkdir()
    (folder / "farm%3Afarm_001.json").write_text("{")
    with (
        service,
        web(service) as client,
        Farm(service.broker.port) as farm,
    ):
        farm.says(time.time())
        _until(client, "farm_001")
        ahead = client.get("/nodes/farm_001/agronomy").json()["analysis"]["forecast"]
    assert "farm%3Afarm_001.json: is not JSON" in ahead["details"]["why"]


@pytest.mark.parametrize(
    "farm, message",
    [
        ({"latitude": "north"}, "service.agronomy.farm_001.latitude"),
        ({"lat": 3}, "service.agronomy.farm_001.lat"),
    ],
)
def test_wrong_settings_are_named(farm, message):
    from fieldhand.errors import ConfigError

    with pytest.raises(ConfigError, match=message):
        load({"agronomy": {"farm_001": farm}})


def _until(client, name):
    deadline = time.monotonic() + WAIT_S
    while client.get(f"/nodes/{name}/readings").json().get("readings", []) == []:
        assert time.monotonic() < deadline
        time.sleep(0.05)
