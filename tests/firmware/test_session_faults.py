# umqtt: all
"""A broker and a network that misbehave: nothing hangs past its deadline, nothing but LinkError."""

import gc

import umqtt.simple
from esp32_socket import Hang
from fault_broker import message
from fieldtest import raises
from session_rig import HOST, STEP_MS, Rig

from fieldnode import session as limits
from fieldnode import transport
from fieldnode.session import Session
from fieldnode.transport import LinkError


def check_deadline(rig, limit_ms, words):
    error, took = rig.fails(limit_ms + 2 * STEP_MS)
    assert took >= limit_ms - 2 * STEP_MS, "given up after %d ms" % took
    assert error.silent
    for word in words.split("|"):
        assert word in str(error), str(error)
    assert not rig.sock.open


def check_refused(rig, words):
    error, _ = rig.fails(1000)
    assert not error.silent
    assert words in str(error), str(error)
    assert not rig.sock.open


def check_works(rig):
    """The session still does everything on a new connection."""
    del rig.messages[:], rig.acks[:]
    rig.broker.__init__()
    rig.net.brokers[HOST] = rig.broker
    rig.up()
    rig.session.subscribe("c")
    rig.settle()
    rig.sock.feed(message(b"c", b"good"))
    rig.session.publish(b"t", b"x", qos=1)
    rig.settle()
    assert len(rig.acks) == 1 and rig.messages == [("c", b"good", False, False)]


def test_stock_umqtt_hangs_on_this_socket():
    # Else the tests below would pass on a socket kinder than the ESP32's.
    rig = Rig()
    umqtt.simple.socket = rig.net
    client = umqtt.simple.MQTTClient("x", HOST, keepalive=60)
    client.connect()
    client.set_callback(print)
    rig.sock.settimeout(5)
    raises(OSError, client.wait_msg)
    assert rig.time.passed == 5000
    rig.sock.feed(b"\xd0\0")
    client.wait_msg()
    raises(Hang, client.wait_msg)


def test_unknown_host():
    rig = Rig()
    rig.session.server = "broker.local"
    rig.session.connect()
    error, took = rig.fails(0)
    assert str(error) == "DNS: no address for broker.local (-2)" and error.silent
    assert rig.net.sockets == []


def test_address_is_looked_up_each_time():
    rig = Rig()
    rig.session.server = "broker.local"
    rig.net.hosts["broker.local"] = ["10.9.9.9"]
    rig.session.connect()
    check_refused(rig, "TCP connect broker.local:1883: ECONNRESET")
    rig.net.hosts["broker.local"] = ["::1", HOST]
    rig.up()


def test_refused():
    rig = Rig()
    del rig.net.brokers[HOST]
    rig.session.connect()
    check_refused(rig, "TCP connect 10.0.0.2:1883: ECONNRESET")


def test_no_answer_to_tcp():
    rig = Rig()
    rig.net.brokers[HOST] = None
    rig.session.connect()
    check_deadline(rig, transport.TCP_MS, "TCP connect|no answer in 10000 ms")
    check_works(rig)


def test_no_connack():
    rig = Rig()
    rig.broker.connack = None
    rig.session.connect()
    check_deadline(rig, limits.CONNACK_MS, "MQTT connect|no CONNACK")
    check_works(rig)


def test_closed_between_connect_and_connack():
    rig = Rig()
    rig.broker.hang_up_on = 0x10
    rig.session.connect()
    check_refused(rig, "MQTT connect 10.0.0.2:1883: closed by the other side")
    check_works(rig)


def test_half_a_connack():
    rig = Rig()
    rig.broker.connack = None
    rig.session.connect()
    rig.session.step()
    rig.sock.feed(b"\x20\x02\0")
    rig.sock.end()
    check_refused(rig, "closed by the other side")


def test_each_refusal_has_its_message():
    texts = []
    for code in (1, 2, 3, 4, 5, 6, 255):
        rig = Rig()
        rig.broker.connack = code
        rig.session.connect()
        error, _ = rig.fails(1000)
        assert error.code == code and not error.silent
        assert str(error).endswith("(%d)" % code)
        texts.append(str(error).rsplit("(", 1)[0])
    assert len(set(texts[:5])) == 5
    assert "bad user name or password" in texts[3]
    assert "client id" in texts[1]


def test_nodelay_unknown():
    rig = Rig()
    rig.broker.prepare = lambda sock: None
    make = rig.net.socket

    def old_socket(*family):
        sock = make(*family)
        sock.knows_nodelay = False
        return sock

    rig.net.socket = old_socket
    rig.up()
    assert not rig.sock.nodelay


def test_bytes_come_and_go_one_at_a_time():
    rig = Rig()

    def narrow(sock):
        sock.taking = sock.giving = 1

    rig.broker.prepare = narrow
    rig.session.set_last_will("w", "gone", True, 1)
    rig.session.connect()
    rig.run(lambda: rig.session.up, 5000)
    rig.session.subscribe("c", 1)
    rig.sock.feed(message(b"c", b"x" * 300, qos=1, pid=260))
    rig.run(lambda: rig.messages, 60000)
    for number in range(5):
        assert rig.session.publish(b"t", b"y" * (100 + number), qos=1)
    rig.settle()
    assert rig.messages == [("c", b"x" * 300, False, False)]
    bodies = [body for op, body in rig.broker.packets if op == 0x32]
    assert [len(body) for body in bodies] == [105, 106, 107, 108, 109]
    assert (0x40, b"\x01\x04") in rig.broker.packets
    assert len(rig.acks) == 5


def test_packets_cut_at_every_byte():
    stream = (
        message(b"c", b"one", qos=1, pid=1)
        + b"\xd0\0"
        + message(b"c/d", b"x" * 200)
        + b"\x40\x02\0\x01"
        + message(b"c", bytes(2100), qos=1, pid=2)
        + message(b"c", b"three", retain=1)
    )
    rig = Rig().up()
    for size in range(1, 300):
        for first in (size, 1):
            del rig.messages[:], rig.oversize[:], rig.broker.packets[:]
            rig.sock.giving = None
            rig.sock.feed(stream[:first])
            rig.session.step()
            rig.sock.giving = size
            rig.sock.feed(stream[first:])
            rig.run(lambda: not rig.sock.unread(), 600000)
            rig.session.step()
            assert [m[:2] for m in rig.messages] == [
                ("c", b"one"),
                ("c/d", b"x" * 200),
                ("c", b"three"),
            ], size
            assert rig.oversize == [("c", 2100)]


def test_slow_is_not_dead():
    rig = Rig(keepalive=600).up()
    # The window never empties and the queue never clears, but something moves every 6 s.
    rig.broker.puback = False
    rig.session.publish(b"t", b"x", qos=1)
    pid = 1
    for _ in range(20):
        assert rig.session.publish(b"t", b"x" * 100, qos=1) == pid + 1
        rig.sock.taking = 0
        rig.session.publish(b"t", b"y" * 50)
        for _ in range(6):
            rig.session.step()
            rig.time.passed += 1000
        rig.broker.acknowledge(pid)
        pid += 1
        rig.sock.taking = 10
        rig.session.step()
        del rig.broker.packets[:]
    assert rig.session.up and rig.session.inflight == 1


def test_full_send_buffer():
    rig = Rig().up()
    rig.sock.taking = 0
    sent = 0
    while rig.session.publish(b"t", bytes(200)) is not None:
        sent += 1
        assert sent < 100, "the queue has no bound"
    rig.sock.feed(message(b"c", b"m", qos=1, pid=1) * 200)
    for _ in range(20):
        rig.session.step()
    assert 0 < len(rig.messages) < 200, "messages wait while there is no room for their PUBACK"
    rig.sock.taking = None
    rig.run(lambda: len(rig.messages) == 200, 1000)
    assert rig.broker.count(0x30) == sent and rig.broker.count(0x40) == 200
    assert rig.session.publish(b"t", bytes(200)) == 0


def test_stalled_write():
    rig = Rig().up()
    rig.sock.taking = 0
    rig.session.publish(b"t", b"x")
    check_deadline(rig, transport.WRITE_MS, "connection 10.0.0.2:1883|no byte taken")
    check_works(rig)


def test_black_hole_while_publishing():
    rig = Rig().up()
    rig.sock.drains = False
    rig.session.publish(b"t", b"x", qos=1)
    check_deadline(rig, limits.PUBACK_MS, "no PUBACK")
    check_works(rig)


def test_half_open_link_when_idle():
    rig = Rig(keepalive=60).up()
    rig.sock.drains = False
    check_deadline(rig, 30000 + limits.PINGRESP_MS, "no PINGRESP")
    check_works(rig)


def test_half_open_link_while_sending_qos_0():
    # Sending keeps the broker's timer quiet, not ours.
    rig = Rig(keepalive=60).up()
    rig.sock.drains = False
    started = rig.time.passed
    error = None
    while error is None:
        rig.session.publish(b"t", b"x")
        try:
            rig.session.step()
        except LinkError as exc:
            error = exc
        rig.time.passed += 1000
    assert "no PINGRESP" in str(error)
    assert rig.time.passed - started <= 30000 + limits.PINGRESP_MS + 2000


def test_no_pingresp():
    rig = Rig(keepalive=10).up()
    rig.broker.pingresp = False
    check_deadline(rig, 5000 + limits.PINGRESP_MS, "no PINGRESP")


def test_without_keepalive_a_dead_link_is_still_noticed():
    rig = Rig(keepalive=0).up()
    assert rig.sock.writes[0][10:12] == b"\0\0"
    rig.sock.drains = False
    check_deadline(rig, limits.DEFAULT_KEEPALIVE_S * 500 + limits.PINGRESP_MS, "no PINGRESP")


def test_idle_link_is_kept_alive():
    rig = Rig(keepalive=60).up()
    started = rig.time.passed
    while rig.time.passed - started < 3600000:
        rig.time.passed += max(rig.session.step(), 1)
    assert rig.session.up
    pings = rig.broker.count(0xC0)
    assert 100 <= pings <= 121, pings


def test_no_suback():
    rig = Rig().up()
    rig.broker.suback = None
    rig.session.subscribe("c")
    check_deadline(rig, limits.SUBACK_MS, "no SUBACK")


def test_refused_subscription_names_the_topic():
    rig = Rig().up()
    rig.broker.suback = 0x80
    rig.session.subscribe("plants/7/command", 1)
    check_refused(rig, "broker refused the subscription to plants/7/command")


def test_closed_while_publishing():
    rig = Rig().up()
    rig.broker.hang_up_on = 0x32
    rig.session.publish(b"t", b"x", qos=1)
    check_refused(rig, "connection 10.0.0.2:1883: closed by the other side")


def test_reset_shows_in_step_not_in_publish():
    rig = Rig().up()
    rig.sock.reset()
    assert rig.session.publish(b"t", b"x", qos=1) == 1
    check_refused(rig, "connection 10.0.0.2:1883: ECONNRESET")
    assert rig.session.inflight == 0
    check_works(rig)


def test_what_no_broker_may_send():
    for data, words in (
        (b"\x40\x03\0\0\0", "0x40 with 3 bytes"),
        (b"\xd0\x01\0", "0xd0 with 1 bytes"),
        (b"\x00\x00", "0x00"),
        (b"\xf0\x00", "0xf0"),
        (b"\x10\x00", "0x10"),
        (b"\x90\x80\x80\x80\x80\x01", "malformed packet length"),
        (b"\x30\xff\xff\xff\xff\x7f", "malformed packet length"),
        (b"\x20\x02\0\0", "out of order"),
        (b"\x34\x06\0\x01c\0\x01x", "QoS"),
        (b"\x36\x06\0\x01c\0\x01x", "QoS"),
        (b"\x30\x00", "shorter than its topic"),
        (b"\x30\x02\0\x01", "shorter than its topic"),
        (b"\x30\x05\0\x05abc", "shorter than its topic"),
        (b"\x32\x04\0\x01c\0", "shorter than its topic"),
        (b"\x30\x05\0\x02\xc3\x28x", "not UTF-8"),
        (b"\x30\xff\xff\x7f\xff\xff", "topic of 65535 bytes"),
    ):
        rig = Rig().up()
        rig.sock.feed(data)
        check_refused(rig, words)
        assert not rig.messages and not rig.oversize


def test_a_message_before_connack():
    for data in (message(b"c", b"x"), message(b"c", bytes(5000)), b"\x40\x02\0\x01"):
        rig = Rig()
        rig.broker.connack = None
        rig.session.connect()
        rig.session.step()
        rig.sock.feed(data)
        check_refused(rig, "out of order")
        assert not rig.messages and not rig.oversize


def test_garbage():
    state = 12345
    chunk = bytearray(2000)
    gc.collect()
    for seed in range(40):
        rig = Rig().up()
        for sent in range(100):
            for i in range(0, 2000):
                state = (state * 1103515245 + 12345) & 0x3FFFFFFF
                chunk[i] = state >> 16 & 255
            if seed % 2 and not sent:
                chunk[:5] = b"\x30\xff\xff\xff\x7f"  # as if one huge message began
            rig.sock.feed(bytes(chunk))
            try:
                rig.session.step()
            except LinkError:
                break
            if not seed % 2 and sent > 8:
                break
        rig.session.close()
        check_works(rig)


def test_two_hundred_kilobytes_of_garbage_on_one_connection():
    rig = Rig().up()
    rig.sock.feed(b"\x31\xff\xff\xff\x7f\0\x01c")
    for _ in range(100):
        rig.sock.feed(b"\xa5" * 2000)
        rig.run(lambda: not rig.sock.unread(), 1000)
    assert [topic for topic, _ in rig.oversize] == ["c"]
    # The PINGRESP drowns in the message that never ends.
    check_deadline(rig, 30000 + limits.PINGRESP_MS, "no PINGRESP")
    check_works(rig)


def test_flood_leaves_the_loop_its_turn():
    rig = Rig().up()
    heard = [0]

    def count(*_):
        heard[0] += 1

    rig.session.set_callback(count)
    flood = message(b"c", bytes(100))
    for _ in range(600):
        rig.sock.feed(flood)
    rig.session.step()
    assert 0 < heard[0] <= 4 * Session.rx_bytes // 100
    rig.run(lambda: heard[0] == 600, 5000)
