// Charts that the server drew: a legend to click, a tooltip that follows the pointer, and the line of the budget shown.

/** The width of a chart as its own units, and the place of a budget. */
function spanOf(svg) {
  const [left, right, largest] = svg.dataset.span.split(" ").map(Number);
  return { left, right, x: (epsilon) => left + (right - left) * epsilon / largest };
}

function moveNow(epsilon) {
  for (const line of document.querySelectorAll(".chart .now")) {
    const x = spanOf(line.closest("svg")).x(epsilon);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  }
}

/** What the lines that are shown have at the place nearest to the pointer. */
function tipAt(svg, event) {
  const box = svg.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
  const marks = [...svg.querySelectorAll("g:not([hidden]) > .mark")];
  if (!marks.length) return [];
  const away = (mark) => Math.abs(spanOf(svg).x(Number(mark.dataset.x)) - x);
  const nearest = marks.reduce((best, mark) => (away(mark) < away(best) ? mark : best)).dataset.x;
  return marks.filter((mark) => mark.dataset.x === nearest).map((mark) => mark.dataset.tip);
}

function showTip(lines, event) {
  const tip = byId("tip");
  tip.hidden = !lines.length;
  tip.replaceChildren(...lines.map((line) => el("div", {}, line)));
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 14))}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
}

function startChart(chart) {
  for (const mark of chart.querySelectorAll(".mark title")) {
    mark.parentElement.dataset.tip = mark.textContent;
    mark.remove();
  }
  for (const svg of chart.querySelectorAll("svg[data-span]")) {
    svg.addEventListener("pointermove", (event) => showTip(tipAt(svg, event), event));
    svg.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  }
  for (const item of chart.querySelectorAll(".legend li")) {
    const button = el("button", { type: "button", "aria-pressed": "true", onclick: () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      for (const line of chart.querySelectorAll(`g[data-line="${item.dataset.line}"]`)) line.toggleAttribute("hidden", !shown);
    } }, ...item.childNodes);
    item.append(button);
  }
}
