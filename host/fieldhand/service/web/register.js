// A node that is to be known: a form made from the dialects' tables.

import { post } from "./api.js";
import { h, notice } from "./dom.js";

// Options that say whose a node is.
const TENANTS = new Set(["org", "company"]);

export function register(root, context) {
  const problem = h("div");
  const dialect = h("select", { id: "dialect", name: "dialect", required: true, onchange: showOptions },
    context.dialects.map((one) => h("option", { value: one.name }, one.name)));
  const about = h("p", { class: "hint", id: "about" });
  const name = h("input", {
    id: "node-name", name: "name", required: true, maxlength: 128, autocomplete: "off",
    autocapitalize: "off", spellcheck: "false", "aria-describedby": "name-hint",
  });
  const options = h("div");
  const org = h("input", { id: "org", name: "org", maxlength: 128, autocomplete: "off", "aria-describedby": "org-hint" });
  const extras = h("input", { id: "extras", type: "checkbox", checked: true });
  const button = h("button", { class: "primary" }, "Register");
  const operator = context.me.organisation === null;
  const whoseField = h("div", { class: "field" },
    h("label", { for: "org" }, "Organisation (optional)"), org,
    h("p", { class: "hint", id: "org-hint" }, "Whose people may see it."));
  const chosen = () => context.dialects.find((one) => one.name === dialect.value);
  dialect.setAttribute("aria-describedby", "about");

  function showOptions() {
    about.textContent = chosen()?.summary ?? "";
    // Where topics name whose a node is, nobody else can.
    whoseField.hidden = !operator || (chosen()?.options ?? []).some((one) => TENANTS.has(one.name));
    options.replaceChildren(...(chosen()?.options ?? []).map((field) => {
      const id = `option-${field.name}`;
      if (field.type === "bool") {
        return h("div", { class: "field check" },
          h("input", { id, type: "checkbox", checked: field.default === true, "data-option": field.name }),
          h("label", { for: id }, field.doc || field.name));
      }
      return h("div", { class: "field" },
        h("label", { for: id }, field.name, field.doc ? ` (${field.doc})` : ""),
        h("input", { id, required: field.required, maxlength: 128, autocomplete: "off", "data-option": field.name }));
    }));
  }

  async function submit(event) {
    event.preventDefault();
    const given = {};
    let plain = true;
    for (const input of options.querySelectorAll("[data-option]")) {
      const field = chosen().options.find((one) => one.name === input.dataset.option);
      if (input.type === "checkbox") {
        if (input.checked !== (field.default === true)) plain = false;
        given[field.name] = input.checked;
      } else if (input.value) {
        given[field.name] = input.value;
        plain = false;
      }
    }
    const whose = !whoseField.hidden && org.value ? { org: org.value } : {};
    button.disabled = true;
    problem.replaceChildren();
    try {
      // PlantNanny's own way asks the device for a reading at once.
      const made = chosen().name === "plantnanny" && plain && extras.checked
        ? await post("devices", { device_id: name.value, ...whose })
        : await post("nodes", {
          dialect: dialect.value, name: name.value, options: given, extras: extras.checked, ...whose,
        });
      location.hash = `#/node/${encodeURIComponent(made.id)}`;
    } catch (error) {
      problem.replaceChildren(notice(error.message));
    } finally {
      button.disabled = false;
    }
  }

  showOptions();
  root.replaceChildren(
    h("h1", { tabindex: "-1" }, "Register a node"),
    h("form", { class: "card form narrow", onsubmit: submit },
      problem,
      h("div", { class: "field" }, h("label", { for: "dialect" }, "Dialect"), dialect, about),
      h("div", { class: "field" },
        h("label", { for: "node-name" }, "Name"), name,
        h("p", { class: "hint", id: "name-hint" }, "As it stands in the node’s topics.")),
      options,
      whoseField,
      h("div", { class: "field check" }, extras,
        h("label", { for: "extras" }, "It runs Fieldhand’s firmware: numbered readings, answers with ids")),
      button));
  return {};
}
