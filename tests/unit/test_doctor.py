"""What a recorded result means: the tables by which the doctor judges.

What a simulated node or Mosquitto can bring about is in tests/e2e/doctor; here is what only
a chip does, and the words for it.
"""

import json
from types import SimpleNamespace

import pytest

from fieldhand import scripts
from fieldhand.cli import doctor as command
from fieldhand.device.serial import Device
from fieldhand.devicebench import METRICS, collect
from fieldhand.doctor import broker, clock, power, radio, relay, report, sensors, system
from fieldhand.doctor.findings import Finding, fail, healthy, ok, skipped, warn
from fieldhand.ondevice import system as measure

# An ESP32-WROOM-32 with MicroPython 1.24.0 at its REPL, see README "A real ESP32".
WROOM = {
    "micropython": "1.24.0",
    "machine": "Generic ESP32 module with ESP32",
    "mpy": [6, 3],
    "mhz": 160,
    "free": 163_000,
    "heap": 166_000,
    "block": 110_000,
    "word": 4,
    "idf": [110_592, 65_536],
    "firmware": "0.1.0",
    "size": 2_097_152,
    "room": 1_800_000,
    "files": 61,
    "bad": [],
}


def by_name(findings) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize(
    ("cause", "rom", "state", "words"),
    [
        # The ROM's numbers: ESP32 Technical Reference Manual, "Reset Source".
        ("PWRON", 1, "ok", "power-on or EN button"),
        ("PWRON", 15, "fail", "brown-out"),  # RTCWDT_BROWN_OUT_RESET
        ("PWRON", 12, "fail", "brown-out"),  # ESP-IDF's interrupt restarted the chip
        ("PWRON", None, "ok", "a brown-out would look the same"),
        ("HARD", 12, "ok", "software"),
        ("SOFT", 15, "fail", "brown-out"),
        ("WDT", 8, "warn", "watchdog"),
        ("DEEPSLEEP", 5, "ok", "deep sleep"),
    ],
)
def test_a_brown_out_is_told_from_a_power_on(cause, rom, state, words):
    finding = by_name(power.judge({"cause": cause, "rom": rom, "boot": "7"}))["power"]
    assert (finding.state, words in finding.text) == (state, True), finding


def test_brown_outs_of_the_past_are_a_warning():
    result = {"cause": "HARD", "rom": 12, "brownouts": "4"}
    finding = by_name(power.judge(result))["power"]
    assert finding.state == "warn" and "4 brown-outs so far" in finding.text
    assert finding.data["brownouts"] == 4
    once = by_name(power.judge(result | {"brownouts": "1"}))["power"]
    assert once.text.endswith("1 brown-out so far")


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        ("", "ok"),
        ("0 0 0 ", "ok"),
        ("1 1 1 Traceback:\nValueError: x", "warn"),
        ("2 3 0 Traceback:\nValueError: x", "fail"),
        ("no numbers here at all", "ok"),
    ],
)
def test_crashes_as_the_node_keeps_them(kept, state):
    assert by_name(power.judge({"cause": "HARD", "crashes": kept}))["crashes"].state == state


def test_a_board_that_starts_again_in_a_check_says_why():
    assert "brown-out" in (power.restarted("x\nBrownout detector was triggered\n") or "")
    assert power.restarted("rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)") is None


def test_a_wroom_is_well():
    found = list(system.judge(WROOM, "0.1.0"))
    assert [f.state for f in found] == ["ok"] * 4, found
    assert "163 kB free" in found[2].text and "65,536" not in found[2].text


@pytest.mark.parametrize(
    ("changes", "line", "state", "words"),
    [
        ({"micropython": "1.23.0"}, "MicroPython", "fail", "1.24"),
        ({"micropython": "1.9.4"}, "MicroPython", "fail", "1.24"),
        ({"micropython": "2.0.0"}, "MicroPython", "ok", "2.0.0"),
        ({"mpy": [5, 0]}, "MicroPython", "fail", "format 6"),
        ({"firmware": "0.0.9"}, "firmware", "warn", "this host has 0.1.0"),
        ({"free": 119_000}, "memory", "fail", "PSRAM"),
        ({"free": 139_000}, "memory", "warn", "frozen"),
        ({"idf": [60_000, 19_000]}, "memory", "warn", "TLS"),
        ({"free": 300_000, "word": 8}, "memory", "ok", "150 kB"),  # objects twice as large
        ({"room": 30_000}, "file system", "fail", "outbox_bytes"),
        ({"room": 0}, "file system", "fail", "full: 0 kB free of 2,097 kB"),
        ({"bad": [["a.json", "is no JSON"]]}, "file system", "fail", "a.json is no JSON"),
        ({"size": None}, "file system", "fail", "fieldhand flash"),
    ],
)
def test_what_is_not_well_with_a_board(changes, line, state, words):
    finding = by_name(system.judge(WROOM | changes, "0.1.0"))[line]
    assert finding.state == state and words in f"{finding.text} {finding.advice}", finding


# f_bsize, f_frsize, f_blocks, f_bfree, ...: three blocks less than none, in 32 bits.
OVERFULL = (4096, 4096, 512, 2**32 - 3, 2**32 - 3, 0, 0, 0, 0, 255)


@pytest.mark.parametrize(
    ("stat", "room"),
    [(OVERFULL, 0), ((4096, 4096, 512, 512, *OVERFULL[4:]), 2_097_152)],
)
def test_less_than_no_free_block_is_none(stat, room, monkeypatch):
    monkeypatch.setattr("os.statvfs", lambda root: stat)
    monkeypatch.setattr("os.ilistdir", lambda folder: [], raising=False)
    result = {}
    measure._flash(result, "/")
    assert result == {"size": 2_097_152, "room": room, "files": 0, "bad": []}
    space = Device.space(SimpleNamespace(eval=lambda code: stat))
    assert (space.free, space.blocks) == (room, 512)


@pytest.mark.parametrize(
    ("dbm", "word", "state"),
    [
        (-45, "very good", "ok"),
        (-60, "very good", "ok"),
        (-70, "good", "ok"),
        (-71, "weak", "warn"),
        (-80, "weak", "warn"),
        (-81, "too weak", "warn"),
    ],
)
def test_signal_strength(dbm, word, state):
    result = {"ssid": "field", "rssi": dbm, "connect_ms": 2300, "ip": ["10.0.0.7"]}
    (finding,) = radio.judge(result)
    assert finding.state == state and f"({word})" in finding.text, finding


@pytest.mark.parametrize(
    ("fault", "found", "words"),
    [
        # ESP-IDF's reasons as fieldnode/wifi.py words them.
        ("Wi-Fi field: wrong password (15)", [-60, 6, 3], "provision NODE --port PORT`"),
        ("Wi-Fi field: wrong password (204)", [-85, 6, 3], "move the node"),
        ("Wi-Fi field: access point with weaker security (211)", [-60, 6, 6], "WPA2"),
        ("Wi-Fi field: connection failed (205)", [-84, 6, 3], "antenna"),
        ("Wi-Fi field: no connection in 30000 ms", [-60, 6, 3], "DHCP"),
        ("Wi-Fi field: no access point of that name (201)", None, "2.4 GHz"),
    ],
)
def test_why_wi_fi_does_not_come_up(fault, found, words):
    result = {"ssid": "field", "fault": fault, "found": found, "others": ["neighbour"]}
    (finding,) = radio.judge(result)
    assert finding.state == "fail" and words in finding.advice, finding


def test_an_access_point_that_gives_no_address():
    result = {"ssid": "field", "rssi": -50, "connect_ms": 1, "ip": ["0.0.0.0"]}
    (finding,) = radio.judge(result)
    assert finding.state == "fail" and "DHCP" in finding.advice


# A node's session that reached the phase in which it fell.
REACHED = {"host": "broker.home", "port": 8883, "tls": True, "year": 2026, "ms": {"DNS": 31}}


@pytest.mark.parametrize(
    ("phase", "fault", "year", "line", "words"),
    [
        ("DNS", "DNS broker.home:8883: no answer in 20000 ms", 2026, "DNS", "name server"),
        ("DNS", "DNS: no address for broker.home (-202)", 2026, "DNS", "node_host"),
        ("TCP connect", "TCP connect broker.home:8883: EHOSTUNREACH", 2026, "TCP", "no route"),
        (
            "TCP connect",
            "TCP connect broker.home:8883: no answer in 10000 ms",
            2026,
            "TCP",
            "firew",
        ),
        ("TLS handshake", "TLS handshake b:8883: ECONNREFUSED", 2026, "TCP", "refuses"),
        # mbedTLS's sentences: mbedtls_x509_crt_verify_info.
        ("TLS handshake", "The certificate validity starts in the future", 2000, "TLS", "ntp_host"),
        ("TLS handshake", "The certificate validity starts in the future", 2026, "TLS", "made it"),
        ("TLS handshake", "The certificate validity has expired", 2026, "TLS", "Renew"),
        ("TLS handshake", "(-17040, 'MBEDTLS_ERR_SSL_ALLOC_FAILED')", 2026, "TLS", "memory"),
        ("TLS handshake", "ENOMEM", 2026, "TLS", "memory"),
        (
            "MQTT connect",
            "MQTT connect b:8883: no CONNACK in 10000 ms",
            2026,
            "CONNACK",
            "Something",
        ),
    ],
)
def test_the_step_at_which_the_way_to_the_broker_ends(phase, fault, year, line, words):
    result = REACHED | {"phase": phase, "fault": fault, "year": year}
    found = list(broker.judge(result, None))
    assert [f.check for f in found] == list(broker.STEPS)
    at = broker.STEPS.index(line)
    assert [f.state for f in found] == ["ok"] * at + ["fail"] + ["skipped"] * (4 - at), found
    assert words in f"{found[at].text} {found[at].advice}", found[at]


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "3.1.1"), (2, "client id"), (3, "log"), (4, "provision"), (5, "provision"), (9, "log")],
)
def test_each_connack_has_its_advice(code, words):
    fault = f"broker refused the connection: because ({code})"
    result = REACHED | {"phase": "MQTT connect", "fault": fault, "code": code}
    finding = by_name(broker.judge(result, None))["CONNACK"]
    assert finding.state == "fail" and words in finding.advice and f"({code})" in finding.text


@pytest.mark.parametrize(
    ("echo", "told", "witness", "state", "words"),
    [
        (True, False, None, "ok", "there and back"),
        (False, False, None, "warn", "hide"),
        (True, True, {"heard": True, "asked": "c"}, "ok", "c reaches the node"),
        (False, True, {"heard": True, "asked": "c"}, "ok", "arrives here"),  # it may not read it
        (True, False, {"heard": True, "asked": "c"}, "fail", "read c"),
        (True, False, {"heard": True, "asked": None}, "ok", "arrives here"),
        (False, False, {"heard": False, "asked": None}, "fail", "may not publish"),
        (True, False, {"heard": False, "asked": None}, "warn", "this host's user"),
    ],
)
def test_what_a_message_there_and_back_proves(echo, told, witness, state, words):
    result = REACHED | {"phase": "done", "topic": "t", "puback_ms": 9, "echo": echo, "told": told}
    finding = by_name(broker.judge(result, witness))["ACL"]
    assert finding.state == state and words in f"{finding.text} {finding.advice}", finding


@pytest.mark.parametrize(
    ("result", "state", "words"),
    [
        ({"unix": 1_795_228_939, "ms": 40}, "ok", "0 s from"),
        ({"unix": 1_795_228_942, "ms": 40}, "ok", "3 s ahead of"),
        ({"unix": 1_795_225_339, "ms": 40}, "fail", "3,600 s behind"),
        ({"fault": "[Errno 116] ETIMEDOUT"}, "warn", "no answer"),
        ({"fault": "-202"}, "warn", "its name is not found"),
        ({"fault": "-202", "needed": True}, "fail", "certificate cannot be checked"),
    ],
)
def test_the_clock(result, state, words):
    (finding,) = clock.judge({"host": "pool.ntp.org", **result}, 1_795_228_939.9)
    assert finding.state == state and words in finding.text, finding


def reading(kind: str, *values: tuple[str, float], **more: object) -> Finding:
    row = {"type": kind, "name": f"{kind}@4", "values": [list(v) for v in values], **more}
    return by_name(sensors.judge({"read": [row]}))[f"sensor {kind}@4"]


@pytest.mark.parametrize(
    ("kind", "values", "state"),
    [
        ("ds18b20", [("water_temperature", 22.0)], "ok"),
        ("ds18b20", [("water_temperature", 85.0)], "warn"),  # its power-on value
        ("dht22", [("air_temperature", 20.0), ("relative_humidity", 55.0)], "ok"),
        ("dht22", [("air_temperature", 20.0), ("relative_humidity", 100.0)], "warn"),
        ("analog", [("soil_moisture", 0)], "warn"),
        ("analog", [("soil_moisture", 44.9)], "ok"),
        ("analog", [("npk", 0)], "ok"),  # no percentage: nothing to be at the end of
    ],
)
def test_implausible_values(kind, values, state):
    assert reading(kind, *values).state == state


@pytest.mark.parametrize(
    ("bus", "wanted", "state", "words"),
    [
        ({"found": [118]}, [118], "ok", "BME280"),
        ({"found": [119]}, [118], "fail", "nothing at 118 (0x76, BME280); there is 119"),
        ({"found": []}, [99], "fail", "plugged in"),
        ({"found": [60, 99]}, [99], "warn", "not configured: 60 (0x3c, unknown)"),
        ({"found": list(range(8, 120))}, [99], "fail", "held low"),
        ({"fault": "[Errno 116] ETIMEDOUT"}, [99], "fail", "4.7 kOhm"),
        ({"fault": "[Errno 116] ETIMEDOUT"}, [], "warn", "4.7 kOhm"),
        ({"found": []}, [], "ok", "nothing"),
    ],
)
def test_the_i2c_bus(bus, wanted, state, words):
    types = {118: {"type": "bme280"}, 99: {"type": "ezo", "quantity": "ph"}}
    rows = [{"name": str(at), "values": [], **types[at]} for at in wanted]
    finding = by_name(sensors.judge({"read": rows, "i2c": {"pins": [22, 21], **bus}}))["I2C"]
    assert finding.state == state and words in f"{finding.text} {finding.advice}", finding


@pytest.mark.parametrize(
    ("found", "roms", "count", "state", "words"),
    [
        (["28aa"], [], 1, "ok", "28aa"),
        (["28aa", "28bb"], [], 1, "warn", "not configured: 28bb"),
        (["28aa", "28bb"], ["28AA", "28BB"], 2, "ok", "28bb"),
        (["28bb"], ["28aa"], 1, "fail", "not there: 28aa"),
        ([], [], 1, "fail", "nobody answers"),
    ],
)
def test_the_1_wire_bus(found, roms, count, state, words):
    rows = [{"type": "ds18b20", "name": "x", "values": []} for _ in range(count)]
    for row, rom in zip(rows, roms, strict=False):
        row["rom"] = rom
    result = {"read": rows, "wires": [{"pin": 13, "found": found}]}
    finding = by_name(sensors.judge(result))["1-Wire"]
    assert finding.state == state and words in finding.text, finding


@pytest.mark.parametrize(
    ("levels", "by_timer", "state"),
    [([0, 1, 0], True, "ok"), ([1, 0, 1], True, "ok"), ([0, 0, 0], True, "fail"),
     ([0, 1, 1], True, "fail"), ([0, 1, 0], False, "fail")],
)  # fmt: skip
def test_a_relay_s_pin(levels, by_timer, state):
    result = {"pin": 26, "levels": levels, "by_timer": by_timer, "ran_ms": 301}
    (finding,) = relay.judge(result, "pump")
    assert finding.state == state


# What a node that is well says in its status: fieldnode/reports.py and health.py.
STATUS = {
    "firmware": "0.1.0",
    "reset_cause": "power",
    "uptime": 86_400,
    "free_memory": 60_000,
    "largest_block": 65_536,
    "loop_ms": 12,
    "queued": 0,
    "dropped": 0,
    "outages": 1,
    "signal_strength": -61,
}


def test_a_status_that_is_well():
    assert {f.state for f in report.judge(STATUS, "0.1.0")} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "line", "state"),
    [
        ({"firmware": "0.0.9"}, "firmware", "warn"),
        ({"config_error": "node.json: actuators[0].pin"}, "node.json", "fail"),
        ({"safe_mode": True, "crashes": 3}, "crashes", "fail"),
        ({"crashes": 1}, "crashes", "warn"),
        ({"reset_cause": "watchdog"}, "last start", "warn"),
        ({"reset_cause": "brownout"}, "last start", "warn"),
        ({"free_memory": 9_000}, "memory", "warn"),
        ({"largest_block": 9_000}, "memory", "warn"),
        ({"loop_ms": 5_000}, "memory", "warn"),
        ({"signal_strength": -82}, "Wi-Fi", "warn"),
        ({"sensor_error": "dht22@4: no answer"}, "sensors", "fail"),
        ({"queued": 300}, "queue", "warn"),
        ({"dropped": 4}, "queue", "warn"),
        ({"outbox_error": "OSError(28,)"}, "queue", "fail"),
        ({"outages": 99}, "outages", "warn"),
    ],
)
def test_what_a_status_tells(changes, line, state):
    finding = by_name(report.judge(STATUS | changes, "0.1.0"))[line]
    assert finding.state == state and finding.advice, finding


def test_a_node_that_measured_before_wi_fi_was_up_is_well():
    told = STATUS | {"sensor_error": "rssi: Wi-Fi is not connected"}
    assert by_name(report.judge(told, "0.1.0"))["sensors"].state == "ok"
    told = STATUS | {"sensor_error": "rssi: Wi-Fi is not connected; dht22@4: no answer"}
    finding = by_name(report.judge(told, "0.1.0"))["sensors"]
    assert (finding.state, finding.text) == ("fail", "dht22@4: no answer")


def test_a_dialect_that_tells_little_is_not_held_against_the_node():
    assert {f.state for f in report.judge({}, "0.1.0")} == {"ok", "skipped"}


def test_warnings_are_healthy_and_failures_are_not():
    assert healthy([ok("a", "x"), warn("b", "x", "y"), skipped("c", "x")])
    assert not healthy([ok("a", "x"), fail("b", "x", "y")])


def test_a_result_among_what_the_node_prints():
    text = f'I 0.100 something\n{scripts.MARK}{{"a": 1}}\nmore'
    assert scripts.parse("x", text) == {"a": 1}
    with pytest.raises(scripts.ScriptError, match="x: the node gave no result"):
        scripts.parse("x", "Guru Meditation Error")
    with pytest.raises(scripts.ScriptError):
        scripts.parse("x", scripts.MARK + '{"a": ')


def test_every_line_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    finding = fail("file system", "damaged: " + "a long name " * 20, "Send it again " * 10)
    lines = command._row(finding).splitlines()
    assert len(lines) > 4
    assert all(len(line.replace("\x1b[31m", "").replace("\x1b[0m", "")) <= 80 for line in lines)


def test_what_a_node_says_cannot_move_the_terminal():
    assert "\x1b[2J" not in command._row(ok("identity", "evil \x1b[2J name"))


def test_figures_are_in_their_unit_and_what_is_missing_has_a_reason():
    local = {"mhz": 160, "free": 1, "series": {"gc_us": [2000, 4000, 3000]}, "error": "ENODEV"}
    local["skipped"] = {"sample_us": "no sensors", "flash": "ENOSPC"}
    measured = collect(local, {"series": {}, "error": "no Wi-Fi"})
    told = json.loads(json.dumps(measured.as_dict()))
    gc = {"unit": "ms", "repetitions": 3, "median": 3.0, "min": 2.0, "max": 4.0}
    assert told["series"] == {"gc_ms": gc}
    assert told["missing"]["encode_ms"] == "ENODEV"
    assert told["missing"]["sample_ms"] == "no sensors"
    assert told["missing"].pop("flash") == "ENOSPC"
    assert told["missing"]["window_16"] == "no Wi-Fi"
    assert {*told["missing"], "gc_ms"} == {metric.key for metric in METRICS}
