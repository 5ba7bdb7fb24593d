// Draws a plane of a sample: images in gray, overlays as a tint with an outline, excluded voxels dark.

/** For each plane the axes to the right, down and into it; 0 is x. */
const PLANES = { xy: [0, 1, 2], xz: [0, 2, 1], zy: [2, 1, 0] };

/** How samples are drawn: the same for cards and the viewer. */
const view = {
  image: Math.max(data.reference, 0),
  channel: 0,
  contrast: arrays.map((array) => [...array.contrast]),
  opacity: 0.35,
  hasOverlays: true,
  hasPoint: true,
  hidden: new Set(),
};

/** Draws the plane that contains `voxel` into the canvas, a pixel per voxel that is shown. */
function drawPlane(canvas, sample, plane, voxel) {
  const [right, down, into] = PLANES[plane];
  const { window: size, step } = referenceArray;
  const width = Math.ceil(size[right] / step[right]);
  const height = Math.ceil(size[down] / step[down]);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const at = [0, 0, 0];
  at[into] = voxel[into];
  const draw = planeDrawer(sample, right, down);
  for (let y = 0; y < height; y += 1) {
    at[down] = y * step[down];
    for (let x = 0; x < width; x += 1) {
      at[right] = x * step[right];
      draw(pixels.data, 4 * (y * width + x), at);
    }
  }
  context.putImageData(pixels, 0, 0);
}

/** Returns a function that writes the color of a voxel into the pixels. */
function planeDrawer(sample, right, down) {
  const numbers = arrays.map((_, number) => number).filter((n) => !sample.arrays[n].error && !view.hidden.has(n));
  const overlays = view.hasOverlays ? numbers.filter((n) => arrays[n].kind === "overlay") : [];
  const masks = view.hasOverlays ? numbers.filter((n) => arrays[n].kind === "mask") : [];
  const { step } = referenceArray;
  const neighbor = [0, 0, 0];
  const isEdge = (number, voxel, byte) => {
    for (const axis of [right, down]) {
      for (const side of [-step[axis], step[axis]]) {
        neighbor[0] = voxel[0];
        neighbor[1] = voxel[1];
        neighbor[2] = voxel[2];
        neighbor[axis] += side;
        const other = byteAt(sample, number, 0, neighbor);
        if (other !== undefined && other !== byte) return true;
      }
    }
    return false;
  };
  return (pixels, offset, voxel) => {
    const color = imageColor(sample, voxel);
    for (const number of overlays) {
      const byte = byteAt(sample, number, 0, voxel);
      if (!byte) continue;
      const array = sample.arrays[number];
      let opacity = view.opacity;
      if (array.range) opacity *= byte / 255;
      else if (isEdge(number, voxel, byte)) opacity = Math.min(1, 2.2 * opacity);
      blend(color, overlayColor(number, array, byte), opacity);
    }
    for (const number of masks) {
      if (byteAt(sample, number, 0, voxel) === 0) blend(color, [0, 0, 0], 0.6);
    }
    pixels[offset] = color[0];
    pixels[offset + 1] = color[1];
    pixels[offset + 2] = color[2];
    pixels[offset + 3] = 255;
  };
}

function imageColor(sample, voxel) {
  const number = view.image;
  const { kind } = arrays[number];
  if (sample.arrays[number].error || (kind !== "gray" && kind !== "color")) return [40, 40, 40];
  const [low, high] = view.contrast[number];
  const bright = (byte) => (byte === undefined ? 0 : (255 * (byte / 255 - low)) / Math.max(high - low, 1 / 255));
  if (kind === "color") return [0, 1, 2].map((channel) => clamp(bright(byteAt(sample, number, channel, voxel))));
  const channel = Math.min(view.channel, sample.arrays[number].channels - 1);
  const gray = clamp(bright(byteAt(sample, number, channel, voxel)));
  return [gray, gray, gray];
}

function clamp(byte) {
  return Math.min(Math.max(byte, 0), 255);
}

function blend(color, top, opacity) {
  for (let i = 0; i < 3; i += 1) color[i] += (top[i] - color[i]) * opacity;
}

/** Puts the cross of the annotation over a canvas. It is faint where the point is in another section. */
function placePoint(cross, sample, plane, voxel) {
  const [right, down, into] = PLANES[plane];
  const point = pointOf(sample);
  const { window: size } = referenceArray;
  cross.hidden = !view.hasPoint;
  cross.style.left = `${(100 * point[right]) / size[right]}%`;
  cross.style.top = `${(100 * point[down]) / size[down]}%`;
  cross.classList.toggle("faint", Math.floor(point[into]) !== voxel[into]);
}

/** Creates an element with properties and children. */
function element(name, properties = {}, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
}
