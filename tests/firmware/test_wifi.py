"""Wi-Fi comes up, or says why not, within its deadline."""

from esp32_socket import VirtualTime
from fake_wlan import GOT_IP, HANDSHAKE_TIMEOUT, NO_AP, WRONG_PASSWORD, FakeWlan

from fieldnode import wifi as limits
from fieldnode.transport import LinkError
from fieldnode.wifi import Wifi


def make():
    time = VirtualTime()
    wlan = FakeWlan(time)
    return time, wlan, Wifi(wlan, "field", "secret", time)


def attempt(time, wifi):
    """(error or None, ms it took) of one attempt."""
    started = time.passed
    try:
        wifi.connect()
        while not wifi.up:
            time.passed += wifi.step()
    except LinkError as exc:
        return str(exc), time.passed - started
    return None, time.passed - started


def test_comes_up():
    time, wlan, wifi = make()
    error, took = attempt(time, wifi)
    assert error is None and 3000 <= took < 3200
    # A second connect() without disconnect() raises; endless retries hide the reason.
    assert wlan.calls == [
        "active 1",
        "config [('reconnects', 0)]",
        "disconnect",
        "connect field secret",
    ]


def test_each_reason_has_its_words():
    for status, words in (
        (NO_AP, "no access point of that name (201)"),
        (WRONG_PASSWORD, "wrong password (202)"),
        (HANDSHAKE_TIMEOUT, "wrong password (204)"),
        (15, "wrong password (15)"),
        (99, "failed (99)"),
    ):
        time, wlan, wifi = make()
        wlan.outcome = status
        error, took = attempt(time, wifi)
        assert error == "Wi-Fi field: " + words, error
        assert took < 3200


def test_deadline():
    time, wlan, wifi = make()
    wlan.outcome = None
    error, took = attempt(time, wifi)
    assert "no connection in 30000 ms" in error
    assert limits.WIFI_MS <= took <= limits.WIFI_MS + limits.POLL_MS


def test_old_reason_is_not_taken_for_a_new_one():
    time, wlan, wifi = make()
    wlan.outcome = WRONG_PASSWORD
    assert attempt(time, wifi)[0]
    wlan.outcome = GOT_IP
    assert attempt(time, wifi)[0] is None


def test_same_reason_again():
    time, wlan, wifi = make()
    wlan.outcome = NO_AP
    attempt(time, wifi)
    error, took = attempt(time, wifi)
    assert "no access point" in error
    assert took <= limits.STALE_MS + limits.POLL_MS


def test_refusal_of_the_driver():
    time, wlan, wifi = make()

    def refuse(ssid, password):
        raise OSError("Wifi Unknown Error 0x0102")

    wlan.connect = refuse
    error, took = attempt(time, wifi)
    assert error == "Wi-Fi field: Wifi Unknown Error 0x0102" and took == 0


def test_loss_and_reset():
    time, wlan, wifi = make()
    attempt(time, wifi)
    wlan.lose()
    assert not wifi.up
    assert attempt(time, wifi)[0] is None
    wifi.reset()
    assert not wifi.up and wlan.calls[-1] == "active 0"
    wifi.reset()
    assert attempt(time, wifi)[0] is None
