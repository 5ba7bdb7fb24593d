// The viewer of one sample: three planes, controls, and its index columns.

const dialog = document.getElementById("viewer");
const planes = document.getElementById("planes");
const controls = document.getElementById("controls");
const readout = document.getElementById("readout");

const viewer = { sample: null, voxel: [0, 0, 0], canvases: {}, crosses: {}, sliders: [] };

function buildViewer() {
  for (const plane of Object.keys(PLANES)) {
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    const cross = element("span", { className: "point", ariaHidden: "true" });
    const frame = element("figure", { className: `plane ${plane}` }, element("div", { className: "frame" }, canvas, cross));
    frame.append(element("figcaption", { textContent: `${plane[0]} to the right, ${plane[1]} down` }));
    canvas.addEventListener("pointerdown", (event) => moveTo(plane, event));
    canvas.addEventListener("pointermove", (event) => (event.buttons & 1 ? moveTo(plane, event) : readAt(plane, event)));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      moveAlong(PLANES[plane][2], Math.sign(event.deltaY));
    }, { passive: false });
    viewer.canvases[plane] = canvas;
    viewer.crosses[plane] = cross;
    planes.append(frame);
  }
  buildControls();
  document.getElementById("previous").addEventListener("click", () => showNeighbor(-1));
  document.getElementById("next").addEventListener("click", () => showNeighbor(1));
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => location.replace("#"));
  dialog.addEventListener("keydown", onKey);
}

function slider(label, { min, max, step, value }, onInput) {
  const input = element("input", { type: "range", min, max, step, value, ariaLabel: label });
  const text = element("output", { textContent: value });
  input.addEventListener("input", () => {
    text.textContent = input.value;
    onInput(Number(input.value));
  });
  controls.append(element("label", {}, element("span", { textContent: label, ariaHidden: "true" }), input, text));
  return {
    set(value) {
      input.value = value;
      text.textContent = input.value;
    },
  };
}

function buildControls() {
  controls.addEventListener("submit", (event) => event.preventDefault());
  for (const [axis, name] of ["x", "y", "z"].entries()) {
    const range = { min: 0, max: referenceArray.window[axis] - 1, step: 1, value: 0 };
    viewer.sliders[axis] = slider(name, range, (value) => {
      viewer.voxel[axis] = value;
      drawViewer();
    });
  }
  const images = arrays.map((array, number) => [array, number]).filter(([a]) => a.kind === "gray" || a.kind === "color");
  if (images.length > 1) {
    const choose = element("select", {}, ...images.map(([a, n]) => element("option", { value: n, textContent: a.name })));
    choose.value = view.image;
    choose.addEventListener("change", () => {
      view.image = Number(choose.value);
      redrawAll();
    });
    controls.append(element("label", {}, element("span", { textContent: "image" }), choose));
  }
  const channels = Math.max(1, ...samples.map((sample) => sample.arrays[view.image].channels ?? 1));
  if (channels > 1 && arrays[view.image].kind === "gray") {
    slider("channel", { min: 0, max: channels - 1, step: 1, value: 0 }, (value) => {
      view.channel = value;
      redrawAll();
    });
  }
  const percent = (share) => Math.round(100 * share);
  const contrast = [0, 1].map((end) =>
    slider(["black", "white"][end], { min: 0, max: 100, step: 1, value: percent(view.contrast[view.image][end]) }, (value) => {
      view.contrast[view.image][end] = value / 100;
      redrawAll();
    }),
  );
  viewer.showContrast = () => contrast.forEach((control, end) => control.set(percent(view.contrast[view.image][end])));
  const opacity = slider("opacity", { min: 0, max: 100, step: 5, value: percent(view.opacity) }, (value) => {
    view.opacity = value / 100;
    redrawAll();
  });
  viewer.showOpacity = () => opacity.set(percent(view.opacity));
  for (const [number, array] of arrays.entries()) {
    if (array.kind !== "overlay" && array.kind !== "mask") continue;
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) view.hidden.delete(number);
      else view.hidden.add(number);
      redrawAll();
    });
    controls.append(element("label", { className: "check" }, box, patch(array), array.name));
  }
}

/** The color of an array in a legend. */
function patch(array) {
  const square = element("span", { className: array.kind === "mask" ? "patch excluded" : "patch" });
  const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
  if (array.kind === "overlay") {
    square.style.background = array.segmentation
      ? `linear-gradient(90deg,${data.labelColors.map(css).join(",")})`
      : css(data.overlayColors[array.color]);
  }
  return square;
}

/** Opens the viewer, at the point of the sample. */
async function show(sample) {
  viewer.sample = sample;
  viewer.voxel = voxelOfPoint(sample);
  location.replace(`#${encodeURIComponent(sample.split)}/${sample.position}`);
  document.getElementById("viewer-title").textContent = titleOf(sample);
  readout.textContent = "";
  showFacts(sample);
  if (!dialog.open) dialog.showModal();
  await loadVoxels(sample);
  if (viewer.sample === sample) drawViewer();
}

function titleOf(sample) {
  return `${sample.split}, sample ${sample.position}: annotation ${sample.id}`;
}

function showFacts(sample) {
  const link = document.getElementById("open-link");
  link.replaceChildren();
  if (sample.link) {
    link.append(element("a", { href: sample.link, target: "_blank", rel: "noopener", textContent: "Open in Neuroglancer" }));
  } else {
    link.append("No Neuroglancer link: a browser cannot find the sources. The option --map says where they are.");
  }
  const list = document.getElementById("sample-findings");
  list.replaceChildren(
    ...sample.findings.map((number) => {
      const { kind, severity, message } = findings[number];
      const word = element("span", { className: "severity", textContent: severity });
      return element("li", { className: severity }, word, ` ${kind}: ${message}`);
    }),
    ...sample.arrays.flatMap((array, number) =>
      array.error ? [element("li", { className: "error", textContent: `${arrays[number].name}: ${array.error}` })] : [],
    ),
  );
  const { start } = sample.arrays[data.reference];
  const rows = { box: sample.boxId, center_nm: sample.centerNm, resolution_nm: sample.resolutionNm, start_voxel: start };
  sample.arrays.forEach((array, number) => {
    if (String(array.start) !== String(start)) rows[`${arrays[number].name}_start_voxel`] = array.start;
  });
  Object.assign(rows, sample.columns);
  const body = document.querySelector("#sample-facts tbody");
  body.replaceChildren(
    ...Object.entries(rows).map(([name, value]) => {
      const text = Array.isArray(value) ? value.join(", ") : String(value);
      return element("tr", {}, element("th", { scope: "row", textContent: name }), element("td", { textContent: text }));
    }),
  );
}

function drawViewer() {
  const { sample, voxel } = viewer;
  if (!sample || !dialog.open) return;
  const nm = referenceArray.window.map((n, axis) => n * sample.resolutionNm[axis]);
  planes.style.setProperty("--columns", `${nm[0]}fr ${nm[2]}fr`);
  for (const [plane, [right, down, into]] of Object.entries(PLANES)) {
    const canvas = viewer.canvases[plane];
    drawPlane(canvas, sample, plane, voxel);
    canvas.style.aspectRatio = `${nm[right]} / ${nm[down]}`;
    canvas.setAttribute("aria-label", `${plane} plane at ${"xyz"[into]} = ${voxel[into]}`);
    placePoint(viewer.crosses[plane], sample, plane, voxel);
  }
  viewer.sliders.forEach((control, axis) => control.set(voxel[axis]));
}

function voxelAt(plane, event) {
  const [right, down] = PLANES[plane];
  const box = event.target.getBoundingClientRect();
  const voxel = [...viewer.voxel];
  const shares = { [right]: (event.clientX - box.left) / box.width, [down]: (event.clientY - box.top) / box.height };
  for (const [axis, share] of Object.entries(shares)) {
    const size = referenceArray.window[axis];
    voxel[axis] = Math.min(Math.max(Math.floor(share * size), 0), size - 1);
  }
  return voxel;
}

function moveTo(plane, event) {
  viewer.voxel = voxelAt(plane, event);
  drawViewer();
  readAt(plane, event);
}

function moveAlong(axis, steps) {
  const size = referenceArray.window[axis];
  viewer.voxel[axis] = Math.min(Math.max(viewer.voxel[axis] + steps * referenceArray.step[axis], 0), size - 1);
  drawViewer();
}

/** Prints the voxel under the pointer, and its values. */
function readAt(plane, event) {
  const { sample } = viewer;
  const voxel = voxelAt(plane, event);
  const { start } = sample.arrays[data.reference];
  const values = sample.arrays.map((array, number) => {
    const value = array.error ? "unreadable" : valueOf(array, byteAt(sample, number, 0, voxel));
    return `${arrays[number].name} ${value}`;
  });
  const position = voxel.map((v, axis) => v + start[axis]).join(", ");
  readout.textContent = `voxel ${position}: ${values.join("; ")}`;
}

/** Shows the sample before or after this one, of those that the filter shows. */
function showNeighbor(step) {
  const shown = shownSamples();
  const next = shown[(shown.indexOf(viewer.sample) + step + shown.length) % shown.length];
  if (next) show(next);
}

function changeContrast(factor) {
  const range = view.contrast[view.image];
  const middle = (range[0] + range[1]) / 2;
  const half = Math.min(Math.max(((range[1] - range[0]) / 2) * factor, 0.01), 0.5);
  view.contrast[view.image] = [Math.max(middle - half, 0), Math.min(middle + half, 1)];
  viewer.showContrast();
}

function onKey(event) {
  // Sliders and lists use these keys themselves.
  const isInput = event.target.matches("input[type=range], select");
  if (event.ctrlKey || event.altKey || event.metaKey || (isInput && event.key.startsWith("Arrow"))) return;
  const actions = {
    ArrowLeft: () => showNeighbor(-1),
    ArrowRight: () => showNeighbor(1),
    ArrowUp: () => moveAlong(2, -1),
    ArrowDown: () => moveAlong(2, 1),
    o: () => (view.hasOverlays = !view.hasOverlays),
    p: () => (view.hasPoint = !view.hasPoint),
    "[": () => (view.opacity = Math.max(view.opacity - 0.1, 0)),
    "]": () => (view.opacity = Math.min(view.opacity + 0.1, 1)),
    "-": () => changeContrast(1.25),
    "+": () => changeContrast(0.8),
  };
  const action = actions[event.key === "=" ? "+" : event.key];
  if (!action) return;
  event.preventDefault();
  action();
  viewer.showOpacity();
  redrawAll();
}
