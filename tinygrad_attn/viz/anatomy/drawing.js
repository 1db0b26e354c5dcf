// Matrices as pictures, and elements made of text.

// ── drawing ─────────────────────────────────────────────────────────────────────────────────────
const INKS = {
  light: {
    signed: ["#0a3d7a", "#3f86c0", "#a9cde4", "#f6f5f1", "#f3c08d", "#d9772b", "#8a3400"],
    probability: ["#f6f5f1", "#c4e0d3", "#7dbfa9", "#35937f", "#0d6259", "#063b3a"],
    hatch: "#8b929b", frame: "#c9ccd0", cell: "#111820", source: "#7a1f7a", halo: "#ffffff", rule: "#00000024",
  },
  dark: {
    signed: ["#b9dcff", "#63aef0", "#2a659f", "#1c222b", "#8a4d1c", "#e58d3f", "#ffd9ab"],
    probability: ["#1c222b", "#1d4a48", "#23796f", "#3aab98", "#86d8c2", "#dcf7ec"],
    hatch: "#78818c", frame: "#3c4552", cell: "#ffffff", source: "#f2a8ef", halo: "#0b0e12", rule: "#ffffff2b",
  },
};
const inks = () => INKS[document.documentElement.dataset.theme];
const ramps = new Map();

/** 256 colours between the given ones, as RGB. */
function ramp(colours) {
  const key = colours.join();
  if (!ramps.has(key)) ramps.set(key, range(256).map((i) => mixed(colours, (i / 255) * (colours.length - 1))));
  return ramps.get(key);
}

function mixed(colours, place) {
  const first = Math.min(Math.floor(place), colours.length - 2);
  const part = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  return range(3).map((i) => part(colours[first], i) + (place - first) * (part(colours[first + 1], i) - part(colours[first], i)));
}

const NOISE = 1e-13; // of the largest |dY|: what is smaller all over is rounding, and drawn as 0

/** The largest distance from 0 that is shown. */
const sizeOf = (name) => Math.max(...rangeOf(name).map(Math.abs));

/** What stands beside the colours: the ends of the scale, or that there is nothing to colour. */
function endsText({ isSigned, size, noise }) {
  if (size === 0) return "0";
  if (noise) return `≈ 0 (${number(size, 2)})`;
  return isSigned ? `±${number(size, 2)}` : `0–${number(size, 2)}`;
}

/** The colours of a matrix: symmetric about 0, or from 0 up for probabilities. */
function scaleOf(name) {
  const isSigned = isGradient(name) || of(name).kind === "signed";
  const size = sizeOf(name);
  const noise = isGradient(name) && size < NOISE * sizeOf("dY");
  const end = noise ? Infinity : size || 1;
  const colours = inks()[isSigned ? "signed" : "probability"];
  const place = isSigned ? (value) => (value / end + 1) / 2 : (value) => value / end;
  return { isSigned, size, noise, end, colours, colour: (value) => ramp(colours)[Math.round(255 * Math.min(1, Math.max(0, place(value))))] };
}

/** The part of an axis that is shown: all of it, one block, or all in blocks of `pool`. */
function windowOf(name, which) {
  const axis = axisOf(name, which);
  const length = of(name).shape.at(which === "rows" ? -2 : -1);
  const limit = axis.endsWith("columns") && !isShared(name) ? WIDEST : LIMIT;
  const start = now.blocks[axis];
  const pool = start === undefined ? Math.ceil(length / limit) : 1;
  const first = start ?? 0;
  const end = start === undefined ? length : Math.min(length, start + limit);
  return { axis, length, limit, first, end, pool, count: Math.ceil((end - first) / pool) };
}

/** Positions share their blocks over the whole sheet, so rows stay aligned; features do not. */
function axisOf(name, which) {
  const axis = of(name)[which];
  return axis === "queries" || axis === "keys" ? axis : `${base(name)} ${which}`;
}

/** The value of a shown place: its cell, or the one farthest from 0 of its block. */
function shownValue(name, values, rows, columns, i, j) {
  const width = columnsOf(name);
  let best = NaN;
  for (let r = rows.first + i * rows.pool; r < Math.min(rows.end, rows.first + (i + 1) * rows.pool); r++) {
    for (let c = columns.first + j * columns.pool; c < Math.min(columns.end, columns.first + (j + 1) * columns.pool); c++) {
      const value = values[r * width + c];
      if (Number.isFinite(value) && !(Math.abs(value) <= Math.abs(best))) best = value;
    }
  }
  return best;
}

/** One pixel a cell, on a canvas that the next picture reuses. */
function painted(rows, columns, valueOf, colour) {
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const value = valueOf(Math.floor(i / columns), i % columns);
    if (Number.isFinite(value)) image.data.set([...colour(value), 255], 4 * i);
  }
  [scratch.width, scratch.height] = [columns, rows];
  scratch.getContext("2d").putImageData(image, 0, 0);
  return scratch;
}

const scratch = document.createElement("canvas");

/** Make a canvas ready for so many CSS pixels, sharp on this screen. */
function prepared(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = false;
  return pen;
}

/** Draw a matrix with its masked cells, the lines between its heads, and the outlines. */
function draw(figure) {
  const { name, cell } = figure;
  const [rows, columns] = [windowOf(name, "rows"), windowOf(name, "columns")];
  const pen = prepared(figure.canvas, columns.count * cell.width, rows.count * cell.height);
  const start = shownHead(name) * rowsOf(name) * columnsOf(name);
  const values = numbersOf(name, now.example).subarray(start, start + rowsOf(name) * columnsOf(name));
  const picture = painted(rows.count, columns.count, (i, j) => shownValue(name, values, rows, columns, i, j), scaleOf(name).colour);
  pen.drawImage(picture, 0, 0, columns.count * cell.width, rows.count * cell.height);
  if (HATCHED.has(name)) hatch(pen, figure, rows, columns);
  ruleHeads(pen, figure, rows, columns);
  outlines(pen, figure, rows, columns);
}

const HATCHED = new Set(["Smasked", "P", "dSmasked", "dS", "dR"]);

function hatch(pen, { name, cell }, rows, columns) {
  const head = shownHead(name);
  const hidden = (i, j) => maskAt(rows.first + i * rows.pool, columns.first + j * columns.pool, head) === -Infinity;
  pen.save();
  pen.beginPath();
  for (const i of range(rows.count)) {
    for (const j of range(columns.count)) {
      if (hidden(i, j)) pen.rect(j * cell.width, i * cell.height, cell.width, cell.height);
    }
  }
  pen.clip();
  pen.beginPath();
  const [width, height] = [columns.count * cell.width, rows.count * cell.height];
  for (let x = -height; x < width; x += 4) {
    pen.moveTo(x, height);
    pen.lineTo(x + height, 0);
  }
  pen.strokeStyle = inks().hatch;
  pen.lineWidth = 0.8;
  pen.stroke();
  pen.restore();
}

const BY_HEAD = { rows: ["Wq", "Wk", "Wv"], columns: ["O", "Wo", "bq", "bk", "bv"] };

/** Faint lines where one head ends and the next begins. */
function ruleHeads(pen, { name, cell }, rows, columns) {
  pen.fillStyle = inks().rule;
  const places = (window) => range(window.count).filter((i) => i && (window.first + i * window.pool) % LAYER.d_head === 0);
  if (BY_HEAD.rows.includes(base(name))) {
    places(rows).forEach((i) => pen.fillRect(0, i * cell.height - 0.5, columns.count * cell.width, 1));
  }
  if (BY_HEAD.columns.includes(base(name))) {
    places(columns).forEach((j) => pen.fillRect(j * cell.width - 0.5, 0, 1, rows.count * cell.height));
  }
}

/** Outline the cells that the opened one is made of, and itself. */
function outlines(pen, figure, rows, columns) {
  const shown = (cell) => cell.name === figure.name && (isShared(cell.name) || cell.example === now.example) && cell.head === shownHead(cell.name);
  const sources = [...now.sources.terms, ...now.sources.also].filter(shown);
  border(pen, figure, rows, columns, sources, inks().source, 1.4);
  if (now.cell && shown(now.cell)) border(pen, figure, rows, columns, [now.cell], inks().cell, 2);
}

/** A line around the cells' common area. */
function border(pen, { cell }, rows, columns, cells, colour, thick) {
  const places = new Set();
  for (const { row, column } of cells) {
    if (row < rows.first || row >= rows.end || column < columns.first || column >= columns.end) continue;
    places.add(Math.floor((row - rows.first) / rows.pool) * columns.count + Math.floor((column - columns.first) / columns.pool));
  }
  const has = (i, j) => i >= 0 && i < rows.count && j >= 0 && j < columns.count && places.has(i * columns.count + j);
  pen.beginPath();
  for (const place of places) {
    const [i, j] = [Math.floor(place / columns.count), place % columns.count];
    const [left, top, right, bottom] = [j * cell.width, i * cell.height, (j + 1) * cell.width, (i + 1) * cell.height];
    const edges = [[i - 1, j, left, top, right, top], [i + 1, j, left, bottom, right, bottom], [i, j - 1, left, top, left, bottom], [i, j + 1, right, top, right, bottom]];
    for (const [r, c, ...line] of edges) if (!has(r, c)) segment(pen, ...line);
  }
  for (const [ink, width] of [[inks().halo, thick + 1.8], [colour, thick]]) {
    [pen.strokeStyle, pen.lineWidth, pen.lineCap] = [ink, width, "square"];
    pen.stroke();
  }
}

function segment(pen, x0, y0, x1, y1) {
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
}

// ── elements ────────────────────────────────────────────────────────────────────────────────────
const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text, never markup. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "className" || key === "title" || key === "onclick" || key === "type" || key === "tabIndex") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A formula: what stands in _{…} becomes a subscript, names of one letter are italic. */
function math(formula, className = "math") {
  const pieces = formula.split(/_\{([^}]*)\}/);
  return make("span", { className }, ...pieces.flatMap((piece, i) => (i % 2 ? [make("sub", {}, ...slanted(piece))] : slanted(piece))));
}

/** Matrices and indices slanted; digits, brackets and words like exp upright. */
function slanted(text) {
  return text.split(/([A-Za-zʳ]+′?)/).filter(Boolean).map((piece) => (/^(d?[A-Zb]ʳ?|[a-z])′?$/.test(piece) ? make("i", {}, piece) : piece));
}

const button = (text, onclick, className = "") => make("button", { type: "button", className, onclick }, text);
