/** The side: the structure in numbers, and the lists of structures; the tools of the view; the gallery. */

import { volume } from "./geometry.js";
import { h, icon, number } from "./dom.js";
import { language, t } from "./words.js";

/** Formula with small digits. */
export function formula(text) {
  return h("span", { class: "formula" }, text.split(/(\d+)/).map((part) => (/^\d+$/.test(part) ? h("sub", {}, part) : part)));
}

/** What is known of a structure. */
export function drawStructure(box, entry, download, brief) {
  if (!entry) return box.replaceChildren(h("p", { class: "empty" }, t("none_yet")));
  const { structure } = entry;
  const fact = (name, value) => h("div", {}, h("dt", {}, t(name)), h("dd", {}, value));
  const facts = [fact("atoms", String(structure.numbers.length))];
  if (structure.cell) {
    const [a, b, c, alpha, beta, gamma] = structure.cellpar;
    const lines = [`${number(a)}  ${number(b)}  ${number(c)} Å`, h("br"), `${number(alpha, 1)}  ${number(beta, 1)}  ${number(gamma, 1)}°`];
    facts.push(fact("cell", h("span", {}, lines)), fact("volume", `${number(volume(structure.cell), 1)} Å³`));
  }
  if (structure.fixed.length) facts.push(fact("fixed", String(structure.fixed.length)));
  const lines = (list, kind) => list.map((text) => h("li", { class: kind }, text));
  const notes = [...lines(entry.warnings, "warning"), ...lines(entry.notes, "")];
  box.replaceChildren(
    h("h3", { class: "big" }, formula(structure.formula)),
    h("dl", { class: "facts" }, facts),
    notes.length ? h("details", { open: entry.warnings.length > 0 || (!brief && notes.length < 5) }, h("summary", {}, t("notes")), h("ul", { class: "notes" }, notes)) : "",
    h("div", { class: "row buttons" }, h("span", { class: "muted" }, t("download")),
      [["cif", "CIF"], ["vasp", "POSCAR"], ["extxyz", "extXYZ"]].map(([format, name]) => h("button", { class: "quiet small", "data-format": format, onclick: () => download(`structure/${entry.number}.${format}`) }, name)),
      entry.recipe ? h("button", { class: "quiet small", "data-format": "recipe", onclick: () => download("recipe") }, t("recipe")) : ""));
}

/** The structures of the session. */
export function drawHistory(box, briefs, current, show, forget) {
  box.replaceChildren(...[...briefs].reverse().map((brief) => h("li", { class: brief.number === current ? "on" : "" },
    h("button", { class: "item", onclick: () => show(brief.number) }, h("span", { class: "name" }, brief.title), h("small", {}, formula(brief.formula), ` · ${brief.atoms}`)),
    h("button", { class: "cross", title: t("remove"), "aria-label": `${t("remove")}: ${brief.title}`, onclick: () => forget(brief.number) }, icon("close")))));
}

/** The gallery with sessions that can be continued. */
export function drawGallery(box, gallery, sessions, choose, open) {
  const card = (example) => {
    const [name, sentence] = example[language()];
    return h("button", { class: "card", "data-example": example.id, onclick: () => choose(example, sentence) },
      h("img", { src: `/page/${example.id}.webp`, alt: "", width: 240, height: 160 }), h("b", {}, name), h("span", {}, sentence));
  };
  box.replaceChildren(h("h2", {}, t("gallery")), h("div", { class: "cards" }, gallery.map(card)), h("p", { class: "muted" }, t("or_drop")),
    sessions.length ? h("div", { class: "continue" }, h("span", { class: "muted" }, t("continue")), sessions.map((s) => h("button", { class: "quiet small", onclick: () => open(s.name) }, s.title))) : "");
}

/** The buttons on the view. */
export function drawTools(box, viewer, reset) {
  const redraw = () => drawTools(box, viewer, reset);
  const button = (label, content, action, pressed) => h("button", { class: "tool", title: t(label), "aria-label": t(label), "aria-pressed": pressed === undefined ? null : String(pressed), onclick: () => { action(); redraw(); } }, content);
  const { style, cell, bonds, repeat } = viewer.options;
  const styles = ["balls", "spheres", "sticks"].map((name) => button(name, icon(name), () => viewer.set("style", name), style === name));
  box.replaceChildren(
    h("div", { class: "group" }, button("view_a", "a", () => viewer.look(0)), button("view_b", "b", () => viewer.look(1)), button("view_c", "c", () => viewer.look(2)), button("reset", icon("home"), () => viewer.fit())),
    h("div", { class: "group" }, styles),
    h("div", { class: "group" }, button("cell_on", icon("cell"), () => viewer.set("cell", !cell), cell), button("bonds_on", icon("bonds"), () => viewer.set("bonds", !bonds), bonds), button("repeat", icon("grid"), () => viewer.set("repeat", !repeat), repeat)),
    h("div", { class: "group" }, button("image", icon("image"), reset)));
}

/** Elements with their colours. */
export function drawLegend(box, structure, elements, outside) {
  const counts = new Map();
  for (const z of structure.numbers) counts.set(z, (counts.get(z) ?? 0) + 1);
  const dot = (colour) => h("i", { style: { background: colour } });
  box.replaceChildren(...[...counts].sort(([a], [b]) => a - b).map(([z, n]) => h("span", {}, dot(elements[z][2]), elements[z][0], h("small", {}, String(n)))),
    outside ? h("span", { class: "out" }, dot("#e11d8f"), t("outside", { n: outside })) : "");
}
