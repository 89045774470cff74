// Numbers as text, exactly as the terminal writes them, and elements made of text only.

const SVG = "http://www.w3.org/2000/svg";

/** One decimal, rounded as Python does: the only exact ties are odd quarters, which go to the even digit. */
function oneDecimal(x) {
  if (Math.abs(x * 4) % 2 !== 1) return x.toFixed(1);
  const tenths = Math.floor(x * 10);
  return ((tenths + Math.abs(tenths % 2)) / 10).toFixed(1);
}

/** A name among other words: if it turns the direction of writing, it turns no more than itself. */
const isolated = (name) => (/[\u0590-\u08ff\u202a-\u202e\u2066-\u2069]/.test(name) ? `\u2068${name}\u2069` : name);

const percent = (share) => oneDecimal(100 * share);
const count = (number) => number.toLocaleString("en-US");

function rateText(rate) {
  if (!rate || rate.value === null) return "n/a";
  return rate.low === null ? percent(rate.value) : `${percent(rate.value)} [${percent(rate.low)}, ${percent(rate.high)}]`;
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const titled = (text) => draw("title", {}, text);

/** A number of the document; `at` says where it stands there. */
function shown(text, at, as) {
  const [value, interval] = text.split(" [");
  return el("span", { "data-at": at, "data-as": as }, ...(interval ? [`${value} `, el("span", { class: "ci" }, `[${interval}`)] : [text]));
}
const shownRate = (rate, at) => (rate ? shown(rateText(rate), at, "rate") : el("span", { class: "none" }, "–"));
const shownCount = (number, at) => shown(count(number), at, "count");

/** A spreadsheet takes text that begins with one of these for a formula. */
const harmless = (value) => (typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value);

function csvCell(value) {
  const text = value === null || value === undefined ? "" : String(harmless(value));
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const PARTS = ["value", "count", "n", "low", "high"];

/** The columns of a rate in a table, and its cells, empty where there is none. */
const rateColumns = (name) => PARTS.map((part) => (part === "value" ? name : `${name}_${part}`));
const rateCells = (rate) => PARTS.map((part) => rate?.[part] ?? null);

const csv = (table) => [table.columns, ...table.rows].map((row) => row.map(csvCell).join(",")).join("\n") + "\n";

function save(name, kind, text) {
  const url = URL.createObjectURL(new Blob([text], { type: kind }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** A button that copies a text; text: a function that makes it. */
function copyButton(text, what) {
  const button = el("button", { type: "button", "data-copied": what, "aria-label": `Copy ${what}`, onclick: async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return button;
}

function offerCopies() {
  for (const place of document.querySelectorAll("[data-copy]")) {
    place.before(copyButton(() => place.textContent.trim(), "the command"));
  }
}

/** Buttons that save or copy a table {columns, rows}; table: a function that makes it when it is asked for. */
function downloads(name, table) {
  const rows = () => table().rows.map((row) => Object.fromEntries(table().columns.map((column, at) => [column, row[at]])));
  const button = (end, kind, text) => el("button", { type: "button", "data-save": `${name}.${end}`, "aria-label": `Save ${name}.${end}`,
    onclick: () => save(`${name}.${end}`, kind, text()) }, end.toUpperCase());
  return [button("csv", "text/csv", () => csv(table())), button("json", "application/json", () => JSON.stringify(rows(), null, 2)),
    copyButton(() => csv(table()), `${name} as CSV`)];
}

/** The number of a document at a place: keys between slashes. */
const numberAt = (place) => place.split("/").reduce((found, key) => found[key], page.documents ?? page.document);

/** The cells of a column as they are saved: a rate as its parts, a count as a number, anything else as its text. */
function savedCells(cell, isRate) {
  const number = cell?.querySelector("[data-at]");
  if (isRate) return rateCells(number ? numberAt(number.dataset.at) : null);
  return [number ? numberAt(number.dataset.at) : cell?.textContent.trim() ?? ""];
}

/** What the tables of a name hold that are shown, in full precision. */
function tableOf(name) {
  const tables = [...document.querySelectorAll(`[data-table="${name}"]`)].filter((table) => !table.closest("[hidden]"));
  const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);
  const heads = [...tables[0].tHead.rows[0].cells].map((head) => head.dataset.key ?? head.textContent.trim());
  const isRate = heads.map((_, at) => rows.some((row) => row.cells[at]?.querySelector('[data-as="rate"]')));
  return { columns: heads.flatMap((head, at) => (isRate[at] ? rateColumns(head) : [head])),
    rows: rows.map((row) => heads.flatMap((_, at) => savedCells(row.cells[at], isRate[at]))) };
}

/** Buttons wherever the page asks for some; documents: those that are offered whole. */
function offerDownloads(documents) {
  for (const place of document.querySelectorAll("[data-downloads]")) {
    const name = place.dataset.downloads;
    if (name !== "document") place.append(...downloads(name, () => tableOf(name)));
    else place.append(el("button", { type: "button", "data-save": "result.json",
      onclick: () => save("result.json", "application/json", JSON.stringify(documents[place.dataset.run ?? 0], null, 2)) }, "the whole result as JSON"));
  }
}

/** A group of radio buttons; options: pairs of value and text. */
function choices(legend, name, options, chosen, change) {
  return el("fieldset", { class: "choices" }, el("legend", {}, legend), ...options.map(([value, text]) =>
    el("label", {}, el("input", {
      type: "radio", name, value, checked: value === chosen, onchange: () => change(value),
    }), text)));
}
