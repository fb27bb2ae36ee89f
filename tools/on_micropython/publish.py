"""MicroPython side of tools/bench.py: QoS 1 publishes per second of one client.

`publish.py CLIENT PORT COUNT` prints a line of JSON. CLIENT: stock, session, sequential, floor.
"""

import gc
import json
import socket
import sys
import time

client, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
HOST = "127.0.0.1"
TOPIC = b"bench/data"
PAYLOAD = bytes(250)
HEAP_ROUNDS = 20


def stock():
    from umqtt.simple import MQTTClient

    mqtt = MQTTClient("bench", HOST, port)
    mqtt.connect()

    def publish(rounds):
        for _ in range(rounds):
            mqtt.publish(TOPIC, PAYLOAD, False, 1)

    return publish


def session(window=None):
    from fieldnode.session import Session

    class Windowed(Session):
        pass

    if window:
        Windowed.window = window
    mqtt = Windowed("bench", HOST, port)
    mqtt.connect()
    while not mqtt.up:
        mqtt.wait(1000)
        mqtt.step()

    def publish(rounds):
        left = rounds
        while left or mqtt.inflight:
            while left and mqtt.publish(TOPIC, PAYLOAD, False, 1):
                left -= 1
            mqtt.wait(1000)
            mqtt.step()

    return publish


def floor():
    sock = socket.socket()
    sock.connect(socket.getaddrinfo(HOST, port)[0][-1])
    sock.setsockopt(6, 1, 1)
    sock.write(b"\x10\x11\0\x04MQTT\x04\x02\0\0\0\x05bench")
    ack = bytearray(4)
    sock.readinto(ack)
    size = 2 + len(TOPIC) + 2 + len(PAYLOAD)
    packet = bytes((0x32, size & 127 | 128, size >> 7, 0, len(TOPIC))) + TOPIC + b"\0\1" + PAYLOAD

    def publish(rounds):
        for _ in range(rounds):
            sock.write(packet)
            sock.readinto(ack)
        assert ack == b"\x40\x02\0\1"

    return publish


makers = {"stock": stock, "session": session, "sequential": lambda: session(1), "floor": floor}
publish = makers[client]()
publish(5)
gc.collect()
gc.disable()
before = gc.mem_alloc()
publish(HEAP_ROUNDS)
heap = (gc.mem_alloc() - before) / HEAP_ROUNDS
gc.enable()
start = time.ticks_us()
publish(count)
took = time.ticks_diff(time.ticks_us(), start)
print(json.dumps({"per_second": count * 1000000 / took, "heap_bytes_per_publish": heap}))
