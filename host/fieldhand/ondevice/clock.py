# What the time server says.


def run(arguments, result):
    import time

    from fieldnode.transport import LinkError

    hal, clock, config = node()  # noqa: F821 - common.py
    result["host"] = config["ntp_host"]
    result["needed"] = "ca" in config["broker"].get("tls", ())
    result["year"] = time.gmtime()[0]
    try:
        online(hal, clock, config)  # noqa: F821 - common.py
    except LinkError as error:
        result["fault"] = str(error)
        return
    for _ in range(3):  # one packet may get lost
        began = clock.ticks_ms()
        try:
            result["unix"] = hal.ntp_time(config["ntp_host"])
            result["ms"] = clock.ticks_diff(clock.ticks_ms(), began)
            result.pop("fault", None)
            return
        except OSError as error:
            result["fault"] = str(error) or "no answer"
