"""`machine.PWM`: every board has an LED, so nodes that need no more load no more."""

import _sim
from micropython import const

_PWM = const(26)


class PWM:
    def __init__(self, dest, *, freq=5000, duty=None, duty_u16=None, duty_ns=None):
        from machine import _INPUTS, _number

        self._n = _number(dest)
        if self._n >= _INPUTS:
            raise ValueError("invalid pin")
        self._freq = freq
        self._duty = 32768  # of 65536
        self.init(freq=freq, duty=duty, duty_u16=duty_u16, duty_ns=duty_ns)

    def init(self, *, freq=None, duty=None, duty_u16=None, duty_ns=None):
        if (duty is not None) + (duty_u16 is not None) + (duty_ns is not None) > 1:
            raise ValueError("only one of parameters 'duty', 'duty_u16' or 'duty_ns' is allowed")
        if freq is not None:
            if not 0 < freq <= 40000000:
                raise ValueError("frequency must be from 1Hz to 40MHz")
            self._freq = freq
        if duty is not None:
            if not 0 <= duty <= 1023:
                raise ValueError("duty must be between 0 and 1023")
            self._duty = duty * 64
        if duty_u16 is not None:
            if not 0 <= duty_u16 <= 65535:
                raise ValueError("duty_u16 must be from 0 to 65535")
            self._duty = duty_u16
        if duty_ns is not None:
            self._duty = min(duty_ns * self._freq * 65536 // 1000000000, 65535)
        _sim.call(_PWM, self._n, self._freq, self._duty)

    def freq(self, value=None):
        if value is None:
            return self._freq
        self.init(freq=value)

    def duty(self, value=None):
        if value is None:
            return self._duty // 64
        self.init(duty=value)

    def duty_u16(self, value=None):
        if value is None:
            return self._duty
        self.init(duty_u16=value)

    def duty_ns(self, value=None):
        if value is None:
            return self._duty * 1000000000 // (65536 * self._freq)
        self.init(duty_ns=value)

    def deinit(self):
        _sim.call(_PWM, self._n, 0, 0)
