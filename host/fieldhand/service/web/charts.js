// Charts of a node's quantities: history from the service, then what comes in. uPlot draws them.

import { get, nodePath } from "./api.js";
import { h, setText } from "./dom.js";
import { quantityName, time, value } from "./format.js";

// Points one chart holds; the oldest go first.
const MAX_POINTS = 20_000;
const PAGE = 10_000;
const HEIGHT = 180;
// A line ends where nothing came for so many usual intervals.
const GAP = 6;
const DRAW_MS = 400;
// A chart of a node that was heard for the first time just now shows so much.
const MIN_SPAN_S = 60;

export const RANGES = [
  { key: "15m", text: "15 minutes", seconds: 900, resolution: "raw" },
  { key: "1h", text: "1 hour", seconds: 3600, resolution: "raw" },
  { key: "6h", text: "6 hours", seconds: 21600, resolution: "raw" },
  { key: "24h", text: "24 hours", seconds: 86400, resolution: "1m" },
  { key: "7d", text: "7 days", seconds: 604800, resolution: "1m" },
  { key: "30d", text: "30 days", seconds: 2592000, resolution: "1h" },
];

/** {at, low, mean, high} of each quantity from `since` on, at the range's resolution. */
async function history(id, range, since) {
  const found = new Map();
  const take = (series) => {
    for (const [name, part] of Object.entries(series)) {
      if (!found.has(name)) found.set(name, { at: [], low: [], mean: [], high: [] });
      const all = found.get(name);
      for (const [to, from] of [["at", "at"], ["low", "min"], ["mean", "mean"], ["high", "max"]]) {
        for (const one of part[from]) all[to].push(one);
      }
    }
  };
  const pages = async (resolution, from) => {
    let after = null;
    let points = 0;
    do {
      const page = await get(nodePath(id, "/history"), { resolution, since: from, after, limit: PAGE });
      take(page.series);
      after = page.next;
      points += PAGE;
    } while (after !== null && points < MAX_POINTS);
  };
  if (range.resolution === "raw") {
    await pages("raw", since);
    return found;
  }
  await pages(range.resolution, since);
  // The last few have not been summed up yet: as they were measured.
  const step = range.resolution === "1m" ? 60 : 3600;
  const ends = [...found.values()].map((one) => one.at[one.at.length - 1] + step);
  await pages("raw", ends.length ? Math.max(...ends) : since);
  return found;
}

export class Charts {
  constructor(root, id) {
    this.root = root;
    this.range = RANGES[1];
    this._id = id;
    this._charts = new Map();
    this._timer = 0;
    this._turn = 0;
    this._theme = matchMedia("(prefers-color-scheme: dark)");
    this._redraw = () => this._charts.forEach((chart) => chart.make());
    this._theme.addEventListener("change", this._redraw);
    this._resize = new ResizeObserver(() => this._charts.forEach((chart) => chart.resize()));
    this._resize.observe(root);
  }

  /** Show a range, from the service anew. */
  async show(range) {
    this.range = range;
    const turn = ++this._turn;
    const since = Date.now() / 1000 - range.seconds;
    const found = await history(this._id, range, Math.floor(since));
    if (turn !== this._turn) return;
    for (const chart of this._charts.values()) chart.end();
    this._charts.clear();
    const names = [...found.keys()].sort();
    this.root.replaceChildren(...names.map((name) => {
      const chart = new Chart(name, found.get(name), this);
      this._charts.set(name, chart);
      return chart.element;
    }));
    if (!names.length) this.root.replaceChildren(h("p", { class: "empty" }, "Nothing was measured in this time."));
    this._redraw();
  }

  /** A reading came in. */
  add(at, quantities) {
    let fresh = false;
    for (const [name, found] of Object.entries(quantities)) {
      if (typeof found !== "number") continue;
      let chart = this._charts.get(name);
      if (!chart) {
        chart = new Chart(name, { at: [], low: [], mean: [], high: [] }, this);
        if (!this._charts.size) this.root.replaceChildren();
        this._charts.set(name, chart);
        this.root.append(chart.element);
        fresh = true;
      }
      chart.add(at, found);
    }
    if (fresh) this._redraw();
    this._timer ||= setTimeout(() => {
      this._timer = 0;
      this._charts.forEach((chart) => chart.draw());
    }, DRAW_MS);
  }

  /** The time that charts show: the range, less what was before the first reading in it. */
  span() {
    const now = Date.now() / 1000;
    const from = now - this.range.seconds;
    const firsts = [...this._charts.values()].map((chart) => chart.first(from));
    const first = Math.min(now - MIN_SPAN_S, ...firsts.filter((at) => at !== null));
    return [Math.max(from, first - (now - first) * 0.02), now];
  }

  /** Time goes on without readings too. */
  tick() {
    this._charts.forEach((chart) => chart.draw());
  }

  end() {
    clearTimeout(this._timer);
    this._turn++;
    this._theme.removeEventListener("change", this._redraw);
    this._resize.disconnect();
    this._charts.forEach((chart) => chart.end());
  }
}

class Chart {
  constructor(name, series, owner) {
    this._name = name;
    this._series = series;
    this._owner = owner;
    this._plot = null;
    this._readout = h("span", { class: "readout" });
    this._canvas = h("div", { class: "plot", role: "img" });
    this._title = h("figcaption", {}, h("span", { class: "title" }, quantityName(name)), this._readout);
    this.element = h("figure", { class: "card chart", "data-quantity": name }, this._title, this._canvas);
  }

  add(at, found) {
    const s = this._series;
    const last = s.at[s.at.length - 1];
    // A backlog comes late: it takes its place.
    let place = s.at.length;
    if (last !== undefined && at <= last) {
      place = s.at.findIndex((one) => one >= at);
      if (s.at[place] === at) {
        // Two in one second of the node's clock: the later one is what is so.
        for (const list of [s.low, s.mean, s.high]) list[place] = found;
        return;
      }
    }
    s.at.splice(place, 0, at);
    for (const list of [s.low, s.mean, s.high]) list.splice(place, 0, found);
    if (s.at.length > MAX_POINTS) for (const list of Object.values(s)) list.shift();
  }

  /** When the first point from `since` on is, null where there is none. */
  first(since) {
    return this._series.at.find((at) => at >= since) ?? null;
  }

  /** What uPlot is given: nulls where the node was not heard. */
  _data() {
    const { at, low, mean, high } = this._series;
    const from = Date.now() / 1000 - this._owner.range.seconds;
    let first = 0;
    while (first < at.length && at[first] < from) first++;
    const steps = [];
    for (let i = Math.max(1, first); i < at.length; i++) steps.push(at[i] - at[i - 1]);
    steps.sort((a, b) => a - b);
    const usual = Math.max(steps[Math.floor(steps.length / 2)] ?? 0, 1);
    const data = [[], [], [], []];
    for (let i = first; i < at.length; i++) {
      if (i > first && at[i] - at[i - 1] > usual * GAP) {
        data[0].push((at[i] + at[i - 1]) / 2);
        for (const list of data.slice(1)) list.push(null);
      }
      data[0].push(at[i]);
      data[1].push(mean[i]);
      data[2].push(low[i]);
      data[3].push(high[i]);
    }
    return data;
  }

  make() {
    this._plot?.destroy();
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--dim"), font: "12px system-ui, sans-serif",
      grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
    };
    const line = { stroke: colour("--accent"), width: 2, spanGaps: false, points: { size: 5 } };
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    this._plot = new uPlot({
      width: Math.max(this._canvas.clientWidth, 100),
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "node" }, drag: { x: false, y: false }, points: { size: 8 } },
      scales: { x: { range: () => this._owner.span() },
        y: { range: (_, low, high) => span(low, high) } },
      axes: [{ ...axis, space: 80, values: (_, ticks, __, ___, step) => ticks.map((tick) => clock(tick, step)) }, { ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => compact(tick)) }],
      series: [{}, line, edge, edge],
      bands: [{ series: [3, 2], fill: colour("--band") }],
      hooks: { setCursor: [(plot) => this._say(plot.cursor.idx)] },
    }, this._data(), this._canvas);
    this._say(null);
  }

  draw() {
    this._plot?.setData(this._data());
    if (this._plot && (this._plot.cursor.idx ?? null) === null) this._say(null);
  }

  resize() {
    const width = this._canvas.clientWidth;
    if (this._plot && width && this._plot.width !== width) this._plot.setSize({ width, height: HEIGHT });
  }

  end() {
    this._plot?.destroy();
    this._plot = null;
  }

  _say(index) {
    const { at, mean, low, high } = this._series;
    const data = this._plot?.data;
    const last = at.length - 1;
    if (index !== null && index !== undefined && data?.[1][index] !== null && data?.[1][index] !== undefined) {
      setText(this._readout, `${time(data[0][index])}: ${value(this._name, data[1][index])}`);
    } else setText(this._readout, last < 0 ? "–" : value(this._name, mean[last]));
    if (last < 0) return;
    const shown = data?.[2].filter((one) => one !== null) ?? low;
    const tops = data?.[3].filter((one) => one !== null) ?? high;
    const bounds = shown.length
      ? `, from ${value(this._name, Math.min(...shown))} to ${value(this._name, Math.max(...tops))}` : "";
    this._canvas.setAttribute("aria-label",
      `Chart of ${quantityName(this._name)} over ${this._owner.range.text}${bounds}; last ${value(this._name, mean[last])}`);
  }
}

/** A scale that a flat line stands in the middle of, and no noise fills. */
function span(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = Math.max((high - low) * 0.1, Math.abs(high) * 0.01, 0.5);
  return [low - room, high + room];
}

const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** A tick of the time axis, as fine as its `step` in seconds asks for. */
function clock(at, step) {
  const date = new Date(at * 1000);
  return (step < 60 ? seconds : step < 86400 ? hours : days).format(date);
}

const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 });
const compact = (tick) => tick === null ? "" : short.format(tick);
