// What the page is about: documents, attacks, pictures; and where in a document a number stands.

const page = {};
const starters = [];
const byId = (id) => document.getElementById(id);

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function evaluationOf(subject, documents) {
  if (subject.evaluation) return subject.evaluation;
  return subject.prefix.split("/").filter(Boolean).reduce((place, key) => place[key], documents[subject.run]);
}

function pointer(subject, path) {
  const own = Object.entries(subject.places ?? {}).reduce((place, [from, to]) => place.replace(from, to), path);
  return `${subject.run}/${subject.prefix}${own}`;
}

/** A matrix as the cells that are not zero, in rows: [[column, count], ...]; both ways in which a document holds one. */
function sparseRows(matrix) {
  if (Array.isArray(matrix)) {
    return matrix.map((row) => row.map((number, column) => [column, number]).filter(([, number]) => number));
  }
  const rows = Array.from({ length: matrix.shape[0] }, () => []);
  matrix.rows.forEach((row, at) => rows[row].push([matrix.columns[at], matrix.counts[at]]));
  return rows;
}

const total = (row) => row.reduce((sum, [, number]) => sum + number, 0);
