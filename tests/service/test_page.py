"""The web page in a real Chromium, against the running service and a simulated greenhouse."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import missing
from e2e.nodes import Backend, backend, example
from playwright.sync_api import Browser, Page, expect
from service import chromium
from service.running import WAIT_S, Serve, serving

from fieldhand.records import Status
from fieldhand.service.access import accounts
from fieldhand.service.store import nodes
from fieldhand.service.store.database import Database
from fieldhand.sim import Simulator

# A name that would be something else as HTML, in a topic.
HOSTILE = '<img src=x onerror="window.hacked=1">&amp;'
MANY = 1_000
PASSWORD = "correct horse battery"
# What WCAG 2.1 AA asks for, as far as a program can tell.
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
LOOKS = [
    ("desktop-light", chromium.DESKTOP, "light"),
    ("desktop-dark", chromium.DESKTOP, "dark"),
    ("phone-light", chromium.PHONE, "light"),
    ("phone-dark", chromium.PHONE, "dark"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium.program() is None:
        missing("chromium is not installed: apt-get install chromium")
    with chromium.browser() as started:
        yield started


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with serving(tmp_path, "--broker-port", "0") as running:
        yield running


@pytest.fixture
def mqtt(serve: Serve) -> Iterator[Backend]:
    with backend(serve.told["broker"]["port"]) as client:
        yield client


def number_in(text: str) -> float:
    return float(text.split()[0])


def violations(page: Page) -> list[str]:
    """What axe-core finds, one line each."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['html']}" for one in found for node in one["nodes"]
    ]


def plant(at: int, **more: Any) -> dict[str, Any]:
    return {"temperatureC": 21.5, "humidityPct": 48.0, "luminosityPct": 70.0, "ts": at, **more}


def test_a_person_registers_a_node_sees_its_reading_and_waters_it(browser, serve):
    port = serve.told["broker"]["port"]
    with (
        Simulator(broker=("127.0.0.1", port)) as simulator,
        chromium.opened(browser, serve.url, viewport=chromium.DESKTOP) as watched,
    ):
        page = watched.page
        expect(page.get_by_text("No node has been heard or registered yet.")).to_be_visible()
        page.get_by_role("link", name="Register a node").click()
        page.get_by_label("Dialect").select_option("plantnanny")
        page.get_by_label("Name").fill("greenhouse")
        page.get_by_role("button", name="Register").click()
        expect(page.get_by_role("heading", level=1, name="greenhouse")).to_be_focused()
        expect(page.get_by_text("not heard")).to_be_visible()
        # A dry pot, and little of it: 2 s of 25 ml/s are 10 % of 500 ml.
        node = simulator.add(example("greenhouse", port, schedules=[]))
        node.world.soil_capacity_ml = 500
        node.world.soil_moisture = 25.0
        node.start()
        soil = page.locator('.tile[data-quantity="soil_moisture"] dd')
        expect(soil).to_be_visible()
        expect(page.get_by_text("● online")).to_be_visible()
        dry = number_in(soil.inner_text())
        assert 20 < dry < 30
        page.get_by_label("Command", exact=True).select_option("pump_water")
        page.get_by_label("durationMs").fill("2000")
        page.get_by_role("button", name="Send").click()
        answer = page.locator(".commands li[data-state=done]")
        expect(answer).to_contain_text("pump_water duration")
        expect(answer).to_contain_text("accepted")
        expect(page.locator("#announcer")).to_contain_text("pump_water: done")
        page.wait_for_function(
            "least => parseFloat(document.querySelector("
            "'.tile[data-quantity=soil_moisture] dd').textContent) > least",
            arg=dry + 5,
        )
        # What it saw come is what was stored.
        stored = serve.get("/nodes/greenhouse/readings?order=newest&limit=20")["readings"]
        assert max(row["quantities"]["soil_moisture"] for row in stored) > dry + 5
        command = serve.get("/nodes/greenhouse/commands")["commands"][0]
        assert (command["action"], command["state"]) == ("pump_water", "done")
        expect(page.locator('.chart[data-quantity="soil_moisture"] canvas')).to_be_visible()
        page.get_by_text("Readings as a table").click()
        expect(page.locator(".readings tbody tr").first).to_contain_text("%")
        expect(page.get_by_role("heading", name="Gaps")).to_be_visible()
        chromium.screenshot(page, "watered-desktop")
        assert violations(page) == []
        assert watched.problems == []
        assert watched.foreign == []


def test_every_view_is_fit_for_all_on_every_screen(browser, serve, mqtt):
    now = int(time.time())
    for number in range(60):
        mqtt.publish("devices/balcony/data", plant(now - 3000 + number * 45))
    mqtt.publish("devices/cellar/data", plant(now - 2000))
    mqtt.publish("devices/cellar/status", {"status": "offline"})
    alert = {"severity": "critical", "message": "soil 4 % is below 10 %", "state": "raised"}
    alert |= {"sensor": "soil_moisture", "value": 4.0, "threshold": 10.0}
    mqtt.publish("devices/balcony/status", {"status": "online", "_fh": {"alert": alert}})
    farm = {"farm_id": "field", "moisture": 18.0, "temp": 28.3, "humidity": 65.2, "npk": 200}
    mqtt.publish("farm/telemetry", {**farm, "soil_ph": 8.1})
    serve.until("/nodes", lambda found: len(found["nodes"]) == 3)
    serve.until("/nodes/balcony/events", lambda found: found["events"])
    for name, viewport, scheme in LOOKS:
        with chromium.opened(browser, serve.url, viewport=viewport, color_scheme=scheme) as watched:
            page = watched.page
            expect(page.get_by_role("link", name="balcony")).to_be_visible()
            expect(page.get_by_text("1 critical")).to_be_visible()
            expect(page.get_by_text("✕ offline")).to_be_visible()
            check(page, f"overview-{name}", viewport)
            page.get_by_role("link", name="balcony").click()
            expect(page.locator(".chart canvas").first).to_be_visible()
            expect(page.get_by_text("critical, open")).to_be_visible()
            check(page, f"node-{name}", viewport)
            for key, words in (("15m", "15 minutes"), ("24h", "24 hours"), ("30d", "30 days")):
                page.get_by_label("Range").select_option(key)
                expect(page.locator('.chart[data-quantity="luminosity"] .plot')).to_have_attribute(
                    "aria-label", re.compile(f"over {words}, from 70 % to 70 %; last 70 %")
                )
            page.get_by_role("link", name="← Nodes").click()
            page.get_by_role("link", name="field", exact=True).click()
            expect(page.get_by_role("heading", name="Agronomy")).to_be_visible()
            # As FAO-56 (11) has it for 28.3 degrees and 65.2 %.
            expect(page.get_by_text("1.34 kPa")).to_be_visible()
            check(page, f"farm-{name}", viewport)
            page.get_by_role("link", name="Register a node").click()
            expect(page.get_by_label("Dialect")).to_be_visible()
            check(page, f"register-{name}", viewport)
            assert watched.problems == []
            # The checker sees what is wrong.
            page.evaluate("document.querySelector('main').append(document.createElement('img'))")
            assert any("image-alt" in one for one in violations(page))


def check(page: Page, name: str, viewport: dict[str, int]) -> None:
    expect(page.get_by_text("● Live")).to_be_visible()
    chromium.screenshot(page, name)
    assert violations(page) == [], name
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= viewport["width"], f"{name} scrolls sideways"


def test_a_node_that_says_nothing_is_not_counted_as_online(browser, tmp_path):
    """Also one without a will, whose last word was that it is there."""
    folder = tmp_path / ".fieldhand"
    folder.mkdir()
    database = Database(f"sqlite:///{folder}/service.db")
    database.open()
    now = time.time()
    for name, ago, said in (
        ("fresh", 60, None),
        ("hourly", 3600, "online"),
        ("away", 60, "offline"),
        ("dead", 2 * 86400, "online"),
        ("new", None, None),
    ):
        with database.writing() as connection:
            key = nodes.key_of("plantnanny", {}, name)
            row = nodes.ensure(connection, database, key, None if ago is None else now - ago)
            if said is not None:
                status = Status(name, "plantnanny", said, {}, None, now - ago)
                nodes.set_status(connection, database, {row.id: status})
    database.close()
    with serving(tmp_path, "--broker-port", "0") as running:
        states = {node["name"]: node["state"] for node in running.get("/nodes")["nodes"]}
        assert states == {
            "fresh": "online",
            "hourly": "online",
            "away": "offline",
            "dead": "silent",
            "new": "unheard",
        }
        with (
            chromium.opened(browser, running.url, viewport=chromium.DESKTOP) as watched,
            backend(running.told["broker"]["port"]) as client,
        ):
            page = watched.page
            page.clock.install()
            page.reload()
            counted = page.locator("p.summary")
            expect(counted).to_have_text(
                "5 nodes: 2 online, 1 offline, 1 silent, 1 not heard; 0 open alerts"
            )
            page.get_by_label("Show").select_option("silent")
            expect(page.locator("tbody tr")).to_have_count(1)
            expect(page.locator("tbody tr")).to_contain_text("dead")
            page.get_by_label("Show").select_option("")
            expect(page.get_by_text("● Live")).to_be_visible()
            client.publish("devices/dead/data", plant(int(now)))
            client.publish("devices/hourly/status", {"status": "offline"})
            page.clock.run_for(1_000)
            expect(counted).to_have_text("5 nodes: 2 online, 2 offline, 1 not heard; 0 open alerts")
            # Time goes on, and nothing comes.
            page.clock.fast_forward(3_900_000)
            expect(counted).to_have_text(
                "5 nodes: 0 online, 2 offline, 2 silent, 1 not heard; 0 open alerts"
            )
            assert watched.problems == []


def test_the_keyboard_is_enough(browser, serve, mqtt):
    for name in ("a", "b"):
        mqtt.publish(f"devices/{name}/data", plant(int(time.time())))
    serve.until("/nodes", lambda found: len(found["nodes"]) == 2)
    with chromium.opened(browser, serve.url, viewport=chromium.DESKTOP) as watched:
        page = watched.page
        expect(page.get_by_role("link", name="a", exact=True)).to_be_visible()

        def tab_to(role: str, name: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                wanted = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
                if wanted.count() and wanted.first.evaluate("e => e === document.activeElement"):
                    outline = wanted.first.evaluate("e => getComputedStyle(e).outlineStyle")
                    assert outline != "none", f"the focus on {name} cannot be seen"
                    return
            raise AssertionError(f"{role} {name} is not reached by Tab")

        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        tab_to("button", "Node")
        page.keyboard.press("Enter")
        expect(page.get_by_role("columnheader", name="Node")).to_have_attribute(
            "aria-sort", "descending"
        )
        assert page.locator("tbody tr").first.inner_text().startswith("b")
        tab_to("link", "b")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1, name="b")).to_be_focused()


def test_names_are_text_and_nothing_else(browser, serve, mqtt):
    mqtt.publish(f"devices/{HOSTILE}/data", plant(int(time.time())))
    mqtt.publish(
        f"devices/{HOSTILE}/status",
        {"status": "online", "_fh": {"also": {"firmware": "<b>1</b>"}}},
    )
    serve.until("/nodes", lambda found: found["nodes"] and found["nodes"][0]["status"])
    with chromium.opened(browser, serve.url) as watched:
        page = watched.page
        link = page.get_by_role("link", name=HOSTILE)
        expect(link).to_be_visible()
        link.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        expect(page.get_by_text("Firmware <b>1</b>")).to_be_visible()
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 1  # the mark in the corner
        assert watched.problems == []


def test_it_comes_back_when_the_service_does_and_shows_what_it_missed(browser, tmp_path):
    with serving(tmp_path, "--broker-port", "0") as first:
        port = first.url.rsplit(":", 1)[1]
        with backend(first.told["broker"]["port"]) as client:
            client.publish("devices/n/data", plant(int(time.time()) - 60))
        first.until("/nodes", lambda found: found["nodes"])
        with chromium.opened(browser, first.url) as watched:
            page = watched.page
            expect(page.get_by_text("● Live")).to_be_visible()
            assert first.stop() == 0
            expect(page.get_by_text("Connection lost, trying again")).to_be_visible()
            with serving(tmp_path, "--broker-port", "0", "--port", port) as second:
                with backend(second.told["broker"]["port"]) as client:
                    client.publish("devices/m/data", plant(int(time.time())))
                expect(page.get_by_text("● Live")).to_be_visible()
                expect(page.get_by_role("link", name="m", exact=True)).to_be_visible()
                expect(page.locator("#announcer")).to_have_text("The connection is back.")


def test_a_thousand_nodes_can_be_searched_and_sorted(browser, serve, mqtt):
    now = int(time.time())
    # In one go, not one acknowledgement after the other.
    sent = [
        mqtt._client.publish(
            f"devices/plant-{number:04}/data", json.dumps(plant(now, temperatureC=number / 20)), 1
        )
        for number in range(MANY)
    ]
    for one in sent:
        one.wait_for_publish(WAIT_S)
    serve.until(
        "/nodes", lambda found: sum(1 for node in found["nodes"] if node["reading"]) == MANY
    )
    with chromium.opened(browser, serve.url, viewport=chromium.DESKTOP) as watched:
        page = watched.page
        expect(page.locator("tbody tr")).to_have_count(MANY)
        page.get_by_label("Search").fill("0999")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.get_by_text(f"1 of {MANY} nodes shown")).to_be_attached()
        mqtt.publish("devices/plant-0999/data", plant(now + 1, temperatureC=12.25))
        expect(page.locator("tbody tr")).to_contain_text("12.25 °C")
        page.get_by_label("Search").fill("")
        page.get_by_role("button", name="Node", exact=True).click()
        expect(page.locator("tbody tr").first).to_contain_text("plant-0999")
        assert watched.problems == []


def test_who_has_to_log_in_is_asked_and_let_in(browser, tmp_path):
    folder = tmp_path / ".fieldhand"
    folder.mkdir()
    database = Database(f"sqlite:///{folder}/service.db")
    database.open()
    accounts.add_person(database, "ada", PASSWORD, "read")
    database.close()
    with serving(tmp_path, "--broker-port", "0") as running:
        with backend(running.told["broker"]["port"]) as client:
            client.publish("devices/n/data", plant(int(time.time())))
        with chromium.opened(browser, running.url) as watched:
            page = watched.page
            page.clock.install()
            page.reload()
            page.get_by_label("Name").fill("ada")
            page.get_by_label("Password").fill("wrong")
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_role("alert")).to_contain_text("wrong")
            chromium.screenshot(page, "login-desktop-light")
            assert violations(page) == []
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("link", name="n", exact=True).click()
            expect(page.get_by_role("heading", level=1, name="n")).to_be_visible()
            expect(page.get_by_text("● Live")).to_be_visible()
            # Who may only read is offered nothing else.
            expect(page.get_by_role("button", name="Send")).to_have_count(0)
            expect(page.get_by_role("link", name="Register a node")).to_have_count(0)
            # The session ends elsewhere, and the page finds out.
            page.evaluate(
                "fetch('me').then((answer) => answer.json()).then((me) =>"
                " fetch('logout', {method: 'POST', headers: {'X-CSRF-Token': me.csrf}}))"
            )
            page.clock.fast_forward(61_000)
            expect(page.get_by_role("heading", name="Log in")).to_be_visible()
            page.get_by_label("Name").fill("ada")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("button", name="Log out ada").click()
            expect(page.get_by_role("heading", name="Log in")).to_be_visible()
            page.reload()
            expect(page.get_by_role("heading", name="Log in")).to_be_visible()
