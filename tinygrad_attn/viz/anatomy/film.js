"use strict";
// The training film's own script.  Labels are data: they only ever become text.
(() => {
  const data = JSON.parse(document.getElementById("film-data").textContent);
  const at = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const PALETTE = [1, 2, 3, 4, 5, 6].map((n) => `var(--line${n})`);
  const WORDS = {
    en: {
      layer: "layer", example: "example", language: "language", player: "player", head: "head",
      previous: "previous snapshot", next: "next snapshot", slider: "snapshot", play: "▶ play",
      pause: "❚❚ pause", heads: "attention of every head", curves: "curves", modules: "modules",
      weights: "weights: who looks where", gradients: "gradient of each weight",
      own: "dP: a colour scale for each snapshot", norms: "‖gradient‖ of each module’s parameters",
      hint: "Choose a cell to follow it through the training. ← → step through the snapshots, the "
        + "space bar plays; inside a matrix the arrow keys choose the cell. Hatched: a query may not "
        + "look there.",
      about: (n, taken, first, last) => `${n} snapshots of ${taken}, from step ${first} to `
        + `${last}: the same input each time, in evaluation mode; the model is what changes.`,
      now: (step, value) => `step ${step} · ${data.target} ${value}`,
      loss: (training) => training ? `${data.target} on this input (dots), training loss (line)`
        : `${data.target} on this input`,
      cell: (from, to, P, dP) => `from “${from}” to “${to}”: P ${P}, dP ${dP}`,
      noCell: "no cell chosen", chart: (title, low, high) => `${title}: from ${low} to ${high}`,
      map: (name, head, low, high) => `${name}, head ${head}: from ${low} to ${high}`,
      blocked: "may not be looked at", size: (mb) => `This page is one file of ${mb} MB and needs nothing else.`,
    },
    ko: {
      layer: "층", example: "예문", language: "언어", player: "재생", head: "헤드",
      previous: "이전 장면", next: "다음 장면", slider: "장면", play: "▶ 재생", pause: "❚❚ 멈춤",
      heads: "헤드별 어텐션", curves: "곡선", modules: "모듈", weights: "가중치: 누가 어디를 보는가",
      gradients: "가중치마다의 그래디언트", own: "dP 색 눈금을 장면마다 따로",
      norms: "모듈별 매개변수 그래디언트의 노름",
      hint: "칸을 고르면 그 칸이 학습하는 동안 어떻게 변하는지 볼 수 있다. ← →로 장면을 넘기고 스페이스 바로 재생한다. "
        + "행렬 안에서는 화살표로 칸을 고른다. 빗금은 쿼리가 볼 수 없는 자리다.",
      about: (n, taken, first, last) => `장면 ${n}개(기록 ${taken}개), ${first}단계부터 ${last}단계까지. 입력은 `
        + "늘 같고 평가 모드이며, 변하는 것은 모델뿐이다.",
      now: (step, value) => `${step}단계 · ${data.target} ${value}`,
      loss: (training) => training ? `이 입력의 ${data.target}(점)과 학습 손실(선)` : `이 입력의 ${data.target}`,
      cell: (from, to, P, dP) => `“${from}”에서 “${to}”로: P ${P}, dP ${dP}`,
      noCell: "고른 칸 없음", chart: (title, low, high) => `${title}: ${low}부터 ${high}까지`,
      map: (name, head, low, high) => `${name}, 헤드 ${head}: ${low}부터 ${high}까지`,
      blocked: "볼 수 없는 자리", size: (mb) => `이 페이지는 ${mb} MB짜리 파일 하나이며 다른 것은 필요 없다.`,
    },
  };
  const steps = data.frames.map((point) => data.curve.steps[point]);
  const state = { frame: 0, layer: 0, example: 0, cell: null, own: true, language: "en",
    playing: false, modules: [] };
  const word = () => WORDS[state.language];

  // ── numbers ──────────────────────────────────────────────────────────────────────────────────
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  for (const layer of data.layers) {
    for (const name of ["P", "dP"]) layer[name].values = new Float32Array(bytes(layer[name].data).buffer);
    if (layer.allowed) layer.allowed.values = bytes(layer.allowed.data);
  }
  const layerNow = () => data.layers[state.layer];
  const labels = () => layerNow().examples[state.example];

  function value(name, layer, frame, example, head, row, column) {
    const [, B, H, T, S] = layer.shape;
    return layer[name].values[(((frame * B + example) * H + head) * T + row) * S + column];
  }

  function isAllowed(layer, example, head, row, column) {
    if (!layer.allowed) return true;
    const [, , , T, S] = layer.shape, heads = layer.allowed.heads;
    return layer.allowed.values[((example * heads + (heads > 1 ? head : 0)) * T + row) * S + column] > 0;
  }

  function shown(number, digits = 3) {
    if (number === null || Number.isNaN(number)) return "–";
    if (number === 0) return "0";
    const size = Math.abs(number);
    const text = size >= 1e-3 && size < 1e4 ? String(Number(number.toPrecision(digits)))
      : number.toExponential(digits - 1);
    return text.replace(/-/g, "−");
  }

  // ── colours ──────────────────────────────────────────────────────────────────────────────────
  let colours = {};
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["low", "high", "plus", "minus", "mark", "hatch", "soft", "ink", "line"];
    colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  function between(from, to, share) {
    const a = channels(from), b = channels(to), s = Math.min(Math.max(share, 0), 1);
    return `rgb(${a.map((x, i) => Math.round(x + (b[i] - x) * s)).join(",")})`;
  }
  function ends(name) {
    const layer = layerNow();
    if (name === "P") return [0, layer.P.range[1]];
    let most = Math.max(...layer.dP.range.map(Math.abs));
    if (state.own) {
      const [, , H, T, S] = layer.shape;
      most = 0;
      for (let h = 0; h < H; h++) for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) {
        if (isAllowed(layer, state.example, h, t, s)) {
          most = Math.max(most, Math.abs(value("dP", layer, state.frame, state.example, h, t, s)));
        }
      }
    }
    return [-most, most];
  }
  function colour(name, number, [, most]) {
    const share = most ? number / most : 0;
    if (name === "P") return between(colours.low, colours.high, share);
    return between(colours.low, share < 0 ? colours.minus : colours.plus, Math.abs(share));
  }

  // ── matrices ─────────────────────────────────────────────────────────────────────────────────
  const canvases = [];
  function cut(pen, text, width) {
    if (pen.measureText(text).width <= width) return text;
    let length = text.length;
    while (length > 1 && pen.measureText(text.slice(0, length) + "…").width > width) length--;
    return text.slice(0, length) + "…";
  }

  function buildMaps() {
    const place = at("maps"), layer = layerNow();
    canvases.length = 0;
    place.replaceChildren();
    for (let head = 0; head < layer.shape[2]; head++) {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      caption.textContent = `${word().head} ${head}`;
      figure.append(caption);
      for (const name of ["P", "dP"]) {
        const heading = document.createElement("h3"), scroll = document.createElement("div");
        const canvas = document.createElement("canvas");
        heading.textContent = name;
        scroll.className = "scroll";
        canvas.tabIndex = 0;
        canvas.setAttribute("role", "img");
        canvas.dataset.matrix = name;
        canvas.dataset.head = head;
        canvas.addEventListener("click", (event) => choose(canvas, event));
        canvas.addEventListener("keydown", (event) => moveCell(head, event));
        scroll.append(canvas);
        figure.append(heading, scroll);
        canvases.push({ canvas, name, head, scroll });
      }
      place.append(figure);
    }
  }

  function geometry(scroll) {
    const [, , , T, S] = layerNow().shape;
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = "12px sans-serif";
    const widest = (side) => Math.min(84, Math.max(...labels()[side].map((x) => pen.measureText(x).width)) + 8);
    let [left, top] = [widest("queries"), widest("keys")];
    const fitting = (space) => Math.min(30, Math.floor((scroll.clientWidth - space - 4) / S));
    const labelled = fitting(left) >= 10; // smaller cells have no room for words
    if (!labelled) left = top = 2;
    const cell = Math.max(3, fitting(left));
    return { left, top, cell, T, S, labelled, width: left + S * cell + 4, height: top + T * cell + 4 };
  }

  function drawMaps() {
    for (const entry of canvases) drawMap(entry);
    drawScale("P");
    drawScale("dP");
  }

  function drawMap({ canvas, name, head, scroll }) {
    const g = geometry(scroll), layer = layerNow(), scale = window.devicePixelRatio || 1;
    const pen = canvas.getContext("2d"), range = ends(name);
    canvas.width = Math.round(g.width * scale);
    canvas.height = Math.round(g.height * scale);
    canvas.style.width = `${g.width}px`;
    canvas.style.height = `${g.height}px`;
    pen.scale(scale, scale);
    const chosen = state.cell && state.cell.head === head ? state.cell : null;
    for (let t = 0; t < g.T; t++) for (let s = 0; s < g.S; s++) {
      const [x, y] = [g.left + s * g.cell, g.top + t * g.cell];
      if (isAllowed(layer, state.example, head, t, s)) {
        pen.fillStyle = colour(name, value(name, layer, state.frame, state.example, head, t, s), range);
        pen.fillRect(x, y, g.cell, g.cell);
      } else {
        pen.strokeStyle = colours.hatch;
        pen.beginPath();
        pen.moveTo(x + 1, y + g.cell - 1);
        pen.lineTo(x + g.cell - 1, y + 1);
        pen.stroke();
      }
    }
    pen.strokeStyle = colours.line;
    pen.strokeRect(g.left + .5, g.top + .5, g.S * g.cell - 1, g.T * g.cell - 1);
    if (g.labelled) writeLabels(pen, g, chosen);
    if (chosen) {
      pen.strokeStyle = colours.mark;
      pen.lineWidth = 2;
      pen.strokeRect(g.left + chosen.column * g.cell, g.top + chosen.row * g.cell, g.cell, g.cell);
    }
    canvas.setAttribute("aria-label", word().map(name, head, shown(range[0]), shown(range[1])));
  }

  function writeLabels(pen, g, chosen) {
    const { queries, keys } = labels();
    pen.textBaseline = "middle";
    const ink = (on) => { pen.fillStyle = on ? colours.ink : colours.soft; pen.font = `${on ? "bold " : ""}12px sans-serif`; };
    pen.textAlign = "right";
    queries.forEach((text, t) => {
      ink(chosen && chosen.row === t);
      pen.fillText(cut(pen, text, g.left - 8), g.left - 5, g.top + (t + .5) * g.cell);
    });
    pen.textAlign = "left";
    keys.forEach((text, s) => {
      pen.save();
      pen.translate(g.left + (s + .5) * g.cell, g.top - 5);
      pen.rotate(-Math.PI / 2);
      ink(chosen && chosen.column === s);
      pen.fillText(cut(pen, text, g.top - 8), 0, 0);
      pen.restore();
    });
  }

  function drawScale(name) {
    const place = at(`scale${name}`), range = ends(name), canvas = document.createElement("canvas");
    canvas.width = 80;
    canvas.height = 1;
    const pen = canvas.getContext("2d");
    for (let x = 0; x < 80; x++) {
      pen.fillStyle = colour(name, range[0] + (range[1] - range[0]) * x / 79, range);
      pen.fillRect(x, 0, 1, 1);
    }
    place.replaceChildren(shown(range[0]), canvas, shown(range[1]));
  }

  // ── a cell ───────────────────────────────────────────────────────────────────────────────────
  function choose(canvas, event) {
    const g = geometry(canvas.parentElement), box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - g.left) / g.cell);
    const row = Math.floor((event.clientY - box.top - g.top) / g.cell);
    if (row >= 0 && row < g.T && column >= 0 && column < g.S) select(Number(canvas.dataset.head), row, column);
  }

  function moveCell(head, event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [, , , T, S] = layerNow().shape, from = state.cell || { row: 0, column: 0 };
    const clip = (n, most) => Math.min(Math.max(n, 0), most - 1);
    select(head, clip(from.row + move[0], T), clip(from.column + move[1], S));
  }

  function select(head, row, column) {
    state.cell = { head, row, column };
    drawMaps();
    drawCell();
  }

  function drawCell() {
    const layer = layerNow(), cell = state.cell;
    if (!cell) {
      at("cellTitle").textContent = word().noCell;
      for (const id of ["cell", "cellGradient"]) chart(at(id), [], word().noCell);
      return;
    }
    const over = (name) => steps.map((_, f) => value(name, layer, f, state.example, cell.head, cell.row, cell.column));
    const [P, dP] = [over("P"), over("dP")];
    const free = isAllowed(layer, state.example, cell.head, cell.row, cell.column);
    const names = labels().full || labels(); // whole, where the short ones are cut
    const text = word().cell(names.queries[cell.row], names.keys[cell.column],
      shown(P[state.frame]), free ? shown(dP[state.frame]) : word().blocked);
    at("cellTitle").textContent = `${word().head} ${cell.head}, ${text}`;
    chart(at("cell"), [{ x: steps, y: P, colour: "var(--minus)", label: "P", width: 2 }], text);
    const slope = { x: steps, y: dP, colour: "var(--plus)", label: "dP", width: 2 };
    chart(at("cellGradient"), free ? [slope] : [], text);
  }

  // ── curves ───────────────────────────────────────────────────────────────────────────────────
  function node(kind, attributes, text) {
    const made = document.createElementNS(SVG, kind);
    for (const [name, content] of Object.entries(attributes)) made.setAttribute(name, content);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function niceTicks(low, high) {
    const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
    const ticks = [];
    for (let n = Math.ceil(low / step); n * step <= high * (1 + 1e-9); n++) ticks.push(Number((n * step).toPrecision(10)));
    return ticks;
  }

  function powers(low, high) {
    const all = [], few = Math.max(1, Math.ceil((high - low) / 4));
    for (let n = Math.ceil(low); n <= high; n += few) all.push(n);
    return all.length ? all : [low, high];
  }

  function chart(svg, lines, title, logarithmic = false) {
    const width = svg.clientWidth || 300, height = svg.clientHeight || 176;
    const box = { left: 52, right: width - 34, top: 8, bottom: height - 22 };
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const height_ = (y) => (y === null || Number.isNaN(y) || (logarithmic && y <= 0)) ? null : logarithmic ? Math.log10(y) : y;
    const ys = lines.flatMap((line) => line.y.map(height_)).filter((y) => y !== null);
    const xs = lines.flatMap((line) => line.x);
    if (!ys.length) return;
    let [low, high] = [ys, ys].map((all, i) => all.reduce((a, b) => (i ? Math.max(a, b) : Math.min(a, b))));
    svg.setAttribute("aria-label", word().chart(title, ...[low, high].map((y) => shown(logarithmic ? 10 ** y : y))));
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
    const first = Math.min(...xs), last = Math.max(...xs);
    const toX = (x) => box.left + (last > first ? (x - first) / (last - first) : .5) * (box.right - box.left);
    const toY = (y) => box.bottom - (y - low) / (high - low) * (box.bottom - box.top);
    for (const tick of logarithmic ? powers(low, high) : niceTicks(low, high)) {
      svg.append(node("line", { class: "axis", x1: box.left, x2: box.right, y1: toY(tick), y2: toY(tick) }));
      svg.append(node("text", { x: box.left - 6, y: toY(tick) + 4, "text-anchor": "end" }, shown(logarithmic ? 10 ** tick : tick, 2)));
    }
    for (const x of new Set([first, last])) {
      svg.append(node("text", { x: toX(x), y: height - 4, "text-anchor": x === first ? "start" : "end" }, String(x)));
    }
    for (const line of lines) drawLine(svg, line, toX, toY, height_);
    const now = toX(steps[state.frame]);
    svg.append(node("line", { class: "mark", x1: now, x2: now, y1: box.top, y2: box.bottom, "data-step": steps[state.frame] }));
    svg.onclick = (event) => {
      const share = (event.clientX - svg.getBoundingClientRect().left - box.left) / (box.right - box.left);
      const wanted = first + share * (last - first);
      go(steps.reduce((best, step, f) => Math.abs(step - wanted) < Math.abs(steps[best] - wanted) ? f : best, 0));
    };
  }

  function drawLine(svg, line, toX, toY, height_) {
    let path = "", gap = true, end = null;
    line.y.forEach((number, i) => {
      const y = height_(number);
      if (y === null) { gap = true; return; }
      end = [toX(line.x[i]), toY(y)];
      path += `${gap ? "M" : "L"}${end[0].toFixed(2)} ${end[1].toFixed(2)}`;
      gap = false;
      if (line.dots) svg.append(node("circle", { cx: end[0], cy: end[1], r: 2.2, fill: line.colour }));
    });
    svg.append(node("path", { d: path, fill: "none", stroke: line.colour, "stroke-width": line.width || 1.2, "stroke-opacity": line.opacity || 1 }));
    if (line.label && end) {
      const text = node("text", { x: end[0] + 4, y: end[1] + 4 }, line.label);
      text.style.fill = line.colour;
      svg.append(text);
    }
  }

  function drawLoss() {
    const { steps: x, values: y } = data.curve, training = data.training;
    const lines = [{ x, y, colour: "var(--minus)", dots: x.length <= 200, width: 1.8 }];
    if (training.steps.length) lines.unshift({ x: training.steps, y: training.losses, colour: "var(--soft)", width: 1, opacity: .7 });
    const title = word().loss(training.steps.length > 0);
    at("lossTitle").textContent = title;
    chart(at("loss"), lines, title);
  }

  function drawNorms() {
    const { steps: x, norms } = data.curve, chosen = state.modules;
    const rest = norms.map((y) => ({ x, y, colour: "var(--soft)", width: .8, opacity: .35 }));
    const lines = chosen.map((m, i) => ({ x, y: norms[m], colour: PALETTE[i % PALETTE.length], width: 2 }));
    chart(at("norms"), [...rest.filter((_, m) => !chosen.includes(m)), ...lines], word().norms, true);
    const buttons = [...at("modules").children];
    buttons.forEach((button, m) => {
      const place = chosen.indexOf(m);
      button.setAttribute("aria-pressed", String(place >= 0));
      button.style.borderLeftColor = place >= 0 ? PALETTE[place % PALETTE.length] : "";
      button.lastChild.textContent = shown(norms[m][data.frames[state.frame]]);
    });
  }

  function buildModules() {
    for (const [m, name] of data.modules.entries()) {
      const button = document.createElement("button"), label = document.createElement("span");
      button.type = "button";
      label.textContent = name;
      button.title = name;
      button.append(label, document.createElement("span"));
      button.addEventListener("click", () => {
        const without = state.modules.filter((other) => other !== m);
        state.modules = without.length < state.modules.length ? without : [...without, m].slice(-PALETTE.length);
        drawNorms();
      });
      at("modules").append(button);
    }
    const watched = new Set(data.layers.map((layer) => layer.name.replace(/ \(call \d+\)$/, "")));
    state.modules = [...data.modules.keys()].filter((m) => watched.has(data.modules[m])).slice(0, PALETTE.length);
    if (!state.modules.length && data.modules.length) state.modules = [0];
  }

  // ── the player ───────────────────────────────────────────────────────────────────────────────
  function go(frame) {
    state.frame = Math.min(Math.max(frame, 0), steps.length - 1);
    at("slider").value = state.frame;
    const text = word().now(steps[state.frame], shown(data.curve.values[data.frames[state.frame]]));
    at("now").textContent = text;
    at("slider").setAttribute("aria-valuetext", text);
    drawMaps();
    drawCell();
    drawLoss();
    drawNorms();
  }

  let timer = 0;
  function play(on) {
    clearInterval(timer);
    state.playing = on;
    at("play").textContent = on ? word().pause : word().play;
    if (!on) return;
    if (state.frame === steps.length - 1) go(0);
    timer = setInterval(() => {
      go(state.frame + 1);
      if (state.frame === steps.length - 1) play(false);
    }, Math.min(400, Math.max(90, 9000 / steps.length)));
  }

  function keys(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    const moves = { ArrowLeft: state.frame - 1, ArrowRight: state.frame + 1, Home: 0, End: steps.length - 1 };
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === " " && event.target.tagName !== "BUTTON") play(!state.playing);
    else return;
    event.preventDefault();
  }

  // ── words ────────────────────────────────────────────────────────────────────────────────────
  function speak(language) {
    state.language = language;
    document.documentElement.lang = language;
    for (const element of document.querySelectorAll("[data-word]")) element.textContent = word()[element.dataset.word];
    for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word()[element.dataset.label]);
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    }
    at("about").textContent = word().about(steps.length, data.taken, steps[0], steps[steps.length - 1]);
    at("size").textContent = word().size((data.size / 1e6).toFixed(data.size < 1e6 ? 2 : 1));
    play(state.playing);
    buildMaps();
    go(state.frame);
  }

  function fill(select, texts) {
    select.replaceChildren(...texts.map((text, i) => new Option(text, String(i))));
  }

  function chooseLayer(layer) {
    state.layer = layer;
    state.example = Math.min(state.example, layerNow().examples.length - 1);
    fill(at("example"), layerNow().examples.map((example) => example.title));
    at("layer").value = layer;
    at("example").value = state.example;
    state.cell = mostChanged(layerNow()).cell;
    buildMaps();
    go(state.frame);
  }

  function mostChanged(layer) {
    // Where a query came to look, or ceased to look, at another position: there is something to follow.
    const [F, , H, T, S] = layer.shape, example = Math.min(state.example, layer.examples.length - 1);
    let found = { change: -1, cell: { head: 0, row: 0, column: 0 } };
    for (let h = 0; h < H; h++) for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) {
      const [before, after] = [0, F - 1].map((f) => value("P", layer, f, example, h, t, s));
      const change = t === s && !layer.cross ? -1 : Math.abs(after - before);
      if (change > found.change) found = { change, cell: { head: h, row: t, column: s } };
    }
    return found;
  }

  function start() {
    at("title").textContent = data.title;
    fill(at("layer"), data.layers.map((layer) => layer.name));
    at("slider").max = steps.length - 1;
    at("layer").addEventListener("change", () => chooseLayer(Number(at("layer").value)));
    at("example").addEventListener("change", () => {
      state.example = Number(at("example").value);
      go(state.frame);
    });
    at("slider").addEventListener("input", () => go(Number(at("slider").value)));
    at("previous").addEventListener("click", () => go(state.frame - 1));
    at("next").addEventListener("click", () => go(state.frame + 1));
    at("play").addEventListener("click", () => play(!state.playing));
    at("own").addEventListener("change", () => {
      state.own = at("own").checked;
      drawMaps();
    });
    for (const button of document.querySelectorAll("[data-language]")) {
      button.addEventListener("click", () => speak(button.dataset.language));
    }
    document.addEventListener("keydown", keys);
    window.addEventListener("resize", () => go(state.frame));
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      readColours();
      go(state.frame);
    });
    readColours();
    buildModules();
    const changes = data.layers.map((layer) => mostChanged(layer).change);
    chooseLayer(changes.indexOf(Math.max(...changes)));
    speak("en");
  }
  start();

  window.film = {
    layers: () => data.layers.map((layer) => layer.name),
    steps: () => [...steps],
    get(name, layer, frame, example, head) {
      const [, , , T, S] = data.layers[layer].shape;
      return Array.from({ length: T }, (_, t) => Array.from({ length: S }, (_, s) =>
        value(name, data.layers[layer], frame, example, head, t, s)));
    },
    place(name, head, row, column) {
      // The middle of a cell, in pixels of the window.
      const { canvas, scroll } = canvases.find((entry) => entry.name === name && entry.head === head);
      const g = geometry(scroll), box = canvas.getBoundingClientRect();
      return [box.left + g.left + (column + .5) * g.cell, box.top + g.top + (row + .5) * g.cell];
    },
    go, select,
    state: () => ({ ...state, step: steps[state.frame] }),
  };
})();
