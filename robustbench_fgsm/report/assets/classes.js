// The table of classes: the least robust first, or sorted by any column, with bars beside the mean, and filtered by name.

const MOST_ROWS = 100;
const COLUMNS = [
  ["name", "class", (row) => row.name.toLowerCase()], ["n", "n", (row) => row.n], ["clean", "right before", (row) => row.clean_correct],
  ["robust_accuracy", "robust accuracy %", (row) => row.robust_accuracy.value], ["bar", "the line is the mean"],
  ["attack_success_rate", "attack success %", (row) => row.attack_success_rate.value], ["of", "of", (row) => row.attack_success_rate.n],
  ["wrong", "mistaken for", (row) => (row.most_common_wrong === null ? null : classes()[row.most_common_wrong].toLowerCase())],
];
const TEXT_COLUMNS = ["name", "wrong", "bar"];

/** Sorted as asked; classes without a value come last whichever way. */
function sorted() {
  const value = COLUMNS.find(([key]) => key === state.sort.column)[2];
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return [...side().per_class].sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === null || right === null) return (left === null) - (right === null) || a.label - b.label;
    return (state.sort.down ? -1 : 1) * order(left, right) || a.label - b.label;
  });
}

const matching = () => sorted().filter((row) => row.name.toLowerCase().includes(state.filter.toLowerCase()));

function classesTable() {
  return { columns: ["label", "name", "n", "clean_correct", ...PARTS.map((part) => `robust_accuracy_${part}`), ...PARTS.map((part) => `attack_success_rate_${part}`), "most_common_wrong"],
    rows: sorted().map((row) => [row.label, row.name, row.n, row.clean_correct, ...rateCells(row.robust_accuracy),
      ...rateCells(row.attack_success_rate), row.most_common_wrong === null ? null : classes()[row.most_common_wrong]]) };
}

/** The mean over all images, or over the labels of all images. */
const mean = () => (side().labels?.accuracy ?? side().robust_accuracy).value;

/** The robust accuracy of a class as a bar with its interval, and the mean as a line. */
function bar(rate) {
  if (rate.value === null) return "";
  const [low, high, middle] = [rate.low ?? rate.value, rate.high ?? rate.value, mean()].map((share) => 200 * share);
  return draw("svg", { class: "bar", viewBox: "0 0 200 16", "aria-hidden": "true", "data-value": rate.value },
    draw("rect", { class: "track", width: 200, height: 16 }), draw("rect", { class: "fill", width: 200 * rate.value, height: 16 }),
    draw("path", { class: "whisker", d: `M${low} 8H${high}M${low} 4V12M${high} 4V12` }), draw("path", { class: "mean", d: `M${middle} 0V16` }));
}

function classRow(row) {
  const where = (rest) => path(`per_class/${row.label}/${rest}`);
  const cell = (...parts) => el("td", { class: "n" }, ...parts);
  return el("tr", { "data-label": row.label }, el("th", { scope: "row" }, el("bdi", {}, row.name)),
    cell(shownCount(row.n, where("n"))), cell(shownCount(row.clean_correct, where("clean_correct"))),
    cell(shownRate(row.robust_accuracy, where("robust_accuracy"))), el("td", {}, bar(row.robust_accuracy)), cell(shownRate(row.attack_success_rate, where("attack_success_rate"))),
    cell(shownCount(row.attack_success_rate.n, where("attack_success_rate/n"))),
    el("td", {}, el("bdi", {}, row.most_common_wrong === null ? "" : classes()[row.most_common_wrong])));
}

function classesFrame() {
  const heads = COLUMNS.map(([key, text]) => el("th", { scope: "col", class: TEXT_COLUMNS.includes(key) ? null : "n", "data-column": key },
    key === "bar" ? el("span", { class: "quiet" }, text) : el("button", { type: "button", onclick: () => show({ sort: { column: key, down: state.sort.column === key && !state.sort.down } }) }, text)));
  const body = el("tbody");
  const note = el("p", { class: "quiet" });
  const more = el("button", { type: "button", onclick: () => show({ all: true }) });
  const filter = el("input", { type: "search", id: "filter", "aria-label": "Only classes whose name has", placeholder: "class name…",
    oninput: (event) => { state.filter = event.target.value; fillBody(); } });
  const many = subject().data.data.classes.length > 20;
  byId("classes").replaceChildren(el("div", { class: "tools" }, ...(many ? [filter] : [])),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Class by class" },
      el("table", { id: "class-table" }, el("thead", {}, el("tr", {}, ...heads)), body)),
    note, el("p", {}, more), el("p", { class: "downloads" }, ...downloads("per_class", classesTable)));
  function fillBody() {
    const rows = matching();
    const some = state.all ? rows : rows.slice(0, MOST_ROWS);
    body.replaceChildren(...some.map(classRow));
    more.hidden = some.length === rows.length;
    more.textContent = `Show all ${count(rows.length)}`;
    note.textContent = some.length < rows.length ? `${count(some.length)} of ${count(rows.length)} classes` : "";
    for (const head of heads) {
      const chosen = head.dataset.column === state.sort.column;
      if (chosen) head.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }
  return fillBody;
}
