# heapsize: 700k
"""New Wi-Fi and broker credentials: kept when they work, taken back when they do not, whatever
happens in between. The node's own code, in virtual time, over an NVS that loses power."""

import json

from fake_node import Bench, FakeNvs, FakeSensor, fresh_flash

from fieldnode.memory import forget, load
from fieldnode.trial import CONFIRM_MS, REVERT_BOOTS, REVERT_MS

fresh_flash()

NODE_JSON = {"wifi": {"ssid": "old"}, "broker": {"host": "old.lan", "port": 1883}}
BY_CABLE = {"wifi_pass": "old-pass", "mqtt_user": "n1", "mqtt_pass": "old-secret"}
NEW = {
    "wifi": {"ssid": "new", "password": "new-pass"},
    "broker": {"host": "new.lan", "port": 8883, "user": "n1", "password": "new-secret"},
}
OLD_WAY = ("old", "old-pass", "old.lan", 1883, "n1", "old-secret")
NEW_WAY = ("new", "new-pass", "new.lan", 8883, "n1", "new-secret")


class PowerCut(Exception):
    pass


class Nvs(FakeNvs):
    """Loses power at the write number `cut_at`, counted from 0: before it, or right `after` it.

    A blob is old or new, never a mixture: see "Data integrity" of ESP-IDF's NVS.
    """

    cut_at = None
    after = False
    writes = 0

    def set_str(self, key, text):
        assert len(text.encode()) <= 1024  # what hal.py reads
        cut = self.writes == self.cut_at
        self.writes += 1
        if cut and not self.after:
            raise PowerCut
        super().set_str(key, text)
        if cut:
            raise PowerCut


class Full(FakeNvs):
    full = True

    def set_str(self, key, text):
        if self.full:
            raise OSError(-0x1105)
        super().set_str(key, text)


def provisioned(kind=Nvs, trial=NEW):
    nvs = kind()
    nvs.strings.update(BY_CABLE)
    if trial:
        nvs.strings["net_trial"] = json.dumps(trial)
    return nvs


class Boot:
    """One start of a node with this NVS: `works(way)` says whether a way leads to a broker."""

    def __init__(self, nvs, works, node_json=NODE_JSON):
        from fieldnode import identity

        # What they imported has been forgotten since the last boot.
        forget("fieldnode", "slots", "slottrial", "trial")
        slots = load("fieldnode.slots")
        config = json.loads(json.dumps(node_json))
        identity.fill_secrets(config, nvs)
        won, self.given_up = slots.use(config, nvs)
        wifi, broker = config["wifi"], config["broker"]
        self.way = (wifi["ssid"], wifi.get("password"), broker["host"], broker["port"])
        self.way += (broker.get("user"), broker.get("password"))
        self.on_trial = won is not None
        self.bench = bench = Bench("plantnanny", connect=False)
        link = bench.link
        link.up_ms, link.failure = 0, "Wi-Fi new: wrong password (202)"
        if won:
            bench.node.parts.append(
                load("fieldnode.slottrial").Trial(bench.node, bench.clock, nvs, won)
            )
        if self.given_up:
            bench.node.notices.append("alert", self.given_up)
        if works(self.way):
            link.connect()

    def run(self, ms):
        """Until `ms` have passed or the node resets; whether it did."""
        bench = self.bench
        for _ in range(ms // 1000):
            bench.run(1000)
            if bench.link.up:
                bench.link.up_ms += 1000
            if bench.hal.resets:
                return True
        return False

    def status(self):
        return self.bench.node.reports.status()

    def told(self):
        """What went out or still waits, of alerts and events."""
        out = [obj["_fh"] for _, obj, _ in self.bench.link.sent]
        out = [ext.get("alert") or ext.get("event") for ext in out]
        waiting = self.bench.node.notices._entries
        out += [entry[1] for entry in waiting if entry[0] in ("alert", "event")]
        return [one for one in out if one and "redentials" in str(one)]


def anywhere(way):
    return True


def nowhere(way):
    return False


def only_new(way):
    return way == NEW_WAY


def only_old(way):
    return way == OLD_WAY


def test_without_slots_a_node_is_what_it_was_provisioned_as():
    boot = Boot(provisioned(trial=None), anywhere)
    assert boot.way == OLD_WAY and not boot.on_trial and not boot.given_up


def test_new_ones_are_in_force_once_a_connection_has_held():
    nvs = provisioned()
    boot = Boot(nvs, only_new)
    assert boot.way == NEW_WAY and boot.status()["credentials"] == "on trial"
    boot.run(CONFIRM_MS - 2000)
    assert "net" not in nvs.strings and boot.on_trial
    boot.run(4000)
    assert boot.told() == [] or boot.told()[0]["what"] == "kept"
    assert "credentials" not in boot.status()
    boot.bench.link.lose()
    assert not boot.run(2 * REVERT_MS)  # an outage later on is none of its business
    boot = Boot(nvs, only_new)
    assert boot.way == NEW_WAY and not boot.on_trial


def test_ones_that_do_not_connect_are_taken_back_and_said():
    nvs = provisioned()
    boot = Boot(nvs, only_old)
    assert not boot.run(REVERT_MS - 5000)
    assert boot.run(10000), "no restart"
    (told,) = boot.told()
    assert told["severity"] == "warning"
    for word in ("taken back", "wrong password (202)", "new, new.lan"):
        assert word in told["message"], told
    assert "secret" not in str(told) and 'pass"' not in str(told)
    boot = Boot(nvs, only_old)
    assert boot.way == OLD_WAY and not boot.on_trial and boot.given_up is None
    assert boot.bench.link.up


def test_a_connection_that_never_holds_is_none():
    boot = Boot(provisioned(), only_new)
    link = boot.bench.link
    for _ in range(100):
        if boot.run(CONFIRM_MS // 2):
            break
        link.lose()
        if boot.run(2000):
            break
        link.up_ms = 0
        link.connect()
    assert boot.bench.hal.resets and boot.bench.time.now >= REVERT_MS


def test_starts_that_bring_no_connection_take_them_back():
    nvs = provisioned()
    for _ in range(REVERT_BOOTS):
        boot = Boot(nvs, only_old)
        assert boot.way == NEW_WAY
        boot.run(5000)
    boot = Boot(nvs, only_old)
    assert boot.way == OLD_WAY and not boot.on_trial
    boot.run(2000)
    (told,) = boot.told()
    assert "%d starts" % REVERT_BOOTS in told["message"] and "new.lan" in told["message"]
    assert Boot(nvs, only_old).given_up is None  # told once


def test_a_pump_is_not_cut_short_to_take_them_back():
    nvs = provisioned()
    boot = Boot(nvs, nowhere)
    node = boot.bench.node
    pumping = [True]

    class Relay:
        name, id = "pump", 1

        def step(self):
            pass

        def off(self, reason):
            pumping[0] = False

        @property
        def running(self):
            return pumping[0]

    node.actuators = [Relay()]
    assert not boot.run(2 * REVERT_MS)
    pumping[0] = False
    assert boot.run(10000)


def test_a_second_change_leads_back_to_what_had_proved_itself():
    nvs = provisioned()
    Boot(nvs, only_new).run(CONFIRM_MS + 2000)
    nvs.set_str("net_trial", json.dumps({"broker": {"host": "third.lan"}}))
    boot = Boot(nvs, only_new)
    assert boot.way == NEW_WAY[:2] + ("third.lan",) + NEW_WAY[3:]  # the rest stays
    assert boot.run(REVERT_MS + 5000)
    assert Boot(nvs, only_new).way == NEW_WAY
    nvs.set_str("net_trial", json.dumps({"broker": {"host": "third.lan"}}))
    Boot(nvs, anywhere).run(CONFIRM_MS + 2000)
    assert Boot(nvs, anywhere).way == NEW_WAY[:2] + ("third.lan",) + NEW_WAY[3:]


def test_a_network_without_a_password_gets_none():
    nvs = provisioned(trial={"wifi": {"ssid": "open"}})
    assert Boot(nvs, anywhere).way == ("open", None) + OLD_WAY[2:]


def test_others_that_are_sent_while_some_are_on_trial_are_tried_next():
    nvs = provisioned()
    boot = Boot(nvs, only_new)
    boot.run(CONFIRM_MS - 1000)
    nvs.set_str("net_trial", json.dumps({"wifi": {"ssid": "third"}}))
    boot.bench.node.restart_after_replies()
    boot.run(5000)
    assert Boot(nvs, anywhere).way == ("third", None) + OLD_WAY[2:]


def test_what_a_cable_brings_wins():
    for change in ("node.json", "wifi_pass", "mqtt_pass"):
        nvs = provisioned()
        Boot(nvs, only_new).run(CONFIRM_MS + 2000)
        assert Boot(nvs, only_new).way == NEW_WAY
        node_json = NODE_JSON
        if change == "node.json":
            node_json = {"wifi": {"ssid": "moved"}, "broker": {"host": "moved.lan", "port": 1883}}
        else:
            nvs.set_str(change, "by-cable")
        boot = Boot(nvs, anywhere, node_json)
        assert boot.way[0] == node_json["wifi"]["ssid"] and boot.way[2] != "new.lan"
        # And for good: going back does not bring the slot back.
        nvs.strings.update(BY_CABLE)
        assert Boot(nvs, anywhere).way == OLD_WAY


def test_a_damaged_slot_is_none():
    for text in ("", "{", "[]", "7", '{"wifi": 5}', '{"broker": []}', '{"boots": "x"}'):
        for key in ("net", "net_trial"):
            nvs = provisioned(trial=None)
            nvs.strings[key] = text
            assert Boot(nvs, only_old).way == OLD_WAY, (key, text)
            assert Boot(nvs, only_old).way == OLD_WAY, (key, text)


def test_a_trial_that_cannot_be_counted_is_not_begun():
    nvs = provisioned(Full)
    assert Boot(nvs, anywhere).way == OLD_WAY
    nvs.full = False
    boot = Boot(nvs, only_new)
    nvs.full = True
    boot.run(CONFIRM_MS + 2000)  # and what cannot be kept is on trial still
    nvs.full = False
    assert Boot(nvs, only_new).on_trial


class Tls:
    verify_mode = 2  # ssl.CERT_REQUIRED


DIALECTS = {
    "plantnanny": {},
    "solar": {"company": "acme"},
    "dese": {"org": "org-123"},
    "iotnode": {},
    "farm": {},
}


def told_over_mqtt(dialect, sent, tls=Tls, retained=False, **ext):
    """(what the node answers, bench) to credentials that come by the dialect's command topic."""
    fresh_flash()
    sensor = FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5)
    bench = Bench(dialect, DIALECTS[dialect], sensor=sensor if dialect == "dese" else None)
    bench.link.ssl = tls and tls()
    topic = bench.node.dialect.topic(bench.node.dialect.message("command"), "n1")
    ext = dict({"id": "c1", "time": 1767225600, "credentials": sent}, **ext)
    said = bench.command(topic, {"_fh": ext}, retained)
    answers = [obj for _, obj, _ in said if "ack" in obj.get("_fh", {}) or "success" in obj]
    return (answers[0] if answers else None), bench


def test_every_dialects_node_takes_them_over_tls_and_tries_them():
    for dialect in DIALECTS:
        answer, bench = told_over_mqtt(dialect, NEW)
        text = json.dumps(answer)
        assert "c1" in text and ("done" in text or "true" in text), (dialect, text)
        assert "secret" not in text and "new-pass" not in text
        assert json.loads(bench.hal.strings.strings["net_trial"]) == NEW
        bench.run(4000)
        assert bench.hal.resets, dialect


def test_without_a_checked_certificate_they_are_refused_with_the_reason():
    class Unchecked:
        verify_mode = 0

    for tls in (None, Unchecked):
        for dialect in DIALECTS:
            answer, bench = told_over_mqtt(dialect, NEW, tls)
            assert "TLS" in json.dumps(answer), (dialect, answer)
            assert "net_trial" not in bench.hal.strings.strings
            bench.run(4000)
            assert not bench.hal.resets


def test_what_is_wrong_with_sent_credentials_is_told_and_nothing_is_tried():
    for sent, word in (
        ({}, "wifi.ssid"),
        ({"wifi": {}}, "wifi.ssid"),
        ({"wifi": {"password": "x"}}, "wifi.ssid"),
        ({"wifi": {"ssid": "x" * 33}}, "wifi.ssid"),
        ({"wifi": {"ssid": "ä" * 17}}, "wifi.ssid"),
        ({"wifi": {"ssid": "x", "password": 12345678}}, "wifi.password"),
        ({"wifi": "x"}, "wifi"),
        ({"broker": {"host": None}}, "broker.host"),
        ({"broker": {"port": 0}}, "broker.port"),
        ({"broker": {"port": True}}, "broker.port"),
        ({"broker": {"tls": False}}, "broker.tls"),
        ({"broker": {"password": ["x"]}}, "broker.password"),
        ({"boots": -5}, "boots"),
        (
            {
                "broker": {
                    "user": "\U0001f4a5" * 64,
                    "password": "\U0001f4a5" * 64,
                    "host": "h" * 253,
                }
            },
            "",
        ),
    ):
        answer, bench = told_over_mqtt("plantnanny", sent)
        ack = answer["_fh"]["ack"]
        if word:
            assert ack["state"] == "failed" and word in ack["error"], (sent, ack)
            assert "net_trial" not in bench.hal.strings.strings
        else:
            assert len(bench.hal.strings.strings["net_trial"].encode()) <= 1000


def test_old_kept_and_strange_ones_are_refused():
    for more in ({"time": 1767225600 - 301}, {"time": None}, {"id": None}, {"more": 1}):
        answer, bench = told_over_mqtt("plantnanny", NEW, **more)
        assert "net_trial" not in bench.hal.strings.strings, more
    answer, bench = told_over_mqtt("plantnanny", NEW, retained=True)
    assert "net_trial" not in bench.hal.strings.strings
    assert "retained" in json.dumps(answer)


def life(nvs, works, cuts):
    """Starts until one has nothing on trial and is connected; the ways they went."""
    ways = []
    for _ in range(3 * REVERT_BOOTS):
        try:
            boot = Boot(nvs, works)
            ways.append(boot.way)
            if not boot.run(REVERT_MS + 10000) and boot.bench.link.up:
                return ways
        except PowerCut:
            cuts.append(1)
            nvs.cut_at = None
    raise AssertionError("the node does not come back: %s" % ways)


def test_a_power_cut_at_any_write_leaves_a_way_that_works():
    for works, end in ((only_new, NEW_WAY), (only_old, OLD_WAY), (anywhere, NEW_WAY)):
        cuts = []
        for after in (False, True):
            for write in range(8):
                nvs = provisioned()
                nvs.cut_at, nvs.after = write, after
                ways = life(nvs, works, cuts)
                assert ways[-1] == end, (after, write, ways)
                assert set(ways) <= {OLD_WAY, NEW_WAY}  # never half of one
                # And so it stays.
                assert Boot(nvs, works).way == end and not Boot(nvs, works).on_trial
        # Of a trial that is won: the count, the slot in force, the other emptied; of one that is
        # lost: the count, and the slot emptied.
        assert len(cuts) == (4 if works is only_old else 6), cuts


def test_a_power_cut_while_new_ones_are_written_leaves_the_old_or_begins_the_trial():
    for after, way in ((False, OLD_WAY), (True, NEW_WAY)):
        nvs = provisioned(trial=None)
        nvs.cut_at, nvs.after = 0, after
        try:
            nvs.set_str("net_trial", json.dumps(NEW))
        except PowerCut:
            nvs.cut_at = None
        assert Boot(nvs, anywhere).way == way


def test_power_cuts_during_the_trial_end_it_after_three_starts():
    nvs = provisioned()
    for start in range(2 * REVERT_BOOTS):
        way = Boot(nvs, only_new).way  # the power goes before the connection has held
        assert way == (NEW_WAY if start < REVERT_BOOTS else OLD_WAY), start
