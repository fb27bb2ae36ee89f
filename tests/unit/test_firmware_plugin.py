"""The plugin that runs tests/firmware must not let a failure pass."""

import pytest
from plugins import micropython as plugin

CONFTEST = "from plugins.micropython import pytest_pycollect_makemodule\n"

needs_micropython = pytest.mark.skipif(
    plugin.micropython() is None, reason="no micropython command"
)


@pytest.fixture
def firmware(pytester, monkeypatch):
    """Run one MicroPython test file in a pytest of its own, as `tests/firmware` does."""
    monkeypatch.setenv("PYTHONPATH", str(plugin.ROOT / "tests"))
    pytester.makeini("[pytest]\nmarkers = firmware: x\n")
    pytester.makeconftest(CONFTEST)

    def run(source, *options):
        pytester.path.joinpath("test_device.py").write_text(source)
        return pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider", *options)

    return run


@needs_micropython
def test_each_function_is_one_result(firmware):
    result = firmware(
        "import sys\n"
        "def test_one():\n    assert sys.implementation.name == 'micropython'\n"
        "def test_two():\n    pass\n"
        "def helper():\n    assert False\n",
        "-v",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_device.py::test_one PASSED*"])


@needs_micropython
def test_false_assert_fails_with_its_line(firmware):
    result = firmware("def test_bad():\n    x = 1\n    assert x == 2, 'x is %d' % x\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_device.py*line 3, in test_bad*", "AssertionError: x is 1"])


@needs_micropython
def test_exception_shows_micropython_traceback(firmware):
    result = firmware("def f():\n    return {}['k']\ndef test_bad():\n    print('seen')\n    f()\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["seen", "Traceback*", "*line 5, in test_bad*", "*line 2, in f*", "KeyError: k"]
    )


@needs_micropython
def test_endless_loop_times_out_and_says_where(firmware):
    result = firmware("# timeout: 1\ndef test_loop():\n    while True:\n        pass\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*timed out after 1 s*", "*line ?, in test_loop*"])


@needs_micropython
def test_loop_that_ignores_the_interrupt_is_killed(firmware):
    source = (
        "# timeout: 1\n"
        "def test_loop():\n"
        "    while True:\n"
        "        try:\n"
        "            while True:\n                pass\n"
        "        except BaseException:\n            pass\n"
    )
    result = firmware(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*timed out after 1 s*"])


@needs_micropython
def test_early_exit_is_no_pass(firmware):
    result = firmware("import sys\ndef test_exit():\n    sys.exit(0)\n    assert False\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ended before test_exit did*"])


@needs_micropython
def test_skip_is_a_skip_with_its_reason(firmware):
    result = firmware(
        "import fieldtest\ndef test_s():\n"
        "    try:\n        fieldtest.skip('no probe')\n    except Exception:\n        pass\n"
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no probe*"])


@needs_micropython
def test_raises_returns_the_exception_and_fails_without_one(firmware):
    result = firmware(
        "from fieldtest import raises\n"
        "def boom():\n    raise OSError(19)\n"
        "def test_good():\n    assert raises(OSError, boom).args[0] == 19\n"
        "def test_none():\n    raises(OSError, lambda: 3)\n"
        "def test_other():\n    raises(ValueError, boom)\n"
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["AssertionError: OSError not raised, got 3", "OSError: *19*"])


@needs_micropython
def test_heapsize_directive_bounds_the_heap(firmware):
    body = "def test_grow():\n    b = bytearray(600 * 1024)\n"
    small = firmware(body)
    small.assert_outcomes(failed=1)
    small.stdout.fnmatch_lines(["MemoryError:*"])
    firmware("# heapsize: 2M\n" + body).assert_outcomes(passed=1)


@needs_micropython
def test_umqtt_all_runs_once_per_version(firmware, tmp_path, monkeypatch):
    for version, variable in (("old", "FIELDHAND_UMQTT"), ("new", "FIELDHAND_UMQTT_UPSTREAM")):
        package = tmp_path / version / "umqtt"
        package.mkdir(parents=True)
        package.joinpath("simple.py").write_text(f"NAME = {version!r}\n")
        monkeypatch.setenv(variable, str(package.parent))
    source = (
        "# umqtt: all\nfrom umqtt import simple\ndef test_u():\n    assert simple.NAME == 'old'\n"
    )
    result = firmware(source, "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_u?umqtt-1.3.4? PASSED*", "*test_u?umqtt-upstream? FAILED*"])
    firmware(source.replace("# umqtt: all\n", "")).assert_outcomes(passed=1)


@needs_micropython
def test_device_code_and_protocol_are_importable(firmware):
    result = firmware("import fieldproto.errors\ndef test_i():\n    assert fieldproto.errors\n")
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def test_x(:\n", "*test_device.py:1: SyntaxError*"),
        ("def helper():\n    pass\n", "*no test_* function in the file*"),
        ("def test_x():\n    pass\ndef test_x():\n    pass\n", "*defined more than once*"),
        ("def test_x(tmp_path):\n    pass\n", "*takes arguments*"),
        ("async def test_x():\n    pass\ndef test_y():\n    pass\n", "*test_x is async*"),
        ("class TestX:\n    pass\ndef test_y():\n    pass\n", "*test classes*"),
        ("if True:\n    def test_x():\n        pass\ndef test_y():\n    pass\n", "*module level*"),
        ("# heapsize: lots\ndef test_x():\n    pass\n", "*directive heapsize: 'lots'*"),
    ],
)
def test_what_would_not_run_is_an_error(firmware, source, reason):
    result = firmware(source)
    result.assert_outcomes(errors=1)
    assert result.ret != 0
    result.stdout.fnmatch_lines([reason])


@pytest.mark.parametrize(("ci", "outcome"), [("true", "failed"), ("", "skipped")])
def test_missing_micropython_fails_only_in_ci(firmware, monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(plugin, "micropython", lambda: None)
    result = firmware("def test_x():\n    pass\n")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*no micropython command*"])
