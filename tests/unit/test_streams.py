import threading
import time

from fieldhand.streams import Stream


def numbers(**options):
    return Stream(lambda event: isinstance(event, int), **options)


def test_gives_in_order_what_it_wants():
    stream = numbers(timeout=0.01)
    for event in (1, "x", 2):
        stream.offer(event)
    assert list(stream) == [1, 2]


def test_full_drops_the_oldest_and_counts():
    stream = numbers(timeout=0.01, limit=3)
    for event in range(5):
        stream.offer(event)
    assert list(stream) == [2, 3, 4] and stream.dropped == 2


def test_close_ends_a_waiting_reader_after_what_waits():
    stream = numbers()
    stream.offer(1)
    got = []
    reader = threading.Thread(target=lambda: got.extend(stream))
    reader.start()
    time.sleep(0.05)
    stream.close()
    reader.join(2)
    stream.offer(2)
    assert not reader.is_alive() and got == [1] and stream.get(0) is None


def test_timeout_is_since_the_last_record():
    stream = numbers(timeout=0.1)
    begin = time.monotonic()
    assert next(stream, None) is None
    assert 0.09 < time.monotonic() - begin < 1
