"""What must hold on a real board: PORT names its serial port. Nothing is written to its flash."""

import os
import subprocess
import sys

TIMEOUT_S = 30
OLDEST = (1, 24)


def mpremote(*arguments: str) -> str:
    command = [sys.executable, "-m", "mpremote", "connect", os.environ["PORT"], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_interpreter_is_new_enough() -> None:
    out = mpremote("exec", "import sys; print(*sys.implementation.version[:2])")
    major, minor = out.split()
    assert (int(major), int(minor)) >= OLDEST
