"""What is stored, read over HTTP: series, events, outages, gaps, dead letters."""

import time

import pytest
from fastapi.testclient import TestClient
from service.web import part

from fieldhand.records import Status
from fieldhand.service import settings
from fieldhand.service.api.app import create_app
from fieldhand.service.service import Service
from fieldhand.service.store import deadletters, events, nodes, readings, schema

BOOT = "3-9f2c61d0"
# A full hour, so that minutes and hours begin there.
START = 1_781_000_000 - 1_781_000_000 % 3600


class Desk:
    def __init__(self, database, **given) -> None:
        chosen = settings.load({"database": str(database.url), **given}, environment={})
        service = Service(chosen, embedded_port=0)
        service.database = database
        service.access._database = database
        self.database = database
        app = create_app(service)
        self.http = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 9))
        with database.writing() as connection:
            key = nodes.key_of("plantnanny", {}, "g1")
            self.node = nodes.ensure(connection, database, key, float(START))

    def get(self, path, **params):
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def store(self, *seqs, boot=BOOT, every=30, quality="synced", received=0.0, **quantities):
        rows = [
            {
                "node_id": self.node.id,
                "boot": boot,
                "seq": seq,
                "at": float(START + seq * every),
                "time": START + seq * every,
                "received": received or START + seq * every + 0.5,
                "quality": quality,
                "quantities": quantities or {"soil_moisture": float(seq), "air_temperature": 20.0},
                "attributes": None,
            }
            for seq in seqs
        ]
        with self.database.writing() as connection:
            readings.insert(connection, self.database, schema.reading, rows)

    def happened(self, seq, kind, name, at, **more):
        row = dict.fromkeys(("state", "message", "sensor", "value", "threshold", "data"))
        row |= {"node_id": self.node.id, "kind": kind, "boot": BOOT, "seq": seq, "name": name}
        row |= {"at": float(at), "time": int(at), "received": at + 1.0, **more}
        with self.database.writing() as connection:
            readings.insert(connection, self.database, schema.event, [row], events.KEY)

    def says(self, boot=BOOT, at=0.0, **details):
        from fieldhand.records import Provenance

        said = Status("g1", "plantnanny", "online", details, None, at, False, Provenance(boot))
        with self.database.writing() as connection:
            nodes.set_status(connection, self.database, {self.node.id: said})


@pytest.fixture
def desk(database):
    return Desk(database)


NODE = f"/nodes/{part('plantnanny:g1')}"


# -- series ----------------------------------------------------------------------------------------


def test_series_as_measured(desk):
    desk.store(1, 2, 3)
    found = desk.get(f"{NODE}/history")
    assert found["series"]["soil_moisture"] == {
        "unit": "%",
        "at": [START + 30, START + 60, START + 90],
        "n": [1, 1, 1],
        "min": [1, 2, 3],
        "mean": [1, 2, 3],
        "max": [1, 2, 3],
    }
    assert found["series"]["air_temperature"]["unit"] == "°C" and found["next"] is None


def test_series_of_some_quantities_in_a_span(desk):
    desk.store(1, 2, 3, 4)
    span = {"since": START + 60, "until": START + 120}
    found = desk.get(f"{NODE}/history", quantity=["soil_moisture", "ph"], **span)
    assert list(found["series"]) == ["soil_moisture"]
    assert found["series"]["soil_moisture"]["mean"] == [2, 3]


@pytest.mark.parametrize("resolution", ["raw", "1m", "1h"])
def test_series_page_by_page_are_whole(desk, resolution):
    table = {"1m": schema.rollup_minute, "1h": schema.rollup_hour}.get(resolution)
    step = {"raw": 30, "1m": 60, "1h": 3600}[resolution]
    if table is None:
        desk.store(*range(7))
    else:
        rows = [
            {
                "node_id": desk.node.id,
                "quantity": quantity,
                "start": START + n * step,
                "n": 2,
                "min": n - 1.0,
                "mean": float(n),
                "max": n + 1.0,
            }
            for n in range(7)
            for quantity in ("soil_moisture", "air_temperature")
        ]
        with desk.database.writing() as connection:
            connection.execute(table.insert(), rows)
    whole = desk.get(f"{NODE}/history", resolution=resolution)["series"]["soil_moisture"]
    assert whole["at"] == [START + n * step for n in range(7)]
    assert whole["mean"] == list(range(7))
    if table is not None:
        assert whole["min"] == [n - 1 for n in range(7)] and whole["n"] == [2] * 7
    pages, after = [], {}
    while True:
        page = desk.get(f"{NODE}/history", resolution=resolution, limit=3, **after)
        pages += page["series"].get("soil_moisture", {"at": []})["at"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert pages == whole["at"]


def test_the_newest_reading(desk):
    assert desk.get(f"{NODE}/latest") is None
    desk.store(1, 3, 2)
    assert desk.get(f"{NODE}/latest")["seq"] == 3


# -- what happened ---------------------------------------------------------------------------------


def test_events_by_kind_name_and_page(desk):
    desk.happened(1, "alert", "critical", START, state="raised", message="dry", sensor="ph")
    desk.happened(2, "event", "run", START + 10, data={"ran_ms": 3000})
    desk.happened(3, "alert", "warning", START + 20, state="cleared")
    both = [desk.get("/events"), desk.get(f"{NODE}/events")]
    assert both[0] == both[1]
    assert [one["name"] for one in both[0]["events"]] == ["warning", "run", "critical"]
    assert both[0]["events"][1]["data"] == {"ran_ms": 3000}
    assert both[0]["events"][2]["node_id"] == "plantnanny:g1"
    only = desk.get("/events", kind="alert", name=["critical", "run"])
    assert [one["message"] for one in only["events"]] == ["dry"]
    first = desk.get("/events", limit=2)
    rest = desk.get("/events", limit=2, after=first["next"])
    assert [one["id"] for one in first["events"] + rest["events"]] == [3, 2, 1]
    assert rest["next"] is None
    assert desk.get("/events", since=START + 10, until=START + 20)["events"][0]["name"] == "run"


def test_outages_as_the_node_tells_them(desk):
    data = {"count": 2, "cause": "broker: connection lost", "seconds": 300}
    desk.happened(1, "event", "outage", START, data=data)
    desk.happened(2, "event", "run", START)
    (outage,) = desk.get(f"{NODE}/outages")["outages"]
    assert (outage["started"], outage["ended"]) == (START - 300, START)
    assert outage["seconds"] == 300 and outage["cause"] == "broker: connection lost"


def test_an_outage_told_by_a_clock_that_was_not_set(desk):
    desk.happened(1, "event", "outage", START, data={"seconds": "?", "cause": 5}, time=None)
    (outage,) = desk.get(f"{NODE}/outages")["outages"]
    assert outage["started"] is outage["ended"] is outage["seconds"] is None
    assert outage["cause"] == "5"


# -- gaps ------------------------------------------------------------------------------------------


def gaps(desk, **params):
    return desk.get(f"{NODE}/gaps", days=36_500, **params)


def test_gaps_by_hand(desk):
    desk.store(1, 2, 5, 6, 9)
    found = gaps(desk)
    assert found["complete"] is False and found["received"] == 5 and found["missing"] == 4
    (boot,) = found["boots"]
    assert [(gap["first"], gap["last"], gap["count"]) for gap in boot["missing"]] == [
        (3, 4, 2),
        (7, 8, 2),
    ]
    # Taken between the neighbours: 2 at 60 s and 5 at 150 s.
    assert (boot["missing"][0]["after"], boot["missing"][0]["before"]) == (START + 60, START + 150)


def test_nothing_is_missing(desk):
    desk.store(1, 2, 3)
    desk.store(1, boot="4-aaaaaaaa", received=START + 1000.0)
    found = gaps(desk)
    assert found["complete"] is True and found["missing"] == 0
    assert [boot["boot"] for boot in found["boots"]] == [BOOT, "4-aaaaaaaa"]


def test_a_boot_nobody_heard(desk):
    desk.store(1)
    desk.store(1, boot="6-aaaaaaaa", received=START + 1000.0)
    assert gaps(desk)["unheard_boots"] == [{"first": 4, "last": 5, "count": 2}]


def test_what_waits_on_the_node_is_not_missing(desk):
    desk.store(1, 2, 3)
    # Eight were taken; of the five that are not there, the newest three wait.
    desk.says(at=START + 500.0, seq=8, queued=3, dropped=2)
    found = gaps(desk)
    assert (found["missing"], found["waiting"]) == (2, 3)
    (boot,) = found["boots"]
    assert [(gap["first"], gap["last"]) for gap in boot["missing"]] == [(4, 5)]
    assert [(gap["first"], gap["last"]) for gap in boot["waiting"]] == [(6, 8)]
    assert boot["dropped"] == 2
    # One of them came since, so two wait still.
    desk.store(6, received=START + 600.0)
    assert (gaps(desk)["missing"], gaps(desk)["waiting"]) == (2, 2)


def test_a_time_that_was_not_set_says_nothing(desk):
    desk.store(1, 2, quality="unknown")
    desk.store(4)
    (gap,) = gaps(desk)["boots"][0]["missing"]
    assert (gap["after"], gap["before"]) == (None, START + 120)


def test_what_numbers_nothing_has_no_gaps_to_tell(desk):
    desk.store(1, 5, boot="~0123456789abcdef01234567")
    found = gaps(desk)
    assert found["complete"] is None and "no numbered readings" in found["reason"]


def test_where_not_all_is_stored_nobody_can_tell(database):
    desk = Desk(database, store_every={"plantnanny": 30.0})
    desk.store(1, 5)
    found = gaps(desk)
    assert found["complete"] is None and found["reason"] == "only a reading every 30 s is stored"


def test_what_was_deleted_for_its_age_is_not_missing(database):
    desk = Desk(database, keep_readings_days=1)
    desk.store(50, 51, 53)
    assert gaps(desk)["missing"] == 1


def test_gaps_of_a_hundred_thousand_readings_are_found_in_the_database(desk):
    """In one statement: no row per reading comes out of it."""
    desk.store(*range(1, 5_001), every=1, soil_moisture=1.0)
    desk.store(*range(5_003, 10_001), every=1, soil_moisture=1.0)
    (boot,) = gaps(desk)["boots"]
    assert [(gap["first"], gap["last"]) for gap in boot["missing"]] == [(5_001, 5_002)]
    assert boot["received"] == 9_998


# -- refused ---------------------------------------------------------------------------------------


def test_dead_letters_for_the_operator(desk):
    payload = b'{"ph": "\xff' + b"x" * 300
    with desk.database.writing() as connection:
        rows = [deadletters.row_of(f"t/{n}", payload, "is not JSON", float(n)) for n in range(3)]
        deadletters.add(connection, rows)
    page = desk.get("/dead-letters", limit=2)
    assert page["total"] == 3 and [one["topic"] for one in page["dead_letters"]] == ["t/2", "t/1"]
    assert len(page["dead_letters"][0]["payload"]) == 200
    assert desk.get("/dead-letters", before=page["next"])["dead_letters"][0]["topic"] == "t/0"
    whole = desk.get("/dead-letters/1")
    import base64

    assert base64.b64decode(whole["base64"]) == payload and whole["whole"] is True
    assert desk.http.get("/dead-letters/99").status_code == 404


def test_organisations_and_whose_nodes_are(desk):
    assert desk.http.post("/organisations", json={"id": "alpha"}).status_code == 201
    assert desk.http.post("/organisations", json={"id": "alpha"}).status_code == 409
    with desk.database.writing() as connection:
        key = nodes.key_of("dese", {"org": "heard"}, "pool")
        nodes.ensure(connection, desk.database, key, time.time())
    found = {one["id"]: one for one in desk.get("/organisations")}
    assert found["heard"]["created"] is None and found["heard"]["nodes"] == 1
    # Its topics say whose it is.
    moved = desk.http.patch("/nodes/pool", json={"organisation": "alpha"})
    assert moved.status_code == 409
    unknown = desk.http.patch(NODE, json={"organisation": "alhpa"})
    assert unknown.status_code == 422 and "alhpa" in unknown.json()["detail"]


# -- whether a node is there -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "heard_ago, said, said_ago, state",
    [
        (None, None, None, "unheard"),
        (10, None, None, "online"),
        (3_800, None, None, "online"),
        (4_000, None, None, "silent"),
        (10, "online", 10, "online"),
        (4_000, "online", 4_000, "silent"),
        (10, "offline", 10, "offline"),
        (400_000, "offline", 400_000, "offline"),
        # What was under way when it went is no sign of life; what comes later is.
        (10, "offline", 12, "offline"),
        (10, "offline", 60, "online"),
        (4_000, "offline", 5_000, "silent"),
        # The broker had kept it; the node itself was never heard.
        (None, "online", 10, "online"),
        (None, "online", 4_000, "silent"),
        (None, "offline", 10, "offline"),
    ],
)
def test_whether_a_node_is_there(desk, heard_ago, said, said_ago, state):
    now = time.time()
    with desk.database.writing() as connection:
        key = nodes.key_of("plantnanny", {}, "g2")
        heard = None if heard_ago is None else now - heard_ago
        node = nodes.ensure(connection, desk.database, key, heard)
        if said is not None:
            status = Status("g2", "plantnanny", said, {}, None, now - said_ago, heard is None)
            nodes.set_status(connection, desk.database, {node.id: status})
    found = desk.get(f"/nodes/{part('plantnanny:g2')}")
    assert (found["state"], found["silent_s"]) == (state, 3_900)
    listed = {node["name"]: node["state"] for node in desk.get("/nodes")["nodes"]}
    assert listed == {"g1": "silent", "g2": state}


def test_how_long_a_silence_may_be_is_set(database):
    desk = Desk(database, node_silent_s=60)
    with database.writing() as connection:
        nodes.heard(connection, {desk.node.id: time.time() - 90})
    found = desk.get(NODE)
    assert (found["state"], found["silent_s"]) == ("silent", 60)
