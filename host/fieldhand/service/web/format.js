// Values, times and states in words.

let units = {};

/** Canonical quantity -> unit. */
export function setUnits(found) {
  units = found;
}

const ACRONYMS = { ph: "pH", orp: "ORP", tds: "TDS", ec: "EC", npk: "NPK" };

/** "soil_moisture" -> "Soil moisture". */
export function quantityName(name) {
  if (ACRONYMS[name]) return ACRONYMS[name];
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function unitOf(name) {
  const unit = units[name] ?? "";
  return unit === "pH" || unit === "raw" ? "" : unit;
}

const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });

export function value(name, found) {
  if (found === null || found === undefined) return "–";
  if (typeof found !== "number") return String(found);
  const unit = unitOf(name);
  return number.format(found) + (unit ? ` ${unit}` : "");
}

/** How long ago, in one unit: "12 s", "3 min", "5 h", "4 d". */
export function age(seconds) {
  const s = Math.max(0, seconds);
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export function ago(at, now = Date.now() / 1000) {
  return at === null || at === undefined ? "never" : `${age(now - at)} ago`;
}

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const clock = new Intl.DateTimeFormat(undefined, TIME);
const full = new Intl.DateTimeFormat(undefined, { ...TIME, day: "numeric", month: "short", year: "numeric" });

/** A Unix time: the time of today, else with the date. */
export function time(at) {
  if (at === null || at === undefined) return "–";
  const date = new Date(at * 1000);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : full.format(date);
}

// What was under way when a node went offline may come so long after its will, as the service has it.
const STRAGGLES_S = 5;
// What comes live from a node itself.
const FROM_NODE = new Set(["reading", "status", "alert", "event", "reply"]);

/** Carries on a node's `status`, `last_heard` and `state`, which the service gave, by what comes live. */
export function hear(node, kind, data) {
  if (!FROM_NODE.has(kind)) return;
  if (kind === "status") {
    node.status = { state: data.state, details: data.values ?? {}, received: data.received_at };
    if (data.state === "offline") node.state = "offline";
    else if (node.state !== "silent" || !data.retained) node.state = "online";
  } else if (!data.retained
    && (node.state !== "offline" || data.received_at > node.status.received + STRAGGLES_S)) {
    node.state = "online";
  }
  if (!data.retained) node.last_heard = data.received_at;
}

/** {state, tone, word, rank}: what a node's state is called; the lowest rank wants attention most. */
export function stateOf(node, now = Date.now() / 1000) {
  const { state, status } = node;
  if (state === "unheard") return { state, tone: "dim", word: "not heard", rank: 4 };
  if (state === "offline") return { state, tone: "bad", word: "offline", rank: 0 };
  if (state === "silent" || now - (node.last_heard ?? status.received) > node.silent_s) {
    return { state: "silent", tone: "warn", word: "silent", rank: 2 };
  }
  if (status?.details.config_error) return { state, tone: "bad", word: "config error", rank: 1 };
  if (status?.details.safe_mode) return { state, tone: "bad", word: "safe mode", rank: 1 };
  const word = status && status.state !== "offline" ? status.details.activity ?? status.state : state;
  return { state, tone: "good", word: String(word), rank: 5 };
}

/** The battery in words and as a number to sort by. */
export function battery(node) {
  const details = node.status?.details ?? {};
  const quantities = node.reading?.quantities ?? {};
  const level = quantities.battery_level ?? details.battery_level;
  if (typeof level === "number") {
    return { text: `${number.format(level)} %`, rank: level, low: level < 20 };
  }
  const volts = quantities.battery_voltage;
  if (typeof volts === "number") return { text: `${number.format(volts)} V`, rank: volts * 7, low: false };
  return null;
}

/** The radio signal in words and as a number to sort by. */
export function signal(node) {
  const found = node.reading?.quantities.signal_strength ?? node.status?.details.signal_strength;
  if (typeof found !== "number") return null;
  const word = found >= -60 ? "good" : found >= -75 ? "fair" : "weak";
  return { text: `${word}, ${Math.round(found)} dBm`, rank: found, low: found < -75 };
}

/** Readings that wait on the node. */
export function queue(node) {
  const found = node.status?.details.queued;
  return typeof found === "number" ? found : null;
}

/** Alerts that have been raised and not cleared, from events with the newest first. */
export function openAlerts(events, now = Date.now() / 1000) {
  const seen = new Set();
  return events.filter((event) => {
    if (event.kind !== "alert") return false;
    const key = event.sensor ?? event.message;
    if (seen.has(key)) return false;
    seen.add(key);
    // One that is of no sensor is never cleared: it counts for a day.
    return event.state === "raised" && (event.sensor || now - event.at < 86400);
  });
}

// Units at the end of a name: what to divide by, and the unit to say.
const SUFFIXES = { ms: [1000, "s"], s: [1, "s"], ml: [1, "ml"] };

function fact(name, item) {
  if (item !== null && typeof item === "object") return `${name.replaceAll("_", " ")} ${JSON.stringify(item)}`;
  const [, stem, end] = name.match(/^(\w+)_(ms|s|ml)$/) ?? [];
  if (end && typeof item === "number") {
    const [by, unit] = SUFFIXES[end];
    return `${stem.replaceAll("_", " ")} ${number.format(item / by)} ${unit}`;
  }
  return `${name.replaceAll("_", " ")} ${item}`;
}

/** {"reason": "done", "ran_ms": 2000} -> "reason done, ran 2 s"; ids are for machines. */
export function facts(data) {
  return Object.entries(data ?? {}).filter(([name]) => name !== "id")
    .map(([name, item]) => fact(name, item)).join(", ");
}
