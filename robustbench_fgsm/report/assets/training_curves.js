// A training: accuracy over the epochs, where overfitting set in, and which weights are kept.

const page = {};

const moment = (check) => check.epoch - 1 + check.quarter / 4;
const watched = () => page.document.checks.filter((check) => check.clean);

function trace(name, place, x, y) {
  const colour = `var(--s${place})`;
  const found = watched().map((check) => [x(moment(check)), check[name], check]);
  const ends = [...found.map(([at, rate]) => [at, y(rate.high)]), ...found.map(([at, rate]) => [at, y(rate.low)]).reverse()];
  const band = draw("polygon", { points: ends.map((end) => end.join(",")).join(" "), opacity: 0.18 });
  const line = draw("polyline", { points: found.map(([at, rate]) => `${at},${y(rate.value)}`).join(" "), fill: "none", "stroke-width": 2 });
  band.style.fill = colour;
  line.style.stroke = colour;
  const marks = found.map(([at, rate, check]) => {
    const mark = marker(place, at, y(rate.value), colour);
    mark.append(titled(`${page.labels[name]}, epoch ${check.epoch}, quarter ${check.quarter}: ${rateText(rate)} %, n=${count(rate.n)}`));
    return mark;
  });
  return draw("g", { "data-curve": name }, band, line, ...marks);
}

/** A line down the picture with its name above it. */
function moments(x) {
  const { kept, overfitting } = page.document;
  return [[kept, "kept", "now"], [overfitting, "overfitting", "fell"]].filter(([at]) => at).map(([at, text, kind], row) => {
    const here = x(moment(at));
    const end = here > x(0) + (x(page.document.recipe.epochs) - x(0)) / 2;
    return draw("g", { "data-moment": text }, draw("line", { class: kind, x1: here, x2: here, y1: 34, y2: 294 }),
      draw("text", { class: "tick", x: here + (end ? -4 : 4), y: 12 + 14 * row, "text-anchor": end ? "end" : "start" },
        `${text}: epoch ${at.epoch}, quarter ${at.quarter}`));
  });
}

function legendKey(label, place) {
  const line = draw("line", { x1: 0, x2: 26, y1: 7, y2: 7, "stroke-width": 2 });
  line.style.stroke = `var(--s${place})`;
  return el("li", {}, draw("svg", { width: 26, height: 14, viewBox: "0 0 26 14", "aria-hidden": "true" }, line, marker(place, 13, 7, `var(--s${place})`)), label);
}

function drawLearning() {
  const place = byId("curves");
  if (!place) return;
  const last = page.document.recipe.epochs;
  const width = Math.min(820, place.clientWidth || 820);
  const x = (epoch) => 42 + (width - 62) * epoch / last;
  const y = (share) => 294 - 260 * share;
  const step = Math.ceil(last / Math.max(1, Math.floor((width - 62) / 44)));
  const grid = [0, 0.2, 0.4, 0.6, 0.8, 1].flatMap((share) => [draw("line", { class: "axis", x1: x(0), x2: x(last), y1: y(share), y2: y(share) }),
    draw("text", { class: "tick", x: 34, y: y(share) + 4, "text-anchor": "end" }, `${Math.round(100 * share)}`)]);
  const ticks = Array.from({ length: Math.floor(last / step) + 1 }, (_, at) => draw("text", { class: "tick", x: x(at * step), y: 310, "text-anchor": "middle" }, `${at * step}`));
  place.replaceChildren(
    el("ul", { class: "legend" }, ...Object.values(page.labels).map(legendKey)),
    draw("svg", { viewBox: `0 0 ${width} 334`, width, role: "img", "aria-label": "Held-out accuracy in per cent over the epochs, with 95 % bands; the table below has the numbers" },
      ...grid, ...moments(x), ...Object.keys(page.labels).map((name, at) => trace(name, at, x, y)), ...ticks,
      draw("text", { x: x(last / 2), y: 330, "text-anchor": "middle" }, "epochs")),
    el("p", { class: "quiet" }, `Accuracy on held-out images in per cent, with 95 % bands, at every check. Between the marks the line is drawn, not measured.`));
}

function checksTable() {
  const names = Object.keys(page.labels);
  return { columns: ["epoch", "quarter", "step", "loss", "learning_rate", ...names.flatMap(rateColumns)],
    rows: page.document.checks.map((check) => [check.epoch, check.quarter, check.step, check.loss, check.learning_rate,
      ...names.flatMap((name) => rateCells(check[name]))]) };
}

async function start() {
  Object.assign(page, await unpack(byId("data").textContent));
  offerDownloads({ checks: checksTable }, [page.document]);
  drawLearning();
  addEventListener("resize", () => requestAnimationFrame(drawLearning));
  document.documentElement.dataset.ready = "yes";
}

start();
