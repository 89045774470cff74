// Confusion before, confusion after, transition: a table of coloured cells, or a picture where there are many classes.

const KINDS = { clean: "before the attack", confusion: "after it", transition: "transition" };
const AXES = { clean: ["label", "prediction before"], confusion: ["label", "prediction after"],
  transition: ["prediction before", "prediction after"] };
const MOST_CELLS = 40;
const MOST_TEXT = 16;
const MOST_PAIRS = 12;

const matrixOf = (kind) => (kind === "clean" ? subject().data.clean.confusion : side()[kind]);
const matrixPath = (kind) => (kind === "clean" ? pointer(subject(), "clean/confusion") : path(kind));
const strength = (share) => Math.round(100 * share ** 0.6);

/** What a cell says, in words. */
function cellText(row, column, number, sum) {
  const [down, across] = AXES[state.matrix];
  const share = sum ? `, ${percent(number / sum)} % of ${count(sum)}` : "";
  return `${down} ${isolated(classes()[row])}, ${across} ${isolated(classes()[column])}: ${count(number)} images${share}`;
}

function matrixTable() {
  const rows = sparseRows(matrixOf(state.matrix));
  const [down, across] = AXES[state.matrix];
  return { columns: [`${down} \\ ${across}`, ...classes()],
    rows: rows.map((row, place) => {
      const line = new Array(classes().length).fill(0);
      for (const [column, number] of row) line[column] = number;
      return [classes()[place], ...line];
    }) };
}

/** A click, or Enter, on a cell shows its images in the gallery, which has a way back. */
function choose(row, column) {
  const again = state.cell && state.cell[0] === row && state.cell[1] === column;
  show({ cell: again ? null : [row, column], cards: 24 });
  if (!again && page.gallery.length) byId("examples").scrollIntoView({ block: "start" });
}

/** The way back from the images of a cell. */
function backToMatrix() {
  byId("confusion").scrollIntoView({ block: "start" });
  byId("matrix").querySelector(".chosen, canvas, button")?.focus({ preventScroll: true });
}

function gridCell(row, column, number, sum, line) {
  const share = sum ? number / sum : 0;
  const part = sum ? (number ? percent(share) : "0") : "n/a";
  const text = state.cells === "counts" ? count(number) : part;
  const where = `${matrixPath(state.matrix)}/${row}/${column}`;
  const wanted = state.cell && state.cell[0] === row && state.cell[1] === column;
  const say = () => { line.textContent = cellText(row, column, number, sum); };
  const cell = el("td", {
    role: "gridcell", tabindex: -1, "data-row": row, "data-column": column, "aria-label": cellText(row, column, number, sum),
    class: `${row === column ? "right" : "wrong"} k${number ? Math.floor(Math.max(strength(share), 6) / 5) : 0}${strength(share) > 55 ? " strong" : ""}${wanted ? " chosen" : ""}`, title: cellText(row, column, number, sum),
    "data-at": where, "data-as": state.cells === "counts" ? "count" : "share", onmouseenter: say, onfocus: say,
    onclick: () => choose(row, column),
  }, text);
  return cell;
}

function grid(line) {
  const rows = sparseRows(matrixOf(state.matrix));
  const [down, across] = AXES[state.matrix];
  const names = classes();
  const table = el("table", { class: `matrix ${names.length > MOST_TEXT ? "fine" : ""}`, role: "grid",
    "aria-label": `Confusion ${KINDS[state.matrix]}, ${down} down, ${across} across; arrow keys move, Enter shows images` },
  el("thead", {}, el("tr", { role: "row" }, el("th", { class: "corner", scope: "col" }, `${down} ↓ ${across} →`),
    ...names.map((name) => el("th", { scope: "col", title: name }, el("span", {}, name))))),
  el("tbody", {}, ...names.map((name, row) => {
    const numbers = new Map(rows[row]);
    return el("tr", { role: "row" }, el("th", { scope: "row", title: name }, name),
      ...names.map((_, column) => gridCell(row, column, numbers.get(column) || 0, total(rows[row]), line)));
  })));
  const first = state.cell ? table.querySelector(".chosen") : table.querySelector("td");
  first.tabIndex = 0;
  table.addEventListener("keydown", walk);
  return table;
}

/** Arrow keys, Home and End move over the cells; Enter and Space choose one. */
function walk(event) {
  const cell = event.target.closest("td");
  if (!cell) return;
  let [row, column] = [Number(cell.dataset.row), Number(cell.dataset.column)];
  const last = classes().length - 1;
  const moves = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1], Home: [row, 0], End: [row, last] };
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(row, column);
    return;
  }
  if (!moves[event.key]) return;
  event.preventDefault();
  [row, column] = moves[event.key].map((place) => Math.min(Math.max(place, 0), last));
  const next = event.currentTarget.querySelector(`td[data-row="${row}"][data-column="${column}"]`);
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

/** Many classes: one dot a cell, at least one pixel each. */
function picture(line) {
  const size = classes().length;
  const rows = sparseRows(matrixOf(state.matrix));
  const scale = Math.max(1, Math.floor(720 / size));
  const [down, across] = AXES[state.matrix];
  const canvas = el("canvas", { tabindex: -1, width: size * scale, height: size * scale, role: "img",
    "aria-label": `Confusion ${KINDS[state.matrix]}, ${down} down, ${across} across; the largest pairs are listed beside it` });
  const brush = canvas.getContext("2d");
  const colours = getComputedStyle(document.documentElement);
  rows.forEach((row, place) => {
    const sum = total(row);
    for (const [column, number] of row) {
      brush.globalAlpha = Math.max(0.15, (number / sum) ** 0.6);
      brush.fillStyle = colours.getPropertyValue(place === column ? "--right" : "--wrong");
      brush.fillRect(column * scale, place * scale, scale, scale);
    }
  });
  const place = (event) => [event.offsetY, event.offsetX].map((offset) =>
    Math.min(size - 1, Math.max(0, Math.floor(offset / canvas.clientWidth * size))));
  canvas.addEventListener("mousemove", (event) => {
    const [row, column] = place(event);
    line.textContent = cellText(row, column, new Map(rows[row]).get(column) || 0, total(rows[row]));
  });
  canvas.addEventListener("click", (event) => choose(...place(event)));
  return canvas;
}

/** The pairs most often confused, as a table whose rows show their images. */
function pairs() {
  const found = sparseRows(matrixOf(state.matrix)).flatMap((row, place) =>
    row.filter(([column]) => column !== place).map(([column, number]) => [place, column, number, total(row)]));
  found.sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1]);
  const [down, across] = AXES[state.matrix];
  return el("table", {}, el("caption", {}, found.length > MOST_PAIRS ? `The ${MOST_PAIRS} largest pairs of ${count(found.length)}` : "All pairs"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, down), el("th", { scope: "col" }, across), el("th", { scope: "col", class: "n" }, "images"))),
    el("tbody", {}, ...found.slice(0, MOST_PAIRS).map(([row, column, number, sum]) => el("tr", { title: cellText(row, column, number, sum) },
      el("th", { scope: "row" }, classes()[row]), el("td", {}, classes()[column]),
      el("td", { class: "n" }, el("button", { type: "button", "data-pair": `${row}/${column}`, "aria-label": `${cellText(row, column, number, sum)}; show them`,
        onclick: () => choose(row, column) }, count(number)))))));
}

/** Several labels for an image: the four counts of each label, before and after the attack. */
function labelTable() {
  const { labels, per_class } = side();
  const names = ["found", "missed", "false", "absent"];
  const counts = ([[absent, wrong], [missed, found]]) => [found, missed, wrong, absent];
  const places = ["1/1", "1/0", "0/1", "0/0"];
  const cells = (row, key, matrix) => counts(matrix).map((number, place) =>
    el("td", { class: "n", "data-at": path(`per_class/${row}/${key}/${places[place]}`), "data-as": "count" }, count(number)));
  const all = subject().data.clean.labels;
  return el("table", {}, el("caption", {}, `Labels right before ${rateText(all.accuracy)}, after ${rateText(labels.accuracy)}; `
    + `fooled ${rateText(labels.attack_success_rate)} per cent, intervals clustered by image`),
  el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "label"),
    ...["before", "after"].flatMap((when) => names.map((name) => el("th", { scope: "col", class: "n" }, `${name} ${when}`))))),
  el("tbody", {}, ...per_class.map((one, row) => el("tr", {}, el("th", { scope: "row" }, one.name),
    ...cells(row, "clean_confusion", one.clean_confusion), ...cells(row, "confusion", one.confusion)))));
}

function drawMatrix() {
  const kinds = Object.entries(KINDS).filter(([kind]) => matrixOf(kind));
  if (!kinds.length) {
    byId("matrix").replaceChildren(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Each label, table" }, labelTable()));
    return;
  }
  const line = el("p", { class: "line", "aria-live": "polite" }, "Point at a cell, or walk with the arrow keys.");
  const few = classes().length <= MOST_CELLS;
  const ramp = (tone, text) => el("span", { class: "ramp" }, el("i", { class: tone }), text);
  byId("matrix").replaceChildren(
    choices("Show", "matrix-kind", kinds, state.matrix, (matrix) => show({ matrix })),
    ...(few ? [choices("as", "matrix-cells", [["counts", "counts"], ["shares", "% of the row"]], state.cells, (cells) => show({ cells }))] : []),
    line,
    el("div", { class: "pair" },
      el("div", { class: "scroll" }, few ? grid(line) : picture(line),
        el("p", {}, ramp("right", state.matrix === "transition" ? "unmoved" : "right"), ramp("wrong", state.matrix === "transition" ? "moved" : "wrong"),
          el("span", { class: "quiet" }, "0 to 100 % of the row"))), el("div", {}, pairs())),
    el("p", { class: "downloads" }, ...downloads(`${state.matrix === "clean" ? "clean_confusion" : state.matrix}`, matrixTable)));
}
