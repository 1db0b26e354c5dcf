"use strict";
// The anatomy page: draws what the page carries; computes nothing but the sums that cells open into.
// Read in this order: data, words, numbers, openers, drawing, sheet, inspector, steps, paths, controls.
(() => {

// ── data ────────────────────────────────────────────────────────────────────────────────────────
const DATA = JSON.parse(document.getElementById("anatomy-data").textContent);
const { layer: LAYER, matrices: MATRICES, gradients: GRADIENTS, steps: STEPS } = DATA;
const GROUP = LAYER.heads / LAYER.groups; // query heads that share one head of keys and values
const SOURCE = LAYER.cross ? "M" : "X"; // what keys and values are made from
const ASKING = LAYER.rotary ? "Qrot" : "Q";
const ASKED = LAYER.rotary ? "Krot" : "K";
const PARAMETERS = ["Wq", "Wk", "Wv", "Wo", "bq", "bk", "bv", "bo"].filter((name) => MATRICES[name]);
const LIMIT = DATA.blocks.limit;

const now = { example: 0, head: 0, target: 0, step: 0, cell: null, trail: [], blocks: {}, opened: {} };
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

function numbersOf(name, example) {
  const entries = isGradient(name) ? GRADIENTS[name].data[now.target] : of(name).data;
  return decoded(entries[isShared(name) ? 0 : example]);
}

/** A cell; `head` counts the heads of its own matrix, which for keys and values are the groups. */
function at(name, row, column, head = 0, example = now.example) {
  return { name, example, head: of(name).heads ? head : 0, row, column };
}

function valueAt({ name, example, head, row, column }) {
  return numbersOf(name, example)[(head * rowsOf(name) + row) * columnsOf(name) + column];
}

function get(name, example, head) {
  check(at(name, 0, 0, head, example));
  return range(rowsOf(name)).map((row) =>
    range(columnsOf(name)).map((column) => valueAt(at(name, row, column, head, example))));
}

function check(cell) {
  const { name, example, head, row, column } = cell;
  const within = (i, length) => Number.isInteger(i) && i >= 0 && i < length;
  const fits = names().includes(name) && within(example, DATA.examples.length) &&
    within(head, of(name).heads || 1) && within(row, rowsOf(name)) && within(column, columnsOf(name));
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

// ── words ───────────────────────────────────────────────────────────────────────────────────────
const WORDS = {
  en: {
    language: "Language", appearance: "Appearance", light: "light", dark: "dark",
    example: "Example", head: "Head", headN: "head {0}", headsN: "heads {0}–{1}", gradientOf: "Gradient of",
    sheet: "Attention, forward and backward", parameters: "Parameters", inspector: "Inspector", steps: "Steps",
    about: "width {0} · {1} heads × {2} · scale {3}", aboutGroups: "width {0} · {1} heads × {2} · {4} of keys and values · scale {3}",
    forward: "forward", backward: "backward",
    hint: "Click a cell to open it into its sum. Keys: ← → step · Tab and Enter open a cell, Shift + arrows move it · Esc closes.",
    blocks: "Matrices of more than {0} rows are shown in blocks; click a block to open it.", wholeMatrices: "show whole matrices",
    inBlocks: "in blocks; each colour is the largest value of its block",
    X: "input", M: "memory", Q: "queries", K: "keys", V: "values", Qrot: "rotated", Krot: "rotated", R: "products",
    S: "scaled", Smasked: "masked", P: "weights", C: "context", O: "heads joined", Y: "output",
    Wq: "query weights", Wk: "key weights", Wv: "value weights", Wo: "output weights",
    bq: "query bias", bk: "key bias", bv: "value bias", bo: "output bias",
    split: "split", concat: "concat", mask: "+ mask", maskBack: "mask", softmax: "softmax", softmaxBack: "softmax′", rotate: "rotate", rotateBack: "rotate back",
    label: "{0}: {1}, {2} × {3}, {4} to {5}", gradientLabel: "gradient of {0}",
    query: "query {0}", key: "key {0}", feature: "feature {0}", row: "row {0}", column: "column {0}",
    nothing: "Click a cell of any matrix: it opens into the sum that makes it, and every term leads to its own cell.",
    close: "Close", trail: "The way here", terms: "Terms, largest first", all: "show all {0}", more: "{0} more terms",
    sum: "sum", denominator: "Row of the denominator", masked: "masked: this query may not look at this key",
    emptyRow: "Every key of this query is masked; an empty row gets weights of 0.",
    analytic: "analytic", numeric: "complex step", difference: "difference",
    isInput: "Input of the layer: row {0} belongs to {1}.", isParameter: "A parameter of the layer, learned; its gradient stands beside it.",
    isUpstream: "Comes from what follows the layer: the derivative of {0} with respect to this element of Y.",
    isCell: "The target is one element of Y: its gradient is 1 there and 0 elsewhere.",
    stepN: "Step {0} of {1}", overview: "Step by step", previous: "Previous step", next: "Next step",
    steps0: "{0} steps forward, left to right, then {1} backward, right to left. Press ▶ or the arrow keys; what a step makes lights up, what it reads is outlined.",
    rule: "rule", shapes: "shapes", saves: "saved",
    paths: "Where does dX come from?", pathsCross: "Where do dX and dM come from?", part: "path", picture: "gradient", norm: "norm", share: "share", cosine: "cosine",
    at: "at {0}", block: "the block’s input",
    pathsNote: "The share of a path is ⟨part, whole⟩ / ‖whole‖²: signed, and the shares add up to 100 %.",
    split2: "Through the softmax {0}, through the values {1}.", cancellation: "Cancellation {0}: the parts together are that much shorter than one by one.",
    identities: "Identities", holds: "holds", fails: "does not hold", deviation: "deviation {0}", unclaimed: "not claimed here: {0}",
    size: "This page is {0}, works offline and asks nothing of the network. It carries {1} of one layer, every value as it was computed (float64). Indices count from 0.",
    oneExample: "one example", manyExamples: "{0} examples",
  },
  ko: {
    language: "언어", appearance: "화면", light: "밝게", dark: "어둡게",
    example: "예제", head: "헤드", headN: "헤드 {0}", headsN: "헤드 {0}–{1}", gradientOf: "미분할 값",
    sheet: "어텐션의 순전파와 역전파", parameters: "매개변수", inspector: "셀 들여다보기", steps: "단계",
    about: "폭 {0} · 헤드 {1}개 × {2} · 배율 {3}", aboutGroups: "폭 {0} · 헤드 {1}개 × {2} · 키·값 헤드 {4}개 · 배율 {3}",
    forward: "순전파", backward: "역전파",
    hint: "셀을 누르면 그 값을 이루는 합이 펼쳐진다. 키보드: ← → 단계 이동 · Tab과 Enter로 셀 열기, Shift + 화살표로 옮기기 · Esc 닫기.",
    blocks: "행이 {0}개를 넘는 행렬은 블록으로 나누어 보인다. 블록을 누르면 열린다.", wholeMatrices: "행렬 전체 보기",
    inBlocks: "블록 단위이며 색은 블록 안에서 절댓값이 가장 큰 값",
    X: "입력", M: "메모리", Q: "쿼리", K: "키", V: "값", Qrot: "회전 후", Krot: "회전 후", R: "내적",
    S: "배율 적용", Smasked: "마스크", P: "가중치", C: "문맥", O: "헤드 연결", Y: "출력",
    Wq: "쿼리 가중치", Wk: "키 가중치", Wv: "값 가중치", Wo: "출력 가중치",
    bq: "쿼리 편향", bk: "키 편향", bv: "값 편향", bo: "출력 편향",
    split: "분할", concat: "연결", mask: "+ 마스크", maskBack: "마스크", softmax: "softmax", softmaxBack: "softmax′", rotate: "회전", rotateBack: "역회전",
    label: "{0}: {1}, {2} × {3}, {4}에서 {5}까지", gradientLabel: "{0}의 그래디언트",
    query: "쿼리 {0}", key: "키 {0}", feature: "성분 {0}", row: "행 {0}", column: "열 {0}",
    nothing: "어느 행렬에서든 셀을 누르면 그 값을 이루는 합이 펼쳐지고, 항을 누르면 그 항의 셀로 넘어간다.",
    close: "닫기", trail: "지나온 길", terms: "항 (큰 순서)", all: "{0}개 모두 보기", more: "나머지 항 {0}개",
    sum: "합", denominator: "분모가 되는 행", masked: "마스크됨: 이 쿼리는 이 키를 볼 수 없다",
    emptyRow: "이 쿼리의 키가 모두 가려져 있다. 빈 행의 가중치는 0이다.",
    analytic: "해석적", numeric: "복소 스텝", difference: "차이",
    isInput: "층의 입력이다. {0}행은 {1}에 해당한다.", isParameter: "학습되는 층의 매개변수이다. 그래디언트는 바로 옆에 있다.",
    isUpstream: "층 다음에서 온다. {0}을(를) Y의 이 원소로 미분한 값이다.",
    isCell: "미분할 값이 Y의 원소 하나이므로, 그 자리의 그래디언트는 1이고 나머지는 0이다.",
    stepN: "{1}단계 중 {0}단계", overview: "단계별로 보기", previous: "이전 단계", next: "다음 단계",
    steps0: "순전파 {0}단계는 왼쪽에서 오른쪽으로, 이어지는 역전파 {1}단계는 오른쪽에서 왼쪽으로 간다. ▶나 화살표 키로 넘긴다. 그 단계가 만드는 행렬은 밝아지고 읽는 행렬에는 테두리가 생긴다.",
    rule: "규칙", shapes: "모양", saves: "저장",
    paths: "dX는 어디에서 오는가?", pathsCross: "dX와 dM은 어디에서 오는가?", part: "경로", picture: "그래디언트", norm: "노름", share: "몫", cosine: "코사인",
    at: "{0}에서", block: "블록의 입력",
    pathsNote: "경로의 몫은 ⟨부분, 전체⟩ / ‖전체‖²이다. 부호가 있으며 모두 더하면 100 %이다.",
    split2: "softmax를 거쳐 {0}, 값을 거쳐 {1}.", cancellation: "상쇄 {0}: 부분들을 더한 길이가 따로 잰 길이의 합보다 그만큼 짧다.",
    identities: "항등식", holds: "성립함", fails: "성립하지 않음", deviation: "편차 {0}", unclaimed: "여기서는 주장하지 않음: {0}",
    size: "이 페이지의 크기는 {0}이며, 네트워크 없이 열린다. 층 하나의 {1}를 담고 있고, 모든 값은 계산된 그대로이다(float64). 번호는 0부터 센다.",
    oneExample: "예제 하나", manyExamples: "예제 {0}개",
  },
};

const SYMBOLS = {
  Smasked: "S′", Qrot: "Qʳ", Krot: "Kʳ", Wq: "W_{Q}", Wk: "W_{K}", Wv: "W_{V}", Wo: "W_{O}",
  bq: "b_{Q}", bk: "b_{K}", bv: "b_{V}", bo: "b_{O}",
};

function say(key, ...parts) {
  return WORDS[now.language][key].replace(/\{(\d)\}/g, (_, i) => parts[i]);
}

const told = (text) => (text ? text[now.language] ?? text.en : "");
const symbol = (name) => (isGradient(name) ? "d" : "") + (SYMBOLS[base(name)] ?? base(name));
const plain = (formula) => formula.replace(/_\{([^}]*)\}/g, "$1");

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

function rangeOf(name) {
  return isGradient(name) ? GRADIENTS[name].range[now.target] : of(name).range;
}

// ── openers: the sum that a cell is ─────────────────────────────────────────────────────────────
/** A term: a sign, perhaps a constant with its symbol, and cells, multiplied. */
function term(cells, constant = null, sign = 1) {
  const product = cells.reduce((value, cell) => value * valueAt(cell), constant ? constant.value : 1);
  return { cells, constant, sign, value: sign * product };
}

const headOf = (feature) => Math.floor(feature / LAYER.d_head);
const within = (feature) => feature % LAYER.d_head;
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
    return { formula: `${symbol(name)}[t, i] = ${symbol(from)}[t, i] · cos[t, i] + ${symbol(from)}[t, i′] · ${turn}`, terms };
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
      ? `${symbol(name)}[s, i] = Σ_{${GROUP > 1 ? "h, " : ""}t} dR[t, s] · ${symbol(other)}[t, i]`
      : `${symbol(name)}[t, i] = Σ_{s} dR[t, s] · ${symbol(other)}[s, i]`;
    return { formula, terms };
  };
}

/** The gradient of an input: through each projection that reads it, over all its heads. */
function fromProjections(ways) {
  return ({ name, example, row, column }) => {
    const terms = ways.flatMap(([gradient, weight]) => range(rowsOf(weight)).map((o) =>
      term([at(gradient, row, within(o), headOf(o), example), at(weight, o, column)])));
    const sums = ways.map(([gradient, weight]) => `d${base(gradient)}[t, o] · ${symbol(weight)}[o, j]`);
    return { formula: `${name}[t, j] = Σ_{o} ` + sums.join(" + Σ_{o} "), terms };
  };
}

/** The gradient of a projection's weight or bias: over all examples and positions. */
function fromPositions(gradient, input) {
  return ({ name, row, column }) => {
    const out = input ? row : column;
    const [head, feature] = of(gradient).heads ? [headOf(out), within(out)] : [0, out];
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
  const only = { cells: [scores[column]], constant: null, sign: 1, value: Math.exp(own - highest) / sum };
  return { formula, terms: [only], also: scores, figures: `exp(${number(own)} − ${bracketed(highest)}) / ${number(sum)}` };
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
    formula: "O[t, h·d + i] = C_{h}[t, i]", terms: [term([at("C", row, within(column), headOf(column), example)])],
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
    formula: `dV[s, i] = Σ_{${GROUP > 1 ? "h, " : ""}t} P[t, s] · dC[t, i]`,
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
  const { name } = DATA.targets[now.target];
  return say("isUpstream", name) + (name.startsWith("Y[") ? " " + say("isCell") : "");
}

/** The derivative by the complex step, where the page carries one for this cell. */
function numericAt(cell) {
  const carried = now.target === 0 && DATA.numeric[cell.name];
  if (!carried) return null;
  const value = decoded(carried[isShared(cell.name) ? 0 : cell.example])[cell.row * columnsOf(cell.name) + cell.column];
  return Number.isFinite(value) ? value : null;
}

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

/** The colours of a matrix: symmetric about 0, or from 0 up for probabilities. */
function scaleOf(name) {
  const isSigned = isGradient(name) || of(name).kind === "signed";
  const [low, high] = rangeOf(name);
  const end = (isSigned ? Math.max(Math.abs(low), Math.abs(high)) : high) || 1;
  const colours = inks()[isSigned ? "signed" : "probability"];
  const place = isSigned ? (value) => (value / end + 1) / 2 : (value) => value / end;
  return { isSigned, end, colours, colour: (value) => ramp(colours)[Math.round(255 * Math.min(1, Math.max(0, place(value))))] };
}

/** The part of an axis that is shown: all of it, one block, or all in blocks of `pool`. */
function windowOf(name, which) {
  const axis = axisOf(name, which);
  const length = of(name).shape.at(which === "rows" ? -2 : -1);
  const limit = axis.endsWith("columns") && !isShared(name) ? 2 * LIMIT : LIMIT;
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

// ── sheet ───────────────────────────────────────────────────────────────────────────────────────
/** What happens on the arrow before a column: words are looked up, symbols stand as they are. */
const ARROWS = {
  Q: { forward: "W_{Q} W_{K} W_{V}", backward: "W_{Q} W_{K} W_{V}" },
  Qrot: { forward: "rotate", backward: "rotateBack" },
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
  const labelled = new Set(["X", "R", ...(LAYER.cross ? ["M", "K", "V"].slice(0, 2) : [])]);
  return DATA.columns.flatMap((name) => (labelled.has(name) ? [{ labels: name }, { name }] : [{ name }]));
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
  const first = DATA.columns.includes("M") ? ["X", "M"] : ["X"];
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
  if (gloss) gloss.textContent = say(name);
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
    open.setAttribute("aria-label", `${plain(symbol(name))}, ${say(name)}`);
    open.title = say(name);
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
  const what = isGradient(name) ? say("gradientLabel", say(base(name))) : say(base(name));
  const pooled = windowOf(name, "rows").pool > 1 || windowOf(name, "columns").pool > 1;
  const label = say("label", plain(symbol(name)), what, rowsOf(name), columnsOf(name), number(low), number(high));
  box.setAttribute("aria-label", pooled ? `${label}, ${say("inBlocks")}` : label);
  const { isSigned, end, colours } = scaleOf(name);
  const bar = make("i");
  bar.style.background = `linear-gradient(90deg, ${colours.join()})`;
  scale.replaceChildren(bar, isSigned ? `±${number(end, 2)}` : `0–${number(end, 2)}`);
}

function refreshBlocks() {
  const windows = DATA.columns.concat(PARAMETERS).flatMap((name) => [windowOf(name, "rows"), windowOf(name, "columns")]);
  const [text, whole] = byId("blocks").children;
  byId("blocks").hidden = !windows.some(({ length, limit }) => length > limit);
  const open = new Map(windows.filter(({ axis }) => now.blocks[axis] !== undefined).map((window) => [window.axis, window]));
  const parts = [...open.values()].map(({ axis, first, end }) => `${axisName(axis)} ${first}–${end - 1}`);
  text.textContent = [say("blocks", LIMIT), ...parts].join(" · ");
  whole.hidden = open.size === 0;
}

const axisName = (axis) => (axis === "queries" ? say("Q") : axis === "keys" ? say("K") : plain(symbol(axis.split(" ")[0])));

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

// ── inspector ───────────────────────────────────────────────────────────────────────────────────
const FIRST_TERMS = 12;
now.sources = { cell: null, terms: [], also: [] };

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
  const index = (which, i) => (["queries", "keys"].includes(of(cell.name)[which]) ? labelled(cell, which) : String(i));
  const parts = rowsOf(cell.name) === 1 && isShared(cell.name) ? [index("columns", cell.column)] : [index("rows", cell.row), ", ", index("columns", cell.column)];
  return make("span", { className: "cell-name" }, math(symbol(cell.name)), "[", ...parts, "]");
}

const labelled = (cell, which) => make("bdi", { className: "token" }, quoted(cell, which));

/** Where a cell lies, in words. */
function whereOf(cell) {
  const word = (which, i, otherwise) => ({ queries: say("query", i), keys: say("key", i) })[of(cell.name)[which]] ?? say(otherwise, i);
  const shared = isShared(cell.name);
  const parts = [word("rows", cell.row, "row"), word("columns", cell.column, shared ? "column" : "feature")];
  if (of(cell.name).heads) parts.push(say("headN", cell.head));
  if (!shared) parts.push(DATA.examples[cell.example].title || `${say("example")} ${cell.example}`);
  return `(${cell.row}, ${cell.column}) · ${parts.join(" · ")}`;
}

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
  if (result.terms.length) parts.push(make("h3", {}, say("terms")), termList(result.terms));
  if (result.also.length) parts.push(make("h3", {}, say("denominator")), make("p", { className: "row" }, ...result.also.map((each) => link(each))));
  return parts;
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
  const other = of(name).heads && head !== shownHead(name) ? `_{${head}}` : "";
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

function termList(terms) {
  const largest = Math.abs(terms[0].value);
  const rows = (list) => list.map((each) => termRow(each, largest));
  const list = make("ol", { className: "terms" }, ...rows(terms.slice(0, FIRST_TERMS)));
  const rest = terms.slice(FIRST_TERMS);
  const sum = make("li", { className: "sum" }, make("span", {}, say("sum")), make("span", { className: "figure" }, signed(total(terms.map(({ value }) => value)))));
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
  const row = (word, content) => (content ? [make("dt", {}, say(word)), make("dd", {}, content)] : []);
  return [
    make("h3", {}, told(title), " ", make("span", { className: `way ${direction}` }, direction === "forward" ? `${say("forward")} →` : `← ${say("backward")}`)),
    ...(formula ? [make("p", { className: "formula" }, math(formula))] : []),
    make("p", {}, told(sentence)),
    make("dl", {}, ...row("rule", source && make("code", {}, source)), ...row("shapes", shapes), ...row("saves", saves)),
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
  const notes = [say("split2", percent(table.split.softmax), percent(table.split.values)), say("cancellation", percent(table.cancellation)), say("pathsNote")];
  section.replaceChildren(
    make("h2", {}, say(LAYER.cross ? "pathsCross" : "paths")),
    make("div", { className: "tables" }, ...places.map((where) => pathTable(table.parts.filter((part) => part.at === where), where))),
    make("p", { className: "quiet" }, notes.join(" ")),
  );
}

function pathTable(parts, where) {
  const end = Math.max(...parts.map(({ data }) => (data ? farthest(decoded(data)) : 0)));
  const widest = Math.max(...parts.map(({ share }) => Math.abs(share ?? 0)), 1e-9);
  const head = ["part", "picture", "norm", "share", "cosine"].map((word) => make("th", { scope: "col", className: word }, say(word)));
  const caption = make("caption", {}, say("at", where === "block" ? say("block") : where));
  return make("table", {}, caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...byPath(parts).map((part) => pathRow(part, end, widest))));
}

/** Each path, then its heads. */
function byPath(parts) {
  const whole = parts.filter(({ head }) => head === null);
  return whole.flatMap((path) => [path, ...parts.filter(({ kind, head }) => kind === path.kind && head !== null)]);
}

const farthest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

function pathRow(part, end, widest) {
  const figure = (value, digits) => make("td", { className: "figure" }, number(value, digits));
  const share = make("div", { className: "portion" }, track(part.share ?? 0, widest), make("span", { className: "figure" }, percent(part.share)));
  return make("tr", { className: part.head === null ? "whole" : "head" },
    make("th", { scope: "row" }, pathName(part)), make("td", {}, ...(part.data ? [miniature(part, end)] : [])),
    figure(part.norm, 3), make("td", {}, share), figure(part.cosine, 2));
}

/** A path of all heads by its name, one of a head by the heads that share it. */
function pathName({ name, kind, head }) {
  if (head === null) return told(name);
  const heads = kind === "q" ? [head] : headsOf(head);
  return heads.length === 1 ? say("headN", heads[0]) : say("headsN", heads[0], heads.at(-1));
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
now.language = "en";
now.appearance = null; // as the system has it, until a button is pressed

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
  options("example", DATA.examples.map(({ title }, i) => title || String(i)));
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
  if (!names().includes(name)) throw new RangeError(`anatomy: no matrix ${name}`);
  open(at(name, row, column, head, example));
}

buildSheet();
buildParameters();
refresh();
listen();
window.anatomy = Object.freeze({ names, get, select, step, state });
})();
