// Elements without any HTML in strings: whatever a node is called stays text.

/** An element. Properties that start with "on" are listeners; null and false are left out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Change an element's text only if it is another one: nothing is drawn or read out in vain. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let announced = 0;

/** Tell a screen reader, politely, and not more often than every `every` ms. */
export function announce(text, every = 0) {
  const now = Date.now();
  if (now - announced < every) return;
  announced = now;
  setText(document.getElementById("announcer"), text);
}

/** A mark with its word: never a colour alone. `tone`: good, bad, warn or dim. */
export function badge(tone, text) {
  const marks = { good: "●", bad: "✕", warn: "▲", dim: "○" };
  return h("span", { class: `badge ${tone}` },
    h("span", { "aria-hidden": "true" }, marks[tone]), ` ${text}`);
}

/** `text` in a box, as an alert where it is bad. */
export function notice(text, tone = "bad") {
  return h("p", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : null }, text);
}
