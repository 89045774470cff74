// Runs beside each other at the epsilon that is shown, the most robust first.

/** Where each attack of the kind that is shown has this epsilon, the most robust first; those that have none are left out. */
function leaders() {
  const [attack, epsilon] = [subject().data.attack, at().epsilon];
  const found = page.subjects.map((one) => {
    const place = one.data.epsilons.findIndex((other) => other.epsilon === epsilon);
    const alike = one.data.attack.targeted === attack.targeted && one.data.attack.norm === attack.norm && place >= 0;
    if (!alike) return null;
    const stable = state.side === "stable" && one.data.epsilons[place].stable !== undefined;
    return { one, where: `epsilons/${place}/${stable ? "stable/" : ""}`, side: stable ? one.data.epsilons[place].stable : one.data.epsilons[place], stable };
  }).filter(Boolean);
  return found.sort((a, b) => (b.side.robust_accuracy.value ?? -1) - (a.side.robust_accuracy.value ?? -1));
}

const pairOf = (one) => page.pairs.find((pair) => pair.run === one.run && pair.targeted === one.data.attack.targeted && pair.epsilon === at().epsilon);
const signed = (share) => `${share < 0 ? "" : "+"}${percent(share)}`;

function differenceText(one) {
  if (one.run === 0) return "first";
  const pair = pairOf(one);
  return pair ? `${signed(pair.value)} [${signed(pair.low)}, ${signed(pair.high)}]${pair.gradient === "stable" ? ", stable" : ""}` : "–";
}

function leaderRow({ one, where, side, stable }) {
  const rate = (found, path) => el("td", { class: "n" }, shownRate(found, pointer(one, path)));
  const worst = side.worst_class === null ? null : side.per_class[side.worst_class];
  const at = `${where}per_class/${side.worst_class}/`;
  return el("tr", { "aria-current": one === subject() ? "true" : null },
    el("th", { scope: "row" }, el("bdi", {}, one.name), stable ? ", stable" : ""),
    rate(side.robust_accuracy, `${where}robust_accuracy`), el("td", { class: "n" }, shownCount(side.robust_accuracy.n, pointer(one, `${where}robust_accuracy/n`))),
    ...(worst ? [el("td", {}, el("bdi", {}, worst.name)), rate(worst.robust_accuracy, `${at}robust_accuracy`)] : [el("td"), el("td")]),
    rate(one.data.clean.accuracy, "clean/accuracy"), el("td", { class: "n difference" }, differenceText(one)));
}

function leadersTable() {
  return { columns: ["attack", "epsilon", "gradient", ...PARTS.map((part) => `robust_accuracy_${part}`), "worst_class", "worst_robust_accuracy", "difference", "difference_low", "difference_high"],
    rows: leaders().map(({ one, side, stable }) => {
      const [worst, pair] = [side.worst_class === null ? null : side.per_class[side.worst_class], pairOf(one)];
      return [one.name, at().epsilon, stable ? "stable" : "ordinary", ...rateCells(side.robust_accuracy),
        worst?.name ?? null, worst?.robust_accuracy.value ?? null, pair?.value ?? null, pair?.low ?? null, pair?.high ?? null];
    }) };
}

function drawLeaders() {
  if (!byId("leaders")) return;
  const heads = [["attack"], ["robust accuracy %", "n"], ["n", "n"], ["worst class"], ["its robust accuracy %", "n"], ["accuracy before %", "n"], ["difference to the first run", "n"]];
  byId("leaders").replaceChildren(
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs beside each other" },
      el("table", { id: "leader-table" }, el("thead", {}, el("tr", {}, ...heads.map(([text, kind]) => el("th", { scope: "col", class: kind }, text)))),
        el("tbody", {}, ...leaders().map(leaderRow)))),
    el("p", { class: "quiet" }, "By robust accuracy, with 95 % intervals. Where two runs are of the same images, their difference is paired image by image, in points of per cent; each interval stands by itself, and ranks that it does not tell apart may be chance."),
    el("p", { class: "downloads" }, ...downloads("leaders", leadersTable)));
}
