/** The 3D view: 3Dmol.js with a structure that moves, its cell, bonds, marks and measurements. */

import { angle, borderImages, cellEdges, dihedral, distance, findBonds } from "./geometry.js";

/** atoms up to which atoms at the border are drawn on both sides */
const MAX_BORDER = 600;
/** atoms beyond which moving frames are drawn without sticks */
const MAX_STICKS_MOVING = 1500;
/** pixels drawn for each of the screen's: at rest, and while the view moves, one after another until it is fast enough */
const RESOLUTIONS = [2, 1, 0.6, 0.4];
/** ms a frame may take while the view moves, and after which a view that moves no more is drawn at the first of these */
const FRAME_TIME = 60, REST = 300;
/** ms that two frames of the screen take, and that the next structure waits for at most */
const TWO_FRAMES = 34, LONGEST_PAUSE = 1500;
const MARK = "#e11d8f";
const METALS = new Set("Li Be Na Mg Al K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Th U".split(" "));

const point = (p) => ({ x: p[0], y: p[1], z: p[2] });

export class Viewer {
  constructor(element, elements) {
    this.element = element;
    this.elements = elements;
    // it is smoothed by RESOLUTIONS; 3Dmol's antialiasing would draw twice as many pixels at any time
    this.viewer = $3Dmol.createViewer(element, { backgroundColor: "white", antialias: false, disableFog: false });
    this.slowness = 0;
    this.setResolution(RESOLUTIONS[0]);
    this.options = { style: "balls", cell: true, bonds: true, repeat: false };
    this.picked = [];
    this.onPick = () => {};
    new ResizeObserver(() => { this.setResolution(this.resolution); this.viewer.render(); }).observe(element);
    element.addEventListener("pointermove", (event) => { if (event.buttons) this.beginMotion(); }, { capture: true });
    element.addEventListener("wheel", () => this.beginMotion(), { capture: true, passive: true });
  }

  /** Draw so many pixels for each of the screen's; 3Dmol asks the window for the number when it resizes. */
  setResolution(resolution) {
    const own = Object.getOwnPropertyDescriptor(window, "devicePixelRatio");
    Object.defineProperty(window, "devicePixelRatio", { value: resolution, configurable: true });
    try {
      this.viewer.resize();
    } finally {
      Object.defineProperty(window, "devicePixelRatio", own);
    }
    this.resolution = resolution;
  }

  /** To be called before each frame of a view that moves: coarse where frames take long, fine again at rest. */
  beginMotion() {
    if (this.slowness && this.resolution !== RESOLUTIONS[this.slowness]) this.setResolution(RESOLUTIONS[this.slowness]);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.endMotion(), REST);
    if (this.timing) return;
    this.timing = true;
    const begun = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => {
      this.timing = false;
      const slow = performance.now() - begun > 2 * FRAME_TIME;
      if (slow && this.slowness < RESOLUTIONS.length - 1) this.slowness += 1;
    }));
  }

  endMotion() {
    if (this.resolution === RESOLUTIONS[0]) return;
    this.setResolution(RESOLUTIONS[0]);
    this.viewer.render();
  }

  /** Colours of the page. */
  setColours({ background, ink }) {
    this.ink = ink;
    this.background = background;
    this.viewer.setBackgroundColor(background);
    if (this.structure) this.draw();
  }

  /** Show a structure; `keep` leaves the camera where it is. */
  show(structure, keep = false) {
    this.structure = structure;
    this.slowness = 0;
    this.next = undefined;
    this.positions = Float64Array.from(structure.positions);
    this.cell = structure.cell;
    this.outside = new Set();
    this.picked = [];
    this.images = this.findImages();
    this.rebuild();
    if (!keep) this.fit();
    this.onPick(this.measured());
  }

  /** Move the atoms of the structure that is shown; where frames come faster than they are drawn, the last one counts. */
  moveSoon(positions, cell, outside) {
    this.next = [positions, cell, outside];
    if (this.moving) return;
    this.moving = true;
    requestAnimationFrame(() => this.moveNext());
  }

  /** Draw what came last, and go on once it is on the screen. */
  moveNext() {
    const frame = this.next, begun = performance.now();
    this.next = undefined;
    // what draws in software is not done when `render` returns; the second frame from here on comes after it
    requestAnimationFrame(() => requestAnimationFrame(() => {
      this.moving = this.next !== undefined;
      if (!this.moving) return;
      // as long as this one took is left to everything else
      const pause = Math.min(performance.now() - begun - TWO_FRAMES, LONGEST_PAUSE);
      if (pause > 0) setTimeout(() => requestAnimationFrame(() => this.moveNext()), pause); else this.moveNext();
    }));
    if (frame) this.move(...frame);
  }

  /** Move the atoms of the structure that is shown. */
  move(positions, cell, outside) {
    if (!this.structure || positions.length !== this.positions.length) return;
    this.positions.set(positions);
    const cellMoved = JSON.stringify(cell) !== JSON.stringify(this.cell);
    this.cell = cell ?? this.cell;
    const marks = new Set(outside ?? []);
    const marked = marks.size !== this.outside.size;
    this.outside = marks;
    this.placeAtoms();
    this.restyle(true);
    if (cellMoved || marked || this.picked.length) this.drawShapes();
    this.beginMotion();
    this.viewer.render();
    if (this.picked.length) this.onPick(this.measured());
  }

  set(option, value) {
    this.options[option] = value;
    if (!this.structure) return;
    if (option === "repeat") this.images = this.findImages();
    this.rebuild();
  }

  findImages() {
    const { cell, pbc, numbers } = this.structure;
    if (!cell) return [];
    if (this.options.repeat && numbers.length * 27 <= 20000) {
      const span = (axis) => (pbc[axis] ? [-1, 0, 1] : [0]);
      const images = [];
      for (const x of span(0)) for (const y of span(1)) for (const z of this.isSlab() ? [0] : span(2)) {
        if (x || y || z) numbers.forEach((_, i) => images.push([i, x, y, z]));
      }
      return images;
    }
    return numbers.length <= MAX_BORDER ? borderImages(this.positions, cell, this.isSlab() ? [pbc[0], pbc[1], false] : pbc) : [];
  }

  /** Whether there is vacuum along the third vector. */
  isSlab() {
    const { cell, positions } = this.structure;
    let low = Infinity, high = -Infinity;
    for (let i = 2; i < positions.length; i += 3) { low = Math.min(low, positions[i]); high = Math.max(high, positions[i]); }
    return cell[2][2] - (high - low) > 6;
  }

  rebuild() {
    const { numbers } = this.structure;
    this.viewer.removeAllModels();
    this.model = this.viewer.addModel();
    const drawn = [...numbers.map((_, i) => [i, 0, 0, 0]), ...this.images];
    const specs = drawn.map(([i]) => ({ elem: this.elements[numbers[i]][0], x: 0, y: 0, z: 0, bonds: [], bondOrder: [], properties: { index: i } }));
    this.model.addAtoms(specs);
    this.atoms = this.model.selectedAtoms({});
    this.drawn = drawn;
    this.placeAtoms();
    this.bond();
    this.draw();
    this.viewer.setHoverable({}, false);
    this.viewer.setClickable({}, true, (atom) => this.pick(atom.properties.index));
    this.viewer.render();
  }

  placeAtoms() {
    const { positions, cell } = this;
    this.drawn.forEach(([i, a, b, c], k) => {
      const atom = this.atoms[k];
      atom.x = positions[3 * i]; atom.y = positions[3 * i + 1]; atom.z = positions[3 * i + 2];
      if (a || b || c) {
        atom.x += a * cell[0][0] + b * cell[1][0] + c * cell[2][0];
        atom.y += a * cell[0][1] + b * cell[1][1] + c * cell[2][1];
        atom.z += a * cell[0][2] + b * cell[1][2] + c * cell[2][2];
      }
    });
  }

  /** Bonds of what is drawn; those between metal atoms are left out. */
  bond() {
    for (const atom of this.atoms) { atom.bonds = []; atom.bondOrder = []; }
    if (!this.options.bonds || this.options.style === "spheres") return;
    const radii = this.drawn.map(([i]) => this.elements[this.structure.numbers[i]][1]);
    const metal = this.atoms.map((atom) => METALS.has(atom.elem));
    const points = this.atoms.map((atom) => [atom.x, atom.y, atom.z]);
    for (const [i, j] of findBonds(points, radii, 1.15, (i, j) => !(metal[i] && metal[j]))) {
      this.atoms[i].bonds.push(j); this.atoms[i].bondOrder.push(1);
      this.atoms[j].bonds.push(i); this.atoms[j].bondOrder.push(1);
    }
  }

  restyle(moving = false) {
    const { style, bonds } = this.options;
    const present = new Set(this.structure.numbers);
    const sticks = bonds && style !== "spheres" && !(moving && this.atoms.length > MAX_STICKS_MOVING);
    if (moving && sticks) this.bond();
    const fixed = new Set(this.structure.fixed);
    for (const number of present) {
      const [symbol, radius, colour] = this.elements[number];
      const size = { balls: METALS.has(symbol) ? 0.52 * radius : 0.5 * radius, spheres: 1.02 * radius, sticks: 0.16 }[style];
      const make = (shade, width = size) => {
        const spec = { sphere: { radius: Math.max(width, 0.16), color: shade } };
        if (sticks) spec.stick = { radius: style === "sticks" ? 0.16 : 0.1, color: shade };
        return spec;
      };
      const some = (predicate, ...shade) => this.model.setStyle({ elem: symbol, predicate }, make(...shade));
      this.model.setStyle({ elem: symbol }, make(colour));
      // metal among metal has no sticks that hold it together
      const width = style === "balls" && METALS.has(symbol) ? 0.8 * radius : size;
      const alone = (atom) => atom.bonds.length === 0;
      if (width !== size) some(alone, colour, width);
      if (fixed.size) {
        const faint = mix(colour, this.background, 0.5);
        some((a) => fixed.has(a.properties.index), faint);
        if (width !== size) some((a) => fixed.has(a.properties.index) && alone(a), faint, width);
      }
      if (this.outside.size) some((a) => this.outside.has(a.properties.index), MARK, width);
    }
  }

  draw() {
    this.restyle();
    this.drawShapes();
    this.viewer.render();
  }

  drawShapes() {
    this.viewer.removeAllShapes();
    this.viewer.removeAllLabels();
    if (this.cell && this.options.cell) {
      for (const [start, end] of cellEdges(this.cell)) this.viewer.addLine({ start: point(start), end: point(end), color: this.ink, opacity: 0.9 });
    }
    const places = this.picked.map((i) => this.place(i));
    places.forEach((p, k) => {
      this.viewer.addSphere({ center: point(p), radius: 0.55, color: "#f59f00", opacity: 0.45 });
      if (k) this.viewer.addCylinder({ start: point(places[k - 1]), end: point(p), radius: 0.045, color: "#f59f00", dashed: true });
    });
  }

  place(i) {
    return [this.positions[3 * i], this.positions[3 * i + 1], this.positions[3 * i + 2]];
  }

  pick(index) {
    this.picked = this.picked.length >= 4 || this.picked.includes(index) ? [index] : [...this.picked, index];
    this.drawShapes();
    this.viewer.render();
    this.onPick(this.measured());
  }

  /** Choose atoms by their numbers. */
  pickAll(indices) {
    const count = this.structure?.numbers.length ?? 0;
    this.picked = indices.filter((i) => i >= 0 && i < count).slice(0, 4);
    if (this.structure) { this.drawShapes(); this.viewer.render(); }
    this.onPick(this.measured());
  }

  /** Names of the chosen atoms, and distance, angle or dihedral. */
  measured() {
    const names = this.picked.map((i) => `${this.elements[this.structure.numbers[i]][0]}${i + 1}`);
    const p = this.picked.map((i) => this.place(i));
    if (p.length === 2) return { names, kind: "distance", value: `${distance(...p).toFixed(3)} Å` };
    if (p.length === 3) return { names, kind: "angle", value: `${angle(...p).toFixed(1)}°` };
    if (p.length === 4) return { names, kind: "dihedral", value: `${dihedral(...p).toFixed(1)}°` };
    return { names, kind: null, value: p.length ? p[0].map((x) => x.toFixed(3)).join("  ") : "" };
  }

  /** Look along an axis of the cell (0, 1, 2), or from the side. */
  look(axis) {
    this.aim(...[[-90, -90], [-90, 0], [0, 0]][axis]);
    this.zoom();
  }

  /** Turn about the third axis first, then tilt it (degrees). */
  aim(tilt, turn) {
    const [x, z] = [tilt, turn].map((degrees) => (degrees * Math.PI) / 360);
    const [sx, cx, sz, cz] = [Math.sin(x), Math.cos(x), Math.sin(z), Math.cos(z)];
    this.viewer.setView([0, 0, 0, 0, sx * cz, -sx * sz, cx * sz, cx * cz]);
  }

  fit() {
    this.aim(-78, -28);
    this.zoom();
  }

  zoom() {
    this.viewer.zoomTo();
    this.viewer.zoom(0.92);
    this.viewer.render();
  }

  turn(angle, axis) {
    this.beginMotion();
    this.viewer.rotate(angle, axis);
    this.viewer.render();
  }

  scale(factor) {
    this.beginMotion();
    this.viewer.zoom(factor);
    this.viewer.render();
  }

  picture() {
    this.endMotion();
    return this.viewer.pngURI();
  }
}

/** A colour between two. */
function mix(first, second, part) {
  const parts = (c) => [1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16));
  const [a, b] = [parts(first), parts(second)];
  return "#" + a.map((x, k) => Math.round(x * (1 - part) + b[k] * part).toString(16).padStart(2, "0")).join("");
}
