// The fleet: one row per node, changed in place by what comes in.

import { get } from "./api.js";
import { badge, h, notice, setText } from "./dom.js";
import { ago, battery, hear, openAlerts, quantityName, queue, signal, stateOf, value } from "./format.js";

// Quantities in a row's summary.
const SHOWN = 3;
const PAGE = 1000;
const MAX_NODES = 20_000;
const ALERTS_SINCE_S = 7 * 86400;
const SEVERITY = { critical: 0, warning: 1, info: 2 };
const OWN_COLUMN = new Set(["battery_level", "battery_voltage", "signal_strength"]);
const SUMMARY_FIRST = ["soil_moisture", "ph", "air_temperature", "water_temperature"];

const COLUMNS = [
  { key: "name", title: "Node", of: (row) => row.node.name.toLowerCase() },
  { key: "state", title: "State", of: (row) => row.state.rank },
  { key: "reading", title: "Last reading", of: (row) => -(row.node.reading?.at ?? 0) },
  { key: "battery", title: "Battery", of: (row) => battery(row.node)?.rank ?? Infinity },
  { key: "signal", title: "Signal", of: (row) => signal(row.node)?.rank ?? Infinity },
  { key: "queue", title: "Queue", of: (row) => -(queue(row.node) ?? -1) },
  { key: "alerts", title: "Alerts", of: (row) => row.alerts.length ? severity(row.alerts) : 9 },
];

const severity = (alerts) => Math.min(...alerts.map((alert) => SEVERITY[alert.name] ?? 1));
const compare = new Intl.Collator(undefined, { numeric: true }).compare;

export async function overview(root, context) {
  const rows = new Map();
  const events = new Map();
  let sort = { key: "name", down: false };
  let dirty = new Set();
  let frame = 0;

  const summary = h("p", { class: "summary" });
  const search = h("input", { id: "search", type: "search", placeholder: "Name, dialect, organisation …", oninput: arrange });
  const only = h("select", { id: "only", onchange: arrange },
    [["", "All"], ["attention", "Needs attention"], ["online", "Online"], ["offline", "Offline"], ["silent", "Silent"], ["alerts", "With alerts"]]
      .map(([key, text]) => h("option", { value: key }, text)));
  const order = h("select", { id: "order", onchange: () => sortBy(order.value, false) },
    COLUMNS.map((column) => h("option", { value: column.key }, column.title)));
  const heads = new Map();
  const body = h("tbody", { role: "rowgroup" });
  const none = h("p", { class: "empty", hidden: true });
  const count = h("p", { class: "hidden", role: "status" });
  const table = h("table", { class: "fleet", role: "table", "aria-label": "Nodes" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, COLUMNS.map((column) => {
      const button = h("button", { type: "button", class: "sort", onclick: () => sortBy(column.key, sort.key === column.key && !sort.down) }, column.title);
      const head = h("th", { role: "columnheader", scope: "col" }, button);
      heads.set(column.key, head);
      return head;
    }))),
    body);

  function sortBy(key, down) {
    sort = { key, down };
    order.value = key;
    for (const [name, head] of heads) {
      if (name === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    arrange();
  }

  function add(node) {
    const cells = Object.fromEntries(COLUMNS.map((column) => [
      column.key,
      h(column.key === "name" ? "th" : "td", {
        role: column.key === "name" ? "rowheader" : "cell",
        scope: column.key === "name" ? "row" : null,
        "data-label": column.title, class: `c-${column.key}`,
      }),
    ]));
    cells.name.append(
      h("a", { href: `#/node/${encodeURIComponent(node.id)}` }, node.name),
      h("span", { class: "sub" }, [node.dialect, ...Object.values(node.tenant), node.org]
        .filter((word, at, all) => word && all.indexOf(word) === at).join(" · ")));
    const row = {
      node, cells, shown: {}, alerts: [], state: stateOf(node),
      element: h("tr", { role: "row" }, Object.values(cells)),
      words: [node.id, node.org].join(" ").toLowerCase(),
    };
    rows.set(node.id, row);
    draw(row);
    return row;
  }

  // A cell is made anew only when what it says is another thing.
  function cell(row, key, text, make) {
    if (row.shown[key] === text) return;
    row.shown[key] = text;
    row.cells[key].replaceChildren(...[make()].flat());
  }

  function draw(row) {
    const { node } = row;
    row.state = stateOf(node);
    cell(row, "state", row.state.tone + row.state.word, () => badge(row.state.tone, row.state.word));
    const reading = node.reading;
    if (reading) {
      const all = Object.keys(reading.quantities);
      const measured = all.filter((name) => !OWN_COLUMN.has(name));
      const names = measured.length ? measured : all;
      names.sort((a, b) => rankOf(a) - rankOf(b));
      const text = names.slice(0, SHOWN)
        .map((name) => `${quantityName(name)} ${value(name, reading.quantities[name])}`).join(", ")
        + (names.length > SHOWN ? ` +${names.length - SHOWN}` : "");
      cell(row, "reading", `${reading.at}${text}`, () => {
        row.age = h("span", { class: "sub" });
        return [h("span", { class: "values" }, text), row.age];
      });
      setText(row.age, ago(reading.at));
    } else cell(row, "reading", "", () => h("span", { class: "dim" }, "none yet"));
    for (const [key, found] of [["battery", battery(node)], ["signal", signal(node)]]) {
      cell(row, key, found?.text ?? "", () => found === null ? nothing()
        : found.low ? badge("warn", `${found.text}${key === "battery" ? " low" : ""}`) : found.text);
    }
    const waiting = queue(node);
    cell(row, "queue", String(waiting), () => waiting === null ? nothing()
      : waiting === 0 ? "0" : badge("warn", `${waiting} waiting`));
    const worst = row.alerts.length ? row.alerts.reduce((a, b) => severity([a]) <= severity([b]) ? a : b) : null;
    cell(row, "alerts", `${row.alerts.length}${worst?.name}`, () => worst === null ? nothing("none")
      : badge(worst.name === "info" ? "dim" : worst.name === "critical" ? "bad" : "warn",
        `${row.alerts.length} ${worst.name}`));
  }

  const nothing = (text = "unknown") => [h("span", { class: "dim", "aria-hidden": "true" }, "–"), h("span", { class: "hidden" }, text)];
  const rankOf = (name) => {
    const at = SUMMARY_FIRST.indexOf(name);
    return at < 0 ? SUMMARY_FIRST.length : at;
  };

  function wanted(row) {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.every((word) => row.words.includes(word))) return false;
    if (only.value === "attention") return row.state.rank < 4 || row.alerts.length > 0;
    if (only.value === "alerts") return row.alerts.length > 0;
    return !only.value || row.state.state === only.value;
  }

  function arrange() {
    const column = COLUMNS.find((one) => one.key === sort.key);
    const found = [...rows.values()].filter(wanted).map((row) => [column.of(row), row]);
    found.sort(([a, x], [b, y]) => (sort.down ? -1 : 1) * (typeof a === "string" ? compare(a, b) : a - b || 0)
      || compare(x.node.name, y.node.name));
    body.replaceChildren(...found.map(([, row]) => row.element));
    none.hidden = found.length > 0;
    none.replaceChildren(rows.size ? "No node is like that." : "No node has been heard or registered yet.");
    table.hidden = found.length === 0;
    setText(count, search.value || only.value ? `${found.length} of ${rows.size} nodes shown` : "");
    sum();
  }

  function sum() {
    const all = [...rows.values()];
    const alerts = all.reduce((n, row) => n + row.alerts.length, 0);
    const those = (state) => all.filter((row) => row.state.state === state).length;
    setText(summary, `${all.length} ${all.length === 1 ? "node" : "nodes"}: ${those("online")} online, ${those("offline")} offline`
      + (those("silent") ? `, ${those("silent")} silent` : "")
      + (those("unheard") ? `, ${those("unheard")} not heard` : "")
      + `; ${alerts} open ${alerts === 1 ? "alert" : "alerts"}`);
  }

  function later(row) {
    dirty.add(row);
    frame ||= setTimeout(() => {
      frame = 0;
      for (const one of dirty) draw(one);
      dirty = new Set();
      sum();
    }, 200);
  }

  async function load() {
    let after = 0;
    const found = [];
    do {
      const page = await get("nodes", { after, limit: PAGE });
      found.push(...page.nodes);
      after = page.next;
    } while (after !== null && found.length < MAX_NODES);
    const since = Math.floor(Date.now() / 1000 - ALERTS_SINCE_S);
    const alerts = await get("events", { kind: "alert", since, limit: 10000 });
    events.clear();
    for (const event of alerts.events) note(event.node_id, event, false);
    for (const node of found) {
      const row = rows.get(node.id) ?? add(node);
      row.node = node;
      row.alerts = openAlerts(events.get(node.id) ?? []);
      draw(row);
    }
    arrange();
  }

  function note(id, event, first) {
    if (!events.has(id)) events.set(id, []);
    if (first) events.get(id).unshift(event);
    else events.get(id).push(event);
  }

  async function stranger(id) {
    if (asked.has(id)) return;
    asked.add(id);
    const node = await get(`nodes/${encodeURIComponent(id)}`).catch(() => null);
    if (node && !rows.has(id)) {
      add(node);
      arrange();
    }
  }
  const asked = new Set();

  function onLive({ kind, data }) {
    const row = rows.get(data.node_id);
    if (!row) {
      stranger(data.node_id);
      return;
    }
    hear(row.node, kind, data);
    if (kind === "reading") {
      // A backlog may come after what is newer.
      if (!row.node.reading || data.at >= row.node.reading.at) {
        row.node.reading = { at: data.at, received: data.received_at, quantities: data.quantities };
      }
    } else if (kind === "alert") {
      note(data.node_id, { ...data, name: data.severity }, true);
      row.alerts = openAlerts(events.get(data.node_id));
    }
    later(row);
  }

  function tick() {
    for (const row of rows.values()) draw(row);
    sum();
  }

  context.live.listen(null);
  await load();
  sortBy("name", false);
  root.replaceChildren(
    h("h1", { tabindex: "-1" }, "Nodes"),
    summary,
    h("div", { class: "tools", role: "search" },
      h("div", { class: "field" }, h("label", { for: "search" }, "Search"), search),
      h("div", { class: "field" }, h("label", { for: "only" }, "Show"), only),
      h("div", { class: "field order" }, h("label", { for: "order" }, "Sort by"), order)),
    count, table, none);
  return {
    onLive,
    tick,
    refresh: () => load().catch((error) => root.prepend(notice(error.message))),
    end: () => clearTimeout(frame),
  };
}
