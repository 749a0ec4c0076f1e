/** Elements without HTML text: what is shown is always text, never markup. */

/** An element with properties, and children that are elements or text. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "style") for (const [key, item] of Object.entries(value)) element.style.setProperty(key, item);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

const ICONS = {
  sun: "M12 4V2m0 20v-2m8-8h2M2 12h2m13.7-5.7 1.4-1.4M4.9 19.1l1.4-1.4m0-11.4L4.9 4.9m14.2 14.2-1.4-1.4M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10Z",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  balls: "M7 9a3.5 3.5 0 1 0 0 .01M17 18a3 3 0 1 0 0 .01M9.5 11 15 16",
  spheres: "M9 13a6 6 0 1 0 0 .01M20 14a5 5 0 1 0 0 .01",
  sticks: "M5 5l7 7-3 8M12 12l8-3",
  cell: "M4 8l6-4 10 3v9l-6 4-10-3V8Zm0 0 10 3m0 0v9m0-9 6-4",
  bonds: "M6 18 18 6M4 20a2 2 0 1 0 0-.01M20 4a2 2 0 1 0 0-.01",
  image: "M4 6h4l2-2h4l2 2h4v13H4V6Zm8 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z",
  home: "M4 9V4h5M20 9V4h-5M4 15v5h5m11-5v5h-5",
  play: "M7 5v14l12-7Z",
  pause: "M8 5v14M16 5v14",
  close: "M6 6l12 12M18 6 6 18",
  grid: "M4 4h7v7H4Zm9 0h7v7h-7ZM4 13h7v7H4Zm9 0h7v7h-7Z",
};

/** An outline icon of 24 by 24. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A message that goes by itself. */
export function toast(text, kind = "") {
  const box = h("div", { class: `toast ${kind}` }, text);
  $("toasts").append(box);
  setTimeout(() => box.remove(), kind === "problem" ? 9000 : 4000);
}

/** A number with digits that suit its size. */
export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return value.toFixed(size >= 1000 ? 1 : digits);
}

/** Seconds as people say them. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
