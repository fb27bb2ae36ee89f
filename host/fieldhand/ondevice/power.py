# Why the board started, and what the node counts in NVS. Before any soft reset: that is a cause.

# RTC_CNTL_RESET_STATE_REG by chip, its low six bits: the reset the ROM prints as "rst:0x..".
# ESP-IDF: components/soc/*/include/soc/rtc_cntl_reg.h.
_REGISTER = {"ESP32": 0x3FF48034, "ESP32S3": 0x60008038, "ESP32C3": 0x60008038}


def run(arguments, result):
    import sys

    import esp32
    import machine

    causes = ("PWRON", "HARD", "WDT", "DEEPSLEEP", "SOFT")
    cause = machine.reset_cause()
    for name in causes:
        if cause == getattr(machine, name + "_RESET"):
            result["cause"] = name
    words = sys.implementation._machine.replace("-", "").split()
    address = _REGISTER.get(words[-1] if words else "")
    if address and hasattr(machine, "mem32"):
        result["rom"] = machine.mem32[address] & 63
    nvs = esp32.NVS("fieldhand")
    buffer = bytearray(1024)
    for name in ("boot", "crashes", "brownouts"):
        try:
            result[name] = bytes(buffer[: nvs.get_blob(name, buffer)]).decode()
        except (OSError, ValueError):
            pass
