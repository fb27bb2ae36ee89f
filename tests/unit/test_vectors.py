"""The payloads of the seed documents, both directions, on CPython."""

import sys
from pathlib import Path

import pytest

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
sys.path.insert(0, str(VECTORS))

import vectorcheck  # noqa: E402

BOOKS = {path.stem: vectorcheck.load(path) for path in sorted(VECTORS.glob("*.json"))}


@pytest.mark.parametrize(
    ("book", "index"),
    [
        pytest.param(name, i, id=f"{name}: {vector['source']}")
        for name, book in BOOKS.items()
        for i, vector in enumerate(book["vectors"])
    ],
)
def test_document_payload(book: str, index: int) -> None:
    vectorcheck.check(BOOKS[book], BOOKS[book]["vectors"][index])


@pytest.mark.parametrize(
    ("book", "index"),
    [
        pytest.param(name, i, id=f"{name}: {vector['source']}")
        for name, book in BOOKS.items()
        for i, vector in enumerate(book.get("extension", []))
    ],
)
def test_extension_payload(book: str, index: int) -> None:
    vectorcheck.check_extension(BOOKS[book], BOOKS[book]["extension"][index])


def test_every_dialect_has_vectors_for_every_message() -> None:
    from fieldhand.dialects import names
    from fieldproto import dialects

    assert set(BOOKS) == set(names())
    for name in names():
        dialect = dialects.load(name)
        topics = {vector["topic"] for vector in BOOKS[name]["vectors"]}
        for message in dialect.messages:
            if message.kind == "broker" or (name, message.name) == ("iotnode", "status"):
                continue  # the iot/node document names these topics and shows no payload
            heard = [m.name for topic in topics for m, _ in dialect.match(topic)]
            assert message.name in heard, f"{name} {message.name} has no vector"
        commands = {v["values"].get("command") for v in BOOKS[name]["vectors"]}
        missing = {command.name for command in dialect.commands} - commands
        # The solar document says "start_cleaning" and leaves its stop to the reader.
        assert missing <= {"stop_cleaning"}, f"{name}: no vector for {missing}"


def test_a_quantity_the_document_has_no_word_for_travels_in_the_extension() -> None:
    from fieldproto import dialects

    dialect = dialects.load("plantnanny", {})
    values = {"air_temperature": 24.3, "soil_moisture": 44.95}
    packet = dialect.encode("reading", "p1", values, {"boot": "b", "seq": 1, "q": "synced"})
    (record,) = dialect.decode(packet.topic, packet.payload)
    assert record.values == values
    assert record.ext == {"boot": "b", "seq": 1, "q": "synced"}


def test_too_long_a_reading_loses_what_the_document_has_no_word_for_before_its_number() -> None:
    from fieldproto import dialects

    dialect = dialects.load("dese", {"org": "org-123"})
    values = {"ph": 7.4, "chlorine": 2.0, "water_temperature": 21.0, "time": 0, "firmware": "1"}
    values.update({f"another_quantity_{n}": 20.5 for n in range(40)})
    packet = dialect.encode("reading", "7", values, {"boot": "3-a1b2", "seq": 42})
    assert len(packet.payload) < 1024
    (record,) = dialect.decode(packet.topic, packet.payload)
    assert (record.ext["boot"], record.ext["seq"]) == ("3-a1b2", 42)


def test_an_id_may_be_written_as_in_the_payload() -> None:
    from fieldproto import dialects

    payload = b'{"node_id": "node_01", "sensors": {"temperature": 22.5}}'
    for topic, node in (("iot/node/01/telemetry", "01"), ("iot/node/node_01/telemetry", "node_01")):
        (record,) = dialects.load("iotnode").decode(topic, payload)
        assert record.node == node


@pytest.mark.parametrize("company", ["+", "a/b", "#", ""])
def test_a_tenant_that_cannot_be_in_a_topic_is_refused(company: str) -> None:
    from fieldproto import dialects

    with pytest.raises(ValueError, match="company"):
        dialects.load("solar", {"company": company})
