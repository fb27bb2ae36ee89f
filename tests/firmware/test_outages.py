# heapsize: 2M
"""Every outage is reported once it is over, those the node did not live through as well."""

import json
import os

from fake_node import EPOCH
from node_rig import Rig

from fieldnode import outages, store


def kept():
    return outages.PATH in os.listdir()


def outage(rig, cause, ms):
    """The broker refuses connections for `ms`."""
    brokers, rig.net.brokers = rig.net.brokers, {}
    getattr(rig.sock, cause)()
    rig.run_for(ms)
    rig.net.brokers = brokers
    rig.run(lambda: rig.link.up, 150000)
    rig.run_for(3000)


def reported(rig):
    return [event for event in rig.events() if event["event"] == "outage"]


def test_the_first_connection_is_no_outage():
    rig = Rig()
    rig.net.brokers = {}
    rig.run_for(60000)
    rig.net.brokers = {"10.0.0.2": rig.broker}
    rig.up(10000)
    assert reported(rig) == [] and not kept()
    status = [obj for _, _, obj in rig.received() if obj.get("status") == "online"][-1]
    assert status["_fh"]["also"]["outages"] == 0 and "outage_cause" not in status["_fh"]["also"]


def test_each_is_reported_once_with_cause_length_and_count():
    rig = Rig().up(61000)
    outage(rig, "reset", 20000)
    rig.run_for(61000)
    outage(rig, "end", 40000)
    rig.run_for(61000)
    first, second = reported(rig)
    assert first["cause"] == "connection broker.local:1883: ECONNRESET" and first["count"] == 1
    assert second["cause"].endswith("closed by the other side") and second["count"] == 2
    assert 20 <= first["seconds"] <= 60 and 40 <= second["seconds"] <= 110
    # Its time is when it was over.
    assert 59 <= first["time"] - EPOCH - first["seconds"] <= 63
    assert not kept()


def test_status_tells_of_the_last():
    rig = Rig().up(61000)
    outage(rig, "reset", 20000)
    also = [obj for _, _, obj in rig.received() if obj.get("status") == "online"][-1]["_fh"]["also"]
    assert also["outages"] == 1 and also["outage_s"] == reported(rig)[0]["seconds"]
    assert also["outage_cause"].endswith("ECONNRESET")


def test_flapping_costs_no_flash_and_a_long_outage_one_write():
    writes = []
    save = store.save
    store.save = lambda path, obj: writes.append(path) or save(path, obj)
    rig = Rig()
    rig.up(61000)
    for _ in range(3):
        rig.sock.reset()
        rig.run(lambda: not rig.link.up, 1000)
        rig.run(lambda: rig.link.up, 10000)
    assert rig.link.outages == 3 and outages.PATH not in writes
    rig.run_for(61000)
    outage(rig, "reset", 600000)
    assert writes.count(outages.PATH) == 1 and not kept()


def lost_while_offline(epoch):
    """A node that loses its power 70 s into an outage."""
    rig = Rig(epoch=epoch).up(61000)
    rig.net.brokers = {}
    rig.sock.reset()
    rig.run_for(70000)
    assert kept()


def test_one_that_the_power_cut_short_is_told_by_the_next_start():
    lost_while_offline(EPOCH)
    since = store.load(outages.PATH)["since"]
    assert 61 <= since - EPOCH <= 66
    rig = Rig(epoch=EPOCH + 1000, fresh=False).up(10000)
    (event,) = reported(rig)
    assert event["cause"].endswith("ECONNRESET") and event["count"] == 1
    # 1000 s less the first minute, and 3 s for the Wi-Fi.
    assert 935 <= event["seconds"] <= 945
    assert not kept(), "told, and acknowledged"
    assert reported(Rig(epoch=EPOCH + 2000, fresh=False).up(10000)) == []


def test_without_any_time_it_lasted_so_long_at_least():
    lost_while_offline(None)
    rig = Rig(epoch=None, fresh=False)
    rig.net.brokers = {}
    rig.run_for(100000)
    assert rig.link.outages == 1, "the same one goes on"
    rig.net.brokers = {"10.0.0.2": rig.broker}
    rig.run(lambda: reported(rig), 150000)
    (event,) = reported(rig)
    assert 15 + 100 <= event["seconds"] <= 15 + 100 + 130


def test_it_stays_until_the_broker_has_it():
    lost_while_offline(EPOCH)
    rig = Rig(epoch=EPOCH + 1000, fresh=False)
    rig.broker.puback = False
    rig.up(15000)
    assert reported(rig) and kept()
    again = Rig(epoch=EPOCH + 1100, fresh=False).up(10000)
    assert len(reported(again)) >= 1 and not kept()


def test_a_damaged_file_or_a_full_flash_stops_nothing():
    for text in ("{", "[]", '{"cause": 5, "since": "x", "seconds": []}', '{"seconds": -5}'):
        with open(outages.PATH, "w") as file:
            file.write(text)
        rig = Rig(fresh=False).up(10000)
        assert rig.seqs()[:2] == [1, 2] and not kept() or text in "{[]"

    def full(path, obj):
        raise OSError(28)

    store.save = full
    rig = Rig().up(61000)
    outage(rig, "reset", 60000)
    assert reported(rig)[-1]["seconds"] >= 60


def test_what_is_kept_is_small():
    lost_while_offline(EPOCH)
    with open(outages.PATH) as file:
        assert len(json.dumps(json.load(file))) < 256
