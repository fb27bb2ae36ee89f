# heapsize: 4M
"""Every fault of the link, on the whole node: it samples on, its pump keeps its time, it is back.

`Rig.turn` fails whenever the node waits, a sample is late or the pump is on a turn too long. What
follows adds: the fault is noticed within a named deadline, the node returns within its backoff,
no reading is missing, and the outage is reported with its cause.
"""

from fake_wlan import GOT_IP, NO_AP, WRONG_PASSWORD
from fault_broker import Broker, message
from node_rig import HOST, IP, PIN, TURN_MS, Rig

from fieldnode import session, transport
from fieldnode import wifi as wifi_limits
from fieldnode.backoff import BASE_MS, CAP_MS, STABLE_MS

LEASE_MS = 25000
FAULT_MS = 90000
WIFI_TAKES_MS = 3000
SLACK_MS = 1000  # turns of the loop, SUBACKs


def strike(
    fault, noticed_ms, cause, interval_ms=5000, failure=None, clean_session=True, relapses_ms=0
):
    """`fault(rig)` returns what heals it; the pump is on when it strikes.

    `noticed_ms`: the named deadline, 0 where the node is told at once. `cause`: words of the
    outage's cause; `failure`: of why the node does not come back before it is healed;
    `relapses_ms`: how long it may take to be stable, if not from the first connection on.
    """
    rig = Rig(interval_ms, clean_session)
    rig.broker.session_present = not clean_session
    rig.up(STABLE_MS + 1000)
    brokers = [rig.broker]
    rig.pump_on(LEASE_MS)
    heal = fault(rig)
    rig.run(lambda: not rig.link.up, noticed_ms + interval_ms + SLACK_MS)
    assert cause in rig.link.cause, rig.link.cause
    started = rig.time.now
    rig.run_for(FAULT_MS)
    if failure is not None:
        assert failure in rig.link.failure, rig.link.failure
    assert rig.time.now - started >= LEASE_MS - noticed_ms, "the pump's end was seen"
    assert not rig.pump.running and rig.pump.ended == "done"
    before = rig.backoff.failures
    healed = heal(rig)
    if healed is not None:
        brokers.append(healed)
    # What is left of the wait, of an attempt begun before, and one more of each.
    wait_ms = min(CAP_MS, BASE_MS << before)
    back_ms = rig.run(
        lambda: rig.link.up, 2 * wait_ms + attempt_ms(failure) + WIFI_TAKES_MS + SLACK_MS
    )
    rig.run(lambda: rig.backoff.failures == 0, (relapses_ms or STABLE_MS) + SLACK_MS)
    assert rig.link.up
    taken = rig.node.seq
    rig.run_for(2 * interval_ms)
    assert rig.seqs(*brokers)[:taken] == list(range(1, taken + 1)), "a reading is missing"
    outages = [e for e in rig.events(*brokers) if e["event"] == "outage"]
    assert cause in outages[0]["cause"] and outages[-1]["count"] == rig.link.outages
    runs = [e for e in rig.events(*brokers) if e["event"] == "run"]
    assert len(runs) == 1 and runs[0]["reason"] == "done" and runs[0]["ran_ms"] == LEASE_MS
    assert sum(sock.open for sock in rig.net.sockets) == 1, "sockets leak"
    return rig, back_ms


def attempt_ms(failure):
    """The longest that an attempt may take that fails so."""
    for word, limit in (
        ("no CONNACK", session.CONNACK_MS),
        ("no SUBACK", session.SUBACK_MS),
        ("no answer", max(transport.TCP_MS, transport.DNS_MS)),
        ("no byte taken", transport.WRITE_MS),
        ("no connection", wifi_limits.WIFI_MS),
    ):
        if failure and word in failure:
            return limit
    return 0


def nothing(rig):
    pass


def silence(rig):
    """Packets are lost both ways, on this connection and the next ones."""
    rig.sock.drains = False
    rig.net.brokers[IP] = None


def hear(rig):
    rig.net.brokers[IP] = rig.broker


def test_half_open_link():
    def fault(rig):
        rig.sock.drains = False  # the broker has forgotten us, and nobody says so
        return nothing

    strike(fault, session.PUBACK_MS, "no PUBACK in 20000 ms")


def test_half_open_link_that_is_idle():
    def fault(rig):
        rig.sock.drains = False
        return nothing

    # A reading in ten minutes: only the ping can notice.
    strike(fault, 30000 + session.PINGRESP_MS, "no P", interval_ms=40000)


def test_black_hole_in_the_middle_of_a_publish():
    def fault(rig):
        rig.sock.taking = 0
        rig.net.brokers[IP] = None
        return hear

    strike(fault, transport.WRITE_MS, "no byte taken in 10000 ms", failure="no answer in 10000 ms")


def test_black_hole_after_some_bytes_of_a_publish():
    def fault(rig):
        write = rig.sock.write

        def some(data, *span):
            rig.sock.taking = 40 if rig.sock.taking is None else 0
            n = write(data, *span)
            rig.sock.taking = 0
            return n

        rig.sock.write = some
        rig.run(lambda: rig.sock.taking == 0, 6000)
        rig.net.brokers[IP] = None
        return hear

    rig, _ = strike(fault, transport.WRITE_MS, "no byte taken in 10000 ms")
    # The half packet is no packet: all there are can be read.
    assert rig.received()


def test_nothing_passes():
    def fault(rig):
        silence(rig)
        return hear

    rig, _ = strike(fault, session.PUBACK_MS, "no PUBACK", failure="no answer in 10000 ms")
    assert "active 0" in rig.wlan.calls, "the radio was restarted"


def test_broker_killed_between_connect_and_connack():
    def fault(rig):
        rig.broker.hang_up_on = 0x10
        rig.sock.reset()

        def heal(rig):
            rig.broker.hang_up_on = None

        return heal

    strike(fault, 0, "ECONNRESET", failure="MQTT connect broker.local:1883: closed by the other")


def mute(name, failure):
    def fault(rig):
        was = getattr(rig.broker, name)
        setattr(rig.broker, name, None)
        rig.sock.end()
        return lambda rig: setattr(rig.broker, name, was)

    strike(fault, 0, "closed by the other side", failure=failure)


def test_no_connack():
    mute("connack", "no CONNACK in 10000 ms")


def test_no_suback():
    mute("suback", "no SUBACK in 10000 ms")


def refused(code, words):
    def fault(rig):
        rig.broker.connack = code
        rig.sock.reset()
        return lambda rig: setattr(rig.broker, "connack", 0)

    strike(fault, 0, "ECONNRESET", failure="broker refused the connection: %s (%d)" % (words, code))


def test_connack_refused_1():
    refused(1, "it does not speak MQTT 3.1.1")


def test_connack_refused_2():
    refused(2, "client id rejected")


def test_connack_refused_3():
    refused(3, "server unavailable")


def test_connack_refused_4():
    refused(4, "bad user name or password")


def test_connack_refused_5():
    refused(5, "not authorised")


def test_connack_refused_for_reserved_codes():
    for code in (6, 127, 255):
        refused(code, "for a reason it alone knows")


def test_subscription_refused():
    def fault(rig):
        rig.broker.suback = 0x80
        rig.sock.reset()
        return lambda rig: setattr(rig.broker, "suback", 1)

    strike(fault, 0, "ECONNRESET", failure="refused the subscription to devices/n1/command")


def lost_pubacks(clean_session):
    """The connection breaks with readings unacknowledged that the broker has."""

    def fault(rig):
        rig.broker.puback = False
        rig.run_for(12000)
        assert rig.node.session.inflight >= 2
        rig.broker.puback = True
        rig.sock.reset()
        return nothing

    rig, _ = strike(fault, 0, "ECONNRESET", clean_session=clean_session)
    flags = [body[7] & 2 for op, body in rig.broker.packets if op == 0x10]
    assert flags == ([2, 2] if clean_session else [0, 0])


def test_session_not_present():
    lost_pubacks(clean_session=True)


def test_session_present():
    lost_pubacks(clean_session=False)


def test_kept_session_that_the_broker_has_lost():
    rig = Rig(clean_session=False).up(STABLE_MS)
    rig.broker.session_present = 0
    rig.broker.packets.clear()
    rig.sock.reset()
    rig.run(lambda: not rig.link.up, SLACK_MS)
    rig.up()
    assert not rig.node.session.session_present
    assert rig.broker.count(0x82), "it subscribes again"


def test_unknown_name():
    def fault(rig):
        found, rig.net.hosts[HOST] = rig.net.hosts[HOST], []
        rig.sock.reset()
        return lambda rig: rig.net.hosts.__setitem__(HOST, found)

    strike(fault, 0, "ECONNRESET", failure="DNS: no address for broker.local (-2)")


def test_name_server_that_does_not_answer():
    def fault(rig):
        rig.net.lookup_ms = 30000  # in the thread; the loop may not notice
        found, rig.net.hosts[HOST] = rig.net.hosts[HOST], []
        rig.sock.reset()

        def heal(rig):
            rig.net.lookup_ms = 100
            rig.net.hosts[HOST] = found

        return heal

    # The look-up under way at the end may take until its own.
    strike(fault, 0, "ECONNRESET", failure="DNS")


def test_broker_on_a_new_address():
    def fault(rig):
        moved = Broker()
        rig.net.brokers = {"10.7.7.7": moved}
        rig.sock.reset()

        def heal(rig):
            rig.net.hosts[HOST] = ["10.7.7.7"]
            return moved

        return heal

    strike(fault, 0, "ECONNRESET", failure="TCP connect broker.local:1883: ECONNRESET")


def test_broker_gone_and_back():
    def fault(rig):
        del rig.net.brokers[IP]
        rig.sock.end()
        return hear

    strike(fault, 0, "closed by the other side", failure="ECONNRESET")


def access_point(outcome, words):
    def fault(rig):
        rig.wlan.outcome = outcome
        rig.wlan.lose()
        return lambda rig: setattr(rig.wlan, "outcome", GOT_IP)

    strike(fault, 0, "Wi-Fi lost", failure=words)


def test_wifi_gone_and_back():
    access_point(NO_AP, "no access point of that name (201)")


def test_access_point_with_another_password():
    access_point(WRONG_PASSWORD, "wrong password (202)")


def test_access_point_that_never_says_yes_or_no():
    access_point(None, "Wi-Fi field: access point lost (200)")


def test_pingresp_missing():
    def fault(rig):
        rig.broker.pingresp = False
        return lambda rig: setattr(rig.broker, "pingresp", True)

    strike(fault, 30000 + session.PINGRESP_MS, "no PINGRESP in 10000 ms", interval_ms=120000)


def test_packet_ids_wrap_and_skip_those_in_flight():
    # 70,000 publishes are in test_session.py; this is the node at the end of the ids.
    rig = Rig(interval_ms=1000).up(STABLE_MS)
    rig.pump_on(LEASE_MS)
    mark = len(rig.received())
    rig.broker.keep_back = (3,)
    rig.node.session.pid = 2
    rig.run(lambda: len(rig.received()) > mark, 2000)
    rig.node.session.pid = 65530
    rig.run_for(15000)
    ids = [pid for op, pid, _ in rig.received()[mark:]]
    assert ids[:11] == [3, 65531, 65532, 65533, 65534, 65535, 1, 2, 4, 5, 6], ids
    rig.broker.acknowledge(3)
    rig.run_for(LEASE_MS)
    taken = rig.node.seq
    rig.run_for(2000)
    assert rig.link.outages == 0 and rig.seqs()[:taken] == list(range(1, taken + 1))


def test_no_time_is_asked_for_while_a_relay_is_on():
    # ntptime blocks, and on the chip the end of the run would have to wait.
    asked = []

    def ntp_time(host):
        asked.append(rig.time.now)
        assert rig.hal.pins[PIN].value() == 0, "a pump runs"
        raise OSError(116)

    rig = Rig()
    rig.hal.ntp_time = ntp_time
    rig.up()
    assert len(asked) == 1
    rig.pump_on(600000)
    rig.run_for(200000)
    rig.sock.reset()  # the next connection would ask first of all
    rig.run_for(390000)
    assert rig.link.outages == 1 and rig.link.up and len(asked) == 1
    rig.run_for(20000)
    assert len(asked) == 2


def test_server_closes_during_the_drain():
    closes = []

    def fault(rig):
        del rig.net.brokers[IP]
        rig.sock.reset()

        def heal(rig):
            hear(rig)
            answer = rig.broker._answer

            def grudging(sock, op, body):
                answer(sock, op, body)
                if len(closes) < 4 and rig.broker.count(0x32) % 7 == 6:
                    closes.append(rig.time.now)
                    sock.end()

            rig.broker._answer = grudging

        return heal

    rig, _ = strike(fault, 0, "ECONNRESET", interval_ms=1000, relapses_ms=4 * CAP_MS + STABLE_MS)
    assert len(closes) == 4


def test_fragments_of_one_byte():
    def fault(rig):
        def narrow(sock):
            sock.taking = sock.giving = 1

        rig.broker.prepare = narrow
        rig.sock.reset()
        return nothing

    rig, _ = strike(fault, 0, "ECONNRESET")
    command = b'{"action": "pump_water", "durationMs": 2000}'
    rig._ends_at = None
    rig.sock.feed(message(b"devices/n1/command", command, qos=1, pid=9))
    rig.run(lambda: rig.pump.running, 5000)
    rig.run(lambda: not rig.pump.running, 2000 + 2 * TURN_MS)


def test_200_kb_of_garbage():
    state = 99

    def garbage(size):
        nonlocal state
        chunk = bytearray(size)
        for i in range(size):
            state = (state * 1103515245 + 12345) & 0x3FFFFFFF
            chunk[i] = state >> 16 & 255
        return bytes(chunk)

    def fault(rig):
        noise = garbage(2000)

        def flood(sock):
            for _ in range(100):
                sock.feed(noise)

        rig.broker.prepare = flood
        for _ in range(100):
            rig.sock.feed(noise)
        return lambda rig: setattr(rig.broker, "prepare", None)

    strike(fault, 0, "broker sent", failure="broker sent")


def test_200_kb_that_look_like_one_message():
    def fault(rig):
        rig.sock.feed(b"\x31\xff\xff\xff\x7f\0\x01c")
        for _ in range(100):
            rig.sock.feed(b"\xa5" * 2000)
        return nothing

    # PUBACKs drown in it.
    strike(fault, session.PUBACK_MS, "no PUBACK")


def test_link_that_flaps_waits_longer_and_longer():
    rig = Rig().up(STABLE_MS)
    ups = []
    for _ in range(9):
        rig.sock.reset()
        rig.run(lambda: not rig.link.up, SLACK_MS)
        lost = rig.time.now
        rig.run(lambda: rig.link.up, CAP_MS + SLACK_MS)
        ups.append(rig.time.now - lost)
        rig.run_for(STABLE_MS - 2000)  # not quite stable
    assert all(b > 1.5 * a for a, b in zip(ups[:7], ups[1:7])), ups
    assert CAP_MS - 100 <= ups[-1] <= CAP_MS + SLACK_MS and ups[-2] >= CAP_MS - 100
    rig.run_for(2000 + TURN_MS)
    rig.sock.reset()
    rig.run(lambda: not rig.link.up, SLACK_MS)
    assert rig.run(lambda: rig.link.up, SLACK_MS + BASE_MS) <= BASE_MS + 2 * TURN_MS
