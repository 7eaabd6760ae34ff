// The field that finds users: a combobox of WAI-ARIA, by keyboard and by pointer.

import { el } from "/demo_view.js";

/**
 * Make the input find users while it is typed into.
 * `search(text)` gives a promise of ids; `choose(id)` is called with the one that is taken.
 */
export function userField(input, list, search, choose) {
  let options = [], active = -1, chosen = "", asked = 0;

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(place) {
    active = place;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    const option = list.children[place];
    if (!option) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  function take(id) {
    chosen = input.value = id;
    close();
    choose(id);
  }

  async function open(words) {
    const own = ++asked;
    const found = await search(words);
    if (own !== asked || document.activeElement !== input) return;
    const typed = words.trim();
    options = found.map((id) => ({ id, label: id }));
    if (typed && !found.includes(typed)) options.push({ id: typed, label: `Ask for “${typed}”, who is not in the list`, other: true });
    list.replaceChildren(...options.map((option, place) => {
      const line = el("li", { role: "option", id: `user-${place}`, "aria-selected": "false", class: option.other && "new" }, option.label);
      // Before the input loses the focus, which would close the list.
      line.addEventListener("pointerdown", (event) => event.preventDefault());
      line.addEventListener("click", () => take(option.id));
      return line;
    }));
    list.hidden = !options.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark(typed && options.length ? 0 : -1);
  }

  input.addEventListener("input", () => open(input.value));
  input.addEventListener("click", () => list.hidden && open(""));
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", () => {
    ++asked;
    close();
    const typed = input.value.trim();
    if (typed !== chosen) take(typed);
  });
  input.addEventListener("keydown", async (event) => {
    const last = options.length - 1;
    switch (event.key) {
      case "ArrowDown":
      case "ArrowUp": {
        event.preventDefault();
        const down = event.key === "ArrowDown";
        if (list.hidden) {
          await open(input.value === chosen ? "" : input.value);
          mark(down ? 0 : options.length - 1);
        } else mark(down ? (active >= last ? 0 : active + 1) : active <= 0 ? last : active - 1);
        break;
      }
      case "Enter":
        event.preventDefault();
        take(!list.hidden && active >= 0 ? options[active].id : input.value.trim());
        break;
      case "Escape":
        if (!list.hidden) event.preventDefault();
        ++asked;
        close();
        input.value = chosen;
        input.select();
        break;
    }
  });

  return {
    set(id) {
      chosen = input.value = id;
      close();
    },
  };
}
