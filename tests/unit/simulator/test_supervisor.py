"""Nodes as processes: their files and consoles, and that none outlives its simulator."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from unit.simulator.programs import CONFIG, CONNECT, start

from fieldhand.sim import Simulator


def test_config_and_files_are_on_the_flash(sim):
    node = start(
        sim,
        "import json, helper\nprint(json.load(open('node.json'))['broker'], helper.X)\n",
        {"broker": {"host": "broker.example", "port": 8883}},
    )
    (node.flash / "helper.py").write_text("X = 5\n")
    node.power_cut()
    node.start()
    node.wait_console("} 5")
    assert node.config["broker"] == {"host": "127.0.0.1", "port": node.wire.port}


def test_processes_die_with_a_killed_supervisor(tmp_path):
    host = Path(__file__).parents[3]
    code = f"""
import sys, time
sys.path[:0] = [{str(host / "host")!r}, {str(host / "protocol")!r}]
from fieldhand.sim import Simulator
sim = Simulator(workdir={str(tmp_path)!r})
for i, program in enumerate(("while True: pass", "import time; time.sleep(1000)")):
    node = sim.add({{"node": str(i)}}, files={{"main.py": "print('up')\\n" + program}})
    node.start()
    node.wait_console("up")
    print(node.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_process_is_a_restart(sim):
    node = start(sim, "print('up')\nwhile True: pass\n")
    node.wait_console("up")
    os.kill(node.pid, signal.SIGKILL)
    mark = node.console.mark()
    node.wait_console("up", since=mark)
    assert node.restart_count == 1


def test_leaving_ends_everything():
    with Simulator() as simulator:
        node = start(simulator, "print('up')\nwhile True: pass\n")
        node.wait_console("up")
        pid, flash = node.pid, node.flash
    assert not _alive(pid) and not flash.exists()
    simulator.close()  # again is nothing
    with pytest.raises(RuntimeError, match="the simulator is closed"):
        node.start()


def test_the_console_is_bounded(sim):
    node = start(sim, "for i in range(5000): print(i)\nprint('x' * 9000)\nprint('end')\n")
    node.wait_console("end")
    node.wait_state("repl")
    assert len(node.console) == 2000
    assert "4999" in node.console and "17" not in node.console.lines()
    assert max(map(len, node.console)) <= 4096


def test_a_name_cannot_leave_the_workdir(tmp_path):
    with Simulator(workdir=tmp_path / "flash") as simulator:
        node = simulator.add({**CONFIG, "node": "../../x"}, files={"main.py": "print('here')"})
        node.start()
        node.wait_console("here")
        assert node.flash.parent == tmp_path / "flash"
    assert node.flash.is_dir()  # a workdir of one's own is kept


def test_a_name_is_used_once(sim):
    sim.add(CONFIG, files={"main.py": ""})
    with pytest.raises(ValueError, match="n1"):
        sim.add(CONFIG, files={"main.py": ""})


def test_fifty_nodes(sim):
    began = time.monotonic()
    program = CONNECT + "print('connected')\nwhile True:\n    time.sleep_ms(100)\n"
    for number in range(50):
        sim.add({**CONFIG, "node": f"n{number}"}, files={"main.py": program})
    sim.start()
    for node in sim.nodes.values():
        node.wait_console("connected", timeout=30)
    assert time.monotonic() - began < 30
