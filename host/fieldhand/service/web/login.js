// Logging in, where the service wants to know who asks.

import { logIn } from "./api.js";
import { h, notice } from "./dom.js";

/** `done` is called when one is in. */
export function login(root, done) {
  const problem = h("div");
  const name = h("input", { id: "name", name: "name", autocomplete: "username", required: true });
  const password = h("input", {
    id: "password", name: "password", type: "password", autocomplete: "current-password", required: true,
  });
  const button = h("button", { class: "primary" }, "Log in");
  const form = h("form", { class: "card form narrow", onsubmit: submit },
    problem,
    h("div", { class: "field" }, h("label", { for: "name" }, "Name"), name),
    h("div", { class: "field" }, h("label", { for: "password" }, "Password"), password),
    button);

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      await logIn(name.value, password.value);
      await done();
    } catch (error) {
      problem.replaceChildren(notice(error.message));
      password.select();
    } finally {
      button.disabled = false;
    }
  }

  root.replaceChildren(h("h1", { tabindex: "-1" }, "Log in"), form);
  return {};
}
