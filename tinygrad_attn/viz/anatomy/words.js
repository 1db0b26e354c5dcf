// What the page says, in English and in Korean.

// ── words ───────────────────────────────────────────────────────────────────────────────────────
const WORDS = {
  en: {
    language: "Language", appearance: "Appearance", light: "light", dark: "dark",
    example: "Example", head: "Head", headN: "head {0}", heads: "heads {0}", gradientOf: "Gradient of",
    sheet: "Attention, forward and backward", parameters: "Parameters", inspector: "Inspector", steps: "Steps",
    about: "width {0} · {1} heads × {2} · scale {3}", aboutGroups: "width {0} · {1} heads × {2} · {4} of keys and values · scale {3}",
    forward: "forward", backward: "backward",
    hint: "Click a cell to open it into its sum. Keys: ← → step · Tab and Enter open a cell, Shift + arrows move it · Esc closes.",
    blocks: "Matrices of more than {0} rows or keys, or {1} features (parameters: {0}), are shown in tiles; click a tile to open it.", wholeMatrices: "show whole matrices",
    inBlocks: "in tiles; each colour is the value farthest from 0 in its tile",
    split: "split", concat: "concat", mask: "+ mask", maskBack: "mask", softmax: "softmax", softmaxBack: "softmax′", rotate: "rotate", rotateBack: "rotate back",
    label: "{0}: {1}, {2} × {3}, {4} to {5}", gradientLabel: "gradient of {0}",
    query: "query {0}", key: "key {0}", feature: "feature {0}", row: "row {0}", column: "column {0}",
    nothing: "Click a cell of any matrix: it opens into the sum that makes it, and every term leads to its own cell.",
    close: "Close", trail: "The way here", terms: "Terms, largest first", all: "show all {0}", more: "{0} more terms",
    sum: "sum", numerator: "Numerator", denominator: "Row of the denominator, together {0}", masked: "masked: this query may not look at this key",
    emptyRow: "Every key of this query is masked; an empty row gets weights of 0.",
    analytic: "analytic", numeric: "complex step", difference: "difference",
    noNumeric: "Complex step: not computed for this page.", notThisCell: "Complex step: not computed for this cell.", otherTarget: "Complex step: computed for {0} only.",
    partner: "i′ = {0}: the feature that i is turned with.",
    isInput: "Input of the layer: row {0} belongs to {1}.", isParameter: "A parameter of the layer, learned; its gradient stands beside it.",
    isUpstream: "Comes from what follows the layer: the derivative of {0} with respect to this element of Y.",
    isCell: "The target is one element of Y: its gradient is 1 there and 0 elsewhere.",
    stepN: "Step {0} of {1}", overview: "Step by step", previous: "Previous step", next: "Next step",
    steps0: "{0} steps forward, left to right, then {1} backward, right to left. Press ▶ or the arrow keys; what a step makes lights up, what it reads is outlined.",
    rule: "rule", code: "code", shapes: "shapes", saves: "saved", wasSaved: "was saved",
    paths: "Where does dX come from?", pathsCross: "Where do dX and dM come from?", part: "path", picture: "gradient", norm: "norm", share: "share", cosine: "cosine",
    at: "at {0}", block: "the block’s input",
    pathsNote: "The share of a path is ⟨part, whole⟩ / ‖whole‖²: signed. Shares add up to 100 %; a path that is set in is part of the one above it.",
    throughBoth: "Through the softmax (Q and K) {0}, through the values {1}.", cancellation: "Cancellation {0}: the parts together are that much shorter than one by one.",
    identities: "Identities", holds: "holds", fails: "does not hold", deviation: "deviation {0}", unclaimed: "does not apply here; it holds {0}",
    size: "This page is {0}, works offline and asks nothing of the network. It carries {1} of one layer, every value as it was computed (float64). Indices count from 0.",
    oneExample: "one example", manyExamples: "{0} examples",
  },
  ko: {
    language: "언어", appearance: "화면", light: "밝게", dark: "어둡게",
    example: "예제", head: "헤드", headN: "헤드 {0}", heads: "헤드 {0}", gradientOf: "미분 대상",
    sheet: "어텐션의 순전파와 역전파", parameters: "매개변수", inspector: "셀 들여다보기", steps: "단계",
    about: "폭 {0} · 헤드 {1}개 × {2} · 배율 {3}", aboutGroups: "폭 {0} · 헤드 {1}개 × {2} · 키·값 헤드 {4}개 · 배율 {3}",
    forward: "순전파", backward: "역전파",
    hint: "셀을 누르면 그 값을 이루는 합이 펼쳐진다. 키보드: ← → 단계 이동 · Tab과 Enter로 셀 열기, Shift + 화살표로 옮기기 · Esc 닫기.",
    blocks: "행이나 키가 {0}개, 성분이 {1}개(매개변수는 {0}개)를 넘는 행렬은 조각으로 나누어 보인다. 조각을 누르면 열린다.", wholeMatrices: "행렬 전체 보기",
    inBlocks: "조각 단위이며 색은 조각 안에서 절댓값이 가장 큰 값",
    split: "분할", concat: "연결", mask: "+ 마스크", maskBack: "마스크", softmax: "소프트맥스", softmaxBack: "소프트맥스′", rotate: "회전", rotateBack: "역회전",
    label: "{0}: {1}, {2} × {3}, {4}에서 {5}까지", gradientLabel: "{0}의 그래디언트",
    query: "쿼리 {0}", key: "키 {0}", feature: "성분 {0}", row: "행 {0}", column: "열 {0}",
    nothing: "어느 행렬에서든 셀을 누르면 그 값을 이루는 합이 펼쳐지고, 항을 누르면 그 항의 셀로 넘어간다.",
    close: "닫기", trail: "지나온 길", terms: "항 (큰 순서)", all: "{0}개 모두 보기", more: "나머지 항 {0}개",
    sum: "합", numerator: "분자", denominator: "분모를 이루는 행(합 {0})", masked: "마스크됨: 이 쿼리는 이 키를 볼 수 없다",
    emptyRow: "이 쿼리의 키가 모두 가려져 있다. 빈 행의 가중치는 0이다.",
    analytic: "해석적", numeric: "복소수 스텝 미분", difference: "차이",
    noNumeric: "복소수 스텝 미분: 이 페이지에는 계산되어 있지 않다.", notThisCell: "복소수 스텝 미분: 이 셀에는 계산되어 있지 않다.", otherTarget: "복소수 스텝 미분: {0}에 대해서만 계산되어 있다.",
    partner: "i′ = {0}: 성분 i와 함께 회전하는 성분.",
    isInput: "층의 입력이다. {0}행은 {1}에 해당한다.", isParameter: "학습되는 층의 매개변수이다. 그래디언트는 바로 옆에 있다.",
    isUpstream: "층 다음에서 온다. 이 값은 Y의 이 원소에 대한 {0}의 미분이다.",
    isCell: "미분 대상이 Y의 원소 하나이므로, 그 자리의 그래디언트는 1이고 나머지는 0이다.",
    stepN: "{1}단계 중 {0}단계", overview: "단계별로 보기", previous: "이전 단계", next: "다음 단계",
    steps0: "순전파 {0}단계는 왼쪽에서 오른쪽으로, 이어지는 역전파 {1}단계는 오른쪽에서 왼쪽으로 간다. ▶나 화살표 키로 넘긴다. 그 단계가 만드는 행렬은 밝아지고 읽는 행렬에는 테두리가 생긴다.",
    rule: "규칙", code: "코드", shapes: "모양", saves: "저장", wasSaved: "저장해 둔 것",
    paths: "dX는 어디에서 오는가?", pathsCross: "dX와 dM은 어디에서 오는가?", part: "경로", picture: "그래디언트", norm: "노름", share: "몫", cosine: "코사인",
    at: "{0}에서", block: "블록의 입력",
    pathsNote: "경로의 몫은 ⟨부분, 전체⟩ / ‖전체‖²이다. 부호가 있으며 모두 더하면 100 %이다. 들여 쓴 경로는 바로 위 경로의 일부이다.",
    throughBoth: "소프트맥스(Q와 K)를 거쳐 {0}, 값을 거쳐 {1}.", cancellation: "상쇄 {0}: 부분들을 더한 길이가 따로 잰 길이의 합보다 그만큼 짧다.",
    identities: "항등식", holds: "성립함", fails: "성립하지 않음", deviation: "편차 {0}", unclaimed: "여기에는 해당하지 않음(성립 조건: {0})",
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

/** What a matrix is. */
const meaning = (name) => told(DATA.meanings[name]);

const told = (text) => (text ? text[now.language] ?? text.en : "");
const symbol = (name) => (isGradient(name) ? "d" : "") + (SYMBOLS[base(name)] ?? base(name));

/** A text of the recording with its matrices as they are written on this page: Wq becomes W_{Q}. */
function symbols(text) {
  const written = new RegExp(`(?<![A-Za-z])(d?)(${Object.keys(SYMBOLS).join("|")})(?![a-z])`, "g");
  return text.replace(written, (_, d, name) => d + SYMBOLS[name]);
}

const plain = (formula) => formula.replace(/_\{([^}]*)\}/g, "$1");
