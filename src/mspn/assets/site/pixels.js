/**
 * Photos scaled and cut for the networks as `mspn.detectors.base` and `mspn.structures.crop` do it, bit by bit as
 * OpenCV 5 computes it: a box that is off by a tenth of a pixel can make the lower of a heat map's two peaks the higher.
 *
 * A photo is an `ImageData`, a result an array of bytes: rows of red, green, blue.
 */

const GRAY = 114;
const STRONG_REDUCTION = 0.5;
const MULTIPLE = 32;
const COLORS = 3;
const CHANNELS = 4; // of a photo: the colors and opacity
const LEAST_COVERED = 1e-3; // of a pixel, else it is left out
const float32 = Math.fround;

/** How sums of a column's rows become colors where a photo is averaged over areas; the array of bytes rounds them. */
const IN_FLOAT32 = { add: (total, weight, sum) => float32(total + float32(weight * sum)), toColor: (total) => total };

/**
 * And where it is read between pixels: weights are whole numbers of 2048 parts, and bits are dropped on the way. Colors
 * are darker by an eighth of a level on average, which moves edges of boxes by up to three pixels.
 */
const PARTS = 2048;
const IN_FIXED_POINT = {
  add: (total, parts, sum) => total + ((parts * (sum >> 4)) >> 16),
  toColor: (total) => (total + 2) >> 2,
};

/**
 * A photo scaled into the top left corner of a detector's input; gray fills its sides to multiples of 32.
 *
 * @returns pixels, width and height of the input, scaledWidth and scaledHeight of the photo in it
 */
export function letterbox(image, longerSide) {
  const sides = [image.width, image.height];
  const factor = longerSide / Math.max(...sides);
  const [scaledWidth, scaledHeight] = sides.map((side) => Math.max(1, roundHalfToEven(side * factor)));
  const [width, height] = [scaledWidth, scaledHeight].map((side) => Math.ceil(side / MULTIPLE) * MULTIPLE);
  const isEven = sides.every((side) => side % 2 === 0);
  const photo = isEven && factor < STRONG_REDUCTION ** 2 ? halve(image) : image;
  const [readAxis, sums] = factor < STRONG_REDUCTION ? [averageOverAreas, IN_FLOAT32] : [readBetween, IN_FIXED_POINT];
  const [columns, rows] = [readAxis(photo.width, scaledWidth), readAxis(photo.height, scaledHeight)];
  const pixels = new Uint8ClampedArray(width * height * COLORS).fill(GRAY);
  resample(photo, columns, rows, pixels, width, sums);
  return { pixels, width, height, scaledWidth, scaledHeight };
}

/**
 * The region of a person, black outside of the photo.
 *
 * @param frame left and top of the crop's first pixel in the photo, and its step from pixel to pixel
 * @param size width and height of the crop
 * @param pixels where the crop is written to
 */
export function cutCrop(image, { left, top, step }, { width, height }, pixels) {
  const [start, line, each] = [left, top, step].map(float32);
  const columns = Array.from({ length: width }, (_, number) => between(float32(number * each + start)));
  let index = 0;
  for (let number = 0; number < height; number++) {
    const y = between(float32(float32(number * each) + line)); // OpenCV rounds rows twice, columns once
    for (const x of columns) {
      for (let color = 0; color < COLORS; color++) {
        const at = (right, down) => colorAt(image, x.before + right, y.before + down, color);
        pixels[index++] = mix(mix(at(0, 0), at(1, 0), x.share), mix(at(0, 1), at(1, 1), x.share), y.share);
      }
    }
  }
}

/** The pixel before a place along a side, and the share of the one after it. */
function between(place) {
  const before = Math.floor(place);
  return { before, share: float32(place - before) };
}

function colorAt({ data, width, height }, x, y, color) {
  return x < 0 || y < 0 || x >= width || y >= height ? 0 : data[CHANNELS * (y * width + x) + color];
}

const mix = (one, other, share) => float32(one + share * float32(other - one));

/** As Python rounds. */
function roundHalfToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}

/** Each place lies between two pixels, with weights in `PARTS`; beyond the border, the outermost counts. */
function readBetween(length, scaled) {
  const inside = (index) => Math.min(Math.max(index, 0), length - 1);
  return Array.from({ length: scaled }, (_, index) => {
    const { before, share } = between(float32((index + 0.5) * (length / scaled) - 0.5));
    const weights = [float32(1 - share), share].map((value) => roundHalfToEven(value * PARTS));
    return { indices: [inside(before), inside(before + 1)], weights };
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
      const covered = Math.min(index + 1, end) - Math.max(index, start);
      if (covered <= LEAST_COVERED) continue;
      indices.push(index);
      weights.push(float32(covered / (end - start)));
    }
    return { indices, weights };
  });
}

/** A photo of half the width and height, which are even: means of two by two pixels. */
function halve({ data, width, height }) {
  const half = { data: new Uint8ClampedArray(data.length / 4), width: width / 2, height: height / 2 };
  const row = CHANNELS * width;
  let index = 0;
  for (let y = 0; y < half.height; y++) {
    for (let x = 0; x < half.width; x++) {
      const first = 2 * (y * row + CHANNELS * x);
      for (let channel = first; channel < first + CHANNELS; channel++) {
        const sum = data[channel] + data[channel + CHANNELS] + data[channel + row] + data[channel + row + CHANNELS];
        half.data[index++] = (sum + 2) >> 2;
      }
    }
  }
  return half;
}

/** Write the weighted sums of each row and column into the top left corner of pixels whose rows have a length. */
function resample({ data, width, height }, columns, rows, pixels, rowLength, { add, toColor }) {
  const stride = columns.length * COLORS;
  const strip = new Float32Array(height * stride);
  let place = 0;
  for (let y = 0; y < height; y++) {
    for (const { indices, weights } of columns) {
      let [red, green, blue] = [0, 0, 0];
      for (let tap = 0; tap < indices.length; tap++) {
        const source = CHANNELS * (y * width + indices[tap]);
        red = float32(red + float32(weights[tap] * data[source]));
        green = float32(green + float32(weights[tap] * data[source + 1]));
        blue = float32(blue + float32(weights[tap] * data[source + 2]));
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
        total = add(total, weights[tap], strip[indices[tap] * stride + column]);
      }
      pixels[start + column] = toColor(total);
    }
  });
}
