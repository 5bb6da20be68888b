/**
 * Photos scaled and cut for the networks, as `mspn.detectors.base` and `mspn.structures.crop` do it.
 *
 * Along each side of the result, a place is a weighted sum of neighboring pixels of the photo. A photo is an
 * `ImageData`, a result an array of bytes: rows of red, green, blue.
 */

const GRAY = 114;
const STRONG_REDUCTION = 0.5;
const MULTIPLE = 32;
const COLORS = 3;

/** How the sums of a column's rows become colors: as they are. */
const PLAIN = { term: (weight, sum) => weight * sum, color: (total) => total };

/**
 * As OpenCV resizes bytes: weights are whole numbers of 2048 parts, and bits are dropped on the way. Colors are darker by
 * an eighth of a level on average, which moves edges of boxes by up to three pixels.
 */
const PARTS = 2048;
const FIXED_POINT = { term: (parts, sum) => (parts * (sum >> 4)) >> 16, color: (total) => (total + 2) >> 2 };

/**
 * A photo scaled into the top left corner of a detector's input; gray fills its sides to multiples of 32.
 *
 * @returns pixels, width and height of the input, scaledWidth and scaledHeight of the photo in it
 */
export function letterbox(image, longerSide) {
  const longest = Math.max(image.width, image.height);
  const isStrong = longerSide < STRONG_REDUCTION * longest;
  const sides = [image.width, image.height].map((length) => {
    const scaled = Math.max(1, roundHalfToEven((length * longerSide) / longest));
    const axis = isStrong ? averageOverAreas(length, scaled) : readBetween(length, scaled);
    return { scaled, padded: Math.ceil(scaled / MULTIPLE) * MULTIPLE, axis };
  });
  const [columns, rows] = sides;
  const pixels = new Uint8ClampedArray(columns.padded * rows.padded * COLORS).fill(GRAY);
  resample(image, columns.axis, rows.axis, pixels, columns.padded, isStrong ? PLAIN : FIXED_POINT);
  return {
    pixels,
    ...{ width: columns.padded, height: rows.padded },
    ...{ scaledWidth: columns.scaled, scaledHeight: rows.scaled },
  };
}

/**
 * The region of a person, black outside of the photo.
 *
 * @param frame left and top of the crop's first pixel in the photo, and its step from pixel to pixel
 * @param size width and height of the crop
 * @param pixels where the crop is written to
 */
export function cutCrop(image, { left, top, step }, { width, height }, pixels) {
  const columns = readInside(image.width, left, step, width);
  const rows = readInside(image.height, top, step, height);
  resample(image, columns, rows, pixels, width, PLAIN);
}

/** As Python rounds. */
function roundHalfToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}

/** Each place lies between two pixels, with weights in `PARTS`; beyond the border, the outermost counts. */
function readBetween(length, scaled) {
  const factor = length / scaled;
  return Array.from({ length: scaled }, (_, index) => {
    const place = Math.min(Math.max((index + 0.5) * factor - 0.5, 0), length - 1);
    const before = Math.floor(place);
    const parts = roundHalfToEven((place - before) * PARTS);
    return { indices: [before, Math.min(before + 1, length - 1)], weights: [PARTS - parts, parts] };
  });
}

/** Each place lies between two pixels; beyond the border, nothing is. */
function readInside(length, start, step, count) {
  return Array.from({ length: count }, (_, number) => {
    const place = start + number * step;
    const before = Math.floor(place);
    const taps = [
      [before, 1 - (place - before)],
      [before + 1, place - before],
    ].filter(([index]) => index >= 0 && index < length);
    return { indices: taps.map(([index]) => index), weights: taps.map(([, weight]) => weight) };
  });
}

/** Each place is the mean of the pixels that it covers, of those at its ends as much as it covers of them. */
function averageOverAreas(length, scaled) {
  const extent = length / scaled;
  return Array.from({ length: scaled }, (_, number) => {
    const [start, end] = [number * extent, Math.min((number + 1) * extent, length)];
    const indices = [];
    const weights = [];
    for (let index = Math.floor(start); index < Math.min(Math.ceil(end), length); index++) {
      indices.push(index);
      weights.push((Math.min(index + 1, end) - Math.max(index, start)) / (end - start));
    }
    return { indices, weights };
  });
}

/** Write the weighted sums of each row and column into the top left corner of pixels whose rows have a length. */
function resample({ data, width }, columns, rows, pixels, rowLength, { term, color }) {
  const used = rows.flatMap(({ indices }) => indices);
  if (used.length === 0) return;
  const first = used.reduce((one, other) => Math.min(one, other));
  const last = used.reduce((one, other) => Math.max(one, other));
  const stride = columns.length * COLORS;
  const strip = new Float32Array((last - first + 1) * stride);
  for (let y = first; y <= last; y++) {
    let place = (y - first) * stride;
    for (const { indices, weights } of columns) {
      let [red, green, blue] = [0, 0, 0];
      for (let tap = 0; tap < indices.length; tap++) {
        const source = 4 * (y * width + indices[tap]);
        red += weights[tap] * data[source];
        green += weights[tap] * data[source + 1];
        blue += weights[tap] * data[source + 2];
      }
      strip[place++] = red;
      strip[place++] = green;
      strip[place++] = blue;
    }
  }
  rows.forEach(({ indices, weights }, row) => {
    const start = row * rowLength * COLORS;
    for (let column = 0; column < stride; column++) {
      let total = 0;
      for (let tap = 0; tap < indices.length; tap++) {
        total += term(weights[tap], strip[(indices[tap] - first) * stride + column]);
      }
      pixels[start + column] = color(total);
    }
  });
}
