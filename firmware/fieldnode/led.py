"""The board's LED."""


class Led:
    """Dimmed by PWM: brightness 0-255."""

    def __init__(self, config, hal):
        self._invert = config["active_low"]
        self._pwm = hal.pwm(config["pin"])
        self.state = 0
        self.brightness = 255
        self.set(0, None)

    def set(self, state, brightness):
        self.state = state
        if brightness is not None:
            self.brightness = brightness
        level = self.brightness * 257 if state else 0
        self._pwm.duty_u16(65535 - level if self._invert else level)
