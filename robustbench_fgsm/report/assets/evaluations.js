// Put together: read the data, draw once, and draw again where colours change.

const RATES = ["robust_accuracy", "attack_success_rate", "flip_rate", "target_hit_rate", "accuracy_drop"];

function ratesTable() {
  const sides = page.subjects.flatMap((one) => one.data.epsilons.flatMap((place) => [[one, place.epsilon, "ordinary", place],
    ...(place.stable ? [[one, place.epsilon, "stable where saturated", place.stable]] : [])]));
  return { columns: ["attack", "epsilon", "gradient", ...RATES.flatMap(rateColumns)],
    rows: sides.map(([one, epsilon, gradient, found]) => [one.name, epsilon, gradient, ...RATES.flatMap((name) => rateCells(found[name]))]) };
}

function smallestTable() {
  const found = page.subjects.filter((one) => one.data.minimal_epsilon);
  return { columns: ["attack", "first_fooled_at", "images"],
    rows: found.flatMap((one) => [...one.data.minimal_epsilon.first_fooled.map((place) => [one.name, place.epsilon, place.count]), [one.name, null, one.data.minimal_epsilon.never]]) };
}

async function start() {
  Object.assign(page, await unpack(byId("data").textContent));
  for (const one of page.subjects) one.data = evaluationOf(one, page.documents);
  byId("gallery-section").hidden = !page.gallery.length && page.documents.length > 1;
  offerDownloads({ rates: ratesTable, smallest: smallestTable }, page.documents);
  controls();
  drawers.push(drawCurves, drawMatrix, drawBars, classesFrame(), drawGallery, drawLeaders);
  const usual = page.subjects[0].epsilon_texts.indexOf("8/255");
  show({ epsilon: usual < 0 ? Infinity : usual });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMatrix);
  addEventListener("resize", () => requestAnimationFrame(() => { drawCurves(); drawBars(); }));
  addEventListener("beforeprint", drawMatrix);
  addEventListener("afterprint", drawMatrix);
  document.documentElement.dataset.ready = "yes";
}

start();
