// What a node can be told: a form made from its dialect's table, and what became of each command.

import { get, nodePath, post } from "./api.js";
import { announce, badge, h, notice } from "./dom.js";
import { facts, time } from "./format.js";

const SHOWN = 20;
const TONES = { sending: "dim", sent: "dim", accepted: "warn", done: "good", failed: "bad", timeout: "bad", refused: "bad" };
const ENDED = new Set(["done", "failed", "timeout", "refused"]);

export class Commands {
  constructor(id, may) {
    this._id = id;
    this._may = may;
    this._list = h("ul", { class: "log commands" });
    this._all = new Map();
    this.element = h("section", { class: "card", "aria-labelledby": "commands-title" },
      h("h2", { id: "commands-title" }, "Commands"));
  }

  async load() {
    const [actions, page] = await Promise.all([
      this._may ? get(nodePath(this._id, "/actions")) : [],
      get(nodePath(this._id, "/commands"), { limit: SHOWN }),
    ]);
    for (const command of page.commands) this._all.set(command.id, command);
    const form = actions.length ? [this._form(actions)] : [];
    this.element.replaceChildren(this.element.firstChild, ...form, this._list);
    this._draw();
  }

  async refresh() {
    const page = await get(nodePath(this._id, "/commands"), { limit: SHOWN });
    for (const command of page.commands) this._all.set(command.id, command);
    this._draw();
  }

  /** A command is new or has come further. */
  onLive(command) {
    const before = this._all.get(command.id);
    // The answer to sending it and the stream may come in any order.
    if (before && ENDED.has(before.state) && !ENDED.has(command.state)) return;
    this._all.set(command.id, command);
    if (before?.state !== command.state) {
      announce(`${command.action}: ${command.state}${command.error ? `, ${command.error}` : ""}`);
    }
    this._draw();
  }

  _draw() {
    const found = [...this._all.values()].sort((a, b) => b.created - a.created);
    for (const old of found.splice(SHOWN)) this._all.delete(old.id);
    this._list.replaceChildren(...(found.length ? found.map(item)
      : [h("li", { class: "empty" }, "No command has been sent from here yet.")]));
  }

  _form(actions) {
    const problem = h("div");
    const params = h("div", { class: "params" });
    const about = h("p", { class: "hint", id: "action-doc" });
    const select = h("select", { id: "action", onchange: () => choose(), "aria-describedby": "action-doc" },
      actions.map((one) => h("option", { value: one.action }, one.action)));
    const button = h("button", { class: "primary" }, "Send");
    const chosen = () => actions.find((one) => one.action === select.value);
    const choose = () => {
      about.textContent = chosen().doc;
      params.replaceChildren(...chosen().params.map(field));
      problem.replaceChildren();
    };
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      problem.replaceChildren();
      try {
        const sent = await post(nodePath(this._id, "/commands"), {
          action: select.value, params: given(params, chosen().params),
        });
        this.onLive(sent);
      } catch (error) {
        problem.replaceChildren(notice(error.message));
      } finally {
        button.disabled = false;
        button.focus();
      }
    };
    choose();
    return h("form", { class: "form send", onsubmit: submit, "aria-label": "Send a command" },
      h("div", { class: "field" }, h("label", { for: "action" }, "Command"), select, about),
      params, button, problem);
  }
}

function field(param) {
  const id = `param-${param.name}`;
  const bounds = [
    param.minimum !== null ? `from ${param.minimum}` : null,
    param.maximum !== null ? `to ${param.maximum}` : null,
  ].filter(Boolean).join(" ");
  const isNumber = ["int", "number", "epoch"].includes(param.type);
  const hint = isNumber ? [bounds, param.unit].filter(Boolean).join(" ") : param.unit;
  const shared = { id, "data-param": param.name, required: param.required, "aria-describedby": hint ? `${id}-hint` : null };
  let input;
  if (param.values || param.type === "bool") {
    const words = param.values ?? [true, false];
    input = h("select", shared,
      param.required ? [] : h("option", { value: "" }, "not given"),
      words.map((word, at) => h("option", { value: String(at) }, String(word))));
  } else if (isNumber) {
    input = h("input", {
      ...shared, type: "number", min: param.minimum, max: param.maximum,
      step: param.type === "number" ? "any" : "1", inputmode: param.type === "number" ? "decimal" : "numeric",
    });
  } else if (["object", "list", "any"].includes(param.type)) {
    input = h("textarea", { ...shared, rows: 3, spellcheck: "false", placeholder: "JSON" });
  } else input = h("input", { ...shared, autocomplete: "off" });
  return h("div", { class: "field" },
    h("label", { for: id }, param.name, param.required ? "" : " (optional)"),
    input, hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null);
}

/** The parameters in the form; what is empty is not given. Throws for JSON that is none. */
function given(root, params) {
  const found = {};
  for (const param of params) {
    const text = root.querySelector(`[data-param="${CSS.escape(param.name)}"]`).value;
    if (text === "") continue;
    if (param.values) found[param.name] = param.values[Number(text)];
    else if (param.type === "bool") found[param.name] = text === "0";
    else if (["int", "number", "epoch"].includes(param.type)) found[param.name] = Number(text);
    else if (["object", "list", "any"].includes(param.type)) {
      try {
        found[param.name] = JSON.parse(text);
      } catch {
        throw new Error(`${param.name} is not JSON`);
      }
    } else found[param.name] = text;
  }
  return found;
}

function item(command) {
  const steps = [["sent", command.sent], ["accepted", command.accepted],
    [ENDED.has(command.state) ? command.state : null, command.ended]]
    .filter(([word, at]) => word && at !== null && at !== undefined);
  const answer = facts(command.data);
  return h("li", { "data-command": command.id, "data-state": command.state },
    h("div", { class: "line" },
      h("span", { class: "what" }, h("strong", {}, command.action), " ", h("span", { class: "dim" }, facts(command.params))),
      badge(TONES[command.state] ?? "dim", command.state)),
    command.error ? h("p", { class: "why" }, command.error) : null,
    answer ? h("p", { class: "why" }, `Answer: ${answer}`) : null,
    command.late ? h("p", { class: "why" }, `A late answer came: ${facts(command.late)}`) : null,
    h("p", { class: "sub" }, steps.map(([word, at]) => `${word} ${time(at)}`).join(" → "),
      command.attempts > 1 ? `, sent ${command.attempts} times` : "", ` · by ${command.caller}`));
}
