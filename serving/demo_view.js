// What the page shows, made of elements and texts only: nothing that came from elsewhere is taken for HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element of attributes and children; a text becomes a text node. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Give a value of an item column as a text. */
export function text(value) {
  if (value == null) return "";
  if (Array.isArray(value)) return value.map(text).filter(Boolean).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Give an item's name: its title, or else its id. */
export function nameOf(item, title) {
  return text(item.fields[title]) || text(item.id);
}

function about(item, title) {
  const rest = Object.entries(item.fields).filter(([name]) => name !== title).map(([, value]) => text(value));
  if (nameOf(item, title) !== text(item.id)) rest.push(`#${text(item.id)}`);
  return rest.filter(Boolean).join("\u00a0· ");
}

function named(item, title, seen) {
  const name = el("span", { class: "title" }, nameOf(item, title));
  if (seen) name.append(" ", el("span", { class: "seen" }, "in the history"));
  return el("div", {}, name, el("span", { class: "about" }, about(item, title)));
}

function moved(item, place, before) {
  if (!before) return "";
  if (!before.has(item.id)) return el("span", { class: "moved" }, "new");
  const by = before.get(item.id) - place;
  if (!by) return "";
  const words = `${Math.abs(by)} ${by > 0 ? "up" : "down"}`;
  return el("span", { class: "moved", role: "img", "aria-label": words }, `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`);
}

/** Fill the list of recommendations. `before` has the places of another version, or is null. `seen` has ids. */
export function showItems(list, items, { title, before, seen, drop }) {
  const focused = [...list.querySelectorAll(".drop")].indexOf(document.activeElement);
  const scores = items.map((item) => item.score);
  const low = Math.min(0, ...scores), width = Math.max(...scores) - low || 1;
  list.replaceChildren(...items.map((item, place) => {
    const bar = el("i", { "aria-hidden": "true" });
    bar.style.setProperty("--part", `${(100 * (item.score - low)) / width}%`);
    const button = el("button", { type: "button", class: "drop", "aria-label": `Exclude ${nameOf(item, title)}`, title: "Exclude" }, "✕");
    button.addEventListener("click", () => drop(item));
    return el("li", { "data-id": text(item.id) },
      el("span", { class: "rank", "aria-hidden": "true" }, String(place + 1)), named(item, title, seen.has(text(item.id))),
      el("div", { class: "score" }, item.score.toFixed(4), bar, moved(item, place, before)), button);
  }));
  if (!items.length) list.append(el("li", { class: "empty" }, "No item is left: loosen filters, exclusions or the least score."));
  // Who excludes several by keyboard goes on where the list was left.
  const buttons = list.querySelectorAll(".drop");
  if (focused >= 0) (buttons[Math.min(focused, buttons.length - 1)] ?? list.closest("section")).focus();
}

/** Hold the places of a list that is still to come. */
export function showGhosts(list, count) {
  list.replaceChildren(...Array.from({ length: count }, () => el("li", { class: "ghost", "aria-hidden": "true" })));
}

/** Fill the list of what a user has had. */
export function showHistory(list, items, title) {
  list.replaceChildren(...items.map((item) => el("li", {}, named(item, title))));
}

/** Draw the latencies of the last requests as bars, the newest to the right. */
export function showLatency(svg, median, latest, requests) {
  const last = requests.at(-1);
  latest.textContent = last ? last.ms.toFixed(1) : "–";
  const kept = requests.slice(-33), most = Math.max(...kept.map((one) => one.ms), 1);
  svg.replaceChildren(...kept.map((one, place) => {
    const height = Math.max(2, (30 * one.ms) / most);
    const bar = document.createElementNS(SVG, "rect");
    const kind = one.failed ? "failed" : place === kept.length - 1 ? "last" : "";
    const attributes = { x: 132 - 4 * (kept.length - place), y: 32 - height, width: 3, height, rx: 1, class: kind };
    for (const [key, value] of Object.entries(attributes)) bar.setAttribute(key, value);
    return bar;
  }));
  const sorted = kept.map((one) => one.ms).sort((a, b) => a - b);
  const middle = sorted.length ? sorted[sorted.length >> 1].toFixed(1) : "–";
  median.textContent = `median ${middle} of ${kept.length}`;
  svg.setAttribute("aria-label", `The last ${kept.length} requests took ${middle} ms in the median, ${most.toFixed(1)} ms at most`);
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/g;

/** Show a value as JSON, coloured, lists of plain values on one line. */
export function showJson(place, value) {
  place.replaceChildren();
  if (value === undefined) return;
  const json = typeof value === "string" ? value : pretty(value, "");
  let done = 0;
  for (const match of json.matchAll(TOKEN)) {
    place.append(json.slice(done, match.index));
    const kind = match[2] !== undefined ? "n" : match[1] !== undefined ? "t" : "v";
    place.append(el("span", { class: kind }, match[1] ?? match[3]), match[2] ?? "");
    done = match.index + match[0].length;
  }
  place.append(json.slice(done));
}

function pretty(value, indent) {
  const inner = `${indent}  `;
  if (Array.isArray(value) && value.some((one) => one !== null && typeof one === "object" && !Array.isArray(one))) {
    return `[\n${value.map((one) => inner + pretty(one, inner)).join(",\n")}\n${indent}]`;
  }
  if (Array.isArray(value)) return `[${value.map((one) => pretty(one, inner)).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const line = JSON.stringify(value);
  if (line.length < 50 && Object.values(value).every((one) => one === null || typeof one !== "object")) {
    return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${JSON.stringify(one)}`).join(", ")}}`;
  }
  const parts = Object.entries(value).map(([key, one]) => `${inner}${JSON.stringify(key)}: ${pretty(one, inner)}`);
  return `{\n${parts.join(",\n")}\n${indent}}`;
}
