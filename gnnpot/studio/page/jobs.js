/** Jobs: the form that starts one, and a card for each with its numbers, curves and buttons. */

import { drawBands, drawChart } from "./chart.js";
import { duration, h, icon, number, $ } from "./dom.js";
import { t } from "./words.js";

const UNITS = { fmax: "eV/Å", temperature: "K", pressure: "GPa", timestep: "fs", energy: "eV", initial_energy: "eV", stress: "GPa", time: "fs", volume: "Å³", bulk_modulus: "GPa", shear_modulus: "GPa", young_modulus: "GPa", lowest: "THz", heat_capacity: "J/K/mol", residual: "eV", displacement: "Å", min_length: "Å" };
const ACTIVE = ["waiting", "starting", "running", "stopping"];
/** options that are shown at once; the others are behind "more" */
/** jobs without a trajectory */
const STILL = ["eos", "elastic", "phonons"];
const CURVES = { relax: ["energy", "fmax"], md: ["temperature", "energy", "pressure"], eos: ["energy"] };

export const isActive = (job) => ACTIVE.includes(job.state);

/** The form; `start(kind, model, options)` starts a job. */
export class JobForm {
  constructor(data, start) {
    this.data = data;
    this.start = start;
    this.kind = "relax";
    this.model = data.default;
    this.values = {};
  }

  draw(box, entry) {
    const kinds = Object.keys(this.data.jobs);
    const tabs = h("div", { class: "tabs", role: "radiogroup" }, kinds.map((kind) => h("button", {
      role: "radio", "aria-checked": String(kind === this.kind), onclick: () => { this.kind = kind; this.draw(box, entry); } }, t(kind))));
    const chosen = this.data.models.find((m) => m.name === this.model);
    const select = h("select", { id: "model", onchange: (event) => { this.model = event.target.value; this.draw(box, entry); } },
      this.data.models.map((m) => h("option", { value: m.name, selected: m.name === this.model }, m.cached ? m.name : `${m.name} ↓`)));
    const state = chosen.cached ? t("here") : t("to_download", { mb: (chosen.bytes / 1e6).toFixed(0) });
    const more = [chosen.functional, chosen.licence, state].filter(Boolean).join(" · ");
    const needsCell = this.data.need_cell.includes(this.kind) && !entry?.structure.cell;
    box.replaceChildren(
      tabs,
      h("label", { class: "wide" }, h("span", { class: "row" }, t("potential"), h("button", { class: "link-button", type: "button", onclick: () => this.compare(box, entry) }, t("compare"))), select, h("small", {}, more)),
      h("div", { class: "fields two" }, Object.entries(this.data.jobs[this.kind]).map(([name, field]) => this.field(name, field, box, entry))),
      h("button", { class: "primary block", id: "start", disabled: !entry || needsCell, onclick: () => this.start(this.kind, this.model, this.given()) }, t("start"), h("kbd", {}, "Shift+Enter")),
      entry ? "" : h("small", {}, t("none_yet")));
  }

  field(name, field, box, entry) {
    const npt = this.values["md.ensemble"]?.startsWith("npt");
    if (name === "pressure" && !npt) return null;
    const key = `${this.kind}.${name}`;
    const value = this.values[key] ?? field.default;
    const set = (next) => { this.values[key] = next; };
    const choice = field.enum ?? field.anyOf?.find((x) => x.enum)?.enum;
    let control;
    if (choice) {
      control = h("select", { name, onchange: (e) => { set(e.target.value); this.draw(box, entry); } }, choice.map((o) => h("option", { value: o, selected: o === value }, t(o))));
    } else if (field.type === "boolean") {
      return h("label", { class: "check" }, h("input", { type: "checkbox", name, checked: value, onchange: (e) => set(e.target.checked) }), t(name === "cell" ? "relax_cell" : name));
    } else {
      control = h("input", { type: "number", name, step: "any", min: field.minimum ?? field.exclusiveMinimum, max: field.maximum, value, oninput: (e) => set(Number(e.target.value)) });
    }
    const unit = name === "width" ? "" : UNITS[name] ?? field.description ?? "";
    return h("label", { class: choice ? "wide" : "" }, h("span", {}, t(name), unit && h("i", {}, unit)), control);
  }

  given() {
    const names = Object.entries(this.data.jobs[this.kind]);
    return Object.fromEntries(names.map(([name, field]) => [name, this.values[`${this.kind}.${name}`] ?? field.default]));
  }

  /** The table of `gnnpot models` to choose from. */
  compare(box, entry) {
    const dialog = $("dialog");
    const errors = (e) => (e ? `${e.energy_error == null ? "–" : (1000 * e.energy_error).toFixed(0)}; ${e.force_error.toFixed(2)}` : "");
    const choose = (name) => { this.model = name; dialog.close(); this.draw(box, entry); };
    const row = (m) => h("tr", { class: m.name === this.model ? "on" : "" },
      h("td", {}, h("button", { class: "link-button", onclick: () => choose(m.name) }, m.name)),
      h("td", {}, errors(m.measured?.near_equilibrium)), h("td", {}, errors(m.measured?.high_stress)),
      h("td", {}, m.measured?.milliseconds?.["64"]?.toPrecision(3) ?? ""), h("td", {}, String(m.elements ?? "")),
      h("td", {}, m.functional ?? ""), h("td", {}, m.licence ?? ""), h("td", {}, m.cached ? t("here") : `${(m.bytes / 1e6).toFixed(1)} MB`));
    dialog.replaceChildren(h("div", { class: "table" }, h("h2", {}, t("potential")),
      h("table", {}, h("thead", {}, h("tr", {}, ["name", "near", "stressed", "ms", "elements", "functional", "licence", "here"].map((w) => h("th", {}, t(w))))), h("tbody", {}, this.data.models.map(row))),
      h("div", { class: "row end" }, h("button", { class: "quiet", onclick: () => dialog.close() }, t("close")))));
    dialog.showModal();
  }
}

/** A job's card, updated in place. */
export class JobCard {
  constructor(job, actions) {
    this.job = job;
    this.actions = actions;
    this.element = h("article", { class: "job", "data-job": job.number });
    this.draw();
  }

  draw() {
    const { job } = this;
    const act = (name, word, kind = "quiet small") => h("button", { class: kind, "data-act": name, onclick: () => this.actions[name](job) }, t(word));
    this.values = h("dl", { class: "values" });
    this.bar = h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, h("div"));
    this.state = h("span", { class: `state ${job.state}` });
    this.left = h("span", { class: "left" });
    this.note = h("p", { class: "note" });
    this.curves = (CURVES[job.kind] ?? []).map((name) => ({ name, label: h("span"), canvas: h("canvas", { role: "img" }) }));
    const active = isActive(job);
    const buttons = [active ? act("stop", "stop") : null, ["stopped", "failed"].includes(job.state) ? act("resume", "resume") : null, act("show", "show"),
      !active && !STILL.includes(job.kind) ? act("play", "play") : null,
      !active && !STILL.includes(job.kind) ? act("trajectory", "trajectory") : null, active ? null : act("remove", "remove")];
    this.element.replaceChildren(
      h("header", {}, h("b", {}, t(job.kind)), h("span", { class: "grow model" }, job.model), this.state),
      h("p", { class: "title", title: job.title }, job.title), this.bar,
      h("div", { class: "row between" }, this.left), this.note,
      this.extra = h("div", { class: "extra" }), h("div", { class: "curves" }, this.curves.map(({ label, canvas }) => h("figure", {}, h("figcaption", {}, label), canvas))),
      this.values, h("div", { class: "row buttons" }, buttons));
    this.update();
  }

  /** Numbers, bar and curves. */
  update() {
    const { job } = this;
    const converged = job.result?.values?.converged;
    const state = job.state === "done" && converged === false ? "not_converged" : job.state;
    this.state.textContent = t(state);
    this.state.className = `state ${state}`;
    this.element.dataset.state = job.state;
    const percent = Math.round(100 * (job.state === "done" ? 1 : job.done));
    this.bar.firstChild.style.width = `${percent}%`;
    this.bar.setAttribute("aria-valuenow", percent);
    this.bar.classList.toggle("moving", job.state === "starting" || Boolean(job.note));
    const last = job.rows[job.rows.length - 1] ?? [];
    const step = job.columns.indexOf("step") >= 0 ? last[job.columns.indexOf("step")] : job.rows.length;
    const count = !job.columns.length ? t(job.stage || "starting") : job.total && job.kind !== "relax" ? `${step ?? 0} / ${job.total}` : `${t("step")} ${step ?? 0}`;
    const left = job.state === "running" && job.left !== null ? ` · ${t("left", { t: duration(job.left) })}` : "";
    this.left.textContent = `${count} · ${duration(job.seconds)}${left}`;
    this.note.textContent = this.describe();
    this.note.classList.toggle("problem", Boolean(job.problem) && job.state === "failed");
    const values = this.shown(last);
    this.values.replaceChildren(...values.map(([name, value]) => h("div", {}, h("dt", {}, t(name)), h("dd", {}, value, h("i", {}, UNITS[name] ?? "")))));
    this.drawCurves();
    this.drawExtra();
  }

  /** The elastic tensor, or the bands of phonons. */
  drawExtra() {
    const { result } = this.job;
    if (result?.table) {
      this.extra.replaceChildren(h("small", {}, `${t("stiffness")} / GPa`), h("table", { class: "tensor" }, h("tbody", {}, result.table.map((row) => h("tr", {}, row.map((x) => h("td", {}, x.toFixed(0))))))));
    } else if (result?.bands) {
      const canvas = h("canvas", { role: "img", class: "bands", "aria-label": t("bands") });
      this.extra.replaceChildren(h("small", {}, `${t("bands")} / THz`), canvas);
      const style = getComputedStyle(document.documentElement);
      drawBands(canvas, result.bands, result.ticks, { colour: style.getPropertyValue("--curve-1"), muted: style.getPropertyValue("--muted") });
    }
  }

  describe() {
    const { note, problem, frame, result } = this.job;
    if (problem) return problem;
    if (note?.what === "compiling") return t("compiling", { n: note.kernels });
    if (note) return t("downloading", { what: note.what, done: (note.done / 1e6).toFixed(1), total: (note.total / 1e6).toFixed(1) });
    if (result?.extrapolated) return t("extrapolated");
    if (result && result.values.stable === false) return t("unstable");
    return frame?.outside?.length ? t("outside", { n: frame.outside.length }) : "";
  }

  shown(last) {
    const { job } = this;
    if (job.result) return Object.entries(job.result.values).filter(([, v]) => typeof v === "number").map(([k, v]) => [k, number(v, k === "fmax" ? 4 : k === "steps" ? 0 : 3)]);
    // the pressure is known at the steps of frames only
    const known = (name, k) => (name === "pressure" ? job.rows.findLast((row) => row[k] !== null)?.[k] : last[k]);
    return job.columns.map((name, k) => [name, known(name, k)]).filter(([name, v]) => name !== "step" && v !== null && v !== undefined).map(([name, v]) => [name, number(v, name === "fmax" ? 4 : name === "temperature" ? 0 : 3)]);
  }

  drawCurves() {
    const style = getComputedStyle(document.documentElement);
    const colours = { energy: "--curve-1", fmax: "--curve-2", temperature: "--curve-3", pressure: "--curve-2" };
    for (const { name, label, canvas } of this.curves) {
      const k = this.job.columns.indexOf(name);
      const points = k < 0 ? [] : this.job.rows.map((row) => [row[0], row[k]]).filter(([, y]) => name !== "pressure" || y !== null);
      // a molecule has no pressure
      canvas.parentElement.hidden = name === "pressure" && !points.length;
      label.textContent = `${t(name)} / ${UNITS[name]}`;
      canvas.setAttribute("aria-label", points.length ? `${t(name)} ${number(points[points.length - 1][1])} ${UNITS[name]}` : t(name));
      const values = this.job.result?.values;
      const mark = this.job.kind === "eos" && values ? [values.volume, values.energy] : null;
      drawChart(canvas, points, { log: name === "fmax", colour: style.getPropertyValue(colours[name]), muted: style.getPropertyValue("--muted"), dots: this.job.kind === "eos", mark });
    }
  }
}

/** Buttons that play the frames of a job. */
export class Player {
  constructor(box, viewer, onUse) {
    Object.assign(this, { box, viewer, onUse, frames: [], timer: null });
  }

  open(job, frames) {
    this.stop();
    this.job = job;
    this.frames = frames;
    this.range = h("input", { type: "range", min: 0, max: frames.length - 1, value: 0, "aria-label": t("step"), oninput: () => { this.stop(); this.show(Number(this.range.value)); } });
    this.label = h("span", { class: "count" });
    this.button = h("button", { class: "quiet icon", title: t("play"), onclick: () => this.toggle() }, icon("play"));
    this.box.replaceChildren(this.button, this.range, this.label,
      h("button", { class: "quiet small", onclick: () => this.onUse(this.job, this.frames[Number(this.range.value)].index) }, t("use")),
      h("button", { class: "quiet icon", title: t("close"), onclick: () => this.close() }, icon("close")));
    this.box.hidden = false;
    this.show(0);
    this.toggle();
  }

  show(k) {
    const frame = this.frames[k];
    this.range.value = k;
    this.label.textContent = `${k + 1} / ${this.frames.length}`;
    this.viewer.move(frame.positions, frame.cell);
  }

  toggle() {
    if (this.timer) return this.stop();
    this.button.replaceChildren(icon("pause"));
    this.timer = setInterval(() => this.show((Number(this.range.value) + 1) % this.frames.length), 60);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.button?.replaceChildren(icon("play"));
  }

  close() {
    this.stop();
    this.box.hidden = true;
    this.job = null;
  }
}
