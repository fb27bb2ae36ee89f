# Every configured sensor read once by its driver; what else is on the buses.


def run(arguments, result):
    from fieldnode.sensors.base import SensorError
    from fieldnode.sensors.build import build

    hal, clock, config = node()  # noqa: F821 - common.py
    wlan = hal.wlan()
    if any([entry["type"] == "rssi" for entry in config["sensors"]]) and not wlan.isconnected():
        from fieldnode.transport import LinkError

        try:
            online(hal, clock, config)  # noqa: F821 - common.py
        except LinkError:
            pass  # the sensor will say so
    result["read"] = rows = []
    for entry in config["sensors"]:
        row = {"type": entry["type"], "name": entry["type"]}
        for key in ("pin", "address", "rom", "quantity"):
            if key in entry:
                row[key] = entry[key]
        rows.append(row)
        try:
            sensor = build([entry], hal, clock, config.get("i2c"))[0]
            row["name"] = sensor.name
            began = clock.ticks_ms()
            clock.sleep_ms(min(sensor.start(), 5000))
            if entry["type"] == "pulse":
                clock.sleep_ms(500)
            row["values"] = [list(pair) for pair in sensor.read()]
            row["ms"] = clock.ticks_diff(clock.ticks_ms(), began)
        except SensorError as error:
            row["fault"] = error.reason
        except (ValueError, OSError) as error:
            row["fault"] = str(error) or type(error).__name__
    bus = config.get("i2c") or arguments.get("i2c")
    if bus:
        result["i2c"] = {"pins": [bus["scl"], bus["sda"]]}
        try:
            result["i2c"]["found"] = list(hal.i2c(bus["scl"], bus["sda"]).scan())
        except (OSError, ValueError) as error:
            result["i2c"]["fault"] = str(error) or type(error).__name__
    result["wires"] = wires = []
    for pin in sorted({e["pin"] for e in config["sensors"] if e["type"] == "ds18b20"}):
        from binascii import hexlify

        try:
            roms = hal.ds18x20(pin).scan()
            wires.append({"pin": pin, "found": [hexlify(rom).decode() for rom in roms]})
        except Exception as error:  # OneWireError is none of OSError's
            wires.append({"pin": pin, "found": [], "fault": str(error) or type(error).__name__})
