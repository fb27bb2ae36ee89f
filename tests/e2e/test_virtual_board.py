"""The virtual board as a maker's tools see it: real esptool, real mpremote, real pyserial."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest
import serial
from virtualboards import MB, contents, flashed

from fieldhand.device import ports
from fieldhand.errors import FieldhandError
from fieldhand.virtual import VirtualBoard
from fieldhand.virtual.image import standin_image

COUNTER = b"""
import esp32, machine, time
nvs = esp32.NVS("test")
try:
    count = nvs.get_i32("count")
except OSError:
    count = 0
nvs.set_i32("count", count + 1)
nvs.commit()
print("start", count, "cause", machine.reset_cause(), "memory", machine.RTC().memory())
machine.RTC().memory(b"kept")
machine.Pin(2, machine.Pin.OUT, value=1)
while True:
    time.sleep(3600)
"""


def tool(name, *arguments, fails=False):
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments], capture_output=True, text=True, timeout=90
    )
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def mpremote(port, *arguments):
    return tool("mpremote", "connect", port, *arguments)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """One that runs COUNTER; a test may reset it, and leaves its files as they are."""
    files = {"main.py": COUNTER, "boot.py": b"", "lib/there.py": b"answer = 42\n"}
    with flashed(tmp_path_factory.mktemp("board"), files) as made:
        made.wait_console("start 0", 20)
        yield made


@pytest.fixture(params=["pty", "port"])
def either(request, board):
    return getattr(board, request.param)


def restarted(board, how):
    """The line with which COUNTER starts after `how`."""
    mark = board.console.mark()
    how()
    return board.console.wait("start", 20, mark)


# -- download mode ---------------------------------------------------------------------------------


def test_esptool_writes_a_blank_board_and_it_boots(tmp_path):
    image = tmp_path / "image.bin"
    image.write_bytes(standin_image())
    with VirtualBoard("esp32", flash=tmp_path / "flash.bin") as board:
        board.wait_console("invalid header: 0xffffffff", 10)
        # The watchdog of the ROM ends each round, for ever.
        board.wait_console("rst:0x10 (RTCWDT_RTC_RESET),boot:0x13", 10)
        # By DTR and RTS into download mode and, with the MAC it was asked for, out of it.
        mark = board.console.mark()
        said = tool("esptool", "--port", board.port, "--no-stub", "read-mac")
        assert board.mac.hex(":") in said
        board.console.wait("waiting for download", 5, mark)
        board.wait_state("boot loop", 5)
        # Here, for esptool has pyserial negotiate every timeout at a network port: 20 s for this.
        said = tool("esptool", "--port", board.pty, "write-flash", "0x1000", str(image))
        assert "Hash of data verified" in said
        board.wait_console("Performing initial setup", 20)
        board.wait_state("repl", 20)
        assert board.flash.read(0x1000, 8) == standin_image()[:8]
        assert list(board.files()) == ["boot.py"]


def test_esptool_reads_it_back_in_one_go_through_the_pty(tmp_path):
    content = os.urandom(300_000)
    file = tmp_path / "flash.bin"
    file.write_bytes(content)
    back = tmp_path / "back.bin"
    with VirtualBoard("esp32s3", 16 * MB, file) as board:
        said = tool("esptool", "--port", board.pty, "read-flash", "0", "0x60000", str(back))
        assert "ESP32-S3" in said and "NOT reset" in said
        assert back.read_bytes() == content.ljust(0x60000, b"\xff")
        board.wait_state("boot loop", 10)  # the pty was closed
        assert "16MB" in tool("esptool", "--chip", "esp32s3", "--port", board.pty, "flash-id")


def test_esptool_says_what_is_wrong_when_the_chip_does_not_listen(tmp_path):
    with flashed(tmp_path, {}, chip="esp32c3") as board:
        said = tool(
            "esptool", "--port", board.port, "--before", "no-reset", "--connect-attempts", "1",
            "flash-id", fails=True,
        )  # fmt: skip
        assert "Failed to connect to" in said
        board.hold_boot()
        board.press_reset()
        board.wait_console("waiting for download", 5)
        assert "ESP32-C3" in tool(
            "esptool", "--port", board.pty, "--before", "no-reset", "read-mac"
        )
        board.hold_boot(False)


def test_a_cable_pulled_while_it_is_written(tmp_path):
    image = tmp_path / "noise.bin"
    image.write_bytes(os.urandom(3 * MB))
    # Without esptool's second try: another pty may have this one's name by then.
    once = (
        "import esptool, sys; esptool.ESPLoader.WRITE_FLASH_ATTEMPTS = 1; "
        "esptool.main(sys.argv[1:])"
    )
    with VirtualBoard("esp32", flash=tmp_path / "flash.bin") as board:
        writing = subprocess.Popen(
            [sys.executable, "-c", once, "--port", board.pty, "write-flash", "0", str(image)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        first = MB
        board.wait(lambda: board.flash.read(first, 4) != b"\xff" * 4, 60, "the first third")
        board.unplug()
        assert writing.wait(60) != 0
        assert board.pty is None and board.state == "unplugged"
        with pytest.raises(serial.SerialException):
            serial.serial_for_url(board.port)
        # As esptool would find it: what came first is there, what never came is erased.
        assert board.flash.read(0, first) == image.read_bytes()[:first]
        assert board.flash.read(3 * MB - 4096, 4096) == b"\xff" * 4096
        port = board.port
        board.plug()
        assert board.port == port
        board.wait_console("invalid header", 10, board.console.mark() - 5)


def test_one_host_at_a_time(board):
    with serial.serial_for_url(board.port, timeout=1):
        with pytest.raises(serial.SerialException) as caught:
            serial.serial_for_url(board.port, timeout=1)
    assert "is in use: close it there" in str(ports.explain(caught.value, board.port))
    serial.serial_for_url(board.port, timeout=1).close()


# -- MicroPython -----------------------------------------------------------------------------------


def test_mpremote_at_both_ports(board, either, tmp_path):
    (tmp_path / "large.txt").write_bytes(b"0123456789abcde\n" * 2000)
    (tmp_path / "script.py").write_text("import there\nprint(there.answer)\n")
    said = mpremote(
        either,
        *("cp", str(tmp_path / "large.txt"), ":large.txt", "+", "sha256sum", "large.txt", "+"),
        *("run", str(tmp_path / "script.py"), "+", "df", "+", "rm", "large.txt", "+", "ls"),
    )
    assert hashlib.sha256((tmp_path / "large.txt").read_bytes()).hexdigest() in said
    assert "\n42\n" in said
    assert re.search(r"VfsLfs2> +2097152 ", said)
    assert sorted(board.files()) == ["boot.py", "lib/there.py", "main.py"]


def test_a_local_folder_is_mounted(board, tmp_path):
    (tmp_path / "from_here.py").write_bytes(b"print('bytes', len(open('data.bin', 'rb').read()))\n")
    (tmp_path / "data.bin").write_bytes(bytes(range(256)) * 4)
    said = mpremote(board.pty, "mount", str(tmp_path), "exec", "import from_here")
    assert "bytes 1024" in said


def test_a_package_comes_by_mip(board, tmp_path):
    (tmp_path / "package.json").write_text('{"urls": [["gift.py", "gift.py"]], "version": "1"}')
    (tmp_path / "gift.py").write_text("print('unpacked')\n")
    mpremote(board.pty, "mip", "install", str(tmp_path / "package.json"))
    assert "unpacked" in mpremote(board.pty, "exec", "import gift", "+", "rm", ":lib/gift.py")


def test_reset_causes_and_what_outlives_them(board):
    # machine.reset_cause() of ports/esp32: 1 power-on, 2 hard, 3 watchdog, 4 deep sleep, 5 soft.
    count = int(board.nvs["test"]["count"])
    start = "start {} cause {} memory {}".format
    assert restarted(board, board.press_reset) == start(count, 1, b"")
    assert restarted(board, lambda: mpremote(board.pty, "reset")) == start(count + 1, 2, b"kept")
    starved = "import machine; machine.WDT(timeout=100)"
    assert restarted(board, lambda: mpremote(board.pty, "exec", "--no-follow", starved)) == start(
        count + 2, 3, b"kept"
    )
    sleep = "import machine; machine.deepsleep(100)"
    assert restarted(board, lambda: mpremote(board.pty, "exec", "--no-follow", sleep)) == start(
        count + 3, 4, b"kept"
    )
    assert restarted(board, board.power_cut) == start(count + 4, 1, b"")


def test_soft_reset_in_the_raw_repl_runs_no_program(board):
    restarted(board, board.press_reset)
    mark = board.console.mark()
    assert "5" in mpremote(
        board.pty, "soft-reset", "exec", "import machine; print(machine.reset_cause())"
    )
    assert not [line for line in board.console.since(mark, 0) if line.startswith("start ")]


def test_ctrl_c_interrupts_the_program(board, either):
    restarted(board, board.press_reset)
    with serial.serial_for_url(either, timeout=5) as port:
        port.write(b"\x03")
        seen = port.read_until(b">>> ")
        assert b"KeyboardInterrupt" in seen and seen.endswith(b"\r\n>>> ")
        assert b"\r\r\n" not in seen and not re.search(rb"[^\r]\n", seen)
        board.wait_state("repl", 5)
        for how in (b"\x04", b"import machine; machine.soft_reset()\r", b"raise SystemExit\r"):
            port.write(how)
            assert b"MPY: soft reboot\r\n" in port.read_until(b"cause 5")
            port.write(b"\x03")
            port.read_until(b">>> ")


def test_ctrl_c_during_work_with_the_hardware_leaves_it_in_step(board):
    restarted(board, board.press_reset)
    program = (
        "import machine, esp32; p = machine.Pin(2, 3, value=1); n = esp32.NVS('step'); "
        "n.set_i32('a', 77); print('go')\\n"
        "while True: assert (p.value(), n.get_i32('a')) == (1, 77)"
    )
    with serial.serial_for_url(board.pty, timeout=5) as port:
        port.write(b"\x03")
        port.read_until(b">>> ")
        for _ in range(30):
            port.write(f'exec("{program}")\r'.encode())
            port.read_until(b"\r\ngo\r\n")  # a Ctrl-C before is for the line, as on a board
            seen = b""
            while not seen:  # one in thousands is lost
                port.write(b"\x03")
                seen = port.read_until(b"\r\n>>> ")
            assert b"KeyboardInterrupt" in seen and b"Assertion" not in seen, seen


def test_machine_bootloader(board):
    mpremote(board.pty, "bootloader")
    board.wait_state("download", 5)
    restarted(board, board.press_reset)


# -- what hangs on it ------------------------------------------------------------------------------


def test_jumpers_carry_levels_and_voltages(board):
    restarted(board, board.press_reset)
    board.wire(2, 4)
    board.wire(25, 34)
    code = (
        "from machine import ADC, DAC, PWM, Pin\n"
        "print(Pin(4, Pin.IN).value()); Pin(2, Pin.OUT, value=0); print(Pin(4).value())\n"
        "dac = DAC(Pin(25)); dac.write(128)\n"
        "print(ADC(Pin(34), atten=ADC.ATTN_11DB).read())"
    )
    # 4095 * 128 / 255 = 2055.5
    assert mpremote(board.pty, "exec", code).split() == ["1", "0", "2056"]
    board.wire(2, None)
    assert board.pins[4] == 0
    with pytest.raises(ValueError, match="pin 40 is not one of 0 to 39"):
        board.wire(40, 4)


def test_the_access_point_may_be_another(tmp_path):
    code = b"""
import network, time
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("field", "secret")
while wlan.status() == network.STAT_CONNECTING:
    time.sleep_ms(10)
print("Wi-Fi", wlan.status())
"""
    with flashed(tmp_path, {"main.py": code}) as board:
        board.wait_console("Wi-Fi 1010", 20)  # STAT_GOT_IP: any will do
        board.access_point("field", "another secret")
        mark = board.console.mark()
        board.press_reset()
        board.console.wait("Wi-Fi 202", 20, mark)  # STAT_WRONG_PASSWORD
        board.access_point("field", "secret")
        mark = board.console.mark()
        board.press_reset()
        board.console.wait("Wi-Fi 1010", 20, mark)


def test_sensors_are_those_of_the_node_json_that_was_flashed(tmp_path):
    config = (
        b'{"sensors": [{"type": "dht22", "pin": 4}], "actuators": [{"name": "pump", "pin": 5}]}'
    )
    code = b"""
import dht, machine
sensor = dht.DHT22(machine.Pin(4))
sensor.measure()
print("air", sensor.temperature())
machine.Pin(5, machine.Pin.OUT, value=1)
print("on")
"""
    with flashed(tmp_path, {"main.py": code, "node.json": config}) as board:
        board.world.air_temperature = 21.5
        board.wait_console("on", 20)
        mark = board.console.mark()
        board.press_reset()
        board.console.wait("air 21.5", 20, mark)
        board.wait(lambda: board.pins[5] == 1, 5)
        assert board.wiring.outputs[5].name == "pump"
        board.unplug()
        assert board.pins[5] == 0


def test_nvs_that_was_flashed_and_a_program_that_ends(tmp_path):
    code = (
        b"import esp32\nb = bytearray(40)\nn = esp32.NVS('fieldhand')\n"
        b"print('id', bytes(b[:n.get_blob('id', b)]))\nn.set_i32('slot', -3); n.commit()\n"
    )
    with flashed(tmp_path, {"main.py": code}, values={"fieldhand": {"id": b"pool"}}) as board:
        board.wait_console("id b'pool'", 20)
        board.wait_state("repl", 5)
        assert board.nvs == {"fieldhand": {"id": b"pool", "slot": -3}}


def test_the_program_is_the_one_that_was_flashed_and_knows_a_brown_out(tmp_path):
    code = (
        b"import machine, sys\nprint('I', sys.implementation[:3], machine.mem32[0x60008038] & 63)\n"
    )
    with flashed(tmp_path, {"main.py": code}, chip="esp32c3") as board:
        me = "I ('micropython', (1, 28, 0, ''), 'ESP32C3 module with ESP32C3') "
        board.wait_console(me + "1", 20)  # ESP32-C3 Technical Reference Manual, reset source 0x01
        mark = board.console.mark()
        board.brown_out()
        board.console.wait("rst:0xf (BROWNOUT_RST)", 10, mark)
        board.console.wait(me + "15", 20, mark)


def test_more_than_nvs_holds_is_refused(tmp_path):
    code = b"""
import esp32
nvs = esp32.NVS("full")
try:
    for n in range(200):
        nvs.set_blob("k%d" % n, bytes(100))
        nvs.commit()
except OSError as error:
    print("refused", error, n)
"""
    with flashed(tmp_path, {"main.py": code}) as board:
        # ESP_ERR_NVS_NOT_ENOUGH_SPACE
        line = board.wait_console("refused", 20)
        assert "ESP_ERR_NVS_NOT_ENOUGH_SPACE" in line and "4357" in line
        assert len(board.nvs["full"]) == int(line.rpartition(" ")[2])


def test_a_file_system_that_is_neither_blank_nor_whole(tmp_path):
    data = bytearray(contents("esp32", {}))
    data[0x200000:0x202000] = bytes(0x2000)  # both copies of the root directory
    (tmp_path / "flash.bin").write_bytes(data)
    with VirtualBoard("esp32", flash=tmp_path / "flash.bin") as board:
        board.wait_console("The filesystem appears to be corrupted.", 20)
        # With a soft reset, mpremote would meet it again and wait for ever, as it does on a board.
        assert "repl" in mpremote(board.pty, "resume", "exec", "print('repl')")


def test_wrong_options(tmp_path):
    with pytest.raises(FieldhandError, match="chip 'esp8266' is not one of esp32, "):
        VirtualBoard("esp8266")
    with pytest.raises(FieldhandError, match="No such file or directory"):
        VirtualBoard(flash=tmp_path / "none" / "flash.bin")
    with VirtualBoard() as first, pytest.raises(FieldhandError, match="Address already in use"):
        VirtualBoard(port=int(first.port.rpartition(":")[2]))


def test_nobody_listens_to_a_talkative_program(tmp_path):
    code = b"import sys\nfor n in range(20000): print('line', n, 'x' * 60)\nprint('done')\n"
    with flashed(tmp_path, {"main.py": code}) as board:
        board.wait_console("done", 30)
        assert "7" in mpremote(board.pty, "exec", "print(3 + 4)")


def test_the_command_runs_one_that_the_others_find(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDHAND_RUNTIME", str(tmp_path / "run"))
    arguments = ["board", "virtual", "--standin", str(tmp_path / "standin.bin")]
    arguments += ["--flash", str(tmp_path / "flash.bin"), "--board", "esp32-c3-devkitm", "--json"]
    running = subprocess.Popen(
        [sys.executable, "-m", "fieldhand.cli", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        facts = json.loads(running.stdout.readline())
        assert facts["chip"] == "esp32c3" and facts["flash"] == str(tmp_path / "flash.bin")
        assert ports.choose("virtual") == facts["port"]
        assert (tmp_path / "standin.bin").read_bytes() == standin_image("esp32c3")
        with serial.serial_for_url(facts["port"], timeout=10) as port:
            assert port.read_until(b"invalid header: 0xffffffff\r\n")
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
    finally:
        running.kill()
    with pytest.raises(ports.PortError, match="no virtual board runs"):
        ports.choose("virtual")
    assert (tmp_path / "flash.bin").stat().st_size == 4 * MB
