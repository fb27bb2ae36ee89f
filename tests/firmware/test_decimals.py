"""Numbers on the wire in the ESP32's single precision; these hold on doubles as well."""

import json
from array import array

from fieldnode.alerts import Alerts
from fieldproto import dialects
from fieldproto.schema import Field

SINGLE = 16777217.0 == 16777216.0


def wire(field, value):
    return json.dumps(field.write(value))


def plain(units, digits):
    text = "%d.%0*d" % (abs(units) // 10**digits, digits, abs(units) % 10**digits)
    text = text.rstrip("0")
    return ("-" if units < 0 else "") + text + ("0" if text.endswith(".") else "")


def test_a_decimal_is_printed_with_its_digits_and_no_more():
    for digits, top in ((1, 2000), (2, 2000)):
        field = Field("x", "number", digits=digits)
        for units in range(-top, top):
            if units:
                value = array("f", [units / 10**digits])[0]  # as the outbox keeps it
                text = wire(field, value)
                if SINGLE:
                    assert text == plain(units, digits), (text, units)
                else:  # MicroPython's doubles are printed with an error in the 16th digit
                    assert abs(float(text) * 10**digits - units) < 1e-9, (text, units)


def test_what_has_no_word_in_the_dialect_is_rounded_alike():
    d = dialects.load("plantnanny", {}, extras=True)
    values = {"air_temperature": 24.3, "chlorine": 0.96, "ph": 0.97, "time": 1795228939}
    packet = d.encode("reading", "n1", values, {"boot": "b"})
    assert b"0.96" in packet.payload and b"0.97" in packet.payload, packet.payload
    assert b"0.970" not in packet.payload, packet.payload


def alerts_of(bands, values):
    class Told:
        open = {}
        alerts = []

        def append(self, kind, alert, ms):
            self.alerts = self.alerts + [alert]

    told = Told()
    told.open = {}
    alerts = Alerts(told, lambda quantity: quantity)
    alerts.bands = bands
    alerts.on_reading(0, values)
    return told.alerts


def test_a_value_on_its_threshold_raises_no_alert():
    for tenths in range(-400, 801):
        bands = {"air_temperature": {"min": tenths / 10, "max": tenths / 10}}
        found = alerts_of(bands, {"air_temperature": tenths * 0.1})  # as dht.DHT22 makes it
        assert not found, found
    (alert,) = alerts_of({"ec": {"max": 1.413}}, {"ec": 1.414})
    assert (alert["value"], alert["threshold"]) == (1.414, 1.413)
