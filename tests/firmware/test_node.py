# heapsize: 600k
"""The node's promises about readings, status and time, in virtual time."""

import os

from fake_node import EPOCH, Bench, FakeNvs, FakeSensor, fresh_flash

from fieldnode.identity import adopt_secrets, fill_secrets, next_boot, node_id
from fieldnode.settings import Settings

fresh_flash()

# MicroPython 1.24 reads the first two, every version the third.
DAMAGED = ('{"%s": 50', '{"%s":', '{"%s" 50}')


def sent(bench, end):
    return [obj for topic, obj, _ in bench.link.sent if topic.endswith(end)]


def test_readings_at_the_interval_across_the_wrap_of_the_ticks():
    bench = Bench("plantnanny", interval_ms=1000)
    bench.run(20000)
    data = sent(bench, "/data")
    assert len(data) == 20, len(data)
    assert [obj["_fh"]["seq"] for obj in data] == list(range(2, 22))
    assert data[0]["temperatureC"] == 24.3
    assert data[-1]["ts"] == EPOCH + 20 and data[-1]["uptime"] == 20, data[-1]


def test_what_the_link_loses_is_sent_again_and_in_order():
    bench = Bench("plantnanny", interval_ms=1000)
    bench.link.lose()
    bench.run(10000)
    assert bench.link.sent == [] and len(bench.node.outbox) == 10
    bench.link.connect()
    bench.node.step()  # eight on their way ...
    first = [obj["_fh"]["seq"] for obj in sent(bench, "/data")]
    bench.link.lose()  # ... and none acknowledged
    bench.link.sent = []
    bench.link.connect()
    bench.run(10)
    again = [obj["_fh"]["seq"] for obj in sent(bench, "/data")]
    assert first and again == list(range(2, 12)), (first, again)
    status = sent(bench, "/status")[-1]["_fh"]["also"]
    assert status["outages"] == 2 and len(bench.node.outbox) == 0, status


def test_a_kept_session_gets_readings_again_under_their_ids():
    bench = Bench("plantnanny", interval_ms=1000)
    link = bench.link

    def on_the_way():
        link.sent, link.pids = [], []
        link.connect()
        bench.node.step()  # the birth, and as many readings as the window holds
        ids = [[obj["_fh"].get("seq"), pid] for (_, obj, _), pid in zip(link.sent, link.pids)]
        return [pair for pair, (topic, _, _) in zip(ids, link.sent) if topic.endswith("/data")]

    def zip(a, b):
        return [(a[i], b[i]) for i in range(len(a))]

    link.lose()
    bench.run(20000)
    first = on_the_way()
    assert [seq for seq, _ in first] == list(range(2, 9)), first
    bench.node.on_ack(first[1][1])
    link.lose()
    bench.run(3000)
    link.session_present = True
    again = on_the_way()
    assert again[:6] == first[:1] + first[2:], (first, again)
    assert again[6][0] == 9 and again[6][1] not in [pid for _, pid in first], again
    link.lose()
    link.session_present = False  # the broker has forgotten: new ids
    new = on_the_way()
    assert [seq for seq, _ in new] == [seq for seq, _ in again], new
    assert min([pid for _, pid in new]) > max([pid for _, pid in again]), new
    bench.link.sent = []
    bench.link.ack_all()
    bench.run(100)
    rest = [obj["_fh"]["seq"] for obj in sent(bench, "/data")]
    assert rest == list(range(10, 25)), rest


def test_a_full_outbox_drops_the_oldest_and_says_so():
    bench = Bench("plantnanny", interval_ms=1000, outbox_bytes=16384)
    bench.link.lose()
    bench.run(1000000)
    waiting = len(bench.node.outbox)
    assert 16384 // 60 < waiting < 16384 // 30, waiting  # a reading of one value takes 33 bytes
    bench.link.connect()
    birth = None
    seqs = []
    bench.link.sent = []
    for _ in range(waiting // bench.link.window + 2):
        bench.run(1)
        birth = birth or sent(bench, "/status")[0]["_fh"]["also"]
        seqs += [obj["_fh"]["seq"] for obj in sent(bench, "/data")]
        bench.link.sent = []
    assert birth["dropped"] == 1000 - waiting and birth["queued"] == waiting, birth
    seqs.sort()
    assert seqs == list(range(1002 - waiting, 1002)), (seqs[0], seqs[-1], waiting)


def test_birth_before_readings_and_heartbeat():
    bench = Bench("plantnanny", connect=False, interval_ms=1000)
    bench.run(5000)
    bench.link.connect()
    bench.run(10)
    topics = [topic for topic, _, _ in bench.link.sent]
    assert topics[0] == "devices/n1/status" and bench.link.sent[0][2] is True
    bench.link.sent = []
    bench.run(180000)
    assert len(sent(bench, "/status")) == 3


def test_health_in_the_status():
    bench = Bench("plantnanny")
    bench.node.sender.status_due()
    bench.run(1)
    health = sent(bench, "/status")[0]["_fh"]["also"]
    assert health["reset_cause"] == "power" and health["free_memory"] > 1000, health
    assert health["firmware"] and health["queued"] == 0


def test_a_failing_sensor_is_named_and_the_others_go_on():
    bench = Bench("plantnanny", interval_ms=1000)
    bad = FakeSensor(soil_moisture="open circuit")
    bad.name = "fake@1"
    bench.node.sampler.sensors.append(bad)
    bench.run(1000)
    assert sent(bench, "/data")[-1]["temperatureC"] == 24.3
    bench.node.sender.status_due()
    bench.run(1)
    assert "open circuit" in sent(bench, "/status")[-1]["_fh"]["also"]["sensor_error"]
    bad.values["soil_moisture"] = 40.0
    bench.run(1000)
    bench.node.sender.status_due()
    bench.run(1)
    assert "sensor_error" not in sent(bench, "/status")[-1]["_fh"]["also"]
    assert sent(bench, "/data")[-1]["_fh"]["also"] == {"soil_moisture": 40.0}


def test_readings_before_the_time_is_known_are_back_filled():
    bench = Bench("plantnanny", connect=False, interval_ms=1000)
    bench.hal.epoch = None
    bench.run(5000)
    bench.hal.epoch = EPOCH
    bench.time.advance(60000)
    bench.link.connect()
    bench.run(10)
    data = sent(bench, "/data")
    assert data[0]["_fh"]["q"] == "backfilled" and data[-1]["_fh"]["q"] == "synced", data
    assert data[0]["ts"] == EPOCH - 65, data[0]


def test_time_is_asked_for_again_while_connected_ever_more_rarely():
    day = 86400000
    bench = Bench("plantnanny", connect=False, interval_ms=day, status_interval_ms=day)
    asked = []
    bench.hal.epoch = None
    ask = bench.hal.ntp_time

    def counted(host):
        asked.append(bench.clock.ms())
        return ask(host)

    bench.hal.ntp_time = counted
    bench.link.connect()
    bench.run(600000)
    assert [round(ms / 60000) for ms in asked] == [0, 1, 3, 7], asked
    bench.hal.epoch = EPOCH
    bench.run(600000)
    assert bench.clock.known()
    del asked[:]
    bench.run(day)
    assert len(asked) == 1, asked


def test_settings_that_hold_nonsense_do_not_stop_the_node():
    for nonsense in ('{"interval_ms": "x"}', '{"calibration": 5}', '{"keepalive_s": {}}', "[]"):
        with open("settings.json", "w") as file:
            file.write(nonsense)
        bench = Bench("plantnanny", interval_ms=1000)
        bench.run(3000)
        assert len(sent(bench, "/data")) == 3, nonsense


def test_without_time_a_reading_goes_out_all_the_same():
    bench = Bench("plantnanny", connect=False, interval_ms=1000)
    bench.hal.epoch = None
    bench.link.connect()
    bench.run(1000)
    data = sent(bench, "/data")[-1]
    assert "ts" not in data and data["_fh"]["q"] == "unknown", data
    pool = FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5)
    bench = Bench("dese", {"org": "o"}, sensor=pool, connect=False, interval_ms=1000)
    bench.hal.epoch = None
    bench.link.connect()
    bench.run(1000)
    data = sent(bench, "/telemetry")[-1]  # DESE requires a timestamp
    assert data["timestamp"].startswith("2000-01-01T00:00:0"), data
    assert data["_fh"]["q"] == "unknown", data


def test_dese_status_says_error_while_a_sensor_fails():
    pool = FakeSensor(ph="no answer")
    bench = Bench("dese", {"org": "o"}, sensor=pool)
    bench.node.sender.status_due()
    bench.run(1)
    assert sent(bench, "/status")[-1]["status"] == "error"


def test_telemetry_stays_under_1_kb():
    values = {"ph": 7.2, "chlorine": 2.5, "water_temperature": 25.5}
    for i in range(60):
        values["measure_%d" % i] = 1.25
    bench = Bench("dese", {"org": "o"}, sensor=FakeSensor(**values), interval_ms=1000)
    bench.run(1000)
    assert sent(bench, "/telemetry")[-1]["sensors"]["ph"] == 7.2
    # What DESE has no word for is the first to go; the reading's boot and number stay.
    ext = sent(bench, "/telemetry")[-1]["_fh"]
    assert ext["seq"] == bench.node.seq and "also" not in ext, ext


def test_legacy_topics():
    bench = Bench("plantnanny", {"use_new_topics": False}, interval_ms=1000)
    bench.run(1000)
    assert {topic for topic, _, _ in bench.link.sent} == {"plantnanny/n1/sensors"}
    assert bench.link.will[0] == "plantnanny/n1/status"


def test_wills():
    assert Bench("farm", node="f").link.will is None
    topic, will, retain, qos = Bench("solar", {"company": "1"}).link.will
    assert topic == "company/1/machine/n1/status" and retain and qos == 1
    assert will == {"status": "offline"}
    topic, will, retain, qos = Bench("dese", {"org": "o"}).link.will
    assert will["status"] == "offline" and will["firmware_version"], will
    assert will["timestamp"].startswith("2026-01-01T00:00:0"), will


def test_identity():
    nvs = FakeNvs()
    mac = b"\xaa\xbb\xcc\xdd\xee\xff"
    assert node_id({"node": "p"}, nvs, mac) == "p"
    assert node_id({}, nvs, mac) == "esp32-aabbccddeeff"  # the PlantNanny document's example
    made = node_id({"node": "uuid"}, nvs, mac)
    assert len(made) == 36 and made[14] == "4" and made[19] in "89ab", made
    assert node_id({"node": "uuid"}, nvs, mac) == made == node_id({}, nvs, mac)
    nvs.strings.update({"wifi_pass": "secret", "mqtt_user": "u"})
    config = {"wifi": {"ssid": "x"}, "broker": {"host": "h", "user": "given"}}
    fill_secrets(config, nvs)
    assert config["wifi"] == {"ssid": "x", "password": "secret"}
    assert config["broker"]["user"] == "given"
    number, random = next_boot(nvs)
    assert number == 1 and next_boot(nvs)[0] == 2 and next_boot(nvs, 7)[0] == 8
    assert next_boot(FakeNvs())[0] == 1, "an erased chip counts anew ..."
    assert len({next_boot(FakeNvs()) for _ in range(20)}) > 15, "... under other names"
    nvs.strings["boot"] = "?"
    assert next_boot(nvs, 3)[0] == 4


def test_secrets_move_into_nvs_and_leave_the_flash():
    nvs = FakeNvs()
    adopt_secrets(nvs)  # there is none
    with open("secrets.json", "w") as file:
        file.write('{"id": "n7", "wifi_pass": "hush", "other": "no"}')
    adopt_secrets(nvs)
    assert nvs.strings == {"id": "n7", "wifi_pass": "hush"}
    assert "secrets.json" not in os.listdir()
    for damaged in DAMAGED:
        with open("secrets.json", "w") as file:
            file.write(damaged % "id")
        adopt_secrets(nvs)
        assert nvs.strings["id"] == "n7" and "secrets.json" in os.listdir(), damaged
    os.remove("secrets.json")


def test_settings_survive_and_a_damaged_file_does_not_stop_the_node():
    settings = Settings("s.json")
    settings.update({"interval_ms": 5000, "calibration": {"ph": {"offset": 1}}})
    settings.update({"calibration": {"orp": {"offset": 2}}})
    again = Settings("s.json").values
    assert again["interval_ms"] == 5000 and set(again["calibration"]) == {"ph", "orp"}
    for damaged in DAMAGED:
        with open("s.json", "w") as file:
            file.write(damaged % "interval_ms")
        assert Settings("s.json").values == {}, damaged
    settings.clear()
    settings.clear()
    assert Settings("s.json").values == {}


def test_several_readings_travel_in_one_packet_where_the_dialect_allows():
    bench = Bench("plantnanny", interval_ms=1000)
    bench.node.dialect.message("reading").batch = 10
    link = bench.link
    publish = link.publish

    def small(topic, payload, retain=False, qos=0, pid=0):
        if len(payload) > 1000:  # as a session with room for so much
            raise ValueError("packet of %d bytes" % len(payload))
        assert not pid, "a packet of several is not put together the same way again"
        return publish(topic, payload, retain, qos, pid)

    link.publish = small
    link.session_present = True
    for lost in range(2):
        link.lose()
        bench.run(40000)
        link.sent = []
        link.connect()
        if not lost:
            bench.node.step()  # all on their way, and none acknowledged
    for _ in range(10):
        bench.run(1)
    packets = sent(bench, "/data")
    lists = [packet for packet in packets if isinstance(packet, list)]
    assert max([len(packet) for packet in lists]) == 5, "halved until it fitted, and kept so"
    found = []
    for packet in packets:
        found += packet if isinstance(packet, list) else [packet]
    seqs = sorted([obj["_fh"]["seq"] for obj in found])
    assert seqs == list(range(2, 82)) and len(bench.node.outbox) == 0, seqs
    assert len(packets) < 20 and not bench.node.sender.unsendable, len(packets)


def test_one_bad_reading_does_not_cost_those_it_would_travel_with():
    bench = Bench("plantnanny", interval_ms=1000)
    bench.node.dialect.message("reading").batch = 8
    bench.link.lose()
    bench.run(4000)
    bench.sensor.values["air_temperature"] = float("inf")
    bench.run(1000)
    bench.sensor.values["air_temperature"] = 24.3
    bench.run(4000)
    bench.link.sent = []
    bench.link.connect()
    bench.run(10)
    found = []
    for packet in sent(bench, "/data"):
        found += packet if isinstance(packet, list) else [packet]
    seqs = [obj["_fh"]["seq"] for obj in found]
    assert sorted(set(seqs)) == [2, 3, 4, 5, 7, 8, 9, 10], seqs
    assert bench.node.sender.unsendable == 1 and len(bench.node.outbox) == 0
