"""fleet.toml: what a user may write, and what is said about the rest."""

import os
import tomllib
from pathlib import Path

import pytest

from fieldhand import fleetfile
from fieldhand.building import build
from fieldhand.cli import main
from fieldhand.errors import ConfigError
from fieldhand.fleetfile import template

PATH = Path("fleet.toml")

NODE = """
[node.a]
dialect = "iotnode"
sensors = [{ type = "dht22" }]
"""


def check(text):
    return fleetfile.check(tomllib.loads(text), PATH)


def problems(text):
    with pytest.raises(ConfigError) as caught:
        check(text)
    for line in str(caught.value).splitlines():
        assert line.startswith("fleet.toml: ")
    return caught.value.problems


def test_the_template_has_one_node_of_each_dialect():
    from fieldhand import dialects

    file = check(template.FLEET_TOML)
    assert sorted(node.dialect for node in file.nodes.values()) == sorted(dialects.names())
    for node in file.nodes.values():
        assert fleetfile.node_json(file, node, for_check=True)["node"] == node.name
        assert build.warnings(node) == []


def test_defaults_reach_the_nodes_and_yield_to_them():
    file = check(
        """
        [defaults]
        interval = "2min"
        outbox_flush = "7s"
        [node.a]
        dialect = "iotnode"
        [node.b]
        dialect = "iotnode"
        interval = 5
        extras = false
        """
    )
    assert file.nodes["a"].interval_ms == 120_000
    assert file.nodes["a"].outbox_flush_s == file.nodes["b"].outbox_flush_s == 7
    assert file.nodes["b"].interval_ms == 5_000
    assert file.nodes["a"].extras and not file.nodes["b"].extras


@pytest.mark.parametrize(
    ("written", "ms"), [('"500ms"', 500), ("2", 2000), ("1.5", 1500), ('"1h"', 3_600_000)]
)
def test_durations(written, ms):
    text = f"[defaults]\ninterval = {written}\n{NODE}"
    if ms < 1000:
        assert problems(text) == ['[defaults] interval: "500ms" is not from 1s to 24h']
    else:
        assert check(text).nodes["a"].interval_ms == ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "node: no node: write a table [node.NAME]"),
        ("[nodes.x]\n" + NODE, "nodes: unknown key (did you mean 'node'?)"),
        ('[broker]\nhots = "x"' + NODE, "[broker] hots: unknown key (did you mean 'host'?)"),
        ("[broker]\nport = 99999" + NODE, "[broker] port: 99999 is not a whole number from 1"),
        ("[broker]\nport = true" + NODE, "[broker] port: true is not a whole number"),
        ("[wifi]" + NODE, "[wifi] ssid: is required"),
        ('[wifi]\nssid = "' + "x" * 33 + '"' + NODE, "[wifi] ssid: is longer than 32 bytes"),
        ('[defaults]\ninterval = "30x"' + NODE, '[defaults] interval: "30x" is not a time'),
        ('[node.a]\ndialect = "dess"', "[node.a] dialect: unknown 'dess' (did you mean 'dese'?)"),
        ("[node.a]", "[node.a] dialect: is required"),
        ("[node]\na = 1", "[node] a: is not a table; write [node.a]"),
        ('[node."a/b"]\ndialect = "iotnode"', "[node.a/b]: the name stands in topics"),
        (NODE + 'intervall = "3s"', "[node.a] intervall: unknown key (did you mean 'interval'?)"),
        (NODE + 'board = "esp33"', "[node.a] board: unknown 'esp33'"),
        (NODE + "options = { org = 'x' }", "[node.a] options.org: unknown; options of iotnode"),
        ('[node.a]\ndialect = "dese"', "[node.a] options: dialect dese: option org: is required"),
        ('[node.a]\ndialect = "farm"\nsensors = [{type="dht22"}]',
         "[node.a] sensors: every farm reading must carry soil_moisture, npk"),
        (NODE + "led = 3", "[node.a] led: 3 is not a table"),
        (NODE + "led = { pin = 34 }", "[node.a] led pin: GPIO34 of esp32-devkitc is input only"),
        (NODE + "alerts = { pH = { min = 1 } }",
         "[node.a] alerts pH: is not a quantity (did you mean 'ph'?)"),
        (NODE + "alerts = { ph = { min = 8, max = 7 } }", "[node.a] alerts ph: min is above max"),
        (NODE + "alerts = { ph = { min = 7, max = 7.8, hysteresis = 0.9 } }",
         "[node.a] alerts ph.hysteresis: is wider than the band from min to max"),
        (NODE + "alerts = { ph = { min = 'x' } }",
     "[node.a] alerts ph.min: is a string, not a number"),
        (NODE + "actuators = [{ name = 'p', max_run_s = 9, pin = 6 }]",
         "[node.a] actuators[0] pin: GPIO6 drives the flash chip"),
        (NODE + "actuators = [{ name = 'p', max_run_s = 0 }]",
         "[node.a] actuators[0] max_run_s: 0 is below 1"),
        (NODE + "actuators = [{ name = 'p', max_runs = 1 }]",
         "[node.a] actuators[0] max_runs: unknown key (did you mean 'max_run_s'?)"),
        (NODE + "actuators = [{ name = 'p', max_run_s = 9, pin = 4 }]",
         "[node.a] sensors[0] pin: GPIO4 is already used by actuators[0] (p); use GPIO16 instead"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_table_key_and_what_is_allowed(text, expected):
    found = problems(text)
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize(
    ("sensor", "expected"),
    [
        ('type = "dht23"', "type: 'dht23' is unknown (did you mean 'dht22'?); allowed: analog"),
        ("pin = 4", "type: None is unknown"),
        ('type = "dht22", pinn = 3', "pinn: unknown key (did you mean 'pin'?); dht22 has: pin"),
        ('type = "dht22", pin = 34', "pin: GPIO34 of esp32-devkitc is input only"),
        ('type = "dht22", pin = 20', "pin: esp32-devkitc has no GPIO20 on its headers; use GPIO"),
        ('type = "dht22", pin = "4"', "pin: '4' is not a whole number"),
        ('type = "ezo"', "quantity: is required: "),
        ('type = "analog", quantity = "ph", raw = [0, 1], value = [0, 1]', "pin: is required"),
        ('type = "analog", quantity = "ph", pin = 13, raw = [0, 1], value = [0, 1]',
         "pin: GPIO13 of esp32-devkitc is on ADC2, which does not work while Wi-Fi is on"),
        ('type = "analog", quantity = "ph", pin = 34, raw = [5, 5], value = [0, 1]',
         "raw: the two are both 5"),
    ],
)  # fmt: skip
def test_a_wrong_sensor_is_named_by_its_place(sensor, expected):
    text = f'[node.a]\ndialect = "iotnode"\nsensors = [{{ type = "rssi" }}, {{ {sensor} }}]'
    found = problems(text)
    assert any(f"[node.a] sensors[1] {expected}" in problem for problem in found), found


def test_all_problems_are_listed_at_once():
    found = problems(
        """
        [broker]
        port = 0
        [wifi]
        password = "hunter2"
        [node.a]
        dialect = "x"
        [node.b]
        dialect = "dese"
        sensors = [{ type = "x" }, { type = "y" }]
        """
    )
    assert len(found) == 7, found
    assert not any("hunter2" in problem for problem in found)


def test_an_inline_secret_is_refused_with_what_to_write_instead():
    (found,) = problems('[wifi]\nssid = "x"\npassword = "hunter2"' + NODE)
    assert 'write password = "${WIFI_PASSWORD}"' in found
    assert ".env" in found and "hunter2" not in found


def test_secrets_come_from_env_file_and_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("FH_TEST_WIFI", raising=False)
    path = tmp_path / "fleet.toml"
    path.write_text('[wifi]\nssid = "x"\npassword = "${FH_TEST_WIFI}"' + NODE)
    file = fleetfile.load(path)
    with pytest.raises(ConfigError, match="FH_TEST_WIFI is not set"):
        build.secrets(file, file.nodes["a"])
    (tmp_path / ".env").write_text("# mine\nexport FH_TEST_WIFI = 'from file'\n")
    assert build.secrets(file, file.nodes["a"])["wifi_pass"] == "from file"
    monkeypatch.setenv("FH_TEST_WIFI", "from environment")
    assert build.secrets(file, file.nodes["a"])["wifi_pass"] == "from environment"


def test_a_broken_env_file_is_named_by_line_and_not_quoted(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text('[wifi]\nssid = "x"\npassword = "${FH_TEST_NOWHERE}"' + NODE)
    (tmp_path / ".env").write_text("A=1\nsecret without equals\n")
    file = fleetfile.load(path)
    with pytest.raises(ConfigError) as caught:
        build.secrets(file, file.nodes["a"])
    assert "line 2: is not NAME=value" in str(caught.value)
    assert "without" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[broker", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"#" * 1_000_001, "is larger than"),
    ],
)
def test_what_is_no_fleet_file_at_all(tmp_path, content, expected):
    path = tmp_path / "fleet.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        fleetfile.load(path)


@pytest.mark.parametrize(
    "text", ["", "[service]\nport = 8001\n", '[broker]\nhost = "b"\n[service]\n']
)
def test_a_servers_file_needs_no_node_and_a_fleets_does(tmp_path, text):
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    file = fleetfile.load(path, need_nodes=False)
    assert not file.nodes and dict(file.service) == tomllib.loads(text).get("service", {})
    with pytest.raises(ConfigError, match=r"no node: write a table \[node.NAME\]"):
        fleetfile.load(path)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("monitor", "broker 127.0.0.1:1: "),
        ("user list", "service.db: is not there"),
        *((command, "no node: write a table") for command in ("flash a", "node list", "build a")),
    ],
)
def test_only_what_is_about_nodes_asks_for_one(tmp_path, monkeypatch, capsys, command, told):
    (tmp_path / "fleet.toml").write_text("[broker]\nport = 1\n[service]\nport = 8001\n")
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) != 0
    assert told in capsys.readouterr().err


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match="'fieldhand init' writes one"):
        fleetfile.load(tmp_path / "fleet.toml")


def test_node_json_has_no_secret_and_a_bus_only_where_one_is_needed(monkeypatch):
    monkeypatch.setenv("WIFI_PASSWORD", "hunter2")
    file = check(template.FLEET_TOML)
    pool = fleetfile.node_json(file, file.nodes["pool"], broker=("10.0.0.2", 1884))
    assert "hunter2" not in str(pool)
    assert pool["wifi"] == {"ssid": "field"}
    assert (pool["broker"]["host"], pool["broker"]["port"]) == ("10.0.0.2", 1884)
    assert pool["i2c"] == {"scl": 22, "sda": 21}
    band = {"min": 7.0, "max": 7.8, "hysteresis": 0.1, "hold_s": 60, "severity": "warning"}
    assert pool["alerts"] == {"ph": band}
    assert "i2c" not in fleetfile.node_json(file, file.nodes["01"], for_check=True)


def test_a_real_board_is_not_sent_to_loopback_nor_without_wifi():
    with pytest.raises(ConfigError, match="node_host: a node on a real board cannot reach"):
        file = check('[wifi]\nssid = "x"' + NODE)
        fleetfile.node_json(file, file.nodes["a"])
    with pytest.raises(ConfigError, match=r"\[wifi\]: is required"):
        file = check('[broker]\nnode_host = "10.0.0.2"' + NODE)
        fleetfile.node_json(file, file.nodes["a"])
    file = check('[broker]\nnode_host = "10.0.0.2"\n[wifi]\nssid = "x"' + NODE)
    assert fleetfile.node_json(file, file.nodes["a"])["broker"]["host"] == "10.0.0.2"


def test_a_strapping_pin_under_a_sensor_is_warned_of():
    file = check('[node.a]\ndialect = "iotnode"\nsensors = [{ type = "dht22", pin = 12 }]')
    (found,) = build.warnings(file.nodes["a"])
    assert found.startswith("[node.a] sensors[0] pin: GPIO12 is sampled at reset")


def test_tls_takes_its_port_and_its_certificate(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text("[broker.tls]\nca = 'ca.pem'\n" + NODE)
    with pytest.raises(ConfigError, match=r"\[broker.tls\] ca: no file ca.pem"):
        fleetfile.load(path)
    (tmp_path / "ca.pem").write_text("x")
    file = fleetfile.load(path)
    assert file.broker.port == 8883
    assert file.broker.tls_ca == os.path.join(tmp_path, "ca.pem")
    assert fleetfile.node_json(file, file.nodes["a"], for_check=True)["broker"]["tls"] == {
        "ca": fleetfile.CA_ON_NODE
    }


def test_a_threshold_on_what_no_sensor_measures_is_warned_of():
    file = check(NODE + "alerts = { soil_moisture = { min = 20 }, air_temperature = { max = 30 } }")
    (found,) = build.warnings(file.nodes["a"])
    assert found == (
        "[node.a.alerts] soil_moisture: no sensor measures it, so no alert can come of it"
    )
