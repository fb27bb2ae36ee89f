# What the chip does by itself, in microseconds unless the name says otherwise. Every figure is a
# list of single measurements.

_FLASH = "bench.tmp"


def run(arguments, result):
    import gc
    import time

    result["series"] = series = {}
    result["skipped"] = skipped = {}
    _machine(result)
    gc.collect()
    result["free"] = gc.mem_free()
    result["heap"] = gc.mem_free() + gc.mem_alloc()
    result["block"] = _largest(gc.mem_free())

    def timed(name, count, call):
        took = series.setdefault(name, [])
        for _ in range(count):
            began = time.ticks_us()
            call()
            took.append(time.ticks_diff(time.ticks_us(), began))

    timed("gc_us", arguments["times"], gc.collect)
    hal, clock, config = node()  # noqa: F821 - common.py
    _sensors(config, hal, clock, timed, skipped)
    _encode(config, arguments, timed, skipped)
    gc.collect()
    try:
        _flash(config, clock, arguments, timed)
    except OSError as error:
        skipped["flash"] = str(error)
    finally:
        _remove()
    series["timer_late_us"] = _lateness(hal, arguments["times"])


def _machine(result):
    import sys

    result["machine"] = sys.implementation._machine
    result["release"] = ".".join([str(n) for n in sys.implementation.version[:3]])
    try:
        import machine

        result["mhz"] = machine.freq() // 1000000
    except (ImportError, AttributeError):
        pass


def _largest(limit):
    low, high = 0, limit
    while high - low > 256:
        middle = (low + high) // 2
        try:
            bytearray(middle)
            low = middle
        except MemoryError:
            high = middle
    return low


def _sensors(config, hal, clock, timed, skipped):
    from fieldnode.sensors.base import SensorError
    from fieldnode.sensors.build import build
    from fieldnode.transport import LinkError

    if any([entry["type"] == "rssi" for entry in config["sensors"]]):
        try:
            online(hal, clock, config)  # noqa: F821 - common.py
        except LinkError as error:
            skipped["Wi-Fi"] = str(error)

    try:
        sensors = build(config["sensors"], hal, clock, config.get("i2c"))
    except ValueError as error:
        skipped["sample_us"] = str(error)
        return
    failed = []

    def sample():
        longest = 0
        started = []
        for sensor in sensors:
            try:
                longest = max(longest, sensor.start())
                started.append(sensor)
            except SensorError as error:
                failed.append(str(error))
        clock.sleep_ms(min(longest, 5000))
        for sensor in started:
            try:
                sensor.read()
            except SensorError as error:
                failed.append(str(error))

    if sensors:
        timed("sample_us", 3, sample)
        if failed:
            skipped["sensors"] = failed[0]
    else:
        skipped["sample_us"] = "no sensors"


def _encode(config, arguments, timed, skipped):
    from fieldproto import dialects

    dialect = dialects.load(config["dialect"], config.get("options", {}), config["extras"])
    ext = {"boot": "1-0001", "seq": 1, "ms": 1000, "q": "synced"}

    def encode():
        return dialect.encode("reading", config["node"], dict(arguments["values"]), ext)

    try:
        encode()
    except ValueError as error:
        skipped["encode_us"] = str(error)
        return
    timed("encode_us", arguments["times"], encode)


class _Memory:
    """No RTC memory: what the node keeps in its own is not ours to touch."""

    def rtc_memory(self, data=None):
        return b""


def _flash(config, clock, arguments, timed):
    from fieldnode.outbox import Outbox

    values = {"air_temperature": 21.5, "relative_humidity": 40.25, "pressure": 1001.5}
    box = Outbox(clock, _Memory(), (1, 1), config["outbox_bytes"], 86400, _FLASH)
    n = [0]

    def fill():
        for _ in range(32):
            n[0] += 1
            box.append(n[0], n[0] * 1000, values)

    def write():
        if not box.flush():
            raise OSError(box.fault)

    def read():
        for pid in range(1, 17):
            if box.take() is None:
                raise OSError("nothing to read back")
            box.sent(pid)
        for pid in range(1, 17):
            box.acknowledged(pid)

    for _ in range(arguments["flash_times"]):
        fill()
        timed("flash_write_us", 1, write)
    for _ in range(arguments["flash_times"]):
        timed("flash_read_us", 1, read)


def _remove():
    import os

    try:
        for entry in os.ilistdir(_FLASH):
            os.remove(_FLASH + "/" + entry[0])
        os.rmdir(_FLASH)
    except OSError:
        pass
    try:
        os.remove(_FLASH + ".json")
    except OSError:
        pass


def _lateness(hal, count):
    import time

    fired = []

    def note(_timer):
        fired.append(time.ticks_us())

    late = []
    for _ in range(count):
        del fired[:]
        began = time.ticks_us()
        hal.one_shot(50, note)
        while not fired and time.ticks_diff(time.ticks_us(), began) < 1000000:
            time.sleep_ms(1)
        if fired:
            late.append(time.ticks_diff(fired[0], began) - 50000)
    return late
