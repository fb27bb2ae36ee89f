// Starts the page: who one is, the stream, and the view that the address names.

import { get, logOut, whoAmI } from "./api.js";
import { announce, badge, h, notice } from "./dom.js";
import { setUnits } from "./format.js";
import { Live } from "./live.js";
import { login } from "./login.js";
import { nodeView } from "./node.js";
import { overview } from "./overview.js";
import { register } from "./register.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const nav = document.getElementById("nav");
const context = { live: new Live(), me: null, dialects: [], may: (scope) => context.me?.scopes.includes(scope) };

// How often it is looked whether one is still logged in.
const SESSION_MS = 60_000;

let view = null;
let turn = 0;

function route() {
  const [word, rest] = location.hash.replace(/^#\/?/, "").split(/\/(.*)/s);
  if (word === "node" && rest) return (root) => nodeView(root, context, decodeURIComponent(rest));
  if (word === "register") return (root) => register(root, context);
  return (root) => overview(root, context);
}

async function show(make, focus = true) {
  const mine = ++turn;
  view?.end?.();
  view = null;
  const root = h("div", { class: "view" });
  root.append(h("p", { class: "loading" }, "Loading …"));
  main.replaceChildren(root);
  window.scrollTo(0, 0);
  try {
    const made = await make(root);
    if (mine === turn) view = made;
    else made?.end?.();
  } catch (error) {
    if (error.status === 401 || mine !== turn) return;
    root.replaceChildren(
      h("h1", { tabindex: "-1" }, "Something went wrong"),
      notice(error.message),
      h("button", { type: "button", onclick: () => show(make) }, "Try again"),
    );
  }
  if (mine !== turn) return;
  const heading = root.querySelector("h1");
  if (heading) {
    document.title = heading.textContent === "Nodes" ? "Fieldhand" : `${heading.textContent} – Fieldhand`;
    if (focus) heading.focus();
  }
}

function showNav() {
  const here = location.hash.replace(/^#\/?/, "");
  const item = (hash, text) => h("a", {
    href: `#/${hash}`, "aria-current": here === hash ? "page" : null,
  }, text);
  nav.replaceChildren(item("", "Nodes"));
  if (context.may("command")) nav.append(item("register", "Register a node"));
  if (context.me?.csrf) {
    nav.append(h("button", { type: "button", class: "plain", onclick: leave }, `Log out ${context.me.name}`));
  }
}

async function leave() {
  context.live.stop();
  await logOut().catch(() => {});
  askToLogIn();
}

function askToLogIn() {
  context.live.stop();
  context.me = null;
  nav.replaceChildren();
  link.replaceChildren();
  show((root) => login(root, start));
}

function showLink() {
  const { state, retryAt } = context.live;
  const was = link.dataset.state;
  link.dataset.state = state;
  if (state === "live") {
    if (was !== state) link.replaceChildren(badge("good", "Live"));
  } else if (state === "connecting") {
    if (was !== state) link.replaceChildren(badge("dim", "Connecting …"));
  } else if (was !== state) {
    link.replaceChildren(badge("warn", "Connection lost, trying again"));
    link.title = `next try at ${new Date(retryAt).toLocaleTimeString()}`;
  }
  document.body.classList.toggle("stale", state === "lost");
}

async function start() {
  let me;
  try {
    me = await whoAmI();
    if (me === null) return askToLogIn();
    context.me = me;
    const found = await get("dialects");
    context.dialects = found.dialects;
    setUnits(found.units);
  } catch (error) {
    if (error.status === 401) return undefined;
    main.replaceChildren(h("h1", {}, "Fieldhand"), notice(error.message),
      h("button", { type: "button", onclick: start }, "Try again"));
    return undefined;
  }
  showNav();
  return show(route(), false);
}

// A session that has ended elsewhere asks for the password here too: a 401 does that.
function checkSession() {
  if (context.me?.csrf) whoAmI().catch(() => {}); // without a network there is nothing to know
}

context.live.addEventListener("change", () => {
  showLink();
  if (context.live.state === "lost") checkSession();
});
setInterval(checkSession, SESSION_MS);
context.live.addEventListener("live", (event) => view?.onLive?.(event.detail));
context.live.addEventListener("back", () => {
  announce("The connection is back.");
  view?.refresh?.();
});
addEventListener("hashchange", () => {
  if (context.me === null || location.hash === "#main") return;
  showNav();
  show(route());
});
addEventListener("login-needed", () => context.me !== null && askToLogIn());
setInterval(() => view?.tick?.(), 5000);
start();
