/** A small line chart on a canvas. */

/** Draw [x, y] points; `log` has a logarithmic y axis; `fit` is a second, smooth line. */
export function drawChart(canvas, points, { log = false, colour, muted, dots = false, mark = null, fit = null }) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const seen = points.filter(([, y]) => y !== null && (!log || y > 0));
  if (!seen.length) return;
  const value = (y) => (log ? Math.log10(y) : y);
  const xs = seen.map(([x]) => x), ys = seen.map(([, y]) => value(y));
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const pad = 5;
  const px = (x) => pad + ((x - x0) / (x1 - x0 || 1)) * (width - 2 * pad);
  const py = (y) => height - pad - ((value(y) - y0) / (y1 - y0 || 1)) * (height - 2 * pad);
  context.strokeStyle = muted;
  context.globalAlpha = 0.35;
  context.lineWidth = 1;
  for (const y of [0.5, height - 0.5]) { context.beginPath(); context.moveTo(0, y); context.lineTo(width, y); context.stroke(); }
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.6;
  context.lineJoin = "round";
  const line = fit ?? (dots ? [] : seen);
  context.beginPath();
  line.forEach(([x, y], k) => (k ? context.lineTo(px(x), py(y)) : context.moveTo(px(x), py(y))));
  context.stroke();
  const dot = ([x, y], radius) => { context.beginPath(); context.arc(px(x), py(y), radius, 0, 7); context.fill(); };
  if (dots) seen.forEach((p) => dot(p, 2.4));
  dot(mark ?? seen[seen.length - 1], 3);
}

/** Lines of bands over a path, with the names of its points. */
export function drawBands(canvas, lines, ticks, { colour, muted }) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight, foot = 16;
  if (!width || !lines.length) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const all = lines.flat();
  const x1 = Math.max(...all.map((p) => p[0])), y0 = Math.min(0, ...all.map((p) => p[1])), y1 = Math.max(...all.map((p) => p[1]));
  const px = (x) => 4 + (x / (x1 || 1)) * (width - 8), py = (y) => height - foot - ((y - y0) / (y1 - y0 || 1)) * (height - foot - 4);
  const stroke = (points) => { context.beginPath(); points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y))); context.stroke(); };
  context.strokeStyle = muted;
  context.fillStyle = muted;
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "center";
  context.globalAlpha = 0.35;
  stroke([[0, py(0)], [width, py(0)]]);
  for (const [x] of ticks) stroke([[px(x), 2], [px(x), height - foot]]);
  context.globalAlpha = 1;
  for (const [x, name] of ticks) context.fillText(name, Math.min(Math.max(px(x), 5), width - 5), height - 4);
  context.strokeStyle = colour;
  context.lineWidth = 1.1;
  for (const line of lines) stroke(line.map(([x, y]) => [px(x), py(y)]));
}
