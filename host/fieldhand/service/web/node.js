// A node's page: what it says now, charts and readings, commands, alerts, events, gaps.

import { get, nodePath } from "./api.js";
import { Agronomy, DIALECT as FARM } from "./agronomy.js";
import { Charts, RANGES } from "./charts.js";
import { Commands } from "./commands.js";
import { announce, badge, h, notice, setText } from "./dom.js";
import { ago, battery, facts, hear, openAlerts, quantityName, queue, signal, stateOf, time, value } from "./format.js";

const EVENTS = 30;
const ROWS = 50;
// A screen reader is not told of readings more often.
const ANNOUNCE_MS = 10_000;
// What is missing is asked for again after so long.
const GAPS_MS = 30_000;

export async function nodeView(root, context, id) {
  context.live.listen(id);
  const node = await get(nodePath(id));
  const state = h("span");
  const heard = h("span", { class: "dim" });
  const details = h("p", { class: "summary" });
  const now = h("dl", { class: "tiles" });
  const tiles = new Map();
  const charts = new Charts(h("div", { class: "charts" }), id);
  const ranges = h("select", { id: "range", onchange: () => choose(ranges.value) },
    RANGES.map((range) => h("option", { value: range.key, selected: range === charts.range }, range.text)));
  const problem = h("div");
  const commands = new Commands(id, context.may("command"));
  const table = readingsTable(id, problem);
  const log = eventLog(id);
  const gaps = gapList(id);
  const agronomy = node.dialect === FARM ? new Agronomy(id) : null;

  async function choose(key) {
    problem.replaceChildren();
    charts.root.setAttribute("aria-busy", "true");
    try {
      await charts.show(RANGES.find((range) => range.key === key));
    } catch (error) {
      problem.replaceChildren(notice(error.message));
    } finally {
      charts.root.removeAttribute("aria-busy");
    }
  }

  let gapsAt = Date.now();
  let shownState = "";
  function draw() {
    const found = stateOf(node);
    if (shownState !== found.tone + found.word) {
      shownState = found.tone + found.word;
      state.replaceChildren(badge(found.tone, found.word));
    }
    setText(heard, node.last_heard === null ? "never heard" : `heard ${ago(node.last_heard)}`);
    const waiting = queue(node);
    const power = battery(node);
    const radio = signal(node);
    setText(details, [
      power ? `Battery ${power.text}${power.low ? " (low)" : ""}` : null,
      radio ? `Signal ${radio.text}` : null,
      waiting === null ? null : waiting ? `${waiting} readings wait on the node` : "nothing waits on the node",
      node.status?.details.firmware ? `Firmware ${node.status.details.firmware}` : null,
    ].filter(Boolean).join(" · "));
    const reading = node.reading;
    for (const [name, one] of Object.entries(reading?.quantities ?? {})) {
      if (!tiles.has(name)) {
        const shown = h("dd");
        tiles.set(name, shown);
        now.append(h("div", { class: "tile", "data-quantity": name }, h("dt", {}, quantityName(name)), shown));
      }
      setText(tiles.get(name), value(name, one));
    }
    now.hidden = !tiles.size;
  }

  function onLive({ kind, data }) {
    hear(node, kind, data);
    if (kind === "reading") {
      const { at } = data;
      if (!node.reading || at >= node.reading.at) {
        node.reading = { at, received: data.received_at, quantities: data.quantities };
        announce(`New reading: ${Object.entries(data.quantities)
          .map(([name, one]) => `${quantityName(name)} ${value(name, one)}`).join(", ")}`, ANNOUNCE_MS);
      }
      charts.add(at, data.quantities);
      if (!gaps.known) gapsAt = 0;
      table.add(at, data);
    } else if (kind === "agronomy_analysis") agronomy?.show(data);
    else if (kind === "command") commands.onLive(data);
    else if (kind === "alert" || kind === "event") {
      const name = kind === "alert" ? data.severity : data.event;
      if (kind === "alert") announce(`Alert: ${data.message}`);
      log.add({ ...data, name, data: data.data ?? {} });
    }
    draw();
  }

  async function load() {
    await Promise.all([commands.load(), log.load(), gaps.load(), choose(ranges.value), table.load(), agronomy?.load()]);
  }

  async function refresh() {
    try {
      Object.assign(node, await get(nodePath(id)));
      draw();
      await Promise.all([commands.refresh(), log.load(), gaps.load(), choose(ranges.value), table.load(), agronomy?.load()]);
    } catch (error) {
      problem.replaceChildren(notice(error.message));
    }
  }

  draw();
  root.replaceChildren(
    h("p", { class: "crumbs" }, h("a", { href: "#/" }, "← Nodes")),
    h("div", { class: "heading" },
      h("h1", { tabindex: "-1" }, node.name), state, heard),
    h("p", { class: "sub" }, [`${node.dialect} node`, ...Object.values(node.tenant),
      node.org && !Object.values(node.tenant).includes(node.org) ? node.org : null,
      node.registered ? "registered" : "not registered, only heard"].filter(Boolean).join(" · ")),
    details,
    h("section", { "aria-label": "Now" }, now),
    h("div", { class: "columns" },
      h("div", { class: "commands-area" }, commands.element),
      h("section", { class: "history-area", "aria-labelledby": "history-title" },
        h("div", { class: "section-head" },
          h("h2", { id: "history-title" }, "History"),
          h("div", { class: "field inline" }, h("label", { for: "range" }, "Range"), ranges)),
        problem, charts.root, table.element),
      h("div", { class: "log-area" }, agronomy?.element, log.alerts, log.element, gaps.element)));
  await load();
  return {
    onLive,
    refresh,
    tick: () => {
      draw();
      charts.tick();
      if (Date.now() - gapsAt > GAPS_MS) {
        gapsAt = Date.now();
        gaps.load().catch(() => {}); // the next time, or the connection's own notice
      }
    },
    end: () => charts.end(),
  };
}

/** The newest readings as a table, for whoever does not see charts. */
function readingsTable(id, problem) {
  let rows = [];
  let next = null;
  let pages = 1;
  const head = h("tr");
  const body = h("tbody");
  const more = h("button", { type: "button", onclick: older }, "Older readings");
  const element = h("details", { class: "card readings", ontoggle: draw },
    h("summary", {}, "Readings as a table"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Readings" },
      h("table", {}, h("caption", { class: "hidden" }, "Readings, the newest first"), h("thead", {}, head), body)),
    more);

  function draw() {
    if (!element.open) return;
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.quantities)))].sort();
    head.replaceChildren(...["Time", ...names.map(quantityName)].map((text) => h("th", { scope: "col" }, text)));
    body.replaceChildren(...rows.map((row) => h("tr", {},
      h("th", { scope: "row" }, time(row.at), row.quality === "unknown" ? " (arrival)" : ""),
      names.map((name) => h("td", {}, value(name, row.quantities[name]))))));
    more.hidden = next === null;
  }

  async function load() {
    const page = await get(nodePath(id, "/readings"), { order: "newest", limit: ROWS });
    rows = page.readings;
    next = page.next;
    pages = 1;
    draw();
  }

  async function older() {
    try {
      const page = await get(nodePath(id, "/readings"), { order: "newest", limit: ROWS, after: next });
      rows.push(...page.readings);
      next = page.next;
      pages++;
      draw();
    } catch (error) {
      problem.replaceChildren(notice(error.message));
    }
  }

  function add(at, data) {
    const place = rows.findIndex((row) => row.at <= at);
    rows.splice(place < 0 ? rows.length : place, 0, { at, quantities: data.quantities, quality: data.provenance?.quality });
    rows.length = Math.min(rows.length, ROWS * pages);
    draw();
  }

  return { element, load, add };
}

/** Alerts, and what happened: outages, runs, crashes. */
function eventLog(id) {
  let all = [];
  const open = h("ul", { class: "log" });
  const list = h("ul", { class: "log" });
  const alerts = h("section", { class: "card", "aria-labelledby": "alerts-title" }, h("h2", { id: "alerts-title" }, "Alerts"), open);
  const element = h("section", { class: "card", "aria-labelledby": "events-title" }, h("h2", { id: "events-title" }, "Events and outages"), list);

  function draw() {
    const raised = new Set(openAlerts(all));
    const told = all.filter((one) => one.kind === "alert").slice(0, EVENTS);
    open.replaceChildren(...(told.length ? told.map((one) => h("li", {},
      h("div", { class: "line" },
        h("span", { class: "what" }, one.message),
        raised.has(one)
          ? badge(one.name === "critical" ? "bad" : one.name === "info" ? "dim" : "warn", `${one.name}, open`)
          : badge("dim", one.state === "cleared" ? "cleared" : `${one.name}, over`)),
      h("p", { class: "sub" }, time(one.at)))) : [h("li", { class: "empty" }, "No alerts.")]));
    const happened = all.filter((one) => one.kind === "event").slice(0, EVENTS);
    list.replaceChildren(...(happened.length ? happened.map((one) => h("li", {},
      h("div", { class: "line" },
        h("span", { class: "what" }, h("strong", {}, one.name), " ", facts(one.data)),
        one.name === "outage" || one.name === "crash" ? badge("warn", one.name) : null),
      h("p", { class: "sub" }, time(one.at)))) : [h("li", { class: "empty" }, "Nothing has happened.")]));
  }

  async function load() {
    const pages = await Promise.all(["alert", "event"].map((kind) =>
      get(nodePath(id, "/events"), { kind, limit: EVENTS })));
    all = pages.flatMap((page) => page.events);
    draw();
  }

  function add(event) {
    all.unshift(event);
    draw();
  }

  return { alerts, element, load, add };
}

/** Readings that never arrived. */
function gapList(id) {
  const body = h("div");
  const element = h("section", { class: "card", "aria-labelledby": "gaps-title" }, h("h2", { id: "gaps-title" }, "Gaps"), body);

  const made = { element, load, known: false };

  async function load() {
    const found = await get(nodePath(id, "/gaps"));
    made.known = found.complete !== null;
    if (found.complete === null) {
      body.replaceChildren(h("p", { class: "empty" }, found.reason ?? "Nobody can tell."));
      return;
    }
    const spans = found.boots.flatMap((boot) => [
      ...boot.missing.map((gap) => ({ ...gap, boot: boot.boot, tone: "bad", word: "missing" })),
      ...boot.waiting.map((gap) => ({ ...gap, boot: boot.boot, tone: "warn", word: "waiting on the node" })),
    ]);
    const unheard = found.unheard_boots ?? [];
    body.replaceChildren(
      h("p", {}, found.complete ? badge("good", "complete") : badge("bad", "incomplete"),
        ` ${found.received} readings arrived, ${found.missing} are missing, ${found.waiting} wait on the node.`),
      spans.length || unheard.length ? h("ul", { class: "log" },
        spans.slice(-EVENTS).reverse().map((gap) => h("li", {},
          h("div", { class: "line" },
            h("span", { class: "what" }, gap.count === 1 ? `Reading ${gap.first}` : `Readings ${gap.first} to ${gap.last}`, ` of boot ${gap.boot}`),
            badge(gap.tone, `${gap.count} ${gap.word}`)),
          h("p", { class: "sub" }, [gap.after ? `after ${time(gap.after)}` : null, gap.before ? `before ${time(gap.before)}` : null,
            gap.why && gap.word === "missing" ? gap.why : null].filter(Boolean).join(" · ")))),
        unheard.map((one) => h("li", {}, one.count === 1
          ? `Nothing was heard of boot ${one.first}.` : `Nothing was heard of boots ${one.first} to ${one.last}.`))) : "");
  }

  return made;
}
