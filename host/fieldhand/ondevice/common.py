# Sent before a script that says `node(`: the node's own parts, with its outputs off.


def node():
    """(hal, clock, config): node.json as the node checks it, with what NVS and a cable add."""
    import gc
    import time

    from fieldnode import identity
    from fieldnode.clock import Clock
    from fieldnode.hal import Hal
    from fieldproto import nodeconfig
    from fieldproto.jsonstrict import loads

    gc.collect()
    hal = Hal()
    with open("node.json", "rb") as file:
        raw = loads(file.read())
    for entry in raw.get("actuators", ()):
        hal.pin_out(entry["pin"], 1 if entry.get("active_low") else 0)
    config = nodeconfig.load(raw)
    nvs = hal.nvs(identity.NAMESPACE)
    config["node"] = identity.node_id(config, nvs, hal.unique_id())
    identity.fill_secrets(config, nvs)
    try:  # what the first start will move into NVS
        with open(identity.SECRETS_FILE, "rb") as file:
            brought = loads(file.read())
        for section, key, name in (
            ("wifi", "ssid", "wifi_ssid"),
            ("wifi", "password", "wifi_pass"),
            ("broker", "user", "mqtt_user"),
            ("broker", "password", "mqtt_pass"),
        ):
            if name in brought and not (raw.get(section) or {}).get(key):
                config[section][key] = brought[name]
        if not raw.get("node") and "id" in brought:
            config["node"] = brought["id"]
    except (OSError, ValueError):
        pass
    _slot(config, nvs)
    gc.collect()
    return hal, Clock(time), config


def _slot(config, nvs):
    """What was sent over the air and is in force, see fieldnode/slots.py; a trial goes on."""
    import json
    from binascii import crc32

    wifi, broker = config["wifi"], config["broker"]
    below = [wifi.get("ssid"), wifi.get("password"), broker.get("host"), broker["port"]]
    below += [broker.get("user"), broker.get("password")]
    over = crc32(json.dumps(below).encode())
    try:
        slot = json.loads(nvs.get_str("net") or "{}")
        if slot.get("over", over) == over:
            if "wifi" in slot:
                config["wifi"] = slot["wifi"]
            broker.update(slot.get("broker", {}))
    except (ValueError, AttributeError):
        pass  # damaged: the node goes without, too


def online(hal, clock, config):
    """Wi-Fi up as the node brings it up; milliseconds it took. Raises LinkError."""
    from fieldnode.wifi import Wifi

    wlan = hal.wlan()
    began = clock.ticks_ms()
    if not wlan.isconnected():
        wifi = Wifi(wlan, config["wifi"].get("ssid"), config["wifi"].get("password"), clock)
        wifi.connect()
        while not wifi.up:
            clock.sleep_ms(wifi.step())
    return clock.ticks_diff(clock.ticks_ms(), began)


def dialled(config, clock):
    """The node's session, not yet connected. Raises OSError and ValueError of a CA file."""
    from fieldnode.session import Session

    broker = config["broker"]
    context = None
    if "tls" in broker:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_NONE
        if "ca" in broker["tls"]:
            context.verify_mode = ssl.CERT_REQUIRED
            with open(broker["tls"]["ca"], "rb") as file:
                context.load_verify_locations(cadata=file.read())
    return Session(
        config["node"],
        broker["host"],
        broker["port"],
        broker.get("user"),
        broker.get("password"),
        broker["keepalive_s"],
        context,
        clock,
    )
