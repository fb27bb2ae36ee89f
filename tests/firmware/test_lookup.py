"""A name is looked up in a thread of its own, and the loop goes on."""

import socket
import time

from esp32_socket import Net, VirtualTime
from fieldtest import raises
from session_rig import HOST, STEP_MS, Rig

from fieldnode import transport
from fieldnode.lookup import Lookup


def rig(lookup_ms):
    made = Rig()
    made.session.server = "broker.local"
    made.net.hosts["broker.local"] = [HOST]
    made.net.lookup_ms = lookup_ms
    return made


def test_steps_do_not_wait_for_the_name():
    made = rig(7000)
    made.session.connect()
    # Rig.run fails a step() that takes time.
    made.run(lambda: made.session.up, 7000 + 4 * STEP_MS)
    assert made.time.passed >= 7000 and made.net.lookups == 1


def test_wait_ends_soon_enough_to_see_the_answer():
    made = rig(7000)
    made.session.connect()
    made.session.wait(10000)
    assert made.time.passed == transport.DNS_POLL_MS


def test_no_answer_in_time():
    made = rig(35000)
    made.session.connect()
    error, took = made.fails(transport.DNS_MS + STEP_MS)
    assert str(error) == "DNS broker.local:1883: no answer in 20000 ms" and error.silent
    assert took >= transport.DNS_MS
    # The thread cannot be stopped: the next attempt waits for it, and for no second one.
    made.session.connect()
    made.run(lambda: made.session.up, 16000)
    assert made.net.lookups == 1


def test_an_answer_that_came_too_late_is_not_used():
    made = rig(30000)
    made.session.connect()
    made.fails(transport.DNS_MS + STEP_MS)
    made.time.passed += 60000
    made.net.run_threads()
    made.net.hosts["broker.local"] = ["10.9.9.9"]
    made.net.lookup_ms = 0
    made.session.connect()
    error, _ = made.fails(1000)
    assert "TCP connect" in str(error) and made.net.lookups == 2


def test_another_name_meanwhile():
    made = rig(30000)
    made.session.connect()
    made.session.close()
    made.session.server = "other.local"
    made.net.hosts["other.local"] = [HOST]
    made.net.hosts["broker.local"] = ["10.9.9.9"]
    made.session.connect()
    made.net.lookup_ms = 100
    error, _ = made.fails(transport.DNS_MS + STEP_MS)
    assert "other.local" in str(error)
    made.session.connect()
    made.run(lambda: made.session.up, 30000)


def test_no_memory_for_a_thread_fails_the_attempt():
    made = rig(0)
    made.net.threads = False
    made.session.connect()
    error, _ = made.fails(0)
    assert "no memory for a thread" in str(error)
    made.net.threads = True
    made.up()


def test_a_number_needs_no_thread():
    made = Rig()
    made.net.threads = False
    made.up()


def test_an_empty_answer_is_an_error():
    class Empty(Net):
        def getaddrinfo(self, host, port):
            return []

    lookup = Lookup(Empty(VirtualTime(), {}))
    assert lookup.step("a.local", 1) is None
    assert str(raises(OSError, lookup.step, "a.local", 1)) == "no answer"


def test_real_threads():
    lookup = Lookup(socket)
    for name, known in (("localhost", True), ("name.invalid", False), ("localhost", True)):
        lookup.begin()
        found = error = None
        try:
            found = lookup.step(name, 1883)
            assert found is None, "it waited"
            while found is None:
                time.sleep_ms(1)
                found = lookup.step(name, 1883)
        except OSError as exc:
            error = exc
        assert bool(found) is known and (error is None) is known
