// A transfer: a matrix for each measure, and one pair of source and target, at the budget that the slider chooses.

const MEASURES = { robust_accuracy: "robust accuracy", attack_success_rate: "attack success", common_success_rate: "success at all models" };
const TONES = { robust_accuracy: "var(--right)", attack_success_rate: "var(--wrong)", common_success_rate: "var(--wrong)" };
const MOST_ROWS = 100;
const state = { epsilon: 0, cell: 0 };
const page = {};
const drawers = [];

const cells = () => page.document.cells;
const across = () => page.document.targets.length;
const measures = () => Object.keys(MEASURES).filter((name) => cells()[0].epsilons[0][name]);
const pairName = (cell) => `${isolated(page.names[cell.source])} → ${isolated(page.names[cell.target])}`;
const cellAt = (place) => cells()[place].epsilons[state.epsilon];
const where = (place, rest) => `cells/${place}/epsilons/${state.epsilon}/${rest}`;
const now = () => `epsilon ${page.epsilon_texts[state.epsilon]}`;

function cellText(place, name) {
  const rate = cellAt(place)[name];
  return `${pairName(cells()[place])}: ${MEASURES[name]} ${rateText(rate)} %, n=${count(rate.n)}`;
}

/** Change the state and draw; what had the focus keeps it. */
function show(change) {
  Object.assign(state, change);
  for (const place of document.querySelectorAll("[data-now]")) place.textContent = now();
  const { cell, measure } = document.activeElement?.dataset ?? {};
  drawers.forEach((drawer) => drawer());
  if (measure) document.querySelector(`td[data-measure="${measure}"][data-cell="${cell}"]`)?.focus({ preventScroll: true });
}

function controls() {
  const slider = el("input", { type: "range", id: "epsilon", min: 0, step: 1, max: page.epsilon_texts.length - 1,
    disabled: page.epsilon_texts.length < 2, oninput: (event) => show({ epsilon: Number(event.target.value) }) });
  const output = el("output", { for: "epsilon" });
  const select = el("select", { id: "cell", onchange: (event) => show({ cell: Number(event.target.value) }) },
    ...cells().map((cell, place) => el("option", { value: place }, pairName(cell))));
  byId("controls").append(el("label", { class: "slider" }, el("span", {}, "Epsilon"), slider, output),
    el("label", {}, el("span", {}, "Pair"), select));
  drawers.push(() => {
    slider.value = state.epsilon;
    slider.setAttribute("aria-valuetext", page.epsilon_texts[state.epsilon]);
    output.textContent = page.epsilon_texts[state.epsilon];
    select.value = state.cell;
    byId("status").textContent = `${now()}, ${cellText(state.cell, "robust_accuracy")}`;
  });
}

function gridCell(place, name) {
  const rate = cellAt(place)[name];
  const say = () => { byId("line").textContent = cellText(place, name); };
  const share = rate.value ?? 0;
  const at = where(place, name);
  const made = el("td", { role: "gridcell", tabindex: place === state.cell ? 0 : -1, "data-cell": place, "data-measure": name,
    class: `${share > 0.55 ? "strong" : ""} ${place === state.cell ? "chosen" : ""}`, "aria-label": cellText(place, name),
    "aria-selected": place === state.cell ? "true" : "false", title: cellText(place, name), onmouseenter: say, onfocus: say,
    onclick: () => show({ cell: place }) },
  shownRate(rate, at), el("span", { class: "of" }, "n=", shownCount(rate.n, `${at}/n`)));
  made.style.setProperty("--tone", TONES[name]);
  made.style.setProperty("--strength", `${Math.round(100 * share ** 0.6)}%`);
  return made;
}

function grid(name) {
  const { sources, targets } = page.document;
  const head = (model) => el("th", { scope: "col", title: page.names[model] }, el("span", {}, el("bdi", {}, page.names[model])));
  const table = el("table", { class: "matrix crossing", role: "grid", "data-matrix": name,
    "aria-label": `${MEASURES[name]} in per cent, source down, target across; arrow keys move, Enter shows the pair` },
  el("caption", {}, MEASURES[name]),
  el("thead", {}, el("tr", { role: "row" }, el("th", { class: "corner", scope: "col" }, "source ↓ target →"), ...targets.map(head))),
  el("tbody", {}, ...sources.map((source, row) => el("tr", { role: "row" },
    el("th", { scope: "row", title: page.names[source] }, el("bdi", {}, page.names[source])),
    ...targets.map((_, column) => gridCell(row * targets.length + column, name))))));
  table.addEventListener("keydown", walk);
  return el("div", { class: "scroll" }, table);
}

/** Arrow keys, Home and End move over the cells of a matrix; Enter and Space choose one. */
function walk(event) {
  const cell = event.target.closest("td");
  if (!cell) return;
  const place = Number(cell.dataset.cell);
  const [row, column] = [Math.floor(place / across()), place % across()];
  const [down, right] = [page.document.sources.length - 1, across() - 1];
  const moves = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
    Home: [row, 0], End: [row, right] };
  const chosen = event.key === "Enter" || event.key === " ";
  if (!chosen && !moves[event.key]) return;
  event.preventDefault();
  if (chosen) {
    show({ cell: place });
    return;
  }
  const [to, at] = moves[event.key];
  const next = event.currentTarget.querySelector(
    `td[data-cell="${Math.min(Math.max(to, 0), down) * across() + Math.min(Math.max(at, 0), right)}"]`);
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function drawMatrices() {
  byId("matrices").replaceChildren(...measures().map(grid));
}

function line(found, name, x, y) {
  const points = found.map(([epsilon, rate]) => [x(epsilon), rate]);
  const ends = [...points.map(([at, rate]) => [at, y(rate.high)]), ...points.map(([at, rate]) => [at, y(rate.low)]).reverse()];
  const band = draw("polygon", { points: ends.map((end) => end.join(",")).join(" "), opacity: 0.18 });
  const stroke = draw("polyline", { points: points.map(([at, rate]) => `${at},${y(rate.value)}`).join(" "), fill: "none", "stroke-width": 2,
    "stroke-dasharray": name === "common_success_rate" ? "6 4" : null });
  const marks = points.map(([at, rate], place) => draw(name === "robust_accuracy" ? "circle" : "rect",
    name === "robust_accuracy" ? { cx: at, cy: y(rate.value), r: 4 } : { x: at - 3.5, y: y(rate.value) - 3.5, width: 7, height: 7 },
    titled(`${MEASURES[name]}, ${place}: ${rateText(rate)} %, n=${count(rate.n)}`)));
  for (const one of [band, ...marks]) one.style.fill = TONES[name];
  stroke.style.stroke = TONES[name];
  return draw("g", { "data-curve": name }, band, stroke, ...marks);
}

/** The chosen pair over epsilon: its rates with their bands. */
function curves() {
  const { epsilons } = cells()[state.cell];
  const largest = Math.max(...epsilons.map((place) => place.epsilon)) || 1;
  const width = Math.min(720, byId("pair").clientWidth || 720);
  const x = (epsilon) => 42 + (width - 72) * epsilon / largest;
  const y = (share) => 210 - 200 * share;
  const clean = page.document.models[cells()[state.cell].target].clean_accuracy;
  const start = epsilons.some((place) => place.epsilon === 0) ? [] : [[0, clean]];
  const lines = measures().map((name) => {
    const found = epsilons.map((place) => [place.epsilon, place[name]]).filter(([, rate]) => rate.value !== null);
    return line([...(name === "robust_accuracy" ? start : []), ...found].sort((a, b) => a[0] - b[0]), name, x, y);
  });
  const gridLines = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [draw("line", { class: "axis", x1: x(0), x2: x(largest), y1: y(share), y2: y(share) }),
    draw("text", { class: "tick", x: 34, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}`)]);
  const here = x(cellAt(state.cell).epsilon);
  const kept = [];
  for (const [epsilon, text] of [[0, "0"], ...epsilons.map((place, at) => [place.epsilon, page.epsilon_texts[at]])].sort((a, b) => b[0] - a[0])) {
    if (!kept.length || x(kept.at(-1)[0]) - x(epsilon) > 44) kept.push([epsilon, text]);
  }
  return draw("svg", { viewBox: `0 0 ${width} 252`, width, role: "img",
    "aria-label": `${pairName(cells()[state.cell])}: ${measures().map((name) => MEASURES[name]).join(", ")} in per cent over epsilon, with 95 % bands; the table of all pairs has the numbers` },
  ...gridLines, draw("line", { class: "now", x1: here, x2: here, y1: 10, y2: 210 }), ...lines,
  ...kept.map(([epsilon, text]) => draw("text", { class: "tick", x: x(epsilon), y: 226, "text-anchor": "middle" }, text)),
  draw("text", { x: x(largest / 2), y: 246, "text-anchor": "middle" }, "epsilon"));
}

function key(name) {
  const sample = draw("line", { x1: 0, x2: 26, y1: 7, y2: 7, "stroke-width": 2, "stroke-dasharray": name === "common_success_rate" ? "6 4" : null });
  sample.style.stroke = TONES[name];
  const mark = name === "robust_accuracy" ? draw("circle", { cx: 13, cy: 7, r: 4 }) : draw("rect", { x: 9.5, y: 3.5, width: 7, height: 7 });
  mark.style.fill = TONES[name];
  return el("li", {}, draw("svg", { width: 26, height: 14, viewBox: "0 0 26 14", "aria-hidden": "true" }, sample, mark), MEASURES[name]);
}

/** Classes in order; of more than a table holds, those that fare worst. */
function shownClasses() {
  const all = cellAt(state.cell).per_class;
  if (all.length <= MOST_ROWS) return all;
  const present = all.filter((row) => row.robust_accuracy.value !== null);
  return present.sort((a, b) => a.robust_accuracy.value - b.robust_accuracy.value || a.label - b.label).slice(0, MOST_ROWS);
}

function classRows() {
  return shownClasses().map((row) => {
    const at = where(state.cell, `per_class/${row.label}/`);
    const cell = (...parts) => el("td", { class: "n" }, ...parts);
    return el("tr", {}, cell(String(row.label)), el("th", { scope: "row" }, el("bdi", {}, row.name)),
      cell(shownRate(row.robust_accuracy, `${at}robust_accuracy`)), cell(shownCount(row.robust_accuracy.n, `${at}robust_accuracy/n`)),
      cell(shownRate(row.attack_success_rate, `${at}attack_success_rate`)), cell(shownCount(row.attack_success_rate.n, `${at}attack_success_rate/n`)));
  });
}

function classTable() {
  const heads = ["label", "class", "robust accuracy %", "n", "attack success %", "of"];
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Class by class" },
    el("table", { id: "class-table" }, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col", class: head === "class" ? null : "n" }, head)))),
      el("tbody", {}, ...classRows())));
}

function classesTable() {
  const { source, target } = cells()[state.cell];
  const rows = cellAt(state.cell).per_class;
  return { columns: ["source", "target", "epsilon", "label", "name", "n", ...rateColumns("robust_accuracy"), ...rateColumns("attack_success_rate")],
    rows: rows.map((row) => [page.names[source], page.names[target], cellAt(state.cell).epsilon, row.label, row.name, row.n,
      ...rateCells(row.robust_accuracy), ...rateCells(row.attack_success_rate)]) };
}

function pairsTable() {
  const found = measures();
  return { columns: ["source", "target", "epsilon", ...found.flatMap(rateColumns)],
    rows: cells().flatMap((cell) => cell.epsilons.map((at) => [page.names[cell.source], page.names[cell.target], at.epsilon,
      ...found.flatMap((name) => rateCells(at[name]))])) };
}

function drawPair() {
  const cell = cells()[state.cell];
  byId("pair-now").replaceChildren(el("bdi", {}, page.names[cell.source]), " → ", el("bdi", {}, page.names[cell.target]), `, ${now()}`);
  const classes = cellAt(state.cell).per_class;
  byId("pair").replaceChildren(
    el("ul", { class: "legend" }, ...measures().map(key)), curves(),
    el("p", { class: "quiet" }, "In per cent, with 95 % bands. Between the marks the line is drawn, not measured."),
    ...(classes ? [el("h3", {}, "Class by class"), classTable(),
      ...(classes.length > MOST_ROWS ? [el("p", { class: "quiet" }, `The ${MOST_ROWS} least robust of ${count(classes.length)} classes; the downloads have all.`)] : []), el("p", { class: "downloads" }, ...downloads("per_class", classesTable))]
      : [el("p", { class: "quiet" }, "Class by class was not counted: --per-class does that.")]));
}

async function start() {
  Object.assign(page, await unpack(byId("data").textContent));
  offerDownloads({ pairs: pairsTable }, [page.document]);
  controls();
  drawers.push(drawMatrices, drawPair);
  byId("line").textContent = "Point at a cell, or walk with the arrow keys.";
  const usual = page.epsilon_texts.indexOf("8/255");
  show({ epsilon: usual < 0 ? page.epsilon_texts.length - 1 : usual });
  addEventListener("resize", () => requestAnimationFrame(drawPair));
  document.documentElement.dataset.ready = "yes";
}

start();
