"""The way to the broker, and the only place that rebuilds it: Wi-Fi, session, subscriptions."""

from micropython import const

from . import log
from .transport import LinkError

ZOMBIE_AFTER = const(3)  # silent failures in a row before the radio is restarted
IDLE_MS = const(1000)


class Link:
    """Call step() in a loop, wait() in between; it never raises for what the network does.

    `up`: subscribed and ready. `outages`: how often it was lost; `cause`: why, the last time, or
    why it never came up; `failure`: why the last attempt failed; `down_ms`: how long the outage
    lasts or lasted; `up_ms`: how long the connection holds or held.
    """

    def __init__(
        self, clock, wifi, make_session, backoff, subscriptions, owner, clean_session=True
    ):
        """`wifi`: a Wifi, or None where the network is always there. `make_session()` gives the
        Session for the next connection, its will set; it may be the same one each time.
        `subscriptions`: (topic, qos) pairs. `owner` has `on_up()`, which publishes what a new
        connection needs and sends again what is not acknowledged, and Session's `on_message`,
        `on_ack` and `on_oversize`, which may be called before `on_up` when the broker kept the
        session."""
        self.outages = 0
        self.cause = self.failure = ""
        self.down_ms = self.up_ms = 0
        self.session = None
        self._wifi = wifi
        self._backoff = backoff
        self._subscriptions = subscriptions
        self._make_session = make_session
        self._owner = owner
        self._clean = clean_session
        self._clock = clock
        self._state = "down"
        self._delay = 0  # ms left before the next attempt
        self._asked = 0  # subscriptions made so far
        self._silent = 0  # failures in a row with no sign of life
        self._last = clock.ticks_ms()

    @property
    def up(self):
        return self._state == "up"

    def step(self):
        """Move on by a slice; returns the ms until it has to be called again, 0 after news."""
        now = self._clock.ticks_ms()
        passed = self._clock.ticks_diff(now, self._last)
        self._last = now
        # Summed up, because the difference of two ticks is only good for six days.
        if self._state == "up":
            self.up_ms += passed
            self._backoff.held(self.up_ms)
        else:
            self.down_ms += passed
            self._delay -= passed
        try:
            return self._advance()
        except LinkError as exc:
            self._failed(exc)
            return max(self._delay, 0)

    def _advance(self):
        if self._state == "closed":
            return IDLE_MS
        if self._state == "down":
            if self._delay > 0:
                return self._delay
            if self._wifi is None or self._wifi.up:
                return self._dial()
            self._state = "wifi"
            self._wifi.connect()
            return 0
        if self._state == "wifi":
            left = self._wifi.step()
            return self._dial() if self._wifi.up else left
        if self._wifi is not None and not self._wifi.up:
            raise LinkError("Wi-Fi lost")
        left = self.session.step()
        if self._state == "mqtt" and self.session.up:
            self._state = "subscribe"
            self._asked = 0
        if self._state == "subscribe" and not self.session.subscribing:
            return self._subscribe()
        return left

    def _dial(self):
        self.session = None  # its memory may serve the new one
        self.session = session = self._make_session()
        session.set_callback(self._owner.on_message)
        session.on_ack = self._owner.on_ack
        session.on_oversize = self._owner.on_oversize
        self._state = "mqtt"
        session.connect(self._clean)
        return 0

    def _subscribe(self):
        if self._asked < len(self._subscriptions):
            if self.session.subscribe(*self._subscriptions[self._asked]):
                self._asked += 1
            return 0
        self._state = "up"
        self._silent = 0
        self.up_ms = 0
        self._owner.on_up()
        return 0

    def _failed(self, exc):
        self._drop()
        self.failure = str(exc)
        if "in the future" in self.failure and not self._clock.known():  # mbedTLS's words
            self.failure += ": no time server has set the clock"
            log.warning(self.failure)
        if self._state == "up":
            self.outages += 1
            self.down_ms = 0
            self.cause = self.failure
        elif not self.outages and not self.up_ms:
            self.cause = self.failure
        self._state = "down"
        self._delay = self._backoff.next_ms()
        self._silent = self._silent + 1 if exc.silent else 0
        if self._silent >= ZOMBIE_AFTER and self._wifi is not None:
            self._silent = 0
            self._wifi.reset()

    def publish(self, topic, payload, retain=False, qos=0, pid=0):
        """As Session.publish; None also while the link is not up."""
        if self._state != "up":
            return None
        return self.session.publish(topic, payload, retain, qos, pid)

    def wait(self, ms):
        """Sleep until the socket has news, or `ms` passed."""
        if self.session is None:
            self._clock.sleep_ms(ms)
        else:
            self.session.wait(ms)

    def _drop(self):
        if self.session is not None:
            self.session.close()

    def reconnect(self):
        """Part from the broker cleanly and dial again: what it is told at CONNECT has changed."""
        if self._state == "up":
            self.session.disconnect()
            self._state = "down"
            self._delay = 0

    def disconnect(self):
        """Part from the broker cleanly, for good: it has what was published, or 2 s passed."""
        if self.session is not None:
            self.session.disconnect()
        self._state = "closed"

    def close(self):
        """Drop the connection for good; the broker publishes the will."""
        self._drop()
        self._state = "closed"
