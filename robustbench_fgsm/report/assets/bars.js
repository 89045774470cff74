// Bars with intervals, one for each class; of many classes those that fare worst.

const MEASURES = { robust_accuracy: "robust accuracy", attack_success_rate: "attack success" };
const MOST_BARS = 30;

function ranked() {
  const worst = state.measure === "robust_accuracy" ? 1 : -1;
  const rows = sorted();
  if (rows.length <= MOST_BARS) return [rows, ""];
  const present = rows.filter((row) => row[state.measure].value !== null);
  present.sort((a, b) => worst * (a[state.measure].value - b[state.measure].value));
  return [present.slice(0, MOST_BARS), `; the ${MOST_BARS} that fare worst of ${count(rows.length)}`];
}

function bar(row, place, x, width) {
  const rate = row[state.measure];
  const y = place * 24 + 4;
  const text = `${isolated(row.name)}: ${MEASURES[state.measure]} ${rateText(rate)} %, n=${count(rate.n)}`;
  const parts = [titled(text), draw("text", { x: x(0) - 7, y: y + 13, "text-anchor": "end" }, row.name.length > 18 ? `${row.name.slice(0, 17)}…` : row.name)];
  if (rate.value === null) return draw("g", {}, ...parts, draw("text", { x: x(0) + 4, y: y + 13, class: "tick" }, "n/a"));
  const tone = state.measure === "robust_accuracy" ? "var(--right)" : "var(--wrong)";
  const line = (from, to, top, bottom) => draw("line", { x1: from, x2: to, y1: top, y2: bottom, stroke: "var(--ink)", "stroke-width": 1.5 });
  const block = draw("rect", { x: x(0), y, width: x(rate.value) - x(0), height: 17 });
  block.style.fill = `color-mix(in srgb, ${tone} 55%, var(--paper))`;
  return draw("g", { "data-class": row.label, "data-value": rate.value, "data-low": rate.low, "data-high": rate.high }, ...parts, block,
    line(x(rate.low), x(rate.high), y + 8.5, y + 8.5), line(x(rate.low), x(rate.low), y + 4, y + 13), line(x(rate.high), x(rate.high), y + 4, y + 13),
    draw("text", { x: width - 4, y: y + 13, class: "tick", "text-anchor": "end" }, percent(rate.value)));
}

function drawBars() {
  const [rows, some] = ranked();
  const width = Math.min(720, byId("bars").clientWidth || 720);
  const x = (share) => 130 + (width - 180) * share;
  const height = rows.length * 24 + 4;
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [draw("line", { class: "axis", x1: x(share), x2: x(share), y1: 0, y2: height }),
    draw("text", { class: "tick", x: x(share), y: height + 14, "text-anchor": "middle" }, `${100 * share}`)]);
  byId("bars").replaceChildren(
    choices("Bars", "measure", Object.entries(MEASURES), state.measure, (measure) => show({ measure })),
    draw("svg", { viewBox: `0 0 ${width} ${height + 20}`, width, role: "img",
      "aria-label": `${MEASURES[state.measure]} by class in per cent, with 95 % intervals; the table below has the numbers` },
    ...grid, ...rows.map((row, place) => bar(row, place, x, width))),
    el("p", { class: "quiet" }, `${MEASURES[state.measure]} in per cent, with its 95 % interval${some}`));
}
