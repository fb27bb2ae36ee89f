"""Shorter names mean the same program."""

import re
from pathlib import Path

import pytest
from conftest import missing

from fieldhand import mpy, paths, shrink

PACKAGES = (paths.firmware() / "fieldnode", paths.protocol() / "fieldproto")


def run(sources: dict[str, str], entry: str) -> dict[str, object]:
    """The globals of `entry`, executed with the other sources as modules it may import from."""
    import sys
    import types

    names = [name.removesuffix(".py") for name in sources]
    try:
        for name in names:
            module = types.ModuleType(name)
            sys.modules[name] = module
            exec(compile(sources[name + ".py"], name + ".py", "exec"), module.__dict__)
        return vars(sys.modules[entry])
    finally:
        for name in names:
            sys.modules.pop(name, None)


def test_private_names_are_shared_and_lines_stay():
    a = (
        "class A:\n    def __init__(self):\n        self._long_name = 1\n\n"
        "    def get(self):\n        return self._long_name\n"
    )
    b = "_other_name = 2\n\n\ndef _helper(_argument):\n    return _argument + _other_name\n"
    out = shrink.shrink({"a.py": a, "b.py": b})
    assert out["a.py"] == a.replace("_long_name", "_0")
    assert "_other_name" not in out["b.py"] and "_helper" not in out["b.py"]
    assert {"_0", "_1", "_2"} == set(re.findall(r"\b_\d+\b", out["b.py"]))
    assert [len(text.splitlines()) for text in out.values()] == [6, 5]


@pytest.mark.parametrize(
    ("what", "source"),
    [
        ("another object's attribute", "def f(node):\n    return node._kept\n"),
        ("a text", "def f(self):\n    return getattr(self, '_kept')\n"),
        ("a keyword", "def f(call):\n    return call(_kept=1)\n"),
        ("not bound here", "def f(self):\n    return self._kept\n"),
        ("imported", "from a import _kept\n\n\ndef f():\n    return _kept\n"),
        ("in an f-string", "def f(self):\n    return f'{self._kept}'\n"),
        ("umqtt's", "class C:\n    def _send_str(self):\n        return self\n"),
    ],
)
def test_what_may_be_another_files_keeps_its_name(what: str, source: str) -> None:
    a = "_kept = 5\n\n\nclass A:\n    def _kept(self):\n        return self._kept\n"
    out = shrink.shrink({"a.py": a, "b.py": source})
    assert out["b.py"] == source
    assert out["a.py"] == (a if what != "umqtt's" else a.replace("_kept", "_0"))


def test_classes_that_inherit_across_files_agree():
    sources = {
        "base.py": (
            "class Base:\n    def __init__(self):\n        self._value = 1\n\n"
            "    def get(self):\n        return self._extra() + self._value\n"
        ),
        "middle.py": "from base import Base\n\n\nclass Middle(Base):\n    pass\n",
        "last.py": (
            "from middle import Middle\n\n\nclass Last(Middle):\n"
            "    def __init__(self):\n        super().__init__()\n        self._mine = 10\n\n"
            "    def _extra(self):\n        return self._mine + self._value * 100\n\n\n"
            "result = Last().get()\n"
        ),
    }
    out = shrink.shrink(sources)
    assert "_value" not in "".join(out.values())
    assert run(sources, "last")["result"] == run(out, "last")["result"] == 111


def test_constants_stay_private_so_that_the_compiler_drops_them():
    out = shrink.shrink(
        {"a.py": "from micropython import const\n\n_LIMIT = const(5)\nx = _LIMIT\n"}
    )
    assert "_0 = const(5)" in out["a.py"]


def test_a_constant_of_one_file_becomes_private_and_a_shared_one_does_not():
    a = "OWN_MS = const(5)\nSHARED = const(6)\nx = OWN_MS + SHARED\n"
    b = "from a import SHARED\n\ny = SHARED\n"
    out = shrink.shrink({"a.py": a, "b.py": b})
    assert "OWN_MS" not in out["a.py"] and "x = _0 + SHARED" in out["a.py"]
    assert out["b.py"] == b


def test_the_firmware_gets_by_with_a_quarter_of_its_private_names():
    sources = {name: path.read_text() for name, path in mpy.modules(*PACKAGES)}
    before, after = (
        set(re.findall(r"\b_[A-Za-z0-9]\w*", " ".join(texts.values())))
        for texts in (sources, shrink.shrink(sources))
    )
    assert len(after) < len(before) / 3


def test_names_of_umqtt_are_known() -> None:
    try:
        place = paths.umqtt()
    except paths.MissingPart:
        missing("no umqtt.simple here: make umqtt")
    text = (Path(place) / "umqtt/simple.py").read_text()
    assert set(re.findall(r"\b_[a-z]\w*", text)) <= shrink.UMQTT
