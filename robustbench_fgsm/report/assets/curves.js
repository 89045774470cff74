// Rates over epsilon with their bands, a line for each attack of each run; dashed for stable gradients.

/** Points [epsilon, rate] from what is true at 0, in ascending order. */
function points(one, stable) {
  const start = state.curve === "robust_accuracy" ? [[0, one.data.clean.accuracy]] : [];
  const found = one.data.epsilons.filter((place) => !stable || place.stable)
    .map((place) => [place.epsilon, (stable ? place.stable : place)[state.curve]]);
  return [...start.filter(() => !found.some(([epsilon]) => epsilon === 0)), ...found].filter(([, rate]) => rate.value !== null)
    .sort((a, b) => a[0] - b[0]);
}

function marker(shape, x, y, colour) {
  const made = [
    () => draw("circle", { cx: x, cy: y, r: 4 }), () => draw("rect", { x: x - 3.5, y: y - 3.5, width: 7, height: 7 }),
    () => draw("path", { d: `M${x} ${y - 5}l5 9h-10z` }), () => draw("path", { d: `M${x} ${y - 5.5}l5 5.5l-5 5.5l-5 -5.5z` }),
    () => draw("path", { d: `M${x} ${y + 5}l5 -9h-10z` }), () => draw("path", { d: `M${x - 4} ${y - 4}l8 8M${x + 4} ${y - 4}l-8 8`, "stroke-width": 2.5 }),
    () => draw("path", { d: `M${x - 5} ${y}h10M${x} ${y - 5}v10`, "stroke-width": 2.5 }),
  ][shape % 7]();
  made.style.fill = colour;
  made.style.stroke = colour;
  return made;
}

function curve(one, place, stable, x, y) {
  const found = points(one, stable);
  const colour = `var(--s${place % 7})`;
  const ends = [...found.map(([epsilon, rate]) => [x(epsilon), y(rate.high)]), ...found.map(([epsilon, rate]) => [x(epsilon), y(rate.low)]).reverse()];
  const band = draw("polygon", { points: ends.map((end) => end.join(",")).join(" "), opacity: 0.18 });
  band.style.fill = colour;
  const line = draw("polyline", { points: found.map(([epsilon, rate]) => `${x(epsilon)},${y(rate.value)}`).join(" "), fill: "none", "stroke-width": 2,
    "stroke-dasharray": stable ? "6 4" : null });
  line.style.stroke = colour;
  const name = `${isolated(one.name)}${stable ? ", stable" : ""}`;
  const marks = found.map(([epsilon, rate]) => {
    const mark = marker(place, x(epsilon), y(rate.value), colour);
    mark.append(titled(`${name}, epsilon ${budgetText(one, epsilon)}: ${rateText(rate)} %, n=${count(rate.n)}`));
    mark.setAttribute("data-value", rate.value);
    return mark;
  });
  return draw("g", { "data-curve": name }, band, line, ...marks);
}

function budgetText(one, epsilon) {
  const place = one.data.epsilons.findIndex((found) => found.epsilon === epsilon);
  return place < 0 ? "0" : one.epsilon_texts[place];
}

function key(one, place, stable) {
  const line = draw("line", { x1: 0, x2: 26, y1: 7, y2: 7, "stroke-width": 2, "stroke-dasharray": stable ? "6 4" : null });
  line.style.stroke = `var(--s${place % 7})`;
  return el("li", {}, draw("svg", { width: 26, height: 14, viewBox: "0 0 26 14", "aria-hidden": "true" }, line, marker(place, 13, 7, `var(--s${place % 7})`)),
    `${one.name}${stable ? ", stable where saturated" : ""}`);
}

function ticks(x) {
  const all = new Map([[0, "0"]]);
  for (const one of page.subjects) one.data.epsilons.forEach((place, index) => all.set(place.epsilon, one.epsilon_texts[index]));
  const kept = [];
  for (const epsilon of [...all.keys()].sort((a, b) => b - a)) {
    if (!kept.length || x(kept.at(-1)) - x(epsilon) > 44) kept.push(epsilon);
  }
  return kept.map((epsilon) => draw("text", { class: "tick", x: x(epsilon), y: 286, "text-anchor": "middle" }, all.get(epsilon)));
}

function drawCurves() {
  const largest = Math.max(...page.subjects.flatMap((one) => one.data.epsilons.map((place) => place.epsilon))) || 1;
  const width = Math.min(820, byId("curves").clientWidth || 820);
  const x = (epsilon) => 42 + (width - 72) * epsilon / largest;
  const y = (share) => 270 - 260 * share;
  const drawn = page.subjects.flatMap((one, place) => [[one, place, false], ...(one.data.epsilons.some((found) => found.stable) ? [[one, place, true]] : [])]);
  const grid = [0, 0.2, 0.4, 0.6, 0.8, 1].flatMap((share) => [draw("line", { class: "axis", x1: x(0), x2: x(largest), y1: y(share), y2: y(share) }),
    draw("text", { class: "tick", x: 34, y: y(share) + 4, "text-anchor": "end" }, `${Math.round(100 * share)}`)]);
  const here = x(at().epsilon);
  byId("curves").replaceChildren(
    choices("Curves", "curve-measure", Object.entries(MEASURES), state.curve, (curve) => show({ curve })),
    el("ul", { class: "legend" }, ...drawn.map((one) => key(...one))),
    draw("svg", { viewBox: `0 0 ${width} 312`, width, role: "img", "aria-label": `${MEASURES[state.curve]} in per cent over epsilon, with 95 % bands; the table above has the numbers` },
      ...grid, draw("line", { class: "now", x1: here, x2: here, y1: 10, y2: 270 }), ...drawn.map((one) => curve(...one, x, y)), ...ticks(x),
      draw("text", { x: x(largest / 2), y: 306, "text-anchor": "middle" }, "epsilon")),
    el("p", { class: "quiet" }, `${MEASURES[state.curve]} in per cent, with 95 % bands. Between the marks the line is drawn, not measured.`));
}
