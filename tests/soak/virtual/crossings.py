"""Which alerts a node has to raise and to clear, worked out anew, and whether it did, each once."""

_FORGETS_MS = 70000  # notices.SAVE_AFTER_MS and SAVE_EVERY_MS: what a power cut may cost


class Crossings:
    """Of the one quantity that `spec.watched` names."""

    def __init__(self, world, spec, found):
        self.raised = 0
        self._world = world
        self._quantity = spec.watched
        self._found = found
        self._stands = None  # the side of the alert that stands
        self._side = None  # the one of the last reading, while no alert of it stands
        self._since = 0
        self._due = []
        self._heard = []
        self._known = {}  # boot -> number of the last notice heard
        self._last = 0  # when the last was due
        self._doubtful = False
        self._dropped = 0

    def attach(self, node):
        self._side = None
        self._dropped = 0

    def detach(self, node, cause):
        if node.notices.dropped != self._dropped:
            self._doubtful = True
        if cause == "power" and self._world.now - self._last < _FORGETS_MS:
            self._doubtful = True

    def on_reading(self, node, ms, values):
        value = values.get(self._quantity)
        band = node.alerts.bands.get(self._quantity)
        if value is None or band is None:
            return
        value = round(value * 1000)
        low, high = (round(band[end] * 1000) for end in ("min", "max"))
        slack = round(band.get("hysteresis", 0) * 1000)
        side = "below" if value < low else "above" if value > high else None
        if side is None or side == self._stands:
            self._side = None
            inside = low + slack <= value if self._stands == "below" else value <= high - slack
            if self._stands and side is None and inside:
                self._expect(None)
            return
        if side != self._side:
            self._side, self._since = side, ms
        if ms - self._since >= band.get("hold_s", 0) * 1000:
            self._side = None
            self._expect(side)

    def _expect(self, side):
        self._stands = side
        self._due.append(side)
        self._last = self._world.now
        self.raised += side is not None

    def heard(self, obj, ext):
        """An alert arrived: `obj` of the dialect's own message or of an extra, `ext` with it."""
        words = self._quantity.replace("_", " ") + " "
        if not obj["message"].startswith(words):
            return
        if ext["n"] <= self._known.get(ext["boot"], 0):
            return  # QoS 1: once more
        self._known = {boot: self._known[boot] for boot in list(self._known)[-3:]}
        self._known[ext["boot"]] = ext["n"]
        word = obj["message"][len(words) :].split(" ")[0]
        self._heard.append(word if ext["state"] == "raised" else None)

    def settle(self, node):
        """Nothing waits on the node: what was due has been heard."""
        due, heard = self._due, self._heard
        self._due, self._heard = [], []
        if self._doubtful or node.notices.dropped != self._dropped:
            self._dropped = node.notices.dropped
            self._doubtful = False
            self._stands = node.notices.open.get(self._quantity)
            self._side = None
        elif due != heard:
            self._found("alerts of %s: due %s, heard %s" % (self._quantity, due, heard))
