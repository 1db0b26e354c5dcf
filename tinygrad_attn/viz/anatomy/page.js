// What stands below the sheet, and the controls.  The last of the files: it starts the page.

// ── inspector ───────────────────────────────────────────────────────────────────────────────────
const FIRST_TERMS = 12;

/** Open a cell; `trail` is the way to it. */
function open(cell, trail = []) {
  check(cell);
  const before = view();
  now.cell = cell;
  now.trail = [...trail, cell];
  now.example = cell.example;
  follow(cell);
  openBlocks(cell);
  const figure = figures.get(cell.name);
  figure.cursor = { row: cell.row, column: cell.column };
  if (view() === before) refreshOutlines();
  else refreshView();
  bringIntoView(figure, cell);
}

/** Scroll until a cell and what is around it can be seen. */
function bringIntoView({ name, box, cell: { width, height } }, { row, column }) {
  const [rows, columns] = [windowOf(name, "rows"), windowOf(name, "columns")];
  const here = make("i", { className: "here" });
  here.style.left = `${width * Math.floor((column - columns.first) / columns.pool)}px`;
  here.style.top = `${height * Math.floor((row - rows.first) / rows.pool)}px`;
  box.append(here);
  here.scrollIntoView({ block: "nearest", inline: "nearest" });
  here.remove();
}

/** What the sheet shows but for outlines. */
const view = () => JSON.stringify([now.example, now.head, now.blocks]);

/** After another cell was opened: only the outlines have changed. */
function refreshOutlines() {
  const outlined = () => [now.sources.cell, ...now.sources.terms, ...now.sources.also].filter(Boolean).map(({ name }) => name);
  const before = outlined();
  refreshInspector();
  for (const name of new Set([...before, ...outlined()])) draw(figures.get(name));
  markStep();
}

/** Show the head that a cell is of, or where it has none, the one head that its terms are of. */
function follow(cell) {
  const headed = ({ name }) => of(name).heads > 0;
  const cells = headed(cell) ? [cell] : opened(cell).terms.flatMap(({ cells }) => cells).filter(headed);
  const [{ name, head } = cell, ...rest] = cells;
  if (!cells.length || rest.some((each) => each.head !== head) || shownHead(name) === head) return;
  now.head = of(name).heads === LAYER.heads ? head : head * GROUP;
}

function close() {
  if (!now.cell) return;
  const { name } = now.cell;
  [now.cell, now.trail] = [null, []];
  refreshOutlines();
  figures.get(name).box.focus({ preventScroll: true });
}

const quoted = (cell, which) => `“${labelsOf(cell.name, which)[which === "rows" ? cell.row : cell.column].shown}”`;

/** A cell's name: its symbol with tokens or numbers in brackets. */
function nameOf(cell) {
  const index = (which, i) => (["queries", "keys"].includes(of(cell.name)[which]) ? tokenOf(cell, which) : String(i));
  const parts = rowsOf(cell.name) === 1 && isShared(cell.name) ? [index("columns", cell.column)] : [index("rows", cell.row), ", ", index("columns", cell.column)];
  return make("span", { className: "cell-name" }, math(symbol(cell.name)), "[", ...parts, "]");
}

const tokenOf = (cell, which) => make("bdi", { className: "token" }, quoted(cell, which));

/** Where a cell lies, in words. */
function whereOf(cell) {
  const word = (which, i, otherwise) => ({ queries: say("query", i), keys: say("key", i) })[of(cell.name)[which]] ?? say(otherwise, i);
  const shared = isShared(cell.name);
  const parts = [word("rows", cell.row, "row"), word("columns", cell.column, shared ? "column" : "feature")];
  if (of(cell.name).heads) parts.push(headText(cell.name, cell.head));
  if (!shared) parts.push(DATA.examples[cell.example].title || `${say("example")} ${cell.example}`);
  return `(${cell.row}, ${cell.column}) · ${parts.join(" · ")}`;
}

/** A matrix's head by the heads of queries that it is for: one, or the few that share it. */
function headsText(name, head) {
  const heads = of(name).heads === LAYER.heads ? [head] : headsOf(head);
  return heads.length === 1 ? String(heads[0]) : `${heads[0]}–${heads.at(-1)}`;
}

const headText = (name, head) => say(headsText(name, head).includes("–") ? "heads" : "headN", headsText(name, head));

function refreshInspector() {
  const panel = byId("inspector");
  panel.classList.toggle("open", Boolean(now.cell));
  if (!now.cell) {
    for (const key of ["name", "row", "column", "value", "sum"]) delete panel.dataset[key];
    now.sources = { cell: null, terms: [], also: [] };
    panel.replaceChildren(make("p", { className: "quiet" }, say("nothing")));
    return;
  }
  const result = opened(now.cell);
  const value = valueAt(now.cell);
  now.sources = { cell: now.cell, terms: result.terms.flatMap(({ cells }) => cells), also: result.also };
  const sum = result.outside ? "" : String(total(result.terms.map((each) => each.value)));
  Object.assign(panel.dataset, { name: now.cell.name, row: now.cell.row, column: now.cell.column, value: String(value), sum });
  panel.replaceChildren(...inspected(now.cell, value, result));
}

/** The inspector's contents, from top to bottom. */
function inspected(cell, value, result) {
  const closing = button("×", close, "close");
  closing.setAttribute("aria-label", say("close"));
  const heading = make("h2", {}, nameOf(cell), " = ", make("span", { className: "value" }, number(value)));
  const parts = [trailList(), closing, heading, make("p", { className: "where" }, whereOf(cell))];
  if (result.formula) parts.push(make("p", { className: "formula" }, math(result.formula)));
  if (result.terms.length) parts.push(make("p", { className: "formula figures" }, `= ${result.figures ?? figuresOf(result.terms)}`));
  if (result.note) parts.push(make("p", {}, result.note));
  const measured = numericAt(cell);
  if (measured !== null) parts.push(compared(value, measured));
  const missing = unmeasured(cell);
  if (missing) parts.push(make("p", { className: "quiet" }, missing));
  if (result.quotient) parts.push(make("h3", {}, say("numerator")), numeratorOf(result));
  else if (result.terms.length) parts.push(make("h3", {}, say("terms")), termList(result.terms, value));
  const { sum } = result.quotient ?? { sum: 0 };
  if (result.also.length) parts.push(make("h3", {}, say("denominator", number(sum))), make("p", { className: "row" }, ...result.also.map((each) => link(each))));
  return parts;
}

/** What P has instead of terms: the number above the line of the quotient. */
function numeratorOf({ quotient, terms }) {
  return make("p", { className: "row" }, math("exp(S′ − m)"), ` = ${number(quotient.numerator)} `, link(terms[0].cells[0]));
}

function trailList() {
  const crumbs = now.trail.map((cell, i) => {
    const last = i === now.trail.length - 1;
    const back = { type: "button", onclick: () => open(cell, now.trail.slice(0, i)) };
    return make("li", {}, make(last ? "span" : "button", last ? { "aria-current": "true" } : back, ...shortly(cell)));
  });
  return make("ol", { className: "trail", "aria-label": say("trail") }, ...crumbs);
}

/** Symbol, row and column of a cell; its head and example where they are not the shown ones. */
function shortly({ name, example, head, row, column }) {
  const other = of(name).heads && head !== shownHead(name) ? `_{${headsText(name, head)}}` : "";
  const elsewhere = !isShared(name) && example !== now.example ? ` e${example}` : "";
  return [math(symbol(name) + other), make("small", {}, `${elsewhere} ${row},${column}`)];
}

/** A button that opens a cell, with its symbol and value. */
function link(cell) {
  const target = make("button", { type: "button", className: "cell", onclick: () => open(cell, now.trail) }, ...shortly(cell), " ", make("b", {}, number(valueAt(cell))));
  target.title = whereOf(cell);
  return target;
}

/** The largest terms in figures, and how many there are besides. */
function figuresOf(terms) {
  const factors = ({ cells, constant }) => [...(constant ? [constant.value] : []), ...cells.map(valueAt)];
  const product = (each) => factors(each).map((value, i) => (i ? bracketed(value) : number(value))).join(" × ");
  const written = terms.slice(0, 3).map((each, i) => (each.sign < 0 ? " − " : i ? " + " : "") + (i || each.sign < 0 ? product(each).replace(/^−[^ ]*/, "($&)") : product(each)));
  return written.join("") + (terms.length > 3 ? ` + … (${terms.length})` : "");
}

const bracketed = (value) => (value < 0 ? `(${number(value)})` : number(value));

/** The terms, their sum, and how far from it the recorded value is. */
function termList(terms, value) {
  const largest = Math.abs(terms[0].value);
  const rows = (list) => list.map((each) => termRow(each, largest));
  const list = make("ol", { className: "terms" }, ...rows(terms.slice(0, FIRST_TERMS)));
  const rest = terms.slice(FIRST_TERMS);
  const whole = total(terms.map((each) => each.value));
  const apart = make("span", { className: "quiet" }, `${say("difference")} ${number(value === whole ? 0 : Math.abs(value - whole), 2)}`);
  const sum = make("li", { className: "sum" }, make("span", {}, say("sum")), make("span", { className: "figure" }, signed(whole)), apart);
  if (rest.length) {
    const all = button(say("all", terms.length), () => list.replaceChildren(...rows(terms), sum));
    list.append(make("li", { className: "rest" }, all, make("span", { className: "figure" }, signed(total(rest.map(({ value }) => value)))), make("span", { className: "quiet" }, say("more", rest.length))));
  }
  if (terms.length > 1) list.append(sum);
  return list;
}

/** One term: a bar from the middle, its value, and its factors, each a link. */
function termRow({ cells, constant, sign, value }, largest) {
  const factors = [...(sign < 0 ? ["−"] : []), ...(constant ? [constantText(constant)] : []), ...cells.map((cell) => link(cell))];
  const spaced = factors.flatMap((factor, i) => (i && factors[i - 1] !== "−" ? [" × ", factor] : [factor]));
  return make("li", {}, track(value, largest), make("span", { className: "figure" }, signed(value)), make("span", { className: "factors" }, ...spaced));
}

/** A bar from the middle to the left or right; infinite values fill it. */
function track(value, largest) {
  const part = Math.abs(value) / largest;
  const size = 50 * (Number.isNaN(part) ? Number(value !== 0) : part);
  const bar = make("i", { className: value < 0 ? "bar minus" : "bar plus" });
  [bar.style.width, bar.style.left] = [`${size}%`, value < 0 ? `${50 - size}%` : "50%"];
  return make("span", { className: "track" }, bar);
}

const constantText = ({ symbol: name, value }) => make("span", { className: "constant" }, math(name), " ", make("b", {}, number(value)));

/** The derivative by rule and by the complex step, side by side. */
function compared(value, measured) {
  const row = (word, figure) => make("div", {}, make("dt", {}, say(word)), make("dd", {}, figure));
  return make("dl", { className: "compared" }, row("analytic", number(value, 10)), row("numeric", number(measured, 10)), row("difference", number(Math.abs(value - measured), 3)));
}

// ── steps ───────────────────────────────────────────────────────────────────────────────────────
/** Go to step n: 0 shows all, 1 … the steps forward and then backward. */
function step(n) {
  if (!Number.isFinite(n)) throw new RangeError(`anatomy: no step ${n}`);
  now.step = Math.max(0, Math.min(STEPS.length, Math.trunc(n)));
  refreshStep();
}

function refreshStep() {
  const panel = byId("step");
  panel.dataset.step = now.step;
  const current = STEPS[now.step - 1];
  byId("previous").disabled = now.step === 0;
  byId("next").disabled = now.step === STEPS.length;
  for (const id of ["previous", "next"]) byId(id).setAttribute("aria-label", say(id));
  panel.querySelector("h2").textContent = current ? say("stepN", now.step, STEPS.length) : say("overview");
  panel.querySelector(".told").replaceChildren(...(current ? stepText(current) : [make("p", {}, say("steps0", count("forward"), count("backward")))]));
  markStep();
  if (current) reveal(figures.get(current.makes[0])?.box);
}

/** Scroll the sheet sideways until a matrix can be seen. */
function reveal(box) {
  const pane = byId("columns").parentElement;
  if (!pane.contains(box)) return;
  const [own, edge] = [box.getBoundingClientRect(), pane.getBoundingClientRect()];
  if (own.left < edge.left || own.right > edge.right) pane.scrollLeft += own.left - edge.left - LABELS;
}

const count = (direction) => STEPS.filter((each) => each.direction === direction).length;

function stepText({ direction, title, formula, source, shapes, saves, sentence }) {
  const forward = direction === "forward";
  const row = (word, content) => (content ? [make("dt", {}, say(word)), make("dd", {}, content)] : []);
  return [
    make("h3", {}, told(title), " ", make("span", { className: `way ${direction}` }, forward ? `${say("forward")} →` : `← ${say("backward")}`)),
    ...(formula ? [make("p", { className: "formula" }, math(symbols(told(formula))))] : []),
    make("p", {}, told(sentence)),
    make("dl", {}, ...row(forward ? "code" : "rule", source && make("code", {}, source)), ...row("shapes", shapes && math(symbols(shapes))), ...row(forward ? "saves" : "wasSaved", saves && math(symbols(saves)))),
  ];
}

/** Light what this step makes, outline what it reads, dim what does not exist yet. */
function markStep() {
  const current = STEPS[now.step - 1];
  const coming = new Set(STEPS.slice(now.step).flatMap(({ makes }) => makes));
  for (const { name, box } of figures.values()) {
    box.classList.toggle("made", Boolean(current?.makes.includes(name)));
    box.classList.toggle("read", Boolean(current?.from.includes(name)));
    const used = [now.sources.cell, ...now.sources.terms, ...now.sources.also].some((cell) => cell?.name === name);
    box.classList.toggle("coming", Boolean(current) && !used && (coming.has(name) || (name === "dY" && current.direction === "forward")));
  }
  for (const caption of document.querySelectorAll(".caption[data-of]")) {
    caption.classList.toggle("made", Boolean(current?.makes.includes(caption.dataset.of)));
  }
}

// ── paths and identities ────────────────────────────────────────────────────────────────────────
function refreshPaths() {
  const table = DATA.paths[now.target]?.[now.example];
  const section = byId("paths");
  section.hidden = !table;
  if (!table) return;
  const places = [...new Set(table.parts.map((part) => part.at))];
  section.replaceChildren(
    make("h2", {}, say(LAYER.cross ? "pathsCross" : "paths")),
    make("div", { className: "tables" }, ...places.map((where) => make("div", { className: "place" }, pathTable(table, where), pathNote(table, where)))),
    make("p", { className: "quiet" }, say("pathsNote")),
  );
}

/** What the parts at a place come to; where the layer has two inputs, only queries lead to X. */
function pathNote({ split, cancellation, at: outermost }, where) {
  const notes = where === "X" && !LAYER.cross ? [say("throughBoth", percent(split.softmax), percent(split.values))] : [];
  if (where === outermost) notes.push(say("cancellation", percent(cancellation)));
  return make("p", { className: "quiet" }, notes.join(" "));
}

function pathTable(table, where) {
  const parts = table.parts.filter((part) => part.at === where);
  const end = Math.max(...parts.map(({ data }) => (data ? farthest(decoded(data)) : 0)));
  const widest = Math.max(...parts.map(({ share }) => Math.abs(share ?? 0)), 1e-9);
  const head = ["part", "picture", "norm", "share", "cosine"].map((word) => make("th", { scope: "col", className: word }, say(word)));
  const caption = make("caption", {}, say("at", where === "block" ? say("block") : where));
  return make("table", {}, caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...byPath(parts).map(([part, depth]) => pathRow(part, depth, end, widest))));
}

/** Each path, then its heads, with how deep they stand: what came through the layer has Q, K and V below it. */
function byPath(parts) {
  const whole = parts.filter(({ head }) => head === null);
  const divided = whole.some(({ kind }) => TOGETHER.includes(kind));
  return whole.flatMap((path) => {
    const depth = divided && ["q", "k", "v"].includes(path.kind) ? 1 : 0;
    return [path, ...parts.filter(({ kind, head }) => kind === path.kind && head !== null)].map((part) => [part, depth + (part.head !== null)]);
  });
}

const TOGETHER = ["norm", "layer"]; // kinds of paths that are the sum of those through Q, K and V

const farthest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

function pathRow(part, depth, end, widest) {
  const figure = (value, digits) => make("td", { className: "figure" }, number(value, digits));
  const share = make("div", { className: "portion" }, track(part.share ?? 0, widest), make("span", { className: "figure" }, percent(part.share)));
  return make("tr", { className: `depth${depth}` },
    make("th", { scope: "row" }, pathName(part)), make("td", {}, ...(part.data ? [miniature(part, end)] : [])),
    figure(part.norm, 3), make("td", {}, share), figure(part.cosine, 2));
}

/** A path of all heads by its name, one of a head by the heads that share it. */
function pathName({ name, kind, head }) {
  if (head === null) return told(name);
  return headText(kind.toUpperCase(), head);
}

/** A part of the gradient, small; all parts of a table share one scale. */
function miniature(part, end) {
  const columns = columnsOf(part.at === "M" ? "M" : "X");
  const values = decoded(part.data);
  const rows = values.length / columns;
  const shades = ramp(inks().signed);
  const picture = painted(rows, columns, (i, j) => values[i * columns + j], (value) => shades[Math.round(127.5 * (1 + value / (end || 1)))]);
  const canvas = make("canvas", { role: "img", "aria-label": told(part.name) });
  const [width, height] = [Math.min(columns * 3, 128), Math.min(rows * 3, 40)];
  prepared(canvas, width, height).drawImage(picture, 0, 0, width, height);
  return canvas;
}

function refreshIdentities() {
  const list = DATA.identities[now.target] ?? [];
  byId("identities").hidden = list.length === 0;
  byId("identities").replaceChildren(make("h2", {}, say("identities")), make("ul", {}, ...list.map(identityItem)));
}

function identityItem({ name, holds, deviation, condition, applies }) {
  const state = applies ? (holds ? "holds" : "fails") : "unclaimed";
  const mark = make("span", { className: "mark", "aria-label": applies ? say(state) : "", role: "img" }, { holds: "✓", fails: "✗", unclaimed: "○" }[state]);
  const note = applies ? say("deviation", number(deviation, 3)) : say("unclaimed", told(condition));
  return make("li", { className: state, title: told(condition) }, mark, make("span", {}, told(name)), make("span", { className: "quiet" }, note));
}

// ── controls ────────────────────────────────────────────────────────────────────────────────────
const printing = window.matchMedia("print");
const darkness = window.matchMedia("(prefers-color-scheme: dark)");

function refresh() {
  const all = (attribute) => document.querySelectorAll(`[data-${attribute}]`);
  const theme = printing.matches ? "light" : now.appearance ?? (darkness.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  document.documentElement.lang = now.language;
  for (const element of all("word")) element.textContent = say(element.dataset.word);
  for (const element of all("label")) element.setAttribute("aria-label", say(element.dataset.label));
  for (const element of all("language")) element.setAttribute("aria-pressed", element.dataset.language === now.language);
  for (const element of all("appearance")) element.setAttribute("aria-pressed", element.dataset.appearance === theme);
  refreshStep();
  refreshIdentities();
  refreshView();
}

/** Another example, head, target or block. */
function refreshView() {
  refreshHeader();
  refreshInspector();
  refreshSheet();
  markStep();
  refreshPaths();
}

function refreshHeader() {
  byId("title").textContent = LAYER.name;
  const about = say(LAYER.groups === LAYER.heads ? "about" : "aboutGroups", LAYER.d_model, LAYER.heads, LAYER.d_head, number(LAYER.scale, 3), LAYER.groups);
  byId("about").textContent = DATA.title ? `${DATA.title} · ${about}` : about;
  options("example", DATA.examples.map(({ title }, i) => title || `${say("example")} ${i}`));
  options("head", range(LAYER.heads).map(String));
  options("target", DATA.targets.map(({ name, value }) => `${name} = ${number(value)}`));
  const carried = DATA.examples.length === 1 ? say("oneExample") : say("manyExamples", DATA.examples.length);
  byId("size").textContent = say("size", bytes(DATA.size), carried);
}

function options(id, texts) {
  byId(id).replaceChildren(...texts.map((text, i) => make("option", { value: i }, text)));
  byId(id).value = now[id];
}

/** Another example, head or target: the opened cell goes along. */
function choose(id, value) {
  now[id] = Number(value);
  if (now.cell) {
    const { name, row, column } = now.cell;
    now.cell = at(name, row, column, shownHead(name));
    now.trail = [...now.trail.slice(0, -1), now.cell];
  }
  refreshView();
  refreshIdentities();
}

function listen() {
  for (const id of ["example", "head", "target"]) byId(id).addEventListener("change", (event) => choose(id, event.target.value));
  for (const kind of ["language", "appearance"]) {
    for (const element of document.querySelectorAll(`[data-${kind}]`)) {
      element.addEventListener("click", () => {
        now[kind] = element.dataset[kind];
        refresh();
      });
    }
  }
  byId("previous").addEventListener("click", () => step(now.step - 1));
  byId("next").addEventListener("click", () => step(now.step + 1));
  byId("blocks").querySelector("button").addEventListener("click", () => {
    now.blocks = {};
    refreshSheet();
  });
  document.addEventListener("keydown", keyed);
  for (const media of [printing, darkness]) media.addEventListener("change", refresh);
  new ResizeObserver(() => refreshSheet()).observe(byId("sheet"));
}

function keyed(event) {
  if (event.key === "Escape") return close();
  const away = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.tagName === "SELECT";
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (away || !way) return;
  event.preventDefault();
  step(now.step + way);
}

function state() {
  const { example, head, target, cell, trail, language } = now;
  return { example, head, target, step: now.step, cell: cell && { ...cell }, trail: trail.map((each) => ({ ...each })), language, appearance: document.documentElement.dataset.theme };
}

/** Open a cell; `head` counts the heads of that matrix and is ignored where it has none. */
function select(name, example, head, row, column) {
  known(name);
  open(at(name, row, column, head, example));
}

buildSheet();
buildParameters();
refresh();
listen();
window.anatomy = Object.freeze({ names, get, select, step, state });
