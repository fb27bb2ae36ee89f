"""Thresholds: one alert when a quantity leaves its band, armed again when it is back."""

from micropython import const

from fieldproto.schema import rounded

_DIGITS = const(3)  # a DHT's 243 * 0.1 is above 24.3, in doubles and in single precision


class Alerts:
    """`bands` is {quantity: {"min": number, "max": number}}, each end optional."""

    def __init__(self):
        self.bands = {}
        self._outside = set()

    def check(self, values):
        """Alerts (severity, message, quantity, value, threshold) for the crossings in `values`."""
        found = []
        bands = self.bands
        for quantity in bands:
            value = values.get(quantity)
            if value is None:
                continue
            value = rounded(value, _DIGITS)
            low = bands[quantity].get("min")
            high = bands[quantity].get("max")
            if low is not None and value < low:
                crossing = ("below", low)
            elif high is not None and value > high:
                crossing = ("above", high)
            else:
                self._outside.discard(quantity)
                continue
            if quantity not in self._outside:
                self._outside.add(quantity)
                text = "%s %s threshold" % (quantity.replace("_", " "), crossing[0])
                found.append(("warning", text, quantity, value, crossing[1]))
        return found
