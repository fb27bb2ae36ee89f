# umqtt: all
"""What the session puts on the wire and makes of what comes back."""

from fault_broker import message
from fieldtest import raises
from session_rig import Rig

from fieldnode import session as limits
from fieldnode.session import Session

ZEROS = bytes(1000)

# The packets below are spelled out from the MQTT 3.1.1 standard.


def test_connect_packet():
    rig = Rig(keepalive=300).up()
    assert rig.sock.writes == [b"\x10\x13\0\x04MQTT\x04\x02\x01\x2c\0\x07plant-1"]
    assert rig.sock.nodelay


def test_connect_packet_with_will_user_and_kept_session():
    rig = Rig(user="Zoë", password="pw", keepalive=60)
    rig.session.set_last_will("a/status", b"off", True, 1)
    rig.broker.session_present = 1
    rig.up(clean_session=False)
    assert rig.sock.writes == [
        b"\x10\x2c\0\x04MQTT\x04\xec\0\x3c\0\x07plant-1\0\x08a/status\0\x03off\0\x04Zo\xc3\xab\0\x02pw"
    ]
    assert rig.session.session_present


def test_user_without_password():
    rig = Rig(user="u").up()
    assert rig.sock.writes == [b"\x10\x16\0\x04MQTT\x04\x82\0\x3c\0\x07plant-1\0\x01u"]


def test_one_write_per_publish():
    rig = Rig().up()
    del rig.sock.writes[:]
    assert rig.session.publish(b"a/b", b"hello") == 0
    assert rig.session.publish("a/b", "hello", True, 1) == 1
    assert rig.session.publish("å", "°C", qos=1) == 2
    assert rig.sock.writes == [
        b"\x30\x0a\0\x03a/bhello",
        b"\x33\x0c\0\x03a/b\0\x01hello",
        b"\x32\x09\0\x02\xc3\xa5\0\x02\xc2\xb0C",
    ]


def test_length_of_two_and_three_bytes():
    class Wide(Session):
        tx_bytes = 17000

    rig = Rig(Wide).up()
    rig.broker.receive = lambda sock, data: None
    for size, head in (
        (124, b"\x30\x7f"),
        (125, b"\x30\x80\x01"),
        (16380, b"\x30\xff\x7f"),
        (16381, b"\x30\x80\x80\x01"),
    ):
        del rig.sock.writes[:]
        rig.session.publish(b"t", bytes(size))
        sent = b"".join(rig.sock.writes)
        assert sent.startswith(head + b"\0\x01t"), sent[:6]
        assert len(sent) == len(head) + 3 + size


def test_acknowledged_in_any_order():
    rig = Rig().up()
    rig.broker.puback = False
    ids = [rig.session.publish(b"t", b"x", qos=1) for _ in range(3)]
    assert ids == [1, 2, 3] and rig.session.inflight == 3
    for pid in (2, 3, 1):
        rig.broker.acknowledge(pid)
    rig.settle()
    assert rig.acks == [2, 3, 1]


def test_strange_and_repeated_acks_are_ignored():
    rig = Rig().up()
    rig.session.publish(b"t", b"x", qos=1)
    rig.broker.acknowledge(77)
    rig.broker.acknowledge(1)
    rig.settle()
    assert rig.acks == [1] and rig.session.inflight == 0


def test_window_is_bounded():
    rig = Rig().up()
    rig.broker.puback = False
    for _ in range(Session.window):
        assert rig.session.publish(b"t", b"x", qos=1)
    assert rig.session.publish(b"t", b"x", qos=1) is None
    assert rig.session.publish(b"t", b"x") == 0, "QoS 0 needs no place in the window"
    rig.broker.acknowledge(3)
    rig.session.step()
    assert rig.session.publish(b"t", b"x", qos=1) == Session.window + 1


def test_again_with_the_same_id_as_duplicate():
    rig = Rig().up(clean_session=False)
    rig.broker.puback = False
    pid = rig.session.publish(b"t", b"x", qos=1)
    rig.sock.reset()
    rig.fails(1000)
    rig.broker.puback = True
    rig.up(clean_session=False)
    assert rig.session.publish(b"t", b"x", qos=1, pid=pid) == pid
    assert rig.sock.writes[-1] == b"\x3a\x06\0\x01t\0\x01x"
    rig.settle()
    assert rig.acks == [pid]
    assert rig.session.publish(b"t", b"y", qos=1) != pid


def test_seventy_thousand_publishes_on_one_connection():
    rig = Rig()
    session = rig.session
    seen = [0, 0, 0]  # acks, zeros, uses of the id that stays in flight

    def on_ack(pid):
        seen[0] += 1
        seen[1] += pid == 0
        seen[2] += pid == 5

    session.on_ack = on_ack
    rig.up()
    rig.broker.keep_back = (5,)
    log = rig.broker.packets
    for _ in range(70000):
        assert session.publish(b"t", b"x", qos=1) is not None
        session.step()
        del log[:], rig.sock.writes[:]
    assert session.up and rig.broker.connections == 1
    assert seen == [69999, 0, 0], seen
    assert session.pid < 65535, "the id has wrapped"
    rig.broker.acknowledge(5)
    rig.settle()
    assert seen == [70000, 0, 1]


def test_too_large_to_send_ever():
    rig = Rig().up()
    limit = Session.tx_bytes - limits.RESERVE
    error = raises(ValueError, rig.session.publish, b"t", bytes(limit))
    assert "the limit is %d" % limit in str(error)
    raises(ValueError, rig.session.subscribe, b"t" * limit)
    rig.session.set_last_will("w", bytes(limit), False, 1)
    raises(ValueError, rig.session.connect)


def test_not_connected():
    rig = Rig()
    assert rig.session.publish(b"t", b"x", qos=1) is None
    assert rig.session.subscribe(b"t") is False
    assert rig.session.step() > 0
    rig.session.ping()
    rig.session.disconnect()
    rig.session.close()
    raises(NotImplementedError, rig.session.wait_msg)
    raises(NotImplementedError, rig.session.check_msg)


def test_subscribe():
    rig = Rig().up()
    assert rig.session.subscribe("a/+/c", 1)
    assert not rig.session.subscribe("b"), "one at a time"
    assert rig.sock.writes[-1] == b"\x82\x0a\0\x01\0\x05a/+/c\x01"
    rig.settle()
    assert rig.session.subscribe("b")


def test_messages():
    rig = Rig().up()
    rig.sock.feed(message(b"a/b", b"one"))
    rig.sock.feed(message("a/å".encode(), b"\xff\0", qos=1, pid=700, retain=1, dup=1))
    rig.sock.feed(message(b"a/b", b""))
    rig.settle()
    assert rig.messages == [
        ("a/b", b"one", False, False),
        ("a/å", b"\xff\0", True, True),
        ("a/b", b"", False, False),
    ]
    assert rig.sock.writes[-1] == b"\x40\x02\x02\xbc"


def test_confirmed_before_it_is_obeyed():
    rig = Rig().up()
    confirmed = []
    rig.session.set_callback(lambda *_: confirmed.append(rig.sock.writes[-1] == b"\x40\x02\0\x09"))
    rig.sock.feed(message(b"c", b"restart", qos=1, pid=9))
    rig.settle()
    assert confirmed == [True]


def test_largest_message_and_one_byte_more():
    rig = Rig().up()
    fits = Session.rx_bytes - 3 - 3 - 2
    rig.sock.feed(message(b"c", bytes(fits), qos=1, pid=1))
    rig.sock.feed(message(b"c", bytes(fits + 1), qos=1, pid=2))
    rig.sock.feed(message(b"c", b"after"))
    rig.settle()
    assert [len(m[1]) for m in rig.messages] == [fits, 5]
    assert rig.oversize == [("c", fits + 1)]


def test_oversize_is_thrown_away_and_confirmed():
    rig = Rig().up()
    body = b"\0\x0dplant/command\0\x03"
    size = len(body) + 100000
    rig.sock.feed(bytes((0x32, size & 127 | 128, size >> 7 & 127 | 128, size >> 14)) + body)
    for _ in range(100):
        rig.sock.feed(ZEROS)
    rig.sock.feed(message(b"plant/command", b"good", qos=1, pid=4))
    rig.run(lambda: rig.messages, 60000)
    assert rig.oversize == [("plant/command", 100000)]
    assert rig.messages == [("plant/command", b"good", False, False)]
    assert rig.sock.writes[-2:] == [b"\x40\x02\0\x03", b"\x40\x02\0\x04"]


def test_publish_and_close_inside_a_callback():
    rig = Rig().up()

    def reply(topic, payload, retained, dup):
        rig.session.publish(b"reply", payload, qos=1)
        if payload == b"bye":
            rig.session.close()

    rig.session.set_callback(reply)
    rig.sock.feed(message(b"c", b"hi") + message(b"c", b"bye") + message(b"c", b"lost"))
    rig.session.step()
    assert [w[-3:] for w in rig.sock.writes[-2:]] == [b"\x01hi", b"bye"]
    assert not rig.session.up and not rig.sock.open
    rig.session.step()


def test_failing_callback_leaves_the_stream_in_order():
    rig = Rig().up()
    heard = []

    def fail_once(topic, payload, retained, dup):
        heard.append(payload)
        if payload == b"bad":
            raise RuntimeError("bug")

    rig.session.set_callback(fail_once)
    rig.sock.feed(message(b"c", b"one") + message(b"c", b"bad") + message(b"c", b"two"))
    raises(RuntimeError, rig.session.step)
    assert rig.session.up
    rig.settle()
    assert heard == [b"one", b"bad", b"two"]


def test_disconnect_sends_what_is_queued_first():
    rig = Rig().up()
    rig.sock.taking = 3
    rig.session.publish(b"t", b"last words", qos=1)
    rig.session.disconnect()
    assert rig.broker.kinds() == "10 32 e0"
    assert not rig.sock.open and not rig.session.up


def test_disconnect_has_a_deadline():
    rig = Rig().up()
    rig.sock.taking = 0
    rig.session.disconnect()
    assert not rig.sock.open


def test_close_says_nothing():
    rig = Rig().up()
    rig.session.close()
    assert rig.broker.kinds() == "10" and not rig.sock.open
