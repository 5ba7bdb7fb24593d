// The samples of the page, and their voxels.

const data = JSON.parse(document.getElementById("data").textContent);
const { arrays, samples, findings } = data;
const referenceArray = arrays[data.reference];

/** The bytes that Base64 text holds, compressed in the zlib format. */
async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Reads the voxels of a sample, once. Arrays without data are 0 everywhere. */
function loadVoxels(sample) {
  sample.loading ??= Promise.all(
    sample.arrays.map(async (array) => {
      if (array.data) {
        array.bytes = await inflate(array.data);
        delete array.data;
      }
    }),
  );
  return sample.loading;
}

/** The voxel of the reference window, as fractions, at which the annotation is. */
function pointOf(sample) {
  const { start } = sample.arrays[data.reference];
  return sample.centerNm.map((nm, axis) => nm / sample.resolutionNm[axis] - start[axis]);
}

/** The voxel of the reference window in which the annotation is, limited to the window. */
function voxelOfPoint(sample) {
  return pointOf(sample).map((v, axis) => Math.min(Math.max(Math.floor(v), 0), referenceArray.window[axis] - 1));
}

/** The byte of an array at a voxel of the reference window; undefined outside of the array's window. */
function byteAt(sample, number, channel, voxel) {
  const array = sample.arrays[number];
  const reference = sample.arrays[data.reference];
  const { window: size, step } = arrays[number];
  let index = channel;
  for (let axis = 2; axis >= 0; axis -= 1) {
    const inWindow = voxel[axis] + reference.start[axis] - array.start[axis];
    if (inWindow < 0 || inWindow >= size[axis]) return undefined;
    index = index * array.size[axis] + Math.floor(inWindow / step[axis]);
  }
  return array.bytes ? array.bytes[index] : 0;
}

/** The value that a byte of an array stands for, as text. */
function valueOf(array, byte) {
  if (byte === undefined) return "outside";
  if (array.range) {
    const [low, high] = array.range;
    const value = low + (byte / 255) * (high - low);
    return Number.isInteger(value) ? String(value) : value.toPrecision(4);
  }
  if (byte === 0) return "0";
  return array.many ? "one of many" : array.values[byte - 1];
}

/** Red, green and blue of a byte other than 0 of an overlay. */
function overlayColor(number, array, byte) {
  if (array.many) return data.labelColors[byte - 1];
  if (array.range) return data.overlayColors[arrays[number].color];
  const color = array.colors[byte - 1];
  return arrays[number].segmentation ? data.labelColors[color] : data.overlayColors[color % data.overlayColors.length];
}
