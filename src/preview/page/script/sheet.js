// The contact sheet: a card for each sample, drawn when it is near the visible part of the page.

const sheet = document.getElementById("sheet");
const cards = new Map();

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const card = cards.get(Number(target.dataset.number));
      card.isVisible = isIntersecting;
      if (isIntersecting) drawCard(card);
    }
  },
  { rootMargin: "300px" },
);

function buildSheet() {
  samples.forEach((sample, number) => {
    const canvas = element("canvas", { ariaHidden: "true" });
    const cross = element("span", { className: "point", ariaHidden: "true" });
    const caption = element("span", { className: "caption" });
    caption.append(element("b", { textContent: sample.id }), ` ${sample.split} ${sample.position}`);
    for (const severity of new Set(sample.findings.map((n) => findings[n].severity))) {
      caption.append(element("span", { className: `badge ${severity}`, textContent: severity }));
    }
    const button = element("button", { type: "button" }, element("div", { className: "frame" }, canvas, cross), caption);
    button.setAttribute("aria-label", titleOf(sample));
    button.addEventListener("click", () => show(sample));
    const item = element("li", {}, button);
    item.dataset.number = number;
    const nm = referenceArray.window.map((n, axis) => n * sample.resolutionNm[axis]);
    canvas.style.aspectRatio = `${nm[0]} / ${nm[1]}`;
    const card = { sample, item, canvas, cross, isVisible: false };
    cards.set(number, card);
    sample.card = card;
    observer.observe(item);
  });
  const legend = document.getElementById("arrays");
  for (const array of arrays) {
    if (array.kind === "overlay") legend.append(element("li", {}, patch(array), array.name));
    if (array.kind === "mask") legend.append(element("li", {}, patch(array), `excluded by ${array.name}`));
  }
}

async function drawCard(card) {
  const { sample } = card;
  await loadVoxels(sample);
  if (!card.isVisible) return;
  const voxel = voxelOfPoint(sample);
  drawPlane(card.canvas, sample, "xy", voxel);
  placePoint(card.cross, sample, "xy", voxel);
  card.item.dataset.drawn = "true";
}

/** Draws everything again that is visible. */
function redrawAll() {
  drawViewer();
  for (const card of cards.values()) {
    if (card.isVisible) drawCard(card);
  }
}
