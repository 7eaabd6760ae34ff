// The form: what it offers follows from the model, and only what was set goes into a request.

import { el } from "/demo_view.js";

const $ = (id) => document.getElementById(id);
const DIALECTS = { plain: "plain", instances: "TF Serving", inputs: "Open Inference" };

/** Drive the form; `changed()` is called when a request would be another one. */
export function controls(changed) {
  for (const event of ["input", "change"]) {
    $("form").addEventListener(event, ({ target }) => {
      if (!["model", "version", "user"].includes(target.id)) changed();
    });
  }
  $("unfilter").addEventListener("click", () => {
    for (const input of $("filters").querySelectorAll("input, select")) {
      if (input.type === "checkbox") input.checked = false;
      else input.value = "";
    }
    changed();
  });
  const wide = matchMedia("(min-width: 760px)");
  for (const id of ["options", "filters-box"]) $(id).open = wide.matches;

  let offered = "";
  return {
    /** Offer what a model takes. */
    describe(about) {
      this.noProblems();
      const ranking = about.kind === "ranking";
      for (const part of document.querySelectorAll(".retrieval")) part.hidden = ranking;
      for (const part of document.querySelectorAll(".ranking")) part.hidden = !ranking;
      for (const part of document.querySelectorAll(".stages")) part.hidden = about.kind !== "recommendation";
      $("features-box").hidden = !about.features.length;
      $("seen-field").hidden = ranking || !about.history;
      const filters = about.columns.filter(({ kind }) => kind !== "other");
      $("filters-box").hidden = ranking || !filters.length;
      const capped = about.columns.filter(({ kind }) => kind === "choice" || kind === "choices");
      $("diversity-field").hidden = ranking || !capped.length;
      // The next version of a model mostly offers the same: what was set stays.
      const offer = JSON.stringify([about.kind, about.features, about.columns, about.candidates]);
      if (offer === offered) return;
      offered = offer;
      $("features").replaceChildren(...about.features.map(feature));
      $("filters").replaceChildren(...filters.map(filter));
      $("diversity").replaceChildren(...capped.map(({ name }) => el("option", { value: name }, name)));
      $("candidates").value = about.candidates.join(", ");
      $("include").value = "";
    },

    /** Show the features of someone of whom nothing is looked up. */
    unknownUser(unknown) {
      if (unknown) $("features-box").open = true;
    },

    /** Give what was typed and set. */
    read(about) {
      const features = {};
      for (const input of $("features").querySelectorAll("[data-feature]")) {
        if (input.value.trim()) features[input.dataset.feature] = input.value;
      }
      const options = {}, k = number("k");
      if (about.kind === "ranking") {
        options.candidates = ids("candidates");
        if (k !== null) options.k = Math.min(k, options.candidates.length);
        return { features, options };
      }
      if (k !== null) options.k = k;
      if (about.kind === "recommendation" && number("ranked") !== null) options.candidates = number("ranked");
      if (ids("include").length) options.include = ids("include");
      if (number("min-score") !== null) options.min_score = number("min-score");
      if (!$("seen-field").hidden && $("seen").checked) options.exclude_history = true;
      if (!$("diversity-field").hidden && number("most") !== null) options.diversity = { [$("diversity").value]: number("most") };
      const chosen = filtersSet();
      const count = Object.keys(chosen).length;
      $("filtered").textContent = count ? `${count} set` : "";
      if (count) options.filter = chosen;
      return { features, options };
    },

    /** Give the dialect, and whether it goes over gRPC. */
    wire() {
      return { dialect: checked("dialect"), grpc: checked("transport") === "grpc" };
    },

    /** Name them. */
    wireName() {
      const { dialect, grpc } = this.wire();
      return `${grpc ? "gRPC" : "REST"}, ${DIALECTS[dialect]}`;
    },

    /** Tell at a control what is wrong with it; false where there is no such control. */
    problem(name, message) {
      const parts = [...document.querySelectorAll("[data-control]")].filter((part) => !part.hidden);
      const at = (wanted) => parts.find((part) => part.dataset.control === wanted);
      const own = at(name), found = own ?? at(name.split(".")[0]);
      if (!found) return false;
      found.closest("details")?.setAttribute("open", "");
      const line = el("p", { class: "problem", id: "problem" }, message);
      found.append(line);
      for (const input of own?.matches(".field") ? own.querySelectorAll("input, select, textarea") : []) {
        input.setAttribute("aria-invalid", "true");
        input.setAttribute("aria-errormessage", line.id);
      }
      return true;
    },

    /** Take back what `problem` told. */
    noProblems() {
      for (const line of document.querySelectorAll(".problem")) line.remove();
      for (const input of document.querySelectorAll("[aria-invalid]")) {
        input.removeAttribute("aria-invalid");
        input.removeAttribute("aria-errormessage");
      }
    },
  };
}

function checked(name) {
  return document.querySelector(`input[name=${name}]:checked`).value;
}

function number(id) {
  const words = typeof id === "string" ? $(id).value : id.value;
  return words.trim() === "" ? null : Number(words);
}

function ids(id) {
  return $(id).value.split(/[\s,]+/).filter(Boolean);
}

function feature({ name, input, expected, required, choices }) {
  const id = `feature-${name}`;
  const given = { id, "data-feature": name, "aria-required": required && "true", title: `Takes ${expected}` };
  let field;
  if (input === "boolean") {
    field = el("select", given, el("option", { value: "" }, ""), el("option", { value: "true" }, "yes"), el("option", { value: "false" }, "no"));
  } else {
    const hint = input === "list" || input === "numbers" ? "with commas between" : "";
    field = el("input", { ...given, placeholder: hint, list: choices.length ? `${id}-choices` : null, inputmode: input === "number" && "decimal", spellcheck: "false" });
  }
  const line = el("div", { class: "field", "data-control": name }, el("label", { for: id }, name), field);
  if (choices.length) line.append(el("datalist", { id: `${id}-choices` }, ...choices.map((choice) => el("option", { value: choice }))));
  return line;
}

function filter(column) {
  const own = { class: "filter field", "data-control": `filter.${column.name}`, "data-column": column.name, "data-kind": column.kind };
  const legend = el("legend", {}, column.name);
  if (column.kind === "number") {
    const ends = ["low", "high"].map((end) => el("input", {
      type: "number", inputmode: "decimal", step: "any", "data-end": end, placeholder: String(column[end]),
      "aria-label": `${column.name}, ${end === "low" ? "at least" : "at most"}`,
    }));
    return el("fieldset", own, legend, el("div", { class: "joined" }, ends[0], el("span", {}, "to"), ends[1]));
  }
  if (column.kind === "flag") {
    const choices = [["", "any"], ["true", "yes"], ["false", "no"]].map(([value, words]) => el("option", { value }, words));
    return el("fieldset", own, legend, el("select", { "aria-label": column.name }, ...choices));
  }
  if (column.kind === "text") {
    return el("fieldset", own, legend, el("input", { placeholder: "is exactly", "aria-label": `${column.name} is exactly`, spellcheck: "false" }));
  }
  const pills = column.values.map((value) => el("label", {}, el("input", { type: "checkbox", value }), el("span", {}, value || "(empty)")));
  return el("fieldset", own, legend, el("div", { class: "pills" }, ...pills));
}

function filtersSet() {
  const set = {};
  for (const part of $("filters").children) {
    const { column, kind } = part.dataset, inputs = [...part.querySelectorAll("input, select")];
    if (kind === "number") {
      const [min, max] = inputs.map(number);
      if (min !== null || max !== null) set[column] = { ...(min !== null && { min }), ...(max !== null && { max }) };
    } else if (kind === "flag") {
      if (inputs[0].value) set[column] = inputs[0].value === "true";
    } else if (kind === "text") {
      if (inputs[0].value.trim()) set[column] = inputs[0].value.trim();
    } else {
      const values = inputs.filter((input) => input.checked).map(({ value }) => value);
      if (values.length) set[column] = values.length === 1 ? values[0] : values;
    }
  }
  return set;
}
