# The way to the broker, step by step, by the node's own session; then a message there and back.


def run(arguments, result):
    import gc
    import time

    from fieldnode.transport import LinkError, Transport

    hal, clock, config = node()  # noqa: F821 - common.py
    broker = config["broker"]
    result["host"], result["port"] = broker["host"], broker["port"]
    result["tls"] = "tls" in broker
    result["ms"] = took = {}
    kept = not broker["clean_session"]
    gc.collect()
    try:
        online(hal, clock, config)  # noqa: F821 - common.py
        if "ca" in broker.get("tls", ()):
            _set_clock(hal, config["ntp_host"])
        result["year"] = time.gmtime()[0]
        if kept:  # under its own name the broker would give us what waits for the node
            config["node"] += "-doctor"
        session = dialled(config, clock)  # noqa: F821 - common.py
    except (LinkError, OSError, ValueError, MemoryError) as error:
        result["fault"] = str(error) or type(error).__name__
        result["phase"] = "Wi-Fi" if isinstance(error, LinkError) else "TLS handshake"
        return
    # By its kind: names that begin with _ are shortened on the node.
    wire = [part for part in session.__dict__.values() if isinstance(part, Transport)][0]
    heard = []
    session.set_callback(lambda topic, payload, retained, dup: heard.append((topic, payload)))
    began = clock.ticks_ms()
    try:
        session.connect()
        while not session.up:
            phase = wire.phase
            left = session.step()
            if wire.phase != phase:
                took[phase] = clock.ticks_diff(clock.ticks_ms(), began)
                began = clock.ticks_ms()
            if not session.up:
                session.wait(min(left, 50))
        result["address"] = _address(broker["host"], broker["port"])
        _there_and_back(session, clock, arguments, result, heard)
    except (LinkError, OSError, ValueError, MemoryError) as error:
        result["fault"] = str(error) or type(error).__name__
        result["code"] = getattr(error, "code", 0)
        result["phase"] = wire.phase
        return
    finally:
        if session.up:
            session.disconnect()
    result["phase"] = "done"


def _set_clock(hal, host):
    """As the node does before it connects: certificates are judged by the chip's clock."""
    for _ in range(2):  # one packet may get lost
        try:
            hal.set_clock(hal.ntp_time(host))
            return
        except OSError:
            pass  # the handshake shows whether it matters


def _address(host, port):
    import socket

    at = socket.getaddrinfo(host, port)[0][-1]
    if isinstance(at, tuple):
        return at[0]
    return ".".join([str(n) for n in bytes(at)[4:8]])  # the unix port's


def _there_and_back(session, clock, arguments, result, heard):
    for topic in arguments["subscribe"]:
        result["topic"] = topic
        result["stage"] = "subscribe"
        session.subscribe(topic, 1)
        _until(session, clock, lambda: not session.subscribing, 10000)
    topic, payload, retain = arguments["publish"]
    result["topic"] = topic
    result["stage"] = "publish"
    del heard[:]
    began = clock.ticks_ms()
    session.publish(topic, payload, retain, 1)
    _until(session, clock, lambda: not session.inflight, 20000)
    result["puback_ms"] = clock.ticks_diff(clock.ticks_ms(), began)
    mark = arguments["mark"].encode()

    def echoed():
        return any([at == topic and body == payload.encode() for at, body in heard])

    def told():
        return any([mark in body and at != topic for at, body in heard])

    wanted = (lambda: echoed() and told()) if arguments["witness"] else echoed
    _until(session, clock, wanted, arguments["wait_ms"])
    result["echo"], result["told"] = echoed(), told()


def _until(session, clock, done, ms):
    began = clock.ticks_ms()
    while not done() and clock.ticks_diff(clock.ticks_ms(), began) < ms:
        session.wait(min(session.step(), 50))
