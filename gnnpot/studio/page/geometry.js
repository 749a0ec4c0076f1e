/** Bonds, images at the border of the cell, distances and angles. */

/** Pairs of drawn atoms closer than `factor` times the sum of their radii, found on a grid. */
export function findBonds(points, radii, factor = 1.15, both = () => true) {
  let longest = 0;
  for (const radius of radii) longest = Math.max(longest, radius);
  const size = Math.max(2 * factor * longest, 0.5);
  const cells = new Map();
  const key = (x, y, z) => `${x},${y},${z}`;
  const place = points.map((p) => p.map((x) => Math.floor(x / size)));
  place.forEach((c, i) => {
    const k = key(...c);
    const list = cells.get(k);
    if (list) list.push(i); else cells.set(k, [i]);
  });
  const bonds = [];
  place.forEach(([cx, cy, cz], i) => {
    for (let x = cx - 1; x <= cx + 1; x++) for (let y = cy - 1; y <= cy + 1; y++) for (let z = cz - 1; z <= cz + 1; z++) {
      for (const j of cells.get(key(x, y, z)) ?? []) {
        if (j <= i || !both(i, j)) continue;
        const limit = factor * (radii[i] + radii[j]);
        const dx = points[i][0] - points[j][0], dy = points[i][1] - points[j][1], dz = points[i][2] - points[j][2];
        const d2 = dx * dx + dy * dy + dz * dz;
        if (d2 < limit * limit && d2 > 0.16) bonds.push([i, j]);
      }
    }
  });
  return bonds;
}

const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const norm = (a) => Math.sqrt(dot(a, a));

export const distance = (a, b) => norm(sub(a, b));

/** Degrees at b. */
export function angle(a, b, c) {
  const u = sub(a, b), v = sub(c, b);
  return (Math.acos(Math.max(-1, Math.min(1, dot(u, v) / (norm(u) * norm(v))))) * 180) / Math.PI;
}

/** Degrees about b-c. */
export function dihedral(a, b, c, d) {
  const n = sub(c, b), u = cross(sub(b, a), n), v = cross(n, sub(d, c));
  return (Math.atan2(dot(cross(u, v), n) / norm(n), dot(u, v)) * 180) / Math.PI;
}

export const volume = (cell) => Math.abs(dot(cell[0], cross(cell[1], cell[2])));

/** The inverse of a cell whose rows are vectors. */
function inverse(cell) {
  const [a, b, c] = cell;
  const v = dot(a, cross(b, c));
  const columns = [cross(b, c), cross(c, a), cross(a, b)];
  return columns.map((column) => column.map((x) => x / v));
}

/** Shifts by which atoms at the border are drawn again on the other side: [index, i, j, k]. */
export function borderImages(positions, cell, pbc, near = 0.02) {
  const columns = inverse(cell);
  const images = [];
  for (let i = 0; i < positions.length / 3; i++) {
    const p = [positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]];
    const shifts = columns.map((column, axis) => {
      const f = dot(p, column);
      if (!pbc[axis]) return [0];
      if (Math.abs(f) < near) return [0, 1];
      return Math.abs(f - 1) < near ? [0, -1] : [0];
    });
    for (const x of shifts[0]) for (const y of shifts[1]) for (const z of shifts[2]) if (x || y || z) images.push([i, x, y, z]);
  }
  return images;
}

/** The twelve edges of a cell. */
export function cellEdges(cell) {
  const edges = [];
  for (const [along, first, second] of [[0, 1, 2], [1, 0, 2], [2, 0, 1]]) {
    for (const i of [0, 1]) for (const j of [0, 1]) {
      const start = [0, 1, 2].map((x) => i * cell[first][x] + j * cell[second][x]);
      edges.push([start, start.map((s, x) => s + cell[along][x])]);
    }
  }
  return edges;
}
