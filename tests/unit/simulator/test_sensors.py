"""DHT, 1-Wire and I2C devices, and their faults, as a program meets them."""

import pytest
from unit.simulator.programs import start

from fieldhand.sim import World


def test_dht_and_its_faults(sim):
    node = start(
        sim,
        """
        import dht, time
        from machine import Pin
        d = dht.DHT22(Pin(4))
        while True:
            try:
                d.measure()
                print("ok %.1f %.1f" % (d.temperature(), d.humidity()))
            except Exception as e:
                print("error", repr(e))
            time.sleep_ms(20)
        """,
        {"sensors": [{"type": "dht22", "pin": 4}]},
        world=World(air_temperature=-3.5, relative_humidity=61),
    )
    node.wait_console("ok -3.5 61.0")
    node.faults.sensor("dht")
    node.wait_console("error OSError(116,)")
    node.faults.sensor(4, mode="crc")
    node.wait_console("error Exception('checksum error',)")
    node.faults.sensor("dht22", fail=False)
    node.wait_console("ok -3.5", since=node.console.mark())
    with pytest.raises(KeyError, match="ds18b20"):
        node.faults.sensor("ds18b20")


def test_ds18b20(sim):
    node = start(
        sim,
        """
        import ds18x20, onewire, time
        from machine import Pin
        try:
            ds18x20.DS18X20(onewire.OneWire(Pin(14))).convert_temp()
        except onewire.OneWireError:
            print("none there")
        ds = ds18x20.DS18X20(onewire.OneWire(Pin(5)))
        roms = ds.scan()
        print(len(roms), ds.read_temp(roms[0]))
        ds.convert_temp()
        time.sleep_ms(750)
        print(ds.read_temp(roms[0]), hex(roms[0][0]))
        while True:
            try:
                ds.read_temp(roms[0])
            except Exception as e:
                print("error", e)
                break
        """,
        {"sensors": [{"type": "ds18b20", "quantity": "water_temperature", "pin": 5}]},
        world=World(day_s=1e9, water_temperature=21.5),
    )
    node.wait_console("none there")
    node.wait_console("1 85.0")
    node.wait_console("21.5 0x28")
    node.faults.sensor("ds18b20", mode="crc")
    node.wait_console("error CRC error")


def test_i2c_devices(sim):
    node = start(
        sim,
        """
        import machine, time
        bus = machine.SoftI2C(scl=machine.Pin(22), sda=machine.Pin(21), freq=100000)
        print(bus.scan(), machine.SoftI2C(scl=22, sda=23).scan())
        print(bus.readfrom_mem(118, 0xD0, 1))
        bus.writeto(99, "R")
        time.sleep_ms(950)
        buf = bytearray(8)
        bus.readfrom_into(99, buf)
        print(buf)
        bus.writeto_mem(118, 0xF4, b"\\x25")
        while True:
            try:
                bus.writeto(99, b"R")
            except OSError as e:
                print(repr(e))
                break
        """,
        {
            "i2c": {"scl": 22, "sda": 21},
            "sensors": [{"type": "ezo", "quantity": "ph"}, {"type": "bme280"}],
        },
        world=World(day_s=1e9, ph=7.25),
    )
    node.wait_console("[99, 118] []")
    node.wait_console("b'`'")
    node.wait_console("x017.250")
    node.faults.sensor("ph")
    node.wait_console("OSError(19,)")
