# The access point: in range, how strong, and whether it lets the node in.


def run(arguments, result):
    from fieldnode.transport import LinkError

    hal, clock, config = node()  # noqa: F821 - common.py
    ssid = config["wifi"].get("ssid")
    result["ssid"] = ssid
    wlan = hal.wlan()
    wlan.active(True)
    try:
        wlan.disconnect()  # a scan while it dials gives nothing
    except OSError:
        pass
    near = {}
    for _ in range(2):  # a single scan may miss one
        try:
            for found in wlan.scan():
                name = found[0].decode() if isinstance(found[0], bytes) else found[0]
                if name not in near or found[3] > near[name][0]:
                    near[name] = [found[3], found[2], found[4]]  # RSSI, channel, security
        except (OSError, UnicodeError) as error:
            result["scan_error"] = str(error)
        if ssid in near:
            break
    result["found"] = near.get(ssid)
    result["others"] = sorted([name for name in near if name and name != ssid])[:12]
    try:
        result["connect_ms"] = online(hal, clock, config)  # noqa: F821 - common.py
    except LinkError as error:
        result["fault"] = str(error)
        return
    result["rssi"] = wlan.status("rssi")
    result["ip"] = list(wlan.ifconfig())
    try:
        result["channel"] = wlan.config("channel")
    except (OSError, ValueError):
        pass
