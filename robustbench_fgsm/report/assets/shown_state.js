// What is shown now. Everything on the page is drawn from this, and drawn anew when it changes.

const state = { subject: 0, epsilon: 0, side: "ordinary", matrix: "confusion", cells: "counts",
  sort: { column: "robust_accuracy", down: false }, filter: "", all: false, cell: null, cards: 24 };
const drawers = [];

const subject = () => page.subjects[state.subject];
const at = () => subject().data.epsilons[state.epsilon];
const exact = () => state.side === "stable" && at().stable !== undefined;
const side = () => (exact() ? at().stable : at());
const path = (rest) => pointer(subject(), `epsilons/${state.epsilon}/${exact() ? "stable/" : ""}${rest}`);
const classes = () => subject().data.data.classes;
const epsilonText = () => subject().epsilon_texts[state.epsilon];

function now() {
  const name = page.subjects.length > 1 ? `${subject().name}, ` : "";
  return `${name}epsilon ${epsilonText()}${exact() ? ", stable gradients" : ""}`;
}

/** How to find what has the focus again, once its part of the page is drawn anew. */
function selectorOf(element) {
  if (element?.type === "radio") return `input[name="${element.name}"]:checked`;
  if (element?.dataset?.row) return `td[data-row="${element.dataset.row}"][data-column="${element.dataset.column}"]`;
  return element?.dataset?.pair ? `[data-pair="${element.dataset.pair}"]` : null;
}

/** Change the state and draw; a cell that was chosen belongs to one matrix of one attack at one budget. */
function show(change) {
  if ("subject" in change || "epsilon" in change || "matrix" in change) change = { cell: null, cards: 24, ...change };
  Object.assign(state, change);
  state.epsilon = Math.min(state.epsilon, subject().data.epsilons.length - 1);
  if (!matrixOf(state.matrix)) state.matrix = "confusion";
  for (const place of document.querySelectorAll("[data-now]")) place.textContent = now();
  const key = `${state.subject}/${state.epsilon}/${exact() ? "stable" : "ordinary"}`;
  for (const group of document.querySelectorAll("[data-groups]")) group.hidden = !group.dataset.groups.split(" ").includes(key);
  moveNow(at().epsilon);
  const focused = selectorOf(document.activeElement);
  drawers.forEach((drawer) => drawer());
  if (focused) document.querySelector(focused)?.focus({ preventScroll: true });
}

function controls() {
  if (!byId("controls")) return;
  const select = el("select", { id: "subject", onchange: (event) => show({ subject: Number(event.target.value) }) },
    ...page.subjects.map((one, place) => el("option", { value: place }, one.name)));
  const slider = el("input", { type: "range", id: "epsilon", min: 0, step: 1, value: 0,
    oninput: (event) => show({ epsilon: Number(event.target.value) }) });
  const output = el("output", { for: "epsilon" });
  const stable = el("input", { type: "checkbox", id: "stable",
    onchange: (event) => show({ side: event.target.checked ? "stable" : "ordinary" }) });
  const stableLabel = el("label", {}, stable, "stable gradients");
  byId("controls").append(
    ...(page.subjects.length > 1 ? [el("label", {}, el("span", {}, "Attack"), select)] : []),
    ...(page.subjects.some((one) => one.data.epsilons.length > 1) ? [el("label", { class: "slider" }, el("span", {}, "Epsilon"), slider, output)] : []), stableLabel);
  drawers.push(() => {
    slider.max = subject().data.epsilons.length - 1;
    slider.value = state.epsilon;
    slider.disabled = subject().data.epsilons.length < 2;
    slider.setAttribute("aria-valuetext", epsilonText());
    output.textContent = epsilonText();
    select.value = state.subject;
    stableLabel.hidden = at().stable === undefined;
    stable.checked = state.side === "stable";
    byId("status").textContent = `${now()}: robust accuracy ${rateText(side().robust_accuracy)} per cent`;
  });
}
