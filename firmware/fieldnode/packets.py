"""Writes MQTT 3.1.1 packets into a queue, taking no memory for what a node sends often."""

_numbers = bytearray(7)  # where they are put together on their way into a queue


def raw(text):
    """`text` as bytes: what is bytes already costs nothing."""
    return text.encode() if isinstance(text, str) else text


def head(queue, op, size):
    """Queue the fixed header of a packet of `size` further bytes."""
    queue.write(_numbers, _head(op, size))


def _head(op, size):
    _numbers[0] = op
    n = 1
    while size > 127:
        _numbers[n] = size & 127 | 128
        size >>= 7
        n += 1
    _numbers[n] = size
    return n + 1


def word(queue, value):
    """Queue a 16-bit number."""
    _numbers[0] = value >> 8
    _numbers[1] = value & 255
    queue.write(_numbers, 2)


def publish(queue, op, size, topic, pid, payload):
    """Queue PUBLISH, `size` bytes after its fixed header; `pid` 0 for QoS 0."""
    n = _head(op, size)
    length = len(topic)
    _numbers[n] = length >> 8
    _numbers[n + 1] = length & 255
    queue.write(_numbers, n + 2)
    queue.write(topic)
    if pid:
        word(queue, pid)
    queue.write(payload)


def field(queue, data):
    """Queue bytes with their length before them."""
    word(queue, len(data))
    queue.write(data)


def connect_fields(client):
    """(flags, fields) of CONNECT for umqtt's attributes: client id, will, user, password."""
    flags = 0
    fields = [client.client_id]
    if client.lw_topic:
        flags |= 4 | client.lw_qos << 3 | client.lw_retain << 5
        fields += [client.lw_topic, client.lw_msg]
    if client.user is not None:
        flags |= 0x80
        fields.append(client.user)
        if client.pswd is not None:
            flags |= 0x40
            fields.append(client.pswd)
    return flags, [raw(data) for data in fields]


def connect(queue, size, flags, keepalive, fields):
    """Queue CONNECT, `size` bytes after its fixed header."""
    head(queue, 0x10, size)
    queue.write(b"\0\4MQTT\4" + bytes((flags,)))
    word(queue, keepalive)
    for data in fields:
        field(queue, data)


def subscribe(queue, pid, topic, qos):
    """Queue SUBSCRIBE for one topic."""
    head(queue, 0x82, 5 + len(topic))
    word(queue, pid)
    field(queue, topic)
    queue.write(bytes((qos,)))
