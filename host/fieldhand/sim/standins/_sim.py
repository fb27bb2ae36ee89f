"""The wire from a simulated node to its supervisor: every hardware access is one request.

Two request connections, because a timer or pin handler may ask for something while the main
program waits for an answer, and one that carries interrupts. Requests and replies have fixed
headers in buffers made here, so that asking for a number allocates nothing.
"""

import _thread
import gc
import os
import sys
from struct import pack_into, unpack_from

import micropython
import usocket
import utime
from micropython import const

# Kinds of reply: a number, bytes, and what is to be raised.
_REPLIES = (int, bytes, OSError, ValueError, RuntimeError, TypeError)

# Requests, see protocol.py; the other stand-ins use the numbers.
_RESET = const(9)
_STATE = const(25)

HARD, SOFT, DEEPSLEEP = 2, 5, 4

# Interrupt numbers: 0 to 48 are pins; from 64 on timers, `generation << 2 | id`.
_PINS = const(49)
_TIMER_BASE = const(64)
TIMER0 = const(49)  # where the timers are in the lists below

# What an interrupt calls, and with what.
handlers = [None] * (_PINS + 4)
arguments = [None] * (_PINS + 4)
# How often each timer was set, modulo 32: an alarm of the setting before is not this one's.
generations = bytearray(4)

masked = False  # machine.disable_irq()
_raised = 0  # interrupts handed to the scheduler, counted by the interrupt thread
_served = 0  # of those the main program has taken
_busy = False
_small = bytearray(64)
_number = bytearray(1)


def die():
    """End the process as a power cut does: no handler of the program runs."""
    os.system("kill -9 $PPID")
    while True:
        utime.sleep_ms(1000)


def _open(kind):
    port, token = os.getenv("FIELDHAND_SIM").split(":")
    s = usocket.socket()
    s.connect(usocket.getaddrinfo("127.0.0.1", int(port))[0][-1])
    s.setsockopt(6, 1, 1)  # TCP_NODELAY
    s.write("%s %s\n" % (token, kind))
    return s


def data(buf):
    """`buf` as bytes; MicroPython takes a str for a buffer."""
    return buf.encode() if isinstance(buf, str) else bytes(buf)


class Lean:
    """What nodes rarely call is in _sim_rare, as `Class_method`, and loaded when it is called."""

    def __getattr__(self, name):
        import _sim_rare

        method = getattr(_sim_rare, type(self).__name__ + "_" + name)
        return lambda *args, **kwargs: method(self, *args, **kwargs)


def call(op, a=0, b=0, c=0, payload=None):
    """Ask for `op`; returns an int or bytes. Raises what the supervisor says the chip raises."""
    global _busy
    if _busy:  # we are an interrupt handler that came in between
        return _ask(_second, op, a, b, c, payload)
    _busy = True
    try:
        return _ask(_first, op, a, b, c, payload)
    finally:
        _busy = False


def _ask(connection, op, a, b, c, payload):
    wire, out, head = connection
    pack_into("<BxHiii", out, 0, op, len(payload) if payload else 0, a, b, c)
    wire.write(out + payload if payload else out)
    if wire.readinto(head) != 8:
        die()
    kind, size, value = unpack_from("<BxHi", head, 0)
    if not kind:
        return value
    try:
        answer = wire.read(size)
    except MemoryError:
        # Out of memory for the answer: take it off the wire, or the next would be wrong.
        view = memoryview(_small)
        while size:
            size -= wire.readinto(view[: min(size, len(_small))])
        raise
    kind = _REPLIES[kind]
    if kind is bytes:
        return answer
    text = answer.decode()
    if kind is OSError:
        if not text:
            raise OSError(value)
        if not value:
            raise OSError(text)
        raise OSError(value, text)
    raise kind(text)


def reset(kind, ms=-1):
    """Never returns: the supervisor ends this process."""
    try:
        call(_RESET, kind, ms)
    finally:
        while True:
            utime.sleep_ms(1000)


def _serve(number):
    global _served
    _served = (_served + 1) & 0xFFFF
    if number >= _TIMER_BASE:
        timer = number & 3
        if (number - _TIMER_BASE) >> 2 != generations[timer]:
            return
        number = TIMER0 + timer
    handler = handlers[number]
    if handler:
        handler(arguments[number])


def _interrupts():
    """The interrupt thread: hands what the supervisor signals to the scheduler."""
    global _raised
    number = _number
    waited = 0
    while True:
        if _raised == _served:
            _signals.setblocking(True)
            waited = 0
        else:
            # The ESP32 runs handlers while the program waits for a socket. Here a system call
            # must be interrupted for that, which a collection does by its signal.
            _signals.setblocking(False)
        got = _signals.readinto(number)
        if got is None:
            utime.sleep_ms(1)
            waited += 1
            if not waited & (waited - 1):  # after 1, 2, 4, 8 ... ms
                gc.collect()
            continue
        if got != 1:
            die()
        while masked:
            utime.sleep_ms(1)
        try:
            micropython.schedule(_serve, number[0])
            _raised = (_raised + 1) & 0xFFFF
        except RuntimeError:
            pass  # queue full: lost, as on the chip


def boot():
    """What the board does after power-up: boot.py, main.py, then the REPL."""
    # Without line numbers, and before the program splits the heap up.
    import time  # noqa: F401

    import esp32  # noqa: F401
    import machine  # noqa: F401
    import network  # noqa: F401

    if os.getenv("FIELDHAND_OWN"):
        import _sim_constants  # noqa: F401

    micropython.opt_level(0)
    gc.collect()
    scope = {"__name__": "__main__"}
    for name in ("boot.py", "main.py"):
        try:
            os.stat(name)
        except OSError:
            continue
        try:
            execfile(name, scope)  # noqa: F821
        except SystemExit:
            print("MPY: soft reboot")
            reset(SOFT)
        except BaseException as exc:
            sys.print_exception(exc)
            break
    call(_STATE, 1)
    while True:
        utime.sleep_ms(1000)


# Socket, request header, reply header.
_first = (_open(0), bytearray(16), bytearray(8))
_second = (_open(1), bytearray(16), bytearray(8))
_signals = _open(2)
_thread.start_new_thread(_interrupts, ())
del _open, _interrupts
