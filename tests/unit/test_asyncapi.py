"""The AsyncAPI documents, held against the published schema and against the decoders."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldhand import asyncapi, dialects, models, payloadschema
from fieldproto.errors import MessageError
from fieldproto.uplink import EXT_FIELDS

HERE = Path(__file__).parents[1]
SCHEMA_FILE = HERE / "schemas" / "asyncapi-3.0.0.json"
SCHEMA_SHA256 = "abe96881dbfaad495ccbb6bd8d3fb43ca18a13b9d7564849ccb66f39d5e5b20f"
NAMES = dialects.names()

ASYNCAPI = jsonschema.Draft7Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))


def test_the_schema_is_the_published_one():
    assert hashlib.sha256(SCHEMA_FILE.read_bytes()).hexdigest() == SCHEMA_SHA256


@pytest.mark.parametrize("name", NAMES)
def test_document_is_valid_asyncapi_3(name):
    errors = [f"{list(e.absolute_path)}: {e.message[:200]}" for e in
              ASYNCAPI.iter_errors(asyncapi.document(name))]  # fmt: skip
    assert errors == []


def test_the_validator_does_refuse():
    document = asyncapi.document("dese")
    document["operations"]["receive_telemetry"]["action"] = "publish"
    assert not ASYNCAPI.is_valid(document)
    document = asyncapi.document("dese")
    del document["channels"]["devices_telemetry"]["parameters"]["org"]["description"]
    document["channels"]["devices_telemetry"]["parameters"]["org"]["type"] = "string"
    assert not ASYNCAPI.is_valid(document)


@pytest.mark.parametrize("name", NAMES)
def test_every_message_topic_and_parameter_is_there(name):
    document = asyncapi.document(name)
    dialect = dialects.unbound(name)
    addresses = {channel["address"]: channel for channel in document["channels"].values()}
    for message in dialect.messages:
        for topic in message.topics:
            channel = addresses[topic]
            assert message.name in channel["messages"]
            named = {level[1:-1] for level in topic.split("/") if level.startswith("{")}
            assert set(channel.get("parameters", {})) == named
    for operation in document["operations"].values():
        assert _resolve(document, operation["channel"])["address"] in addresses
        for reference in operation["messages"]:
            message = _resolve(document, _resolve(document, reference))
            jsonschema.Draft7Validator.check_schema(message["payload"])


def _resolve(document, reference):
    found = document
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_units_ranges_and_required_of_the_pool():
    payload = asyncapi.document("dese")["components"]["messages"]["telemetry"]["payload"]
    sensors = payload["properties"]["sensors"]
    assert sensors["required"] == ["ph", "chlorine", "temperature"]
    assert sensors["properties"]["ph"]["minimum"] == 0
    assert sensors["properties"]["ph"]["maximum"] == 14
    assert sensors["properties"]["flow_rate"]["x-unit"] == "L/min"
    assert payload["properties"]["timestamp"]["format"] == "date-time"


# -- the same verdict as the decoder ---------------------------------------------------------------


def _samples():
    """(dialect, message, topic, document): one full message of each kind, made from the table."""
    for name in NAMES:
        dialect = dialects.unbound(name)
        for message in dialect.messages:
            if message.sender == "node":
                topic = "/".join(
                    "n1" if level.startswith("{") else level
                    for level in message.topics[0].split("/")
                )
                document = _full(message.fields)
                document["_fh"] = _full(EXT_FIELDS)
                document["_fh"]["partial"]["values"] = {"ph": 7.5}
                yield pytest.param(dialect, message, topic, document, id=f"{name}-{message.name}")


def _full(fields):
    document = {}
    for field in fields:
        *path, last = field.name.split(".")
        if "*" in field.name:
            continue
        inner = document
        for step in path:
            inner = inner.setdefault(step, {})
        if field.means in ("node", "org", "company"):
            inner[last] = field.prefix + "n1"
        elif field.const is not None:
            inner[last] = field.const
        elif field.values:
            inner[last] = next(iter(field.values))
        else:
            inner.setdefault(
                last,
                {
                    "number": 5.5 if field.hi is None or field.hi > 5 else field.hi,
                    "int": min(6, field.hi or 6) if field.lo is None or field.lo < 7 else field.lo,
                    "epoch": 1737972000,
                    "string": "word",
                    "bool": True,
                    "time": "2025-01-27T10:00:00Z",
                    "object": {},
                    "any": 1,
                    "list": [],
                }[field.type],
            )
    return document


SAMPLES = list(_samples())
# What a schema cannot say: the topic, one quantity under two names, dates that do not exist, and
# the bound of numbers in fields of any type; and what quantities and events hold in `_fh`.
DECODER_ONLY = ("the topic says", "no reading", "is called", "time that exists", "not a finite",
                "too large a number", "_fh.also.", "is no number and no text")  # fmt: skip

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**16), 10**16),
    st.integers(-5, 300),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(max_size=8),
    st.sampled_from(["on", "off", "ON", "online", "done", "warning", "2025-01-27T10:00:00Z", "1"]),
    st.just({}),
    st.just([]),
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(), max_size=2),
)


@pytest.mark.parametrize(("dialect", "message", "topic", "document"), SAMPLES)
def test_a_full_message_passes_decoder_schema_and_model(dialect, message, topic, document):
    assert dialect.decode(topic, json.dumps(document).encode(), "host")
    jsonschema.validate(document, payloadschema.payload(dialect, message))
    models.model(dialect.name, message.name).model_validate_json(json.dumps(document))


@pytest.mark.parametrize(("dialect", "message", "topic", "document"), SAMPLES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_the_decoder_accepts_schema_and_model_accept(dialect, message, topic, document, data):
    """And the other way round, but for what only the decoder knows: topic, tenant, "no reading"."""
    mutated = json.loads(json.dumps(document))
    place = data.draw(st.sampled_from(sorted(_paths(mutated))))
    inner = mutated
    for step in place[:-1]:
        inner = inner[step]
    action = data.draw(st.sampled_from(["replace", "delete", "add"]))
    if action == "replace":
        inner[place[-1]] = data.draw(ODD)
    elif action == "delete":
        del inner[place[-1]]
    else:
        names = ["extra", "Ph", "x.y", "", "type", "v", "ack.state"]
        inner[data.draw(st.sampled_from(names))] = data.draw(ODD)
    text = json.dumps(mutated, ensure_ascii=False)
    schema_says = jsonschema.Draft7Validator(payloadschema.payload(dialect, message)).is_valid(
        json.loads(text)
    )
    try:
        models.model(dialect.name, message.name).model_validate_json(text)
        model_says = True
    except ValueError:
        model_says = False
    try:
        records = dialect.decode(topic, text.encode(), "host")
        if records[0].message != message.name:
            return  # it became another message of the same topic
        assert schema_says and model_says, mutated
    except MessageError as error:
        if error.message != message.name or any(text in str(error) for text in DECODER_ONLY):
            return
        assert not schema_says, (str(error), mutated)


def _paths(document, start=()):
    for key, value in document.items():
        yield (*start, key)
        if isinstance(value, dict):
            yield from _paths(value, (*start, key))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_can_be_sent_fits_the_schema(name):
    dialect = dialects.unbound(name)
    options = {field.name: "t1" for field in dialect.option_fields if field.required}
    bound = dialects.load(name, options)
    message = next(message for message in dialect.messages if message.kind == "command")
    validator = jsonschema.Draft7Validator(payloadschema.payload(dialect, message))
    for command in dialect.commands:
        params = {}
        for field in command.params:
            words = list(field.values or ())
            low = field.lo or 1
            params[field.name] = words[0] if words else ("x" * 9 if field.type == "string" else low)
        sent = json.loads(bound.encode_command("n1", command.name, params, "id-1", 1737972000)[1])
        validator.validate(sent)
        sent["_fh"] = {"id": "id-1"}
        validator.validate(sent)
        for place in (sent["_fh"], sent):
            place["surprise"] = 1
            assert not validator.is_valid(sent)
            del place["surprise"]


@pytest.mark.parametrize(("dialect", "message", "topic", "document"), SAMPLES)
def test_all_agree_on_keys_and_versions_of_newer_firmware(dialect, message, topic, document):
    schema = jsonschema.Draft7Validator(payloadschema.payload(dialect, message))
    model = models.model(dialect.name, message.name)
    closed = [(), ("ack",), ("alert",), ("partial",)]
    for place, key, value, good in [
        *((place, "sky", {"blue": [1]}, True) for place in closed),
        ((), "v", 1, True), ((), "v", None, True), ((), "v", 2, False), ((), "v", 0, False),
        ((), "v", "1", False), ((), "seq", -1, False), (("ack",), "state", "maybe", False),
    ]:  # fmt: skip
        changed = json.loads(json.dumps(document))
        inner = changed["_fh"]
        for step in place:
            inner = inner[step]
        inner[key] = value
        text = json.dumps(changed)
        assert schema.is_valid(changed) is good, (place, key, value)
        if good:
            dialect.decode(topic, text.encode(), "host")
            model.model_validate_json(text)
        else:
            with pytest.raises(MessageError):
                dialect.decode(topic, text.encode(), "host")
            with pytest.raises(ValueError, match=key):
                model.model_validate_json(text)


def test_the_extension_of_a_message_may_be_null():
    document = {"temperatureC": 20, "_fh": None}
    dialect = dialects.unbound("plantnanny")
    jsonschema.validate(document, payloadschema.payload(dialect, dialect.message("reading")))
    assert dialect.decode("devices/p1/data", json.dumps(document).encode(), "host")
