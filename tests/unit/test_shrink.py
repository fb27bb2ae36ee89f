"""Other names mean the same program."""

import re
import sys
import types
from pathlib import Path

import pytest
from conftest import missing

from fieldhand import paths
from fieldhand.building import mpy, shrink
from fieldhand.building.romnames import ROM

PACKAGES = (paths.firmware() / "fieldnode", paths.protocol() / "fieldproto")


def run(sources: dict[str, str], entry: str) -> dict[str, object]:
    """The globals of `entry`, executed with the other sources as modules it may import from."""
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


def test_what_one_file_uses_has_the_same_name_in_all_and_lines_stay() -> None:
    a = (
        "class A:\n    def __init__(self):\n        self._long_name = 1\n\n"
        "    def fetch(self):\n        return self._long_name\n"
    )
    b = "_other_name = 2\n\n\ndef _helper(_argument):\n    return _argument + _other_name\n"
    out = shrink.shrink({"a.py": a, "b.py": b})
    after = [shrink.words(text) for text in out.values()]
    assert not {"A", "_long_name", "fetch", "_other_name", "_helper", "_argument"} & set.union(
        *after
    )
    assert len(after[0] & after[1] & ROM - shrink.words(a) - shrink.words(b)) == 3
    assert [len(text.splitlines()) for text in out.values()] == [6, 5]


def test_what_two_files_use_gets_one_name_that_nothing_else_has() -> None:
    sources = {
        "a.py": (
            "class Tank:\n    def __init__(self, litres):\n        self.litres = litres\n\n"
            "    def half(self):\n        return self.litres / 2\n"
        ),
        "b.py": "def own(litre):\n    return litre.litres + 1\n",
        "c.py": (
            "import a, b\nfrom a import Tank\n\ntank = Tank(4)\n"
            "result = (tank.half(), b.own(tank), a.Tank(litres=6).litres)\n"
        ),
    }
    out = shrink.shrink(sources, kept={"result"})
    assert "litres" not in "".join(out.values())
    assert run(sources, "c")["result"] == run(out, "c")["result"] == (2, 5, 6)


@pytest.mark.parametrize(
    ("what", "source"),
    [
        ("a text", "def f(node):\n    return getattr(node, '_kept')\n"),
        ("an argument by **", "def f(node, known):\n    return node.take(**known)\n"),
        ("in an f-string", "def f(self):\n    return f'{self._kept}'\n"),
        ("a module", "from . import _kept\n"),
        ("umqtt's", "class C:\n    def _send_str(self):\n        return self\n"),
        ("asked for", ""),
    ],
)
def test_what_may_be_looked_up_by_its_text_keeps_its_name(what: str, source: str) -> None:
    a = (
        "_kept = 5\n\n\nclass A:\n    def take(self, _kept):\n        return self._kept\n\n"
        "    def _send_str(self):\n        return 1\n"
    )
    files = {"a.py": a, "b.py": source} | ({"_kept.py": ""} if what == "a module" else {})
    out = shrink.shrink(files, {"_kept"} if what == "asked for" else ())
    assert ("_kept" in out["a.py"]) == (what != "umqtt's")
    assert "_send_str" in out["a.py"]


def test_classes_that_inherit_across_files_agree() -> None:
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
    out = shrink.shrink(sources, {"result"})
    assert "_value" not in "".join(out.values())
    assert run(sources, "last")["result"] == run(out, "last")["result"] == 111


def test_constants_stay_private_so_that_the_compiler_drops_them() -> None:
    out = shrink.shrink(
        {"a.py": "from micropython import const\n\n_LIMIT = const(5)\nx = _LIMIT\n"}
    )
    assert "_0 = const(5)" in out["a.py"]


def test_a_constant_of_one_file_becomes_private_and_a_shared_one_does_not() -> None:
    a = "OWN_MS = const(5)\nSHARED = const(6)\nx = OWN_MS + SHARED\n"
    b = "from a import SHARED\n\ny = SHARED\n"
    out = shrink.shrink({"a.py": a, "b.py": b}, {"x", "y", "SHARED"})
    assert "OWN_MS" not in out["a.py"] and "x = _0 + SHARED" in out["a.py"]
    assert out["b.py"] == b


def test_half_of_the_names_of_the_firmware_cost_it_nothing() -> None:
    sources = {name: path.read_text() for name, path in mpy.modules(*PACKAGES)}
    before, after = (
        set().union(*map(shrink.words, texts.values())) - ROM
        for texts in (sources, shrink.shrink(sources))
    )
    assert len(after) < len(before) / 2


def test_names_of_the_chip_and_of_scripts_for_the_cable_stay() -> None:
    kept = mpy._asked_for()
    assert {"start", "Pin", "irq", "WLAN", "Hal", "nvs", "get_blob"} <= kept


def test_names_of_umqtt_are_known() -> None:
    try:
        place = paths.umqtt()
    except paths.MissingPart:
        missing("no umqtt.simple here: make umqtt")
    text = (Path(place) / "umqtt/simple.py").read_text()
    attributes = set(re.findall(r"self\.(\w+)|def (\w+)|^class (\w+)", text, re.MULTILINE))
    found = {name for names in attributes for name in names if name and name[:2] != "__"}
    assert found <= shrink.UMQTT | ROM
