// The page's state, and its way to the server and back.

import { controls } from "/demo_controls.js";
import { userField } from "/demo_users.js";
import { el, nameOf, showGhosts, showHistory, showItems, showJson, showLatency } from "/demo_view.js";

const $ = (id) => document.getElementById(id);
const SHOWN_HISTORY = 12;

const state = { models: [], about: null, user: "", profile: null, excluded: new Map(), sent: null, requests: [] };
let places = null, compared = null, waiting = 0, number = 0;

const form = controls(() => later());
const users = userField($("user"), $("users"), findUsers, (id) => chooseUser(id).then(() => ask()));

async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value != null && value !== ""));
  return answerOf(await fetch(`/api/${path}?${query}`));
}

async function answerOf(response) {
  const answer = await response.json().catch(() => ({ error: { message: `the page's own server answered ${response.status}` } }));
  if (!response.ok) throw Object.assign(new Error(answer.error.message), answer.error);
  return answer;
}

function chosen() {
  return { model: $("model").value, version: $("version").value || null };
}

function problem(error) {
  const lost = error instanceof TypeError ? "The page's own server is gone: start `torchtowers demo` again." : error.message;
  const at = error.control && form.problem(error.control, error.message);
  $("alert").replaceChildren(at ? "" : el("p", {}, lost));
  $("status").textContent = at ? `No answer: ${error.message}` : "No answer.";
  $("items").classList.add("stale");
  if (!state.about) $("items").replaceChildren();
}

function guarded(work) {
  return async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      if (error.name !== "AbortError") problem(error);
    }
  };
}

// Models and users ------------------------------------------------------------------------------------------

async function begin() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  showGhosts($("items"), 10);
  const answer = await get("models");
  $("server").textContent = `TorchServe at ${answer.server.replace("http://", "")}`;
  state.models = answer.models;
  $("model").replaceChildren(...answer.models.map(({ name }) => el("option", { value: name }, name)));
  if (answer.models.some(({ name }) => name === wanted.get("model"))) $("model").value = wanted.get("model");
  listVersions(wanted.get("version"));
  version = $("version").value;
  await chooseModel(wanted.get("user") ?? undefined);
}

function listVersions(wanted) {
  const { versions } = state.models.find(({ name }) => name === $("model").value);
  const usual = versions.find((version) => version.default);
  $("version").replaceChildren(
    el("option", { value: "" }, usual ? `${usual.version} (default)` : "default"),
    ...versions.map(({ version, ready }) => el("option", { value: version }, ready ? version : `${version}, not ready`)));
  if (versions.some(({ version }) => version === wanted)) $("version").value = wanted;
}

const chooseModel = guarded(async (user) => {
  state.about = null;
  const about = await get("model", chosen());
  state.about = about;
  form.describe(about);
  $("key").textContent = about.key;
  $("user-field").dataset.control = about.key;
  $("count").textContent = about.users ? `${about.users.toLocaleString("en")} known` : "";
  $("notes").replaceChildren(...about.notes.map((note) => el("li", {}, note)));
  if (user === undefined) [user = ""] = about.users ? (await get("users", chosen())).users : [];
  await chooseUser(user);
  await ask();
});

async function findUsers(words) {
  const answer = await guarded(get)("users", { ...chosen(), q: words });
  return answer ? answer.users : [];
}

const chooseUser = guarded(async (user) => {
  if (!state.about) return;
  if (user !== state.user) restoreAll();
  state.user = user;
  users.set(user);
  state.profile = await get("user", { ...chosen(), id: user });
  remember();
  const { known, features, history } = state.profile;
  $("profile").replaceChildren(...features.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  $("user-hint").textContent = !user || known || !state.about.users ? "Type to search; arrow keys choose."
    : "Not known to the model: what it goes by is below.";
  form.unknownUser(Boolean(user && state.about.users && !known));
  $("results-title").textContent = user ? `For ${user}` : "Recommendations";
  $("history-count").textContent = history.length ? history.length : "";
  listHistory(SHOWN_HISTORY);
});

function listHistory(most) {
  const { history, known } = state.profile;
  showHistory($("history"), history.slice(0, most), state.about.title);
  $("more").hidden = history.length <= most;
  if (!history.length) {
    const why = !state.about.history ? "This model takes no history."
      : known ? "The model knows no history of this user." : "Nothing is looked up for this user; a history can be typed among the other features.";
    $("history").append(el("li", { class: "muted" }, why));
  }
}

function remember() {
  const kept = Object.entries({ ...chosen(), user: state.user }).filter(([, value]) => value);
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
}

// Requests --------------------------------------------------------------------------------------------------

function later() {
  clearTimeout(waiting);
  waiting = setTimeout(ask, 250);
}

const ask = guarded(async () => {
  clearTimeout(waiting);
  const own = ++number;
  if (!state.about) return;
  const { features, options } = form.read(state.about);
  if (!state.user && !Object.keys(features).length) {
    $("items").replaceChildren(el("li", { class: "empty" }, "Choose a user, or type features of one."));
    return;
  }
  if (state.excluded.size && state.about.kind !== "ranking") options.exclude = [...state.excluded.keys()];
  else if (state.excluded.size) options.candidates = options.candidates.filter((id) => !state.excluded.has(id));
  const columns = state.about.columns.map(({ name }) => name);
  if (columns.length) options.fields = columns;
  const body = { ...chosen(), ...form.wire(), user: state.user, features, options };
  $("items").setAttribute("aria-busy", "true");
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await answerOf(await fetch("/api/ask", { method: "POST", headers, body: JSON.stringify(body) }));
    if (own === number) show(answer);
  } finally {
    if (own === number) $("items").removeAttribute("aria-busy");
  }
});

function show(answer) {
  form.noProblems();
  $("alert").replaceChildren();
  $("items").classList.remove("stale");
  if (answer.request) {
    state.sent = answer;
    state.requests.push({ ms: answer.ms, failed: Boolean(answer.error) });
    showLatency($("spark"), $("median"), $("ms"), state.requests);
    $("target").textContent = answer.target;
    $("copy-command").textContent = form.wire().grpc ? "Copy as command" : "Copy as curl";
    showJson($("request"), answer.request);
    showJson($("answer"), answer.answer);
  }
  if (answer.error) return problem(answer.error);
  const { items, scores, fields } = answer.rows;
  const listed = items.map((id, place) => ({
    id, score: scores[place],
    fields: Object.fromEntries(Object.entries(fields).map(([name, values]) => [name, values[place]])),
  }));
  if (state.about.kind === "ranking") listed.sort((one, other) => other.score - one.score);
  const seen = new Set(state.profile.history.map(({ id }) => id));
  showItems($("items"), listed, { title: state.about.title, before: compared?.places, seen, drop: exclude });
  const wire = `${form.wireName()}${compared ? `, compared with ${compared.name}` : ""}`;
  $("status").textContent = `${listed.length} ${listed.length === 1 ? "item" : "items"} in ${answer.ms.toFixed(1)} ms over ${wire}`;
  places = new Map(listed.map(({ id }, place) => [id, place]));
}

function exclude(item) {
  state.excluded.set(item.id, nameOf(item, state.about.title));
  listExcluded();
  ask();
}

function listExcluded() {
  $("excluded").replaceChildren(...[...state.excluded].map(([id, name]) => {
    const button = el("button", { type: "button", "aria-label": `Restore ${name}` }, el("s", {}, name), el("b", {}, "restore"));
    button.addEventListener("click", async () => {
      state.excluded.delete(id);
      listExcluded();
      ($("excluded").querySelector("button") ?? $("results")).focus();
      await ask();
    });
    return button;
  }));
}

function restoreAll() {
  state.excluded.clear();
  listExcluded();
}

async function copy(button, words) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(words);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}

const refreshModels = guarded(async () => {
  const { models } = await get("models");
  if (!models.some(({ name }) => name === $("model").value) || JSON.stringify(models) === JSON.stringify(state.models)) return;
  state.models = models;
  listVersions($("version").value);
});

const switchVersion = guarded(async (name) => {
  const user = state.user, from = name;
  compared = places && { places, name: from };
  await chooseModel(user);
  compared = null;
});

let version = "";
$("model").addEventListener("change", guarded(async () => {
  listVersions();
  version = "";
  places = null;
  restoreAll();
  await chooseModel();
}));
$("version").addEventListener("change", () => {
  const before = version ? `version ${version}` : "the default version";
  version = $("version").value;
  switchVersion(before);
});
// Someone may have deployed a version in the meantime.
window.addEventListener("focus", () => state.models.length && refreshModels());
$("more").addEventListener("click", () => { listHistory(Infinity); $("history").focus(); });
$("copy-command").addEventListener("click", () => state.sent && copy($("copy-command"), state.sent.command));
$("copy-answer").addEventListener("click", () => state.sent && copy($("copy-answer"), JSON.stringify(state.sent.answer)));
$("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });

guarded(begin)();
