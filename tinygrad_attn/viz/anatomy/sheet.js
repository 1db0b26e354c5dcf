// The sheet: every matrix above its gradient, and the cells under pointer and keys.

// ── sheet ───────────────────────────────────────────────────────────────────────────────────────
/** What happens on the arrow before a column: words are looked up, symbols stand as they are. */
const ARROWS = {
  ...(LAYER.cross
    ? { Q: { forward: "W_{Q}", backward: "W_{Q}" }, K: { forward: "W_{K} W_{V}", backward: "W_{K} W_{V}" } }
    : { Q: { forward: "W_{Q} W_{K} W_{V}", backward: "W_{Q} W_{K} W_{V}" } }),
  Qrot: { forward: "rotate", backward: "rotateBack" },
  ...(LAYER.cross ? { Krot: { forward: "rotate", backward: "rotateBack" } } : {}),
  R: { forward: `${SYMBOLS[ASKING] ?? "Q"}${SYMBOLS[ASKED] ?? "K"}ᵀ`, backward: `· ${SYMBOLS[ASKED] ?? "K"}, · ${SYMBOLS[ASKING] ?? "Q"}` },
  S: { forward: "÷ √d", backward: "÷ √d" },
  Smasked: { forward: "mask", backward: "maskBack" },
  P: { forward: "softmax", backward: "softmaxBack" },
  C: { forward: "· V", backward: "· Vᵀ, Pᵀ ·" },
  O: { forward: "concat", backward: "split" },
  Y: { forward: "W_{O}", backward: "W_{O}" },
};
const figures = new Map(); // name -> { name, box, canvas, cell, scale, caption, cursor }

/** The sheet's columns: matrices, with row labels before those where new rows or keys begin. */
function sheetColumns() {
  const begins = new Set(["X", "M", "R"]); // other rows than before
  return DATA.columns.flatMap((name) => (begins.has(name) ? [{ labels: name }, { name }] : [{ name }]));
}

function buildFigure(name) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const box = make("div", { className: "matrix", "data-matrix": name, role: "img", tabIndex: 0 }, canvas);
  const figure = { name, box, canvas, cell: { width: 1, height: 1 }, scale: make("div", { className: "scale" }), cursor: { row: 0, column: 0 } };
  box.addEventListener("click", (event) => clicked(figure, placeOf(figure, event)));
  box.addEventListener("mousemove", (event) => hover(figure, event));
  box.addEventListener("mouseleave", () => (byId("tip").hidden = true));
  box.addEventListener("keydown", (event) => pressed(figure, event));
  figures.set(name, figure);
  return figure;
}

function place(element, row, column) {
  [element.style.gridRow, element.style.gridColumn] = [row, column];
  byId("columns").append(element);
  return element;
}

/** Rows of the grid: caption, scale, key labels, values; gradients, scale, caption. */
function buildSheet() {
  const grid = byId("columns");
  grid.replaceChildren();
  const first = ["X", "M"];
  sheetColumns().forEach(({ name, labels }, i) => {
    const column = i + 1;
    if (labels) {
      const through = first.includes(labels) ? null : labels;
      for (const row of [4, 5]) place(make("div", { className: "rows", "data-rows": labels }), row, column);
      place(captionOf(null, "forward", through), 1, column);
      place(captionOf(null, "backward", through), 7, column);
      return;
    }
    const above = buildFigure(name);
    place(captionOf(name, "forward"), 1, column);
    place(above.scale, 2, column);
    if (of(name).columns === "keys") place(make("div", { className: "keys", "data-keys": name }), 3, column);
    place(above.box, 4, column);
    if (!GRADIENTS["d" + name]) return;
    const below = buildFigure("d" + name);
    place(below.box, 5, column);
    place(below.scale, 6, column);
    place(captionOf("d" + name, "backward"), 7, column);
  });
}

/** A symbol between two pieces of the arrow that runs along the sheet. */
function captionOf(name, direction, through = null) {
  const arrow = name ? ARROWS[base(name)] : ARROWS[through];
  const before = sheetColumns().some((column) => column.labels === (name && base(name)));
  const caption = make("div", { className: `caption ${direction}` });
  if (arrow && !(name && before)) caption.append(math("", "operation"));
  if (name) {
    caption.dataset.of = name;
    caption.append(make("span", { className: arrow ? "line in" : "line" }), math(symbol(name), "symbol"), make("span", { className: "line out" }));
    if (direction === "forward") caption.append(make("span", { className: "gloss" }));
  } else if (through) {
    caption.append(make("span", { className: "line" }));
    caption.classList.add("through");
  }
  caption.dataset.arrow = arrow ? (through ?? base(name)) : "";
  return caption;
}

function nameCaption(caption) {
  const { of: name, arrow } = caption.dataset;
  const direction = caption.classList.contains("forward") ? "forward" : "backward";
  const operation = caption.querySelector(".operation");
  if (operation) {
    const text = ARROWS[arrow][direction];
    operation.replaceChildren(math(WORDS.en[text] ? say(text) : text, WORDS.en[text] ? "" : "math"));
  }
  const gloss = caption.querySelector(".gloss");
  if (gloss) gloss.textContent = meaning(name);
}

const LABELS = 58; // pixels of the row labels
const GAP = 14;
const NARROWEST = 58; // pixels of a column, for its scale
const PRINTED = 1300; // pixels across a sheet of paper, which the style then shrinks to fit

/** Pixels of the highest matrix: two of them and the inspector share a window. */
const tallest = () => (window.innerWidth < 900 || printing.matches ? 200 : Math.max(130, Math.min(260, 0.32 * window.innerHeight - 105)));
const sheetWidth = () => (printing.matches ? PRINTED : byId("columns").parentElement.clientWidth - 4);

/** The cell of a matrix where rows are so high and features so wide; a few features get more. */
function cellOf(name, height, width) {
  const few = Math.floor(NARROWEST / windowOf(name, "columns").count);
  return { height, width: of(name).columns === "keys" ? height : Math.min(height, Math.max(width, few)) };
}

function widthNeeded(height, width) {
  const columns = sheetColumns();
  const matrices = DATA.columns.map((name) => Math.max(NARROWEST, windowOf(name, "columns").count * cellOf(name, height, width).width));
  return total(matrices) + GAP * (columns.length - 1) + LABELS * columns.filter(({ labels }) => labels).length;
}

/** Cells as large as fit, and not too narrow; where none do, the sheet scrolls. */
function cellSizes() {
  const highest = Math.max(...DATA.columns.map((name) => windowOf(name, "rows").count));
  const height = Math.max(4, Math.min(20, Math.floor(tallest() / highest)));
  const room = sheetWidth();
  for (let high = height; high >= Math.min(height, 8); high--) {
    for (let wide = Math.min(high, 12); wide >= Math.max(2, high / 4); wide--) {
      if (widthNeeded(high, wide) <= room) return [high, wide];
    }
  }
  return [Math.min(14, height), Math.max(2, Math.floor(height / 3))];
}

function sizeSheet() {
  const sizes = cellSizes();
  for (const name of DATA.columns) setCell(name, cellOf(name, ...sizes));
  for (const name of PARAMETERS) sizeParameter(name);
}

function setCell(name, cell) {
  for (const each of [name, "d" + name]) if (figures.has(each)) figures.get(each).cell = cell;
}

/** Parameters are thumbnails until they are opened. */
function sizeParameter(name) {
  const [rows, columns] = [windowOf(name, "rows").count, windowOf(name, "columns").count];
  const [least, most, room, thin] = now.opened[name] ? [3, 14, 420, 18] : [1, 4, 76, 10];
  const size = Math.max(least, Math.min(most, Math.floor(room / Math.max(rows, columns))));
  setCell(name, { width: size, height: rows === 1 ? thin : size });
}

function buildParameters() {
  const group = byId("parameters");
  for (const name of PARAMETERS) {
    const open = button("", () => toggleParameter(name), "unfold");
    const pairs = [name, "d" + name].filter((each) => !isGradient(each) || GRADIENTS[each]).map((each) => {
      const { box, scale } = buildFigure(each);
      return make("div", { className: "one" }, math(symbol(each), "symbol"), box, scale);
    });
    group.append(make("div", { className: rowsOf(name) === 1 ? "pair bias" : "pair", "data-parameter": name }, open, ...pairs));
  }
}

function toggleParameter(name) {
  now.opened[name] = !now.opened[name];
  refreshSheet();
}

function refreshParameters() {
  for (const pair of byId("parameters").children) {
    const name = pair.dataset.parameter;
    const open = pair.querySelector(".unfold");
    pair.classList.toggle("opened", Boolean(now.opened[name]));
    open.textContent = now.opened[name] ? "−" : "+";
    open.setAttribute("aria-expanded", Boolean(now.opened[name]));
    open.setAttribute("aria-label", `${plain(symbol(name))}, ${meaning(name)}`);
    open.title = meaning(name);
  }
}

function refreshSheet() {
  sizeSheet();
  for (const figure of figures.values()) {
    draw(figure);
    describe(figure);
  }
  for (const element of document.querySelectorAll("[data-rows]")) {
    writeLabels(element, windowOf(element.dataset.rows, "rows"), labelsOf(element.dataset.rows, "rows"), figures.get(element.dataset.rows).cell.height, "height");
  }
  for (const element of document.querySelectorAll("[data-keys]")) {
    writeLabels(element, windowOf(element.dataset.keys, "columns"), labelsOf(element.dataset.keys, "columns"), figures.get(element.dataset.keys).cell.width, "width");
  }
  document.querySelectorAll(".caption").forEach(nameCaption);
  refreshParameters();
  refreshBlocks();
}

/** Labels of an axis, as many as there is room for. */
function writeLabels(element, axis, labels, size, side) {
  const every = Math.ceil(10 / size);
  element.replaceChildren(...range(Math.ceil(axis.count / every)).map((i) => {
    const label = labels[axis.first + i * every * axis.pool];
    const room = Math.min(every, axis.count - i * every) * size;
    const span = make("span", { title: label.full }, make("bdi", {}, room < 8 ? "" : label.shown));
    span.style[side] = `${room}px`;
    return span;
  }));
}

/** Labels of an axis: tokens, or numbers of features. */
function labelsOf(name, which) {
  const axis = of(name)[which];
  const example = DATA.examples[now.example];
  if (axis !== "queries" && axis !== "keys") return range(of(name).shape.at(which === "rows" ? -2 : -1)).map((i) => ({ shown: String(i), full: String(i) }));
  const full = example.full?.[axis] ?? example[axis];
  return example[axis].map((shown, i) => ({ shown: shown.trim() ? shown : "␣", full: full[i] ?? shown }));
}

/** The label a matrix carries for those who cannot see it, and the ends of its scale. */
function describe({ name, box, scale }) {
  const [low, high] = rangeOf(name);
  const what = isGradient(name) ? say("gradientLabel", meaning(base(name))) : meaning(name);
  const pooled = windowOf(name, "rows").pool > 1 || windowOf(name, "columns").pool > 1;
  const label = say("label", plain(symbol(name)), what, rowsOf(name), columnsOf(name), number(low), number(high));
  box.setAttribute("aria-label", pooled ? `${label}, ${say("inBlocks")}` : label);
  const found = scaleOf(name);
  const { colours, colour, size, noise } = found;
  const bar = make("i");
  bar.style.background = size && !noise ? `linear-gradient(90deg, ${colours.join()})` : `rgb(${colour(0).join()})`;
  scale.replaceChildren(bar, endsText(found));
}

function refreshBlocks() {
  const windows = DATA.columns.concat(PARAMETERS).flatMap((name) => [windowOf(name, "rows"), windowOf(name, "columns")]);
  const [text, whole] = byId("blocks").children;
  byId("blocks").hidden = !windows.some(({ length, limit }) => length > limit);
  const open = new Map(windows.filter(({ axis }) => now.blocks[axis] !== undefined).map((window) => [window.axis, window]));
  const parts = [...open.values()].map(({ axis, first, end }) => `${axisName(axis)} ${first}–${end - 1}`);
  text.textContent = [say("blocks", LIMIT, WIDEST), ...parts].join(" · ");
  whole.hidden = open.size === 0;
}

const axisName = (axis) => (axis === "queries" ? meaning("Q") : axis === "keys" ? meaning("K") : plain(symbol(axis.split(" ")[0])));

/** The cell under the pointer. */
function placeOf(figure, event) {
  const edge = figure.canvas.getBoundingClientRect();
  const [rows, columns] = [windowOf(figure.name, "rows"), windowOf(figure.name, "columns")];
  const along = (position, size, count) => Math.min(count - 1, Math.max(0, Math.floor(position / size)));
  return {
    row: rows.first + rows.pool * along(event.clientY - edge.top, figure.cell.height, rows.count),
    column: columns.first + columns.pool * along(event.clientX - edge.left, figure.cell.width, columns.count),
  };
}

const cellAt = ({ name }, { row, column }) => at(name, row, column, shownHead(name));

/** Open the cell that was clicked, or first the block it lies in. */
function clicked(figure, place) {
  const pooled = ["rows", "columns"].some((which) => windowOf(figure.name, which).pool > 1);
  figure.cursor = place;
  if (!pooled) return open(cellAt(figure, place));
  openBlocks(cellAt(figure, place));
  refreshSheet();
}

/** Show the blocks that a cell lies in. */
function openBlocks(cell) {
  for (const [which, i] of [["rows", cell.row], ["columns", cell.column]]) {
    const { axis, length, limit } = windowOf(cell.name, which);
    if (length > limit) now.blocks[axis] = limit * Math.floor(i / limit);
  }
}

function hover(figure, event) {
  const cell = cellAt(figure, placeOf(figure, event));
  const tip = byId("tip");
  const pooled = ["rows", "columns"].some((which) => windowOf(figure.name, which).pool > 1);
  tip.replaceChildren(nameOf(cell), pooled ? " …" : ` = ${number(valueAt(cell))}`);
  tip.hidden = false;
  const { innerWidth, innerHeight } = window;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${event.clientY + 22 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18}px`;
}

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Enter opens the cell of a focused matrix, Shift with an arrow moves it. */
function pressed(figure, event) {
  const move = event.shiftKey && MOVES[event.key];
  if (!move && event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  event.stopPropagation();
  const bounded = (i, length) => Math.min(length - 1, Math.max(0, i));
  const { row, column } = figure.cursor;
  const [down, right] = move || [0, 0];
  figure.cursor = { row: bounded(row + down, rowsOf(figure.name)), column: bounded(column + right, columnsOf(figure.name)) };
  open(cellAt(figure, figure.cursor));
}
