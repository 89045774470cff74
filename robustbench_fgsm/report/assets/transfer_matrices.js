// A transfer: a matrix for each measure, and one pair of source and target, at the budget that the slider chooses.

const MEASURES = { robust_accuracy: "robust accuracy", attack_success_rate: "attack success", common_success_rate: "success at all models" };
const TONES = { robust_accuracy: "right", attack_success_rate: "wrong", common_success_rate: "wrong" };
const MOST_ROWS = 100;
const state = { epsilon: 0, cell: 0 };
const drawers = [];

const cells = () => page.document.cells;
const across = () => page.document.targets.length;
const own = (place) => cells()[place].source === cells()[place].target;
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
  byId("controls").append(...(page.epsilon_texts.length > 1 ? [el("label", { class: "slider" }, el("span", {}, "Epsilon"), slider, output)] : []),
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
    class: `${TONES[name]} k${Math.round(20 * share ** 0.6)}${share > 0.55 ? " strong" : ""}${place === state.cell ? " chosen" : ""}${own(place) ? " own" : ""}`, "aria-label": cellText(place, name),
    "aria-selected": place === state.cell ? "true" : "false", title: cellText(place, name), onmouseenter: say, onfocus: say,
    onclick: () => show({ cell: place }) },
  shownRate(rate, at), el("span", { class: "of" }, "n=", shownCount(rate.n, `${at}/n`)));
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

function drawPair() {
  const cell = cells()[state.cell];
  byId("pair-now").replaceChildren(el("bdi", {}, page.names[cell.source]), " → ", el("bdi", {}, page.names[cell.target]), `, ${now()}`);
  const classes = cellAt(state.cell).per_class;
  for (const chart of document.querySelectorAll("[data-cell-chart]")) chart.hidden = Number(chart.dataset.cellChart) !== state.cell;
  moveNow(cellAt(state.cell).epsilon);
  byId("pair").replaceChildren(
    ...(classes ? [el("h3", {}, "Class by class"), classTable(),
      ...(classes.length > MOST_ROWS ? [el("p", { class: "quiet" }, `The ${MOST_ROWS} least robust of ${count(classes.length)} classes; the downloads have all.`)] : []), el("p", { class: "downloads" }, ...downloads("per_class", classesTable))]
      : [el("p", { class: "quiet" }, "Class by class was not counted: --per-class does that.")]));
}

starters.push(() => {
  controls();
  drawers.push(drawMatrices, drawPair);
  byId("line").textContent = "Point at a cell, or walk with the arrow keys.";
  const usual = page.epsilon_texts.indexOf("8/255");
  show({ epsilon: usual < 0 ? page.epsilon_texts.length - 1 : usual });
});
