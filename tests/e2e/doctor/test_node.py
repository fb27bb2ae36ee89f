"""What can be wrong with a node itself: the doctor names it and says what to do."""

import shutil

import pytest
from e2e.doctor.ward import assert_fails

from fieldhand import scripts
from fieldhand.doctor import CHECKS, Patient, cable, examine
from fieldhand.sim.executor import SimulatedExecutor


def test_a_healthy_node_passes_every_check_in_order(pool):
    patient = pool.patient(witness=True)
    found = list(examine(patient))
    assert [f for f in found if f.state == "fail"] == []
    assert patient.words == []
    assert [f.check for f in found][:14] == [
        *("power", "crashes", "MicroPython", "firmware", "memory", "file system"),
        *("node.json", "identity", "Wi-Fi", "DNS", "TCP", "TLS", "CONNACK", "ACL"),
    ]
    by_name = {f.check: f for f in found}
    assert by_name["clock"].state == "ok"
    assert by_name["sensor ezo-ph@99"].text == "ph 7.4 pH"
    assert by_name["I2C"].data == {"found": [98, 99]}
    # This host heard the node, and the node this host.
    assert by_name["ACL"].data["heard"] is True
    assert "commands reaches the node" in by_name["ACL"].text
    assert "relay" not in by_name  # never by default
    for entry in pool.config.actuators:
        assert pool.node.pins[entry["pin"]] == entry.get("active_low", False)


def test_a_damaged_node_json_leaves_out_what_needs_it(pool):
    pool.write("node.json", '{"version": 1, ')
    found = {f.check: f for f in examine(pool.patient())}
    assert_fails(found["node.json"], "node.json", "fieldhand deploy")
    assert found["Wi-Fi"].state == found["sensors"].state == "skipped"
    assert found["power"].state == "ok"


def test_node_json_that_the_node_refuses_is_quoted(pool):
    actuators = [{**entry, "pin": 26} for entry in pool.first["actuators"]]
    pool.change(actuators=actuators)
    assert_fails(pool.finding("node.json"), "actuators[1].pin: GPIO26 is already used")


def test_a_board_without_node_json_wants_a_flash(pool):
    (pool.node.flash / "node.json").unlink()
    assert_fails(pool.finding("node.json"), "fieldhand flash NODE")


def test_another_node_s_board_is_named(pool):
    patient = pool.patient()
    patient.name = "greenhouse"
    assert_fails(pool.finding("identity", patient=patient), "this board is pool, not greenhouse")


def test_crashes_in_a_row_are_told_with_the_last_line(pool):
    pool.node.nvs["fieldhand"]["crashes"] = b"2 3 0 Traceback:\nOSError: [Errno 19] ENODEV"
    assert_fails(pool.finding("crashes"), "3 in a row", "ENODEV", "safe mode")


@pytest.mark.parametrize(
    ("chip", "at", "rom", "cause"),
    [
        ("Generic ESP32 module with ESP32", 0x3FF48034, 1, "power"),
        ("Generic ESP32 module with ESP32", 0x3FF48034, 12, "brownout"),
        ("Generic ESP32 module with ESP32", 0x3FF48034, 15, "brownout"),
        ("Generic ESP32S3 module with ESP32S3", 0x60008038, 15, "brownout"),
        ("ESP32C3 module with ESP32C3", 0x60008038, 1, "power"),
        ("Another board with ESP32C6", 0, 15, "power"),  # its register is not known
    ],
)
def test_the_node_tells_a_brown_out_by_the_chip_s_register(pool, chip, at, rom, cause):
    code = f"""
import machine
from fieldnode import hal
class Chip:
    class implementation:
        _machine = {chip!r}
hal.sys = Chip
machine.mem32 = {{{at}: {rom} | 0x30C0}}
print({scripts.MARK!r} + '{{"cause": "%s"}}' % hal.Hal().reset_cause())
"""
    assert scripts.parse("", pool.executor.exec(code, 10)) == {"cause": cause}


def test_a_silent_time_server_is_a_warning(pool):
    pool.node.faults.ntp(False)
    finding = pool.finding("clock")
    assert finding.state == "warn" and "gives no time: no answer" in finding.text
    assert "123" in finding.advice


def test_dead_and_unplugged_sensors(pool):
    pool.node.faults.sensor(99)
    pool.node.faults.sensor("ds18b20")
    found = pool.findings("sensors")
    assert_fails(found["sensor ezo-ph@99"], "SDA")
    assert_fails(found["I2C"], "nothing at 99 (0x63, EZO-pH)", "plugged in")
    assert_fails(found["1-Wire"], "GPIO13: nobody answers", "4.7 kOhm")
    assert found["sensor ezo-orp@98"].state == "ok"


def test_what_is_there_but_not_configured(pool):
    sensors = [s for s in pool.first["sensors"] if s.get("quantity") != "orp"]
    pool.change(sensors=sensors, dosing=[], alerts={})
    found = pool.findings("sensors")["I2C"]
    assert found.state == "warn" and "not configured: 98 (0x62, EZO-ORP)" in found.text


def test_foreign_firmware(pool):
    link = pool.node.flash / "fieldnode"
    target = link.readlink()
    shutil.copytree(link, pool.node.flash / "copy")
    link.unlink()
    (pool.node.flash / "copy").rename(link)
    try:
        (link / "version.mpy").unlink()
        (link / "version.py").write_text('VERSION = "9.9.9"\n')
        finding = pool.finding("firmware")
        assert finding.state == "warn" and "9.9.9" in finding.text
        (link / "version.py").write_text("VERSION = \n")
        assert_fails(pool.finding("firmware"), "SyntaxError", "fieldhand deploy")
    finally:
        shutil.rmtree(link)
        link.symlink_to(target, target_is_directory=True)


def test_low_memory(simulator, mosquitto):
    settings = {"node": "small", "broker": {}}
    executor = SimulatedExecutor(simulator, settings, heap="200k")
    found = cable.patient(executor)  # type: ignore[arg-type]
    found.root = "."
    check = next(check for check in CHECKS if "memory" in check.names)
    finding = {f.check: f for f in check.run(found)}["memory"]
    assert_fails(finding, "kB free", "PSRAM")


def test_a_relay_clicks_when_asked(pool):
    patient = pool.patient()
    patient.relay = "acid"
    acid = next(entry for entry in pool.config.actuators if entry["name"] == "acid")
    off = int(acid.get("active_low", False))
    check = CHECKS[-1]
    (finding,) = check.run(patient)
    assert finding.state == "ok", finding
    assert finding.data["levels"] == [off, 1 - off, off]
    assert finding.data["pin"] == acid["pin"] and finding.data["by_timer"] is True
    patient.relay = "acdi"
    (finding,) = check.run(patient)
    assert_fails(finding, "no actuator", "circulation")


def test_a_script_that_comes_to_no_result_is_a_failure(pool):
    class Mute:
        def exec(self, code: str, timeout: float = 10.0) -> str:
            return "Guru Meditation Error"

    found = list(examine(Patient(Mute(), "0.1.0")))
    assert_fails(found[0], "Guru Meditation")
    assert {f.state for f in found} == {"fail", "skipped"}
