// Images that the run kept: before, perturbation amplified, after.

const ofCell = (image) => {
  if (!state.cell) return true;
  const places = { clean: [image.label, image.before], confusion: [image.label, image.after], transition: [image.before, image.after] }[state.matrix];
  return places[0] === state.cell[0] && places[1] === state.cell[1];
};

const ofSubject = () => page.gallery.filter((image) => image.subject === state.subject);

// The budget of the images shown: the one chosen, or where none of its images were kept, one whose images were.
function galleryEpsilon() {
  const kept = ofSubject().map((image) => image.epsilon);
  return kept.includes(at().epsilon) || !kept.length ? at().epsilon : kept[kept.length - 1];
}

const chosenImages = () => ofSubject().filter((image) => image.epsilon === galleryEpsilon() && ofCell(image));

function card(image) {
  const names = classes();
  const before = `${names[image.before]} ${percent(image.confidence_before)} %`;
  const after = `${names[image.after]} ${percent(image.confidence_after)} %`;
  const photo = (source, alt, caption) => el("figure", {}, el("img", { src: source, alt }), el("figcaption", {}, caption));
  return el("li", { "data-image": image.id, class: image.clean.startsWith("data:image/webp") ? "large" : null },
    el("div", { class: "three" }, photo(image.clean, `${names[image.label]}, predicted ${before}`, "before"),
      photo(image.perturbation, "the perturbation, amplified", "perturbation"), photo(image.adversarial, `the same after the attack, predicted ${after}`, "after")),
    el("div", {}, `image ${image.id}, label `, el("strong", {}, el("bdi", {}, names[image.label]))),
    el("div", {}, "before: ", el("bdi", { class: image.before === image.label ? "good" : "bad" }, before)),
    el("div", {}, "after: ", el("bdi", { class: image.after === image.label ? "good" : "bad" }, after)));
}

function galleryTable() {
  const names = classes();
  return { columns: ["id", "epsilon", "label", "before", "confidence_before", "after", "confidence_after"],
    rows: chosenImages().map((image) => [image.id, image.epsilon, names[image.label], names[image.before], image.confidence_before, names[image.after], image.confidence_after]) };
}

function drawGallery() {
  if (!page.gallery.length) return;
  const found = chosenImages();
  const some = found.slice(0, state.cards);
  const what = state.cell ? `${AXES[state.matrix][0]} ${classes()[state.cell[0]]}, ${AXES[state.matrix][1]} ${classes()[state.cell[1]]}` : "all cells";
  byId("gallery").replaceChildren(
    el("p", { class: "quiet" }, "The perturbation is amplified: grey is no change, its largest change black or white. Click a cell of the matrix to see its images alone."),
    el("div", { class: "tools" }, el("span", { id: "gallery-what", role: "status" }, `${count(found.length)} images kept, epsilon ${budgetText(subject(), galleryEpsilon())}: ${what}`),
      ...(state.cell ? [el("button", { type: "button", onclick: backToMatrix }, "Back to the matrix"), el("button", { type: "button", onclick: () => show({ cell: null }) }, "Show all cells")] : [])),
    el("ul", { class: "cards" }, ...some.map(card)),
    ...(some.length < found.length ? [el("button", { type: "button", onclick: () => show({ cards: state.cards + 96 }) }, "More")] : []),
    el("p", { class: "downloads" }, ...downloads("images", galleryTable)));
}
