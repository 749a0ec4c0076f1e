/** The recipe as chips: a click changes a step, with fields made of the recipe's JSON schema. */

import { h, icon, $ } from "./dom.js";
import { language, t } from "./words.js";

/** The schema of a step by its name. */
function schemaOf(schema, name) {
  return Object.values(schema.$defs).find((d) => d.properties?.do?.const === name);
}

/** What a field takes: {type, options, low, high}. */
function kindOf(schema, field) {
  let found = field;
  if (field.$ref) found = schema.$defs[field.$ref.split("/").pop()];
  const some = found.anyOf?.filter((x) => x.type !== "null");
  if (some) return some.length === 1 ? kindOf(schema, some[0]) : { type: "json" };
  if (found.enum) return { type: "choice", options: found.enum };
  if (found.type === "integer" || found.type === "number") {
    const low = found.minimum ?? found.exclusiveMinimum, high = found.maximum;
    return { type: found.type, low, high };
  }
  if (found.type === "boolean" || found.type === "string") return { type: found.type };
  const plain = found.type === "array" && [found.items, ...(found.prefixItems ?? [])].filter(Boolean).every((x) => x.type === "integer" || x.type === "number");
  return { type: plain ? "numbers" : "json" };
}

function input(kind, value) {
  if (kind.type === "boolean") return h("input", { type: "checkbox", checked: Boolean(value) });
  if (kind.type === "choice") {
    return h("select", {}, h("option", { value: "" }, "–"), kind.options.map((o) => h("option", { value: o, selected: o === value }, t(String(o)))));
  }
  const shown = value === undefined ? "" : kind.type === "numbers" ? value.join(" ") : kind.type === "json" ? JSON.stringify(value) : String(value);
  const numeric = kind.type === "integer" || kind.type === "number";
  return h("input", { type: numeric ? "number" : "text", step: kind.type === "integer" ? 1 : "any", value: shown, autocomplete: "off" });
}

function given(kind, element) {
  if (kind.type === "boolean") return element.checked || undefined;
  const text = element.value.trim();
  if (!text) return undefined;
  if (kind.type === "integer" || kind.type === "number") return Number(text);
  if (kind.type === "numbers") return text.split(/[\s,]+/).map(Number);
  return kind.type === "json" ? JSON.parse(text) : text;
}

/** A form for a step in the dialog; `onApply` gets the new step and returns a problem or nothing. */
function editStep(schema, step, title, onApply) {
  const found = schemaOf(schema, step.do);
  const rows = Object.entries(found.properties).filter(([name]) => name !== "do").map(([name, field]) => {
    const kind = kindOf(schema, field);
    return { name, kind, element: input(kind, step[name]), hint: field.description };
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const dialog = $("dialog");
  const form = h("form", { class: "edit", onsubmit: async (event) => {
    event.preventDefault();
    const changed = { do: step.do };
    try {
      for (const { name, kind, element } of rows) {
        const value = given(kind, element);
        if (value !== undefined) changed[name] = value;
      }
    } catch (error) {
      problem.textContent = error.message;
      return;
    }
    const trouble = await onApply(changed);
    if (trouble) problem.textContent = trouble; else dialog.close();
  } },
  h("h2", {}, title),
  h("div", { class: "fields" }, rows.map(({ name, element, hint }) => h("label", {}, h("span", {}, t(name)), element, hint && h("small", {}, hint)))),
  problem,
  h("div", { class: "row end" },
    h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("cancel")),
    h("button", { class: "primary" }, t("apply"))));
  dialog.replaceChildren(form);
  dialog.showModal();
}

/** Draw the chips of a structure; `run` executes a changed recipe and returns a problem or nothing. */
export function drawChips(box, entry, schema, run) {
  box.replaceChildren();
  if (!entry?.recipe) return;
  const { steps } = entry.recipe;
  const changed = (list) => ({ ...entry.recipe, language: language(), steps: list });
  steps.forEach((step, k) => {
    const text = entry.chips?.[language()]?.[k] ?? step.do;
    const change = () => editStep(schema, step, text, (made) => run(changed(steps.map((s, i) => (i === k ? made : s)))));
    const chip = h("span", { class: "chip" }, h("button", { class: "word", title: t("edit_step"), onclick: change }, text));
    if (k) {
      const remove = () => run(changed(steps.filter((_, i) => i !== k)));
      chip.append(h("button", { class: "cross", title: t("remove_step"), "aria-label": `${t("remove_step")}: ${text}`, onclick: remove }, icon("close")));
    }
    box.append(chip);
  });
}

/** The sentence with what was not understood underlined; a click on a suggestion puts it in. */
export function drawReading(box, text, answer, replace) {
  box.hidden = !answer;
  if (!answer) return box.replaceChildren();
  const line = h("p", { class: "echo" });
  let place = 0;
  for (const span of [...(answer.spans ?? [])].sort((a, b) => a.start - b.start)) {
    line.append(text.slice(place, span.start), h("mark", {}, text.slice(span.start, span.end)));
    place = Math.max(place, span.end);
  }
  line.append(text.slice(place));
  const near = (answer.spans ?? []).filter((span) => span.near);
  box.replaceChildren(
    answer.spans?.length ? line : "",
    h("p", {}, answer.problem),
    near.length ? h("p", { class: "near" }, `${t("did_you_mean")} `, near.map((span) => h("button", { class: "link-button", onclick: () => replace(text.slice(0, span.start) + span.near + text.slice(span.end)) }, span.near))) : "");
}
