"""Serial ports: choosing one, and what is said about those that do not work."""

import errno
import fcntl
import json
import os
import pty
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import serial
from serial.tools import list_ports

from fieldhand.device import ports

NOBODY = 65534


def usb(device, vid, pid, description, number=None):
    return SimpleNamespace(
        device=device,
        name=device.rpartition("/")[2],
        description=description,
        vid=vid,
        pid=pid,
        serial_number=number,
    )


@pytest.fixture
def plugged(monkeypatch):
    """Say what is plugged in."""

    def plug(*infos):
        monkeypatch.setattr(list_ports, "comports", lambda: [_Sortable(**vars(i)) for i in infos])

    return plug


class _Sortable(SimpleNamespace):
    def __lt__(self, other):
        return self.device < other.device


CP2102 = usb("/dev/ttyUSB0", 0x10C4, 0xEA60, "CP2102N USB to UART Bridge Controller", "0001")
CH9102 = usb("/dev/ttyACM0", 0x1A86, 0x55D4, "USB Single Serial")
OWN = usb("/dev/ttyACM1", 0x303A, 0x1001, "USB JTAG/serial debug unit", "34:85:18:00:00:01")
ARDUINO = usb("/dev/ttyACM5", 0x2341, 0x0043, "Arduino Uno")


@pytest.fixture
def terminal():
    """Both ends of a pty: what stands for the board, and the path a tool opens."""
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    os.close(slave)
    yield SimpleNamespace(master=master, path=path)
    try:
        os.close(master)
    except OSError:
        pass


def test_the_only_board_is_taken_and_other_serial_devices_are_not(plugged):
    plugged(ARDUINO, OWN)
    assert ports.choose() == "/dev/ttyACM1"


@pytest.mark.parametrize("board", [CP2102, CH9102, OWN])
def test_the_serial_chips_of_boards_are_known(plugged, board):
    plugged(board)
    assert ports.choose() == board.device


def test_of_several_boards_none_is_guessed(plugged):
    plugged(CP2102, OWN)
    with pytest.raises(ports.PortError) as caught:
        ports.choose()
    assert caught.value.kind == "several"
    assert "--port /dev/ttyUSB0 (CP2102N USB to UART Bridge Controller" in str(caught.value)
    assert "--port /dev/ttyACM1" in str(caught.value)
    assert "34:85:18:00:00:01" in str(caught.value)


def test_no_board_says_what_to_look_at_and_what_else_is_there(plugged):
    plugged(ARDUINO)
    with pytest.raises(ports.PortError, match="cable carry data.*lsusb.*ttyACM5 .Arduino Uno"):
        ports.choose()


@pytest.mark.parametrize("given", ["/dev/ttyS9", "rfc2217://10.0.0.7:2217", "socket://h:1"])
def test_a_port_that_is_given_is_taken_as_it_is(plugged, given):
    plugged(CP2102, OWN)
    assert ports.choose(given) == given


def test_a_free_port_passes(terminal):
    ports.check(terminal.path)


def test_a_port_that_another_program_locks_is_busy_and_the_program_named(terminal):
    script = (
        "import serial,sys,time; s=serial.Serial(sys.argv[1], exclusive=True);"
        "print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, terminal.path], stdout=subprocess.PIPE, text=True
    ) as monitor:
        try:
            assert monitor.stdout.readline() == "open\n"
            with pytest.raises(ports.PortError) as caught:
                ports.check(terminal.path)
            assert caught.value.kind == "busy"
            assert f"(pid {monitor.pid})" in str(caught.value)
            with pytest.raises(serial.SerialException) as raised:
                serial.Serial(terminal.path, exclusive=True)
            assert ports.explain(raised.value, terminal.path).kind == "busy"
        finally:
            monitor.kill()


def test_a_lock_of_our_own_process_names_no_other(terminal):
    with open(terminal.path, "rb+", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ports.PortError, match="is in use: close it there"):
            ports.check(terminal.path)


def test_without_permission_the_udev_line_and_the_group_are_named(terminal, plugged):
    real = os.path.realpath(terminal.path)
    plugged(usb(real, 0x10C4, 0xEA60, "CP2102N"))
    os.chmod(terminal.path, 0)
    # Root may open it all the same, so the child gives root up once everything is imported.
    script = (
        "import json, os, sys; from fieldhand.device import ports; import serial, encodings.idna;"
        "os.getuid() or os.setuid(int(sys.argv[2]))\n"
        "try: serial.Serial(sys.argv[1], exclusive=True)\n"
        "except serial.SerialException as error: print(json.dumps([error.errno, str(error)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, terminal.path, str(NOBODY)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
    )
    number, text = json.loads(done.stdout)
    assert number == errno.EACCES
    error = ports.explain(serial.SerialException(number, text), terminal.path)
    assert error.kind == "permission"
    assert 'SUBSYSTEM=="tty", ATTRS{idVendor}=="10c4", MODE="0666"' in str(error)
    assert "group dialout" in str(error)
    assert "/etc/udev/rules.d/99-fieldhand.rules" in str(error)
    assert "udevadm control --reload-rules" in str(error)


def test_a_port_that_is_not_there_names_those_that_are(plugged):
    plugged(CP2102)
    with pytest.raises(
        ports.PortError, match="/dev/ttyUSB7: no such port; there are: /dev/ttyUSB0"
    ):
        ports.check("/dev/ttyUSB7")


def test_a_file_is_not_a_serial_port(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(ports.PortError, match="is not a serial port"):
        ports.check(str(tmp_path / "x.bin"))


def test_a_pulled_cable_is_told_when_reading_and_when_opening_again(terminal):
    port = serial.Serial(terminal.path, timeout=1)
    os.close(terminal.master)
    with pytest.raises((serial.SerialException, OSError)) as caught:
        for _ in range(20):
            port.write(b"x")
            port.read(1)
            time.sleep(0.01)
    error = ports.explain(caught.value, terminal.path)
    assert error.kind == "gone"
    assert "was the cable pulled" in str(error)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        # What esptool 5.6 and mpremote 1.29 make of the errors, seen on a Linux machine.
        (
            "Could not open /dev/ttyUSB0, the port is busy or doesn't exist.\n([Errno 2] could "
            "not open port /dev/ttyUSB0: [Errno 2] No such file or directory: '/dev/ttyUSB0')",
            "absent",
        ),
        ("failed to access /dev/ttyUSB0 (it may be in use by another program)", "busy"),
        ("Could not configure port: (5, 'Input/output error')", "gone"),
        (
            "device reports readiness to read but returned no data (device disconnected or "
            "multiple access on port?)",
            "gone",
        ),
        ("Write timeout", "silent"),
        ("Could not open port rfc2217://h:1: [Errno 111] Connection refused", "refused"),
    ],
)
def test_what_the_tools_say_is_understood(text, kind):
    assert ports.explain(RuntimeError(text), "/dev/ttyUSB0").kind == kind


def test_the_cause_of_an_error_counts():
    error = RuntimeError("could not enter raw repl")
    error.__cause__ = OSError(errno.ENXIO, "No such device or address")
    assert ports.explain(error, "/dev/ttyUSB0").kind == "gone"


def test_an_unknown_error_is_one_line():
    assert str(ports.explain(ValueError("odd\nthing"), "/dev/x")) == "/dev/x: odd thing"
