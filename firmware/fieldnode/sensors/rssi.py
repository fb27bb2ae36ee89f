"""Strength of the Wi-Fi signal."""

from fieldnode.sensors.base import Sensor, SensorError


class Rssi(Sensor):
    """`wlan` is a station interface, as `network.WLAN`."""

    def __init__(self, wlan, clock):
        Sensor.__init__(self, "rssi", ("signal_strength",), clock)
        self._wlan = wlan

    def _start(self):
        return 0

    def _read(self):
        # Without an access point the ESP32 answers with the last value, or 0.
        if not self._bus(self._wlan.isconnected):
            raise SensorError(self.name, "Wi-Fi is not connected")
        return (self._bus(self._wlan.status, "rssi"),)


def create(config, buses):
    return Rssi(buses.hal.wlan(), buses.clock)
