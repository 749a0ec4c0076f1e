/** The keyboard. */

import { h, $ } from "./dom.js";
import { t } from "./words.js";

const TURNS = { ArrowLeft: [-8, "y"], ArrowRight: [8, "y"], ArrowUp: [-8, "x"], ArrowDown: [8, "x"] };

export function bindKeys({ viewer, start, stop, play }) {
  document.addEventListener("keydown", (event) => {
    const writing = event.target.matches("input, select, textarea") && event.target.type !== "range";
    if (event.key === "Escape" && !$("dialog").open) { event.target.blur(); return viewer.pickAll([]); }
    if ($("dialog").open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && event.shiftKey && !event.target.matches("textarea")) { event.preventDefault(); return start(); }
    if (writing) return;
    if (event.target === $("view") && TURNS[event.key]) { event.preventDefault(); return viewer.turn(...TURNS[event.key]); }
    const action = {
      "/": () => { $("text").focus(); $("text").select(); }, "?": showKeys, "+": () => viewer.scale(1.15), "-": () => viewer.scale(0.87),
      1: () => viewer.look(0), 2: () => viewer.look(1), 3: () => viewer.look(2), 0: () => viewer.fit(), ".": stop, p: play,
    }[event.key];
    if (action) { event.preventDefault(); action(); }
  });
}

/** The list of keys. */
export function showKeys() {
  const dialog = $("dialog");
  const keys = [["/", "key_text"], ["← → ↑ ↓", "key_turn"], ["+ −", "key_zoom"], ["1 2 3", "key_axes"], ["0", "key_fit"], ["Shift+Enter", "key_start"], [".", "key_stop"], ["p", "key_play"], ["Esc", "key_escape"], ["?", "key_help"]];
  dialog.replaceChildren(h("div", {}, h("h2", {}, t("keys")),
    h("dl", { class: "keys" }, keys.map(([key, word]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(word))))),
    h("div", { class: "row end" }, h("button", { class: "quiet", onclick: () => dialog.close() }, t("close")))));
  dialog.showModal();
}
