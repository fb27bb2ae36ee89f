"""Thresholds: one alert when a quantity leaves its band, one more when it is back."""

from micropython import const

from fieldproto.schema import rounded

from . import log

_DIGITS = const(3)  # a DHT's 243 * 0.1 is above 24.3, in doubles and in single precision


class Alerts:
    """`bands` is {quantity: band}, a band of node.json: min, max, hysteresis, hold_s, severity.

    `notices` gets the alerts and keeps which stand, `word(quantity)` is the dialect's for it.
    """

    def __init__(self, notices, word):
        self.bands = {}
        self._notices = notices
        self._word = word
        self._outside = {}  # quantity -> (side, since ms), not yet for as long as hold_s

    def on_reading(self, ms, values):
        """A quantity that is not in `values`, its sensor failed, stays as it was."""
        standing = self._notices.open
        for quantity in self.bands:
            value = values.get(quantity)
            if value is not None:
                self._check(quantity, self.bands[quantity], rounded(value, _DIGITS), ms)
        for quantity in list(standing) if standing else ():
            if quantity not in self.bands:
                self._clear(quantity, "has no threshold any more", ms)

    def _check(self, quantity, band, value, ms):
        low, high = band.get("min"), band.get("max")
        side, limit = None, low
        if low is not None and value < low:
            side = "below"
        elif high is not None and value > high:
            side, limit = "above", high
        stands = self._notices.open.get(quantity)
        if side is None or side == stands:
            self._outside.pop(quantity, None)
            if side is None and stands:
                margin = band.get("hysteresis") or 0
                if stands == "above":
                    limit = high
                    back = high is None or value <= rounded(high - margin, _DIGITS)
                else:
                    back = low is None or value >= rounded(low + margin, _DIGITS)
                if back:
                    self._clear(quantity, "back in band", ms, value, limit)
            return
        since = self._outside.get(quantity)
        if since is None or since[0] != side:
            since = self._outside[quantity] = (side, ms)
        if ms - since[1] >= (band.get("hold_s") or 0) * 1000:
            del self._outside[quantity]
            self._notices.open[quantity] = side
            text = "%s threshold" % side
            self._tell(quantity, band.get("severity") or "warning", text, since[1], value, limit)

    def _clear(self, quantity, text, ms, value=None, limit=None):
        del self._notices.open[quantity]
        self._tell(quantity, "info", text, ms, value, limit, "cleared")

    def _tell(self, quantity, severity, text, ms, value, limit, state="raised"):
        alert = {
            "severity": severity,
            "message": quantity.replace("_", " ") + " " + text,
            "state": state,
            "sensor": self._word(quantity),
            "value": value,
            "threshold": limit,
        }
        log.warning(alert["message"])
        self._notices.append("alert", alert, ms)
