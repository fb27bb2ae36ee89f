"""A node's dialects in two parts say what the whole says."""

import types

import pytest

from fieldhand import paths
from fieldhand.building import mpy, slimming
from fieldproto import dialects
from fieldproto.schema import Field

OPTIONS = {"dese": {"org": "org-1"}, "solar": {"company": "acme"}}
NAMES = sorted(path.stem for path in (paths.protocol() / "fieldproto/dialects").glob("[a-z]*.py"))


def source(name: str) -> str:
    return (paths.protocol() / "fieldproto/dialects" / f"{name}.py").read_text("utf-8")


def loaded(text: str, name: str) -> types.ModuleType:
    module = types.ModuleType("fieldproto.dialects." + name)
    module.__package__ = "fieldproto.dialects"
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def plain(field: Field) -> tuple[str, dict[str, object]]:
    return field.name, {k: v for k, v in vars(field).items() if k not in ("doc", "unit")}


@pytest.mark.parametrize("name", NAMES)
def test_filled_it_has_every_table_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dialects.load(name, OPTIONS.get(name))
    made = slimming.slim({f"fieldproto/dialects/{name}.py": source(name)})
    up, down = (loaded(text, name) for text in made.values())
    part = dialects.Dialect(name, up, OPTIONS.get(name, {}), True)
    monkeypatch.setitem(__import__("sys").modules, f"fieldproto.dialects.{name}_down", down)
    assert not part.full
    assert part.subscriptions("node", "n") == whole.subscriptions("node", "n")
    assert [c.name for c in part.commands] == [c.name for c in whole.commands]
    for mine, its in zip(part.messages, whole.messages, strict=True):
        assert [plain(f) for f in mine.fields] == [plain(f) for f in its.fields]
        assert (mine.name, mine.topics, mine.qos) == (its.name, its.topics, its.qos)
    for mine, its in zip(part.commands, whole.commands, strict=True):
        assert [plain(f) for f in mine.params] == [plain(f) for f in its.params]
        assert [plain(f) for f in mine.reply] == [plain(f) for f in its.reply]
        assert (mine.fixed, mine.at_end, mine.action) == (its.fixed, its.at_end, its.action)


def test_what_a_host_sends_is_not_in_what_a_node_loads_at_its_start() -> None:
    made = slimming.slim({"fieldproto/dialects/dese.py": source("dese")})
    up, down = made["fieldproto/dialects/dese.py"], made["fieldproto/dialects/dese_down.py"]
    assert "set_ph_target" in down and "set_ph_target" not in up
    assert "sensors.ph" in up and "sensors.ph" not in down
    assert "doc=" not in up + down and "unit=" not in up + down
    assert [text.count("\n") for text in made.values()] == [source("dese").count("\n")] * 2


def test_tables_of_another_shape_stay_whole() -> None:
    assert slimming.split("MESSAGES = tuple(made())\nCOMMANDS = ()\n") is None
    assert slimming.split("MESSAGES = (Message(name='x'),)\nCOMMANDS = ()\n") is None


def test_a_node_has_both_parts() -> None:
    made = mpy.build(paths.protocol() / "fieldproto", short=True)
    assert {f"fieldproto/dialects/{name}_down.mpy" for name in NAMES} <= set(made)
