// What a farm's readings mean for its crop, and what to do about them.

import { get, nodePath } from "./api.js";
import { announce, h } from "./dom.js";

export const DIALECT = "farm";

const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const ACRONYMS = { et0: "ET0", vpd: "VPD", ph: "pH", ec: "EC", npk: "NPK" };

const named = (key) => {
  const [first, ...rest] = key.split("_");
  const start = ACRONYMS[first] ?? first.charAt(0).toUpperCase() + first.slice(1);
  return [start, ...rest.map((word) => ACRONYMS[word] ?? word)].join(" ");
};

function said(result) {
  if (typeof result.value === "number") return `${number.format(result.value)} ${result.unit ?? ""}`.trim();
  return result.state ?? "not known";
}

export class Agronomy {
  constructor(id) {
    this._id = id;
    this._body = h("div");
    this._told = "";
    this.element = h("section", { class: "card", "aria-labelledby": "agronomy-title", hidden: true },
      h("h2", { id: "agronomy-title" }, "Agronomy"), this._body);
  }

  async load() {
    // A farm of which nothing is known yet has none.
    const found = await get(nodePath(this._id, "/agronomy")).catch(() => null);
    if (found) this.show(found, false);
  }

  show(found, live = true) {
    this.element.hidden = false;
    const advice = found.recommendations ?? [];
    const told = advice.map((one) => one.text).join(" ");
    if (live && told && told !== this._told) announce(`Recommended: ${told}`);
    this._told = told;
    this._body.replaceChildren(
      advice.length ? h("ul", { class: "log" }, advice.map((one) => h("li", {},
        h("div", { class: "line" }, h("span", { class: "what" }, one.text), h("span", { class: "dim" }, named(one.subject)))))) : "",
      h("dl", { class: "figures" }, Object.entries(found.analysis ?? {}).map(([key, one]) => h("div", {},
        h("dt", {}, named(key)),
        h("dd", {}, said(one), h("span", { class: "sub" }, one.missing ?? one.method))))));
  }
}
