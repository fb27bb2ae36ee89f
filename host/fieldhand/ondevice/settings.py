# node.json as the node checks it, and who it is.


def run(arguments, result):
    from binascii import hexlify

    from fieldnode import identity
    from fieldnode.hal import Hal

    hal = Hal()
    result["mac"] = hexlify(hal.unique_id()).decode()
    try:
        from fieldproto import nodeconfig
        from fieldproto.jsonstrict import loads

        with open("node.json", "rb") as file:
            raw = loads(file.read())
        nodeconfig.load(raw)
    except OSError as error:
        result["invalid"] = "node.json: cannot be read (%s)" % error
        result["missing"] = error.errno == 2
        return
    except ValueError as error:
        result["invalid"] = "node.json: %s" % error
        return
    _hal, _clock, config = node()  # noqa: F821 - common.py
    result["node"] = config["node"]
    result["dialect"] = config["dialect"]
    result["options"] = config.get("options", {})
    result["sensors"] = len(config["sensors"])
    result["actuators"] = [entry["name"] for entry in config["actuators"]]
    result["brought"] = _there(identity.SECRETS_FILE)
    # Whether they are there; what they are stays there.
    result["has"] = {
        "%s.%s" % (section, key): bool(config[section].get(key))
        for section, key in (
            ("wifi", "ssid"),
            ("wifi", "password"),
            ("broker", "user"),
            ("broker", "password"),
        )
    }
    result["broker"] = [config["broker"].get("host"), config["broker"]["port"]]
    tls = config["broker"].get("tls")
    if tls is not None and "ca" in tls:
        result["ca"] = _there(tls["ca"])


def _there(path):
    import os

    try:
        os.stat(path)
        return True
    except OSError:
        return False
