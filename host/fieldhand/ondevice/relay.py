# One short pulse of a relay, ended by the hardware timer as every run is.


def run(arguments, result):
    from machine import Pin

    from fieldnode.relay import Refused, Relay

    hal, clock, config = node()  # noqa: F821 - common.py
    for entry in config["actuators"]:
        if entry["name"] == arguments["relay"]:
            break
    else:
        result["fault"] = "node.json has no actuator of that name"
        result["known"] = [entry["name"] for entry in config["actuators"]]
        return
    relay = Relay(entry, hal, clock)
    result["pin"] = entry["pin"]
    pin = Pin(entry["pin"])
    levels = [pin.value()]
    ms = min(arguments["ms"], entry["max_run_s"] * 1000)
    try:
        relay.on(ms)
        began = clock.ticks_ms()
        levels.append(pin.value())
        # The timer ends it; this loop only looks on, and not for ever.
        while relay.running and clock.ticks_diff(clock.ticks_ms(), began) < ms + 1000:
            clock.sleep_ms(5)
        result["by_timer"] = not relay.running
        result["ran_ms"] = clock.ticks_diff(clock.ticks_ms(), began)
    except Refused as error:
        result["fault"] = str(error)
    finally:
        relay.off("done")
    levels.append(pin.value())
    result["levels"] = levels
