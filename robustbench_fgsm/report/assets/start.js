// Read the data, offer downloads and copies, and start what the page has.

async function start() {
  Object.assign(page, await unpack(byId("data").textContent));
  offerDownloads(page.documents ?? [page.document]);
  offerCopies();
  document.querySelectorAll(".chart").forEach(startChart);
  starters.forEach((starter) => starter());
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  document.documentElement.dataset.ready = "yes";
}

start();
