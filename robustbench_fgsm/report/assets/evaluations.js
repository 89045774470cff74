// The page of evaluations: draw what is shown, and draw again where the budget, the attack or colours change.

function budgetText(one, epsilon) {
  const place = one.data.epsilons.findIndex((found) => found.epsilon === epsilon);
  return place < 0 ? "0" : one.epsilon_texts[place];
}

starters.push(() => {
  for (const one of page.subjects) one.data = evaluationOf(one, page.documents);
  controls();
  chooseMeasure();
  drawers.push(drawMatrix, classesFrame(), ...(page.gallery.length ? [drawGallery] : []));
  const usual = page.subjects[0].epsilon_texts.indexOf("8/255");
  show({ epsilon: usual < 0 ? largestBudget() : usual });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMatrix);
  addEventListener("beforeprint", drawMatrix);
  addEventListener("afterprint", drawMatrix);
});

/** The place of the largest budget of the first attack. */
function largestBudget() {
  const epsilons = page.subjects[0].data.epsilons.map((place) => place.epsilon);
  return epsilons.indexOf(Math.max(...epsilons));
}

/** One chart over epsilon at a time. */
function chooseMeasure() {
  const charts = [...document.querySelectorAll("[data-measure]")];
  if (!charts.length) return;
  const pick = (measure) => charts.forEach((chart) => { chart.hidden = chart.dataset.measure !== measure; });
  const options = charts.map((chart) => [chart.dataset.measure, chart.querySelector("h3").textContent]);
  charts[0].before(choices("Show", "curve-measure", options, options[0][0], pick));
  pick(options[0][0]);
}
