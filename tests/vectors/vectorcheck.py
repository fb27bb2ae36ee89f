"""Runs a vectors file against fieldproto; the same code on CPython and on MicroPython.

Each vector is a payload copied from a seed document: decoding it must give `values`, and encoding
those must give the payload again (a null in a document is a field left out). Where several
readings stand in one payload, both are lists. The vectors under
`extension` are what this project adds to a document: notices and readings that a status carries.
"""

import json

from fieldproto import dialects


def near(a, b):
    """Equal, floats to the ESP32's single precision."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all([near(a[i], b[i]) for i in range(len(a))])
    if isinstance(a, dict) and isinstance(b, dict):
        return set(a) == set(b) and all([near(a[key], b[key]) for key in a])
    if isinstance(a, bool) or isinstance(b, bool) or isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and a == b
    if a is None or b is None:
        return a is b
    return abs(a - b) <= 1e-6 * max(1, abs(a))


def without_nulls(obj):
    if isinstance(obj, dict):
        return {key: without_nulls(obj[key]) for key in obj if obj[key] is not None}
    if isinstance(obj, list):
        return [without_nulls(entry) for entry in obj]
    return obj


def load(path):
    with open(path) as file:
        return json.load(file)


def check(book, vector):
    """Raise AssertionError naming the vector and the difference."""
    options = dict(book["options"], **vector.get("options", {}))
    dialect = dialects.load(book["dialect"], options, False)
    node, topic, payload = book["node"], vector["topic"], vector["payload"]
    kind, values = vector["kind"], vector["values"]
    name = "%s, %s" % (book["document"], vector["source"])

    receiver = "node" if kind in ("command", "config") else "host"
    records = dialect.decode(
        topic, json.dumps(payload).encode(), receiver, node if receiver == "node" else None
    )
    wanted = values if isinstance(payload, list) else [values]
    assert len(records) == len(wanted), (name, records)
    for i in range(len(wanted)):
        assert records[i].kind == kind and records[i].node == node, (name, records[i])
        got = without_nulls(records[i].values)
        for option in book["options"]:
            assert got.pop(option) == book["options"][option], name
        assert near(got, wanted[i]), (name, got, wanted[i])

    if kind == "command":
        packet = dialect.encode_command(
            node, values["command"], vector["args"], vector.get("id"), vector.get("time")
        )
    elif kind == "reply":
        packet = dialect.encode_reply(node, vector["reply"], {})
    elif kind == "config":
        return  # written by a backend; the node only reads it
    elif isinstance(payload, list):
        packet = dialect.encode_batch(node, [(entry, None) for entry in wanted])
    elif vector.get("will"):
        packet = dialect.will(node, values)
    else:
        packet = dialect.encode(kind, node, values)
    assert packet.topic == topic, (name, packet)
    assert near(json.loads(packet.payload), without_nulls(payload)), (name, packet.payload)
    assert packet.qos == 1 and packet.retain == vector.get("retain", False), (name, packet)


def check_extension(book, vector):
    """As `check`, for what a message carries under the extension key."""
    name = "%s, %s" % (book["dialect"], vector["source"])
    node = book["node"]
    dialect = dialects.load(book["dialect"], book["options"], True)
    write = getattr(dialect, "encode_" + vector["write"])
    packet = write(node, vector["values"], vector["status"], vector["ext"])
    assert packet.topic == vector["topic"], (name, packet)
    assert near(json.loads(packet.payload), vector["payload"]), (name, packet.payload)
    assert packet.qos == 1 and not packet.retain, (name, packet)
    records = dialect.decode(packet.topic, json.dumps(vector["payload"]).encode())
    assert len(records) == len(vector["records"]), (name, records)
    for i, wanted in enumerate(vector["records"]):
        assert records[i].kind == wanted["kind"] and records[i].node == node, (name, records[i])
        got = without_nulls(records[i].values)
        assert near(got, wanted["values"]), (name, got, wanted["values"])
        assert records[i].ext == wanted["ext"], (name, records[i].ext)
    silent = dialects.load(book["dialect"], book["options"], False)
    plain = getattr(silent, "encode_" + vector["write"])
    packet = plain(node, vector["values"], vector["status"], vector["ext"])
    assert packet is None or b"_fh" not in packet.payload, (name, packet)
