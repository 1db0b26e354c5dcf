// What the page carries, and the sum that each cell opens into.

// ── data ────────────────────────────────────────────────────────────────────────────────────────
const DATA = JSON.parse(document.getElementById("anatomy-data").textContent);
const { layer: LAYER, matrices: MATRICES, gradients: GRADIENTS, steps: STEPS } = DATA;
const GROUP = LAYER.heads / LAYER.groups; // query heads that share one head of keys and values
const SHARED = GROUP > 1 ? "_{h}" : ""; // which of them, where a sum runs over several
const SOURCE = LAYER.cross ? "M" : "X"; // what keys and values are made from
const ASKING = LAYER.rotary ? "Qrot" : "Q";
const ASKED = LAYER.rotary ? "Krot" : "K";
const PARAMETERS = ["Wq", "Wk", "Wv", "Wo", "bq", "bk", "bv", "bo"].filter((name) => MATRICES[name]);
const LIMIT = DATA.blocks.limit; // rows and keys that are shown cell by cell; more in tiles
const WIDEST = 2 * LIMIT; // features

const now = {
  example: 0, head: 0, target: 0, step: 0, // what is chosen
  cell: null, trail: [], sources: { cell: null, terms: [], also: [] }, // the opened cell, the way to it, what it is made of
  blocks: {}, opened: {}, // first rows and columns of open blocks by axis, opened parameters
  language: "en", appearance: null, // as the system has it, until a button is pressed
};
const arrays = new Map(); // base64 text -> Float64Array

function decoded(text) {
  if (!arrays.has(text)) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    arrays.set(text, new Float64Array(bytes.buffer));
  }
  return arrays.get(text);
}

const isGradient = (name) => name.startsWith("d");
const base = (name) => (isGradient(name) ? name.slice(1) : name);
const of = (name) => MATRICES[base(name)];
const rowsOf = (name) => of(name).shape.at(-2);
const columnsOf = (name) => of(name).shape.at(-1);
const isShared = (name) => PARAMETERS.includes(base(name)); // by all examples

function names() {
  return Object.keys(MATRICES).flatMap((name) => (GRADIENTS["d" + name] ? [name, "d" + name] : [name]));
}

/** What the page carries of a matrix for an example: its "data", or the "range" of that. */
function carried(name, kind, example) {
  const entries = isGradient(name) ? GRADIENTS[name][kind][now.target] : of(name)[kind];
  return entries[isShared(name) ? 0 : example];
}

const numbersOf = (name, example) => decoded(carried(name, "data", example));

/** The ends of what is shown: of one example, all its heads together. */
const rangeOf = (name) => carried(name, "range", now.example);

/** A cell; `head` counts the heads of its own matrix, which for keys and values are the groups. */
function at(name, row, column, head = 0, example = now.example) {
  return { name, example, head: of(name).heads ? head : 0, row, column };
}

function valueAt({ name, example, head, row, column }) {
  return numbersOf(name, example)[(head * rowsOf(name) + row) * columnsOf(name) + column];
}

function get(name, example, head) {
  known(name);
  check(at(name, 0, 0, head, example));
  return range(rowsOf(name)).map((row) =>
    range(columnsOf(name)).map((column) => valueAt(at(name, row, column, head, example))));
}

function known(name) {
  if (!names().includes(name)) throw new RangeError(`anatomy: no matrix ${name}`);
}

function check(cell) {
  const { name, example, head, row, column } = cell;
  const isBelow = (i, length) => Number.isInteger(i) && i >= 0 && i < length;
  const fits = names().includes(name) && isBelow(example, DATA.examples.length) &&
    isBelow(head, of(name).heads || 1) && isBelow(row, rowsOf(name)) && isBelow(column, columnsOf(name));
  if (!fits) throw new RangeError(`anatomy: no cell ${name}[${row}, ${column}], example ${example}, head ${head}`);
}

/** What is added to a score: −∞ where a query may not look. */
function maskAt(row, column, head, example = now.example) {
  const heads = DATA.mask.shape.at(-3);
  const [rows, columns] = DATA.mask.shape.slice(-2);
  const mask = decoded(DATA.mask.data[example]);
  return mask[((heads > 1 ? head : 0) * rows + row) * columns + column];
}

/** The head of this matrix that is shown while query head `now.head` is. */
function shownHead(name) {
  const { heads } = of(name);
  return heads === 0 ? 0 : heads === LAYER.heads ? now.head : Math.floor(now.head / GROUP);
}

const range = (length, start = 0) => Array.from({ length }, (_, i) => start + i);
const total = (values) => values.reduce((sum, value) => sum + value, 0);

// ── numbers ─────────────────────────────────────────────────────────────────────────────────────
function number(value, digits = 4) {
  if (value === null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-3 && size < 1e5 ? value.toPrecision(digits) : value.toExponential(Math.max(1, digits - 2));
  return (text.includes("e+") && size < 1e5 ? String(Math.round(value)) : text).replace("e+", "e").replaceAll("-", "−");
}

const signed = (value) => (value > 0 ? "+" : "") + number(value);
const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1).replace("-0.0", "0.0").replace("-", "−")} %`);

function bytes(size) {
  return size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

// ── openers: the sum that a cell is ─────────────────────────────────────────────────────────────
/** A term: a sign, perhaps a constant with its symbol, and cells, multiplied. */
function term(cells, constant = null, sign = 1) {
  const product = cells.reduce((value, cell) => value * valueAt(cell), constant ? constant.value : 1);
  return { cells, constant, sign, value: sign * product };
}

const headOf = (feature) => Math.floor(feature / LAYER.d_head);
const inHead = (feature) => feature % LAYER.d_head;
const groupOf = (head) => Math.floor(head / GROUP);
const headsOf = (group) => range(GROUP, group * GROUP);
const scaled = () => ({ symbol: "1/√d", value: LAYER.scale });

/** Q, K or V: a row of the input times a row of the weight. */
function projected(input, weight, bias) {
  return ({ name, example, head, row, column }) => {
    const out = head * LAYER.d_head + column;
    const terms = range(columnsOf(weight)).map((j) => term([at(input, row, j, 0, example), at(weight, out, j)]));
    if (MATRICES[bias]) terms.push(term([at(bias, 0, out)]));
    const b = MATRICES[bias] ? ` + ${symbol(bias)}[o]` : "";
    return { formula: `${name}[t, i] = Σ_{j} ${input}[t, j] · ${symbol(weight)}[o, j]${b},  o = ${head}·d + i`, terms };
  };
}

/** Rotation of one feature with its pair; back with the signs of the pair. */
function rotated(from, kind, back) {
  return ({ name, example, head, row, column }) => {
    const { pair } = DATA.turn;
    const partner = pair[column];
    const angle = (table, i) => decoded(DATA.turn[kind + table])[row * LAYER.d_head + i];
    const cos = { symbol: "cos", value: angle("cos", column) };
    const sin = { symbol: "sin", value: angle("sin", back ? partner : column) };
    const terms = [term([at(from, row, column, head, example)], cos), term([at(from, row, partner, head, example)], sin)];
    const turn = back ? "sin[t, i′]" : "sin[t, i]";
    const formula = `${symbol(name)}[t, i] = ${symbol(from)}[t, i] · cos[t, i] + ${symbol(from)}[t, i′] · ${turn}`;
    return { formula: kind ? formula.replaceAll("[t, ", "[s, ") : formula, terms, note: say("partner", partner) };
  };
}

/** The gradient of Q or K: rows of the other, weighted with dR; keys collect from all heads of their group. */
function fromProducts(other, asked) {
  return ({ name, example, head, row, column }) => {
    const one = (h, i) => asked
      ? term([at("dR", i, row, h, example), at(other, i, column, h, example)])
      : term([at("dR", row, i, h, example), at(other, i, column, groupOf(h), example)]);
    const terms = (asked ? headsOf(head) : [head]).flatMap((h) => range(rowsOf(other)).map((i) => one(h, i)));
    const formula = asked
      ? `${symbol(name)}[s, i] = Σ_{${GROUP > 1 ? "h, " : ""}t} dR${SHARED}[t, s] · ${symbol(other)}${SHARED}[t, i]`
      : `${symbol(name)}[t, i] = Σ_{s} dR[t, s] · ${symbol(other)}[s, i]`;
    return { formula, terms };
  };
}

/** The gradient of an input: through each projection that reads it, over all its heads. */
function fromProjections(ways) {
  return ({ name, example, row, column }) => {
    const terms = ways.flatMap(([gradient, weight]) => range(rowsOf(weight)).map((o) =>
      term([at(gradient, row, inHead(o), headOf(o), example), at(weight, o, column)])));
    const sums = ways.map(([gradient, weight]) => `d${base(gradient)}[t, o] · ${symbol(weight)}[o, j]`);
    return { formula: `${name}[t, j] = Σ_{o} ` + sums.join(" + Σ_{o} "), terms };
  };
}

/** The gradient of a projection's weight or bias: over all examples and positions. */
function fromPositions(gradient, input) {
  return ({ name, row, column }) => {
    const out = input ? row : column;
    const [head, feature] = of(gradient).heads ? [headOf(out), inHead(out)] : [0, out];
    const terms = range(DATA.examples.length).flatMap((example) => range(rowsOf(gradient)).map((t) => {
      const arriving = at(gradient, t, feature, head, example);
      return term(input ? [arriving, at(input, t, column, 0, example)] : [arriving]);
    }));
    const factor = input ? ` · ${input}[t, j]` : "";
    return { formula: `${symbol(name)}[o${input ? ", j" : ""}] = Σ_{e, t} ${gradient}[t, o]${factor}`, terms };
  };
}

/** A cell that another one is, or is but for a constant. */
function same(from, constant, formula) {
  return ({ example, head, row, column }) => (
    { formula, terms: [term([at(from, row, column, head, example)], constant)] });
}

function weighted({ example, head, row, column }) {
  const scores = range(columnsOf("Smasked")).map((s) => at("Smasked", row, s, head, example));
  const highest = Math.max(...scores.map(valueAt));
  const formula = "P[t, s] = exp(S′[t, s] − m) / Σ_{k} exp(S′[t, k] − m),  m = max_{k} S′[t, k]";
  if (highest === -Infinity) return { formula, terms: [], also: scores, note: say("emptyRow") };
  const sum = total(scores.map((score) => Math.exp(valueAt(score) - highest)));
  const own = valueAt(scores[column]);
  const numerator = Math.exp(own - highest);
  const only = { cells: [scores[column]], constant: null, sign: 1, value: numerator / sum };
  return { formula, terms: [only], also: scores, quotient: { numerator, sum }, figures: `exp(${number(own)} − ${bracketed(highest)}) / ${number(sum)}` };
}

function throughSoftmax({ example, head, row, column }) {
  const weight = at("P", row, column, head, example);
  const pair = (k) => [at("P", row, k, head, example), at("dP", row, k, head, example)];
  const means = range(columnsOf("P")).map((k) => term([weight, ...pair(k)], null, -1));
  const mean = total(range(columnsOf("P")).map((k) => term(pair(k)).value));
  return {
    formula: "dS′[t, s] = P[t, s] · (dP[t, s] − Σ_{k} P[t, k] · dP[t, k])",
    terms: [term(pair(column)), ...means],
    figures: `${number(valueAt(weight))} × (${number(valueAt(pair(column)[1]))} − ${bracketed(mean)})`,
  };
}

const OPENERS = {
  Q: projected("X", "Wq", "bq"),
  K: projected(SOURCE, "Wk", "bk"),
  V: projected(SOURCE, "Wv", "bv"),
  Qrot: rotated("Q", "", false),
  Krot: rotated("K", "key", false),
  R: ({ example, head, row, column }) => ({
    formula: `R[t, s] = Σ_{i} ${symbol(ASKING)}[t, i] · ${symbol(ASKED)}[s, i]`,
    terms: range(LAYER.d_head).map((i) => term([at(ASKING, row, i, head, example), at(ASKED, column, i, groupOf(head), example)])),
  }),
  S: same("R", scaled(), "S[t, s] = R[t, s] / √d"),
  Smasked: ({ example, head, row, column }) => {
    const mask = maskAt(row, column, head, example);
    const terms = [term([at("S", row, column, head, example)]), { cells: [], constant: { symbol: "mask", value: mask }, sign: 1, value: mask }];
    return { formula: "S′[t, s] = S[t, s] + mask[t, s]", terms, note: mask === -Infinity ? say("masked") : "" };
  },
  P: weighted,
  C: ({ example, head, row, column }) => ({
    formula: "C[t, i] = Σ_{s} P[t, s] · V[s, i]",
    terms: range(rowsOf("V")).map((s) => term([at("P", row, s, head, example), at("V", s, column, groupOf(head), example)])),
  }),
  O: ({ example, row, column }) => ({
    formula: "O[t, h·d + i] = C_{h}[t, i]", terms: [term([at("C", row, inHead(column), headOf(column), example)])],
  }),
  Y: ({ example, row, column }) => {
    const terms = range(columnsOf("O")).map((o) => term([at("O", row, o, 0, example), at("Wo", column, o)]));
    if (MATRICES.bo) terms.push(term([at("bo", 0, column)]));
    return { formula: `Y[t, m] = Σ_{o} O[t, o] · W_{O}[m, o]${MATRICES.bo ? " + b_{O}[m]" : ""}`, terms };
  },
  dO: ({ example, row, column }) => ({
    formula: "dO[t, o] = Σ_{m} dY[t, m] · W_{O}[m, o]",
    terms: range(rowsOf("Wo")).map((m) => term([at("dY", row, m, 0, example), at("Wo", m, column)])),
  }),
  dC: ({ example, head, row, column }) => ({
    formula: "dC_{h}[t, i] = dO[t, h·d + i]", terms: [term([at("dO", row, head * LAYER.d_head + column, 0, example)])],
  }),
  dP: ({ example, head, row, column }) => ({
    formula: "dP[t, s] = Σ_{i} dC[t, i] · V[s, i]",
    terms: range(LAYER.d_head).map((i) => term([at("dC", row, i, head, example), at("V", column, i, groupOf(head), example)])),
  }),
  dV: ({ example, head, row, column }) => ({
    formula: `dV[s, i] = Σ_{${GROUP > 1 ? "h, " : ""}t} P${SHARED}[t, s] · dC${SHARED}[t, i]`,
    terms: headsOf(head).flatMap((h) => range(rowsOf("P")).map((t) => term([at("P", t, row, h, example), at("dC", t, column, h, example)]))),
  }),
  dSmasked: throughSoftmax,
  dS: same("dSmasked", null, "dS[t, s] = dS′[t, s]"),
  dR: same("dS", scaled(), "dR[t, s] = dS[t, s] / √d"),
  ["d" + ASKING]: fromProducts(ASKED, false),
  ["d" + ASKED]: fromProducts(ASKING, true),
  ...(LAYER.rotary ? { dQ: rotated("dQrot", "", true), dK: rotated("dKrot", "key", true) } : {}),
  dX: fromProjections(LAYER.cross ? [["dQ", "Wq"]] : [["dQ", "Wq"], ["dK", "Wk"], ["dV", "Wv"]]),
  dM: fromProjections([["dK", "Wk"], ["dV", "Wv"]]),
  dWq: fromPositions("dQ", "X"), dbq: fromPositions("dQ"),
  dWk: fromPositions("dK", SOURCE), dbk: fromPositions("dK"),
  dWv: fromPositions("dV", SOURCE), dbv: fromPositions("dV"),
  dWo: fromPositions("dY", "O"), dbo: fromPositions("dY"),
};

/** What a cell is the sum of: { formula, terms, also, note, figures }; no terms where it comes from outside. */
function opened(cell) {
  const opener = OPENERS[cell.name];
  if (!opener) return { formula: "", terms: [], also: [], note: originOf(cell), outside: true };
  const result = { also: [], note: "", ...opener(cell) };
  result.terms.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  return result;
}

/** Where inputs, parameters and the upstream gradient come from. */
function originOf(cell) {
  if (cell.name !== "dY") return isShared(cell.name) ? say("isParameter") : say("isInput", cell.row, quoted(cell, "rows"));
  const { name, cell: element } = DATA.targets[now.target];
  return say("isUpstream", name) + (element ? " " + say("isCell") : "");
}

/** Why a gradient that could stand beside the complex step does not. */
function unmeasured(cell) {
  const leaf = ["dX", "dM"].includes(cell.name) || (isGradient(cell.name) && isShared(cell.name));
  if (!leaf || numericAt(cell) !== null) return "";
  if (!DATA.numeric[cell.name]) return say("noNumeric");
  return now.target === 0 ? say("notThisCell") : say("otherTarget", DATA.targets[0].name);
}

/** The derivative by the complex step, where the page carries one for this cell. */
function numericAt(cell) {
  const measured = now.target === 0 && DATA.numeric[cell.name];
  if (!measured) return null;
  const value = decoded(measured[isShared(cell.name) ? 0 : cell.example])[cell.row * columnsOf(cell.name) + cell.column];
  return Number.isFinite(value) ? value : null;
}
