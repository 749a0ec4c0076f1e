/** The page: its state, what the server says, and what the user does. */

import { Connection, decode, getJson, save } from "./api.js";
import { h, icon, toast, $ } from "./dom.js";
import { isActive, JobCard, JobForm, Player } from "./jobs.js";
import { bindKeys, showKeys } from "./keys.js";
import { drawGallery, drawHistory, drawLegend, drawStructure, drawTools } from "./panels.js";
import { drawChips, drawReading } from "./recipe.js";
import { Viewer } from "./viewer.js";
import { language, setLanguage, t } from "./words.js";

const state = { data: null, entries: [], current: null, jobs: new Map(), following: null, sessions: [], gallery: true };
let viewer, form, player, connection;
const side = {};

// the token has become a cookie: it need not stand in the address any longer
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").replaceChildren(icon(theme === "dark" ? "sun" : "moon"));
  const style = getComputedStyle(document.documentElement);
  viewer?.setColours({ background: style.getPropertyValue("--stage").trim(), ink: style.getPropertyValue("--cell").trim() });
  for (const card of cards()) card.drawCurves();
}

const cards = () => [...state.jobs.values()].map((job) => job.card).filter(Boolean);
const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private windows have none */ } };
const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

/** All words again, in the language of the page. */
function redraw() {
  $("text").placeholder = t("say");
  $("text").setAttribute("aria-label", t("say"));
  $("go").textContent = t("build");
  $("mode").replaceChildren(...["auto", "new", "change"].map((name) => h("option", { value: name }, t(name))));
  $("mode").title = t("mode");
  $("mode").setAttribute("aria-label", t("mode"));
  $("mode").hidden = !state.current;
  for (const id of ["upload", "language"]) $(id).textContent = t(id);
  $("language").lang = language() === "ja" ? "en" : "ja";
  for (const id of ["theme", "help"]) { $(id).title = t(id); $(id).setAttribute("aria-label", t(id)); }
  $("view").setAttribute("aria-label", t("viewer"));
  $("drop").textContent = t("drop");
  side.build();
  drawAll();
}

side.build = () => {
  for (const id of ["structure", "run", "jobs", "history"]) side[id] ??= h(id === "history" ? "ul" : "div", { class: id, id: `panel-${id}` });
  const part = (id, ...more) => h("section", { class: `panel of-${id}` }, h("h2", {}, t(id), ...more), side[id]);
  const kept = h("small", {}, t(state.data.kept ? "kept" : "not_kept"));
  const clear = h("button", { class: "link-button", id: "clear", onclick: clearSession }, t("clear"));
  $("side").replaceChildren(part("jobs"), part("structure"), part("run"), part("history"), h("footer", {}, kept, clear));
};

function drawAll() {
  const entry = state.current;
  drawStructure(side.structure, entry, download, state.jobs.size > 0);
  form.draw(side.run, entry);
  drawHistory(side.history, state.entries, entry?.number, showEntry, (number) => ask("forget", { entry: number }));
  drawChips($("chips"), entry, state.data.recipe, execute);
  drawTools($("tools"), viewer, () => save(viewer.picture(), `${entry?.structure.formula ?? "structure"}.png`));
  for (const card of cards()) card.draw();
  drawGallery($("gallery"), state.data.gallery, state.sessions, choose, openSession);
  showGallery(!entry);
  drawMeasure(viewer.structure ? viewer.measured() : { names: [], kind: null, value: "" });
}

function showGallery(shown) {
  $("gallery").hidden = !shown;
  for (const id of ["tools", "legend", "measure"]) $(id).hidden = shown;
  $("view").style.visibility = shown ? "hidden" : "visible";
}

function drawMeasure({ names, kind, value }) {
  const field = h("input", { class: "numbers", placeholder: t("atom_numbers"), "aria-label": t("atom_numbers"), size: 14, onchange: (e) => viewer.pickAll(e.target.value.split(/[\s,–-]+/).filter(Boolean).map((x) => Number(x) - 1)) });
  const said = names.length ? [h("b", {}, names.join(" – ")), kind ? ` ${t(kind)} ` : " ", h("span", { id: "measured" }, value)] : [h("span", { class: "muted" }, t("pick"))];
  $("measure").replaceChildren(h("span", {}, said), field);
}

async function ask(what, values) {
  try {
    const answer = await connection.ask(what, values);
    if (answer.problem && !answer.spans) toast(answer.problem, "problem");
    return answer;
  } catch {
    toast(t("lost"), "problem");
    return { problem: t("lost") };
  }
}

async function say(text, mode = $("mode").value) {
  if (!text.trim()) return;
  drawReading($("reading"), text, null);
  document.body.classList.add("busy");
  $("go").textContent = t("building");
  const entry = state.current?.recipe && mode !== "new" ? state.current.number : null;
  const answer = await ask("build", { text, mode, entry });
  document.body.classList.remove("busy");
  $("go").textContent = t("build");
  if (answer.problem) drawReading($("reading"), text, answer, (better) => { $("text").value = better; say(better); });
}

const execute = async (recipe) => (await ask("execute", { recipe })).problem;

async function choose(example, sentence) {
  $("text").value = sentence;
  form.kind = example.job;
  await say(sentence, "new");
}

async function showEntry(number) {
  const answer = await ask("show", { entry: number });
  if (answer.full) take(answer.full);
}

/** Show a structure that the server has sent. */
function take(entry, keep = false) {
  state.current = entry;
  state.following = null;
  player.close();
  entry.structure.positions = entry.structure.positions instanceof Float64Array ? entry.structure.positions : decode(entry.structure.positions, Float64Array);
  showGallery(false);
  viewer.show(entry.structure, keep);
  drawLegend($("legend"), entry.structure, state.data.elements);
  drawAll();
}

async function upload(file) {
  if (!file) return;
  if (file.size > state.data.limits.upload) return toast(`> ${state.data.limits.upload / 1e6} MB`, "problem");
  document.body.classList.add("busy");
  try {
    const answer = await connection.upload(file);
    if (answer.problem) toast(answer.problem, "problem");
  } catch {
    toast(t("lost"), "problem");
  }
  document.body.classList.remove("busy");
}

function download(what) {
  if (what === "recipe") {
    const blob = new Blob([JSON.stringify(state.current.recipe, null, 2)], { type: "application/json" });
    return save(URL.createObjectURL(blob), "recipe.json");
  }
  save(`/sessions/${connection.session}/${what}`);
}

const actions = {
  stop: (job) => ask("stop", { job: job.number }),
  resume: (job) => ask("resume", { job: job.number }),
  remove: (job) => ask("remove", { job: job.number }),
  trajectory: (job) => download(`job/${job.number}/trajectory.extxyz`),
  show: (job) => follow(job),
  async play(job) {
    const answer = await ask("frames", { job: job.number });
    if (!answer.frames?.length) return;
    follow(job);
    player.open(job, answer.frames.map((f) => ({ ...f, positions: decode(f.positions, Float32Array) })));
  },
};

/** Show the structure of a job, moving while it runs. */
function follow(job, keep = false) {
  const frame = job.frame;
  const structure = { ...job.structure, positions: frame ? decode(frame.positions, Float32Array) : null, cell: frame?.cell ?? job.structure.cell };
  player.close();
  state.following = job.number;
  if (!structure.positions) return;
  viewer.show(structure, keep);
  showGallery(false);
  if (frame?.outside) viewer.move(structure.positions, structure.cell, frame.outside);
  drawLegend($("legend"), structure, state.data.elements, frame?.outside?.length);
}

async function start(kind, model, options) {
  if (!state.current) return;
  const answer = await ask("start", { kind, model, options, entry: state.current.number });
  if (answer.job) state.following = answer.job;
}

async function clearSession() {
  if (!confirm(t("clear_sure"))) return;
  connection.ended = true;
  await ask("clear");
  location.hash = "";
  location.reload();
}

function addJob(job) {
  const before = state.jobs.get(job.number);
  before?.card.element.remove();
  job.card = new JobCard(job, actions);
  state.jobs.set(job.number, job);
  side.jobs.prepend(job.card.element);
  job.card.update();
}

const pending = new Set();

/** Cards are drawn once a picture, however many messages come. */
function refresh(job) {
  if (!pending.size) requestAnimationFrame(() => { for (const one of pending) one.card.update(); pending.clear(); });
  pending.add(job);
}

const events = {
  session(message) {
    state.entries = message.entries;
    state.jobs.clear();
    side.jobs.replaceChildren();
    message.jobs.forEach(addJob);
    const running = message.jobs.find(isActive);
    if (message.current) take(message.current, viewer.structure?.formula === message.current.structure.formula);
    else { state.current = null; drawAll(); }
    if (running) { state.following = running.number; follow(running, true); }
  },
  entry({ entry, brief }) {
    state.entries.push(brief);
    take(entry, Boolean(entry.made_by));
    drawReading($("reading"), "", null);
  },
  entry_removed({ number, current }) {
    state.entries = state.entries.filter((e) => e.number !== number);
    if (state.current?.number !== number) return drawAll();
    state.current = null;
    if (current === null) drawAll(); else showEntry(current);
  },
  job({ job }) { addJob(job); },
  job_removed({ number }) {
    state.jobs.get(number)?.card.element.remove();
    state.jobs.delete(number);
  },
  job_state({ job }) {
    const known = state.jobs.get(job.number);
    if (!known) return;
    const changed = known.state !== job.state;
    Object.assign(known, job);
    if (changed) known.card.draw(); else refresh(known);
    if (job.state === "failed") toast(job.problem, "problem");
  },
  progress({ job, rows, frame }) {
    const known = state.jobs.get(job.number);
    if (!known) return;
    Object.assign(known, job);
    known.rows.push(...rows);
    if (known.rows.length > 4000) known.rows = known.rows.filter((_, k) => k % 2 === 0);
    if (frame) {
      known.frame = frame;
      if (state.following === job.number) {
        if (viewer.structure?.numbers !== known.structure.numbers && viewer.positions?.length !== 3 * known.structure.numbers.length) follow(known, true);
        else viewer.moveSoon(decode(frame.positions, Float32Array), frame.cell, frame.outside);
        if (frame.outside) drawLegend($("legend"), known.structure, state.data.elements, frame.outside.length);
      }
    }
    refresh(known);
  },
  gone() { connection.ended = true; },
};

function onState(name) {
  document.body.dataset.link = name;
  $("link").textContent = name === "open" ? "" : t(name);
  if (name === "gone" && !connection.ended) begin();
}

/** The session of the address, or a new one. */
async function begin() {
  let name = location.hash.slice(1);
  const known = name && document.body.dataset.link !== "gone";
  if (!known) {
    name = (await getJson("/sessions", { method: "POST" })).name;
    history.replaceState(null, "", `#${name}`);
  }
  connection.open(name);
}

function openSession(name) {
  location.hash = name;
  location.reload();
}

function bind() {
  $("ask").addEventListener("submit", (event) => { event.preventDefault(); say($("text").value); });
  $("upload").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { upload($("file").files[0]); $("file").value = ""; });
  $("home").addEventListener("click", (event) => { event.preventDefault(); showGallery($("gallery").hidden || !state.current); });
  $("language").addEventListener("click", () => { setLanguage(language() === "ja" ? "en" : "ja"); store("gnnpot-language", language()); redraw(); });
  $("theme").addEventListener("click", () => { const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark"; store("gnnpot-theme", next); setTheme(next); });
  $("help").addEventListener("click", showKeys);
  window.addEventListener("hashchange", () => { if (location.hash.slice(1) && location.hash.slice(1) !== connection.session) location.reload(); });
  for (const kind of ["dragenter", "dragover"]) window.addEventListener(kind, (e) => { e.preventDefault(); $("drop").hidden = false; });
  window.addEventListener("dragleave", (e) => { if (!e.relatedTarget) $("drop").hidden = true; });
  window.addEventListener("drop", (e) => { e.preventDefault(); $("drop").hidden = true; upload(e.dataTransfer.files[0]); });
  bindKeys({ viewer, start: () => $("start")?.click(), stop: () => [...state.jobs.values()].filter(isActive).forEach(actions.stop), play: () => player.job && player.toggle() });
}

/** A picture of the page first, then what takes longer. */
const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

const script = (address) => new Promise((done, fail) => document.head.append(h("script", { src: address, onload: done, onerror: fail })));

async function main() {
  setLanguage(stored("gnnpot-language") ?? navigator.language.slice(0, 2));
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(stored("gnnpot-theme") ?? (dark ? "dark" : "light"));
  const library = script("/page/3Dmol-min.js");
  [state.data, state.sessions] = await Promise.all([getJson("/data"), getJson("/sessions")]);
  if (!location.hash) drawGallery($("gallery"), state.data.gallery, state.sessions, choose, openSession);
  await painted();
  document.body.dataset.shown = "true";
  const shown = performance.now();
  await library;
  viewer = new Viewer($("view"), state.data.elements);
  viewer.onPick = drawMeasure;
  form = new JobForm(state.data, start);
  player = new Player($("player"), viewer, (job, index) => ask("use_frame", { job: job.number, index }));
  connection = new Connection((message) => events[message.event]?.(message), onState);
  setTheme(document.documentElement.dataset.theme);
  redraw();
  bind();
  await begin();
  document.body.dataset.ready = "true";
  // for measurements from outside
  window.studio = { viewer, state, connection, shown, ready: performance.now() };
}

main();
