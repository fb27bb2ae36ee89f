"""Bytes of a console into lines with the time they came."""

import json
import os
import pty
import subprocess
import sys
import threading
import time
import tty

from fieldhand.cli import main
from fieldhand.device.logs import MAX_LINE, Splitter


def lines(*pieces: tuple[bytes, float]) -> list[tuple[float, str]]:
    splitter = Splitter()
    return [(line.time, line.text) for data, now in pieces for line in splitter.feed(data, now)]


def test_a_line_has_the_time_of_its_first_byte():
    assert lines((b"I 1.0", 100.0), (b"00 on\r\nW", 100.2), (b" 2.000 off\r\n", 100.4)) == [
        (100.0, "I 1.000 on"),
        (100.2, "W 2.000 off"),
    ]


def test_a_prompt_without_an_end_is_shown_once_nothing_follows():
    assert lines((b">>> ", 100.0), (b"", 100.3)) == []
    assert lines((b">>> ", 100.0), (b"", 100.6), (b"", 101.2)) == [(100.0, ">>> ")]


def test_what_would_move_the_terminal_is_replaced():
    [(_, text)] = lines((b"\x1b[2J\xff caf\xc3\xa9\n", 100.0))
    assert text == "\ufffd[2J\ufffd caf\u00e9"


def test_a_line_without_an_end_does_not_grow():
    [(_, text)] = lines((b"x" * (MAX_LINE + 1), 100.0))
    assert len(text) == MAX_LINE + 1


def test_level_and_uptime_are_those_the_node_printed():
    [line] = Splitter().feed(b"E 12.345 the node crashed:\n", 100.0)
    assert (line.level, line.uptime_s) == ("E", 12.345)
    [line] = Splitter().feed(b"rst:0x1 (POWERON_RESET)\n", 100.0)
    assert (line.level, line.uptime_s) == (None, None)


def test_the_command_prints_json_with_the_source_line(capsys):
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    said = b'E 1.000 the node crashed:\r\n  File "main.py", line 3, in <module>\r\n'

    def speak() -> None:
        while not done.wait(0.1):  # what comes before the port is open is lost
            os.write(ours, said)

    done = threading.Event()
    speaker = threading.Thread(target=speak)
    speaker.start()
    began = time.time()
    assert main(["logs", os.ttyname(theirs), "--seconds", "1.5", "--json"]) == 0
    done.set()
    speaker.join()
    first, second = map(json.loads, capsys.readouterr().out.splitlines()[:2])
    assert first["level"] == "E" and first["frame"] is None
    assert abs(time.mktime(time.strptime(first["time"][:19], "%Y-%m-%dT%H:%M:%S")) - began) < 60
    assert second["frame"] == {
        "file": "firmware/main.py",
        "line": 3,
        "function": "<module>",
        "source": "start.main()",
        "sure": True,
    }
    os.close(ours)
    os.close(theirs)


def test_a_repl_without_a_terminal_is_one_line():
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fieldhand.cli", "repl", "--port", os.ttyname(theirs)],
            input="\n", capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: repl needs a terminal") and done.stderr.count("\n") == 1


def test_a_port_without_reset_lines_cannot_reset(capsys):
    ours, theirs = pty.openpty()
    assert main(["logs", os.ttyname(theirs), "--seconds", "1", "--reset"]) != 0
    assert "has no reset lines: press EN" in capsys.readouterr().err
    os.close(ours)
    os.close(theirs)


def test_a_word_that_is_no_node_and_no_port(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert main(["logs", "grenhouse"]) == 2
    assert "did you mean 'greenhouse'" in capsys.readouterr().err
