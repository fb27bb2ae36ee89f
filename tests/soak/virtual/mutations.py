"""Faults put into the node on purpose: the model has to find each of them."""


def apply(name, node, bench):
    """Spoil `node`, which has just been built."""
    globals()["_" + name](node, bench)


def _drops_a_reading(node, bench):
    append = node.outbox.append

    def dropping(seq, ms, values):
        if seq % 40:
            append(seq, ms, values)

    node.outbox.append = dropping


def _alters_a_reading(node, bench):
    append = node.outbox.append
    name = bench.spec.marks[0]

    def altering(seq, ms, values):
        if name in values:
            values[name] += 0.3
        append(seq, ms, values)

    node.outbox.append = altering


def _forgets_what_it_flushed(node, bench):
    def forgetting():
        node.outbox.batch.clear()
        return True

    node.outbox.flush = forgetting


def _sends_after_the_puback(node, bench):
    acknowledged = node.outbox.acknowledged

    def deaf(pid):
        return pid % 7 and acknowledged(pid)

    node.outbox.acknowledged = deaf


def _has_the_wrong_time(node, bench):
    epoch = node._clock.epoch
    node._clock.epoch = lambda at=None: epoch(at) and epoch(at) + 60


def _stops_sampling_offline(node, bench):
    step = node.sampler.step
    node.sampler.step = lambda: step() if node.link.up else 1000


def _has_no_ledger(node, bench):
    node.commands._ledger.find = lambda command: None


def _does_not_answer(node, bench):
    append = node.notices.append

    def silent(kind, values, ms=None):
        if kind != "reply":
            append(kind, values, ms)

    node.notices.append = silent


def _obeys_what_is_retained(node, bench):
    on_message = node.on_message
    node.on_message = lambda topic, payload, retained, dup: on_message(topic, payload, False, dup)


def _has_a_dead_timer(node, bench):
    class Dead:
        def cancel(self):
            pass

    node._hal.one_shot = lambda ms, callback: Dead()
    for relay in node.actuators:
        relay.step = lambda: None


def _ignores_its_budget(node, bench):
    for relay in node.actuators:
        relay.budget = None


def _has_no_grace(node, bench):
    for part in node.parts:
        if hasattr(part, "_grace_ms"):
            part._grace_ms = dict.fromkeys(part._grace_ms, 1 << 40)


def _tells_an_alert_twice(node, bench):
    append = node.notices.append

    def twice(kind, values, ms=None):
        append(kind, values, ms)
        if kind == "alert":
            append(kind, dict(values), ms)

    node.notices.append = twice


def _stays_offline(node, bench):
    step = node.link.step
    node.link.step = lambda: step() if node.link.up or not node.link.outages else 1000


def _sends_packet_id_0(node, bench):
    next_pid = node.session._next_pid
    node.session._next_pid = lambda: next_pid() % 60


def _leaks(node, bench):
    kept = []
    node.parts.append(_Leak(kept))


class _Leak:
    def __init__(self, kept):
        self._kept = kept

    def step(self):
        return 1000

    def on_reading(self, ms, values):
        self._kept.append(bytes(64))

    def report(self, status):
        pass
