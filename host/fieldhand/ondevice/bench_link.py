# The way to the broker and what goes over it. Every figure is a list of single measurements.

_DEADLINE_MS = 60000


def run(arguments, result):
    import gc

    result["series"] = series = {}
    hal, clock, config = node()  # noqa: F821 - common.py
    series["wifi_ms"] = []
    wlan = hal.wlan()
    wlan.active(True)
    for _ in range(arguments["connects"]):
        if wlan.isconnected():
            wlan.disconnect()
            clock.sleep_ms(100)
        series["wifi_ms"].append(online(hal, clock, config))  # noqa: F821 - common.py
    config["node"] += "-bench"  # what the broker keeps for the node stays there
    gc.collect()
    session = dialled(config, clock)  # noqa: F821 - common.py
    topic = b"fieldhand/bench/" + config["node"].encode()
    payload = b"x" * arguments["bytes"]
    series["connect_ms"] = connects = []
    try:
        for i in range(arguments["connects"]):
            if i:
                session.disconnect()
            began = clock.ticks_ms()
            session.connect()
            while not session.up:
                session.wait(min(session.step(), 20))
            connects.append(clock.ticks_diff(clock.ticks_ms(), began))
        for window in (1, 16):
            rates = series["window_%d" % window] = []
            for _ in range(arguments["runs"]):
                gc.collect()
                us = _publish(session, clock, topic, payload, arguments["messages"], window)
                rates.append(arguments["messages"] * 1000000 / us)
        series["heap_bytes"] = _heap(session, clock, topic, payload, arguments["runs"])
    finally:
        if session.up:
            session.disconnect()


def _publish(session, clock, topic, payload, count, window):
    """Microseconds until the last of `count` is acknowledged."""
    import time

    began = clock.ticks_ms()
    began_us = time.ticks_us()
    sent = 0
    while sent < count or session.inflight:
        while sent < count and session.inflight < window:
            if session.publish(topic, payload, False, 1) is None:
                break
            sent += 1
        session.wait(min(session.step(), 20))
        if clock.ticks_diff(clock.ticks_ms(), began) > _DEADLINE_MS:
            raise OSError("%d messages took more than a minute" % count)
    return max(time.ticks_diff(time.ticks_us(), began_us), 1)


def _heap(session, clock, topic, payload, runs):
    """Bytes a publish leaves for the collector, from queue to PUBACK."""
    import gc

    found = []
    for _ in range(runs):
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        _publish(session, clock, topic, payload, 16, 1)
        found.append((gc.mem_alloc() - before) / 16)
        gc.enable()
    return found
