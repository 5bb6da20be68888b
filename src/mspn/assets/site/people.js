/** From boxes to crops and from crops to people, as `mspn.predict` does it. A box is left, top, width and height. */

const MIN_SIDE_PX = 1;
const MIN_CONFIDENT_SCORE = 0.2;
const SMALLEST_SUM = 1e-9;
const LOWEST_PEAK = 1e-3;
const MIN_SPREAD = 1e-6;
const MAX_LOG_ODDS = 30;
const OKS_POWER = 2;

const rounded = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;

/**
 * Detections in pixels of the photo.
 *
 * @param boxes left, top, right and bottom of each in pixels of the input, one after another
 * @param input of the detector, as `letterbox` made it
 */
export function readDetections(boxes, scores, input, { width, height }, threshold) {
  const scales = [width / input.scaledWidth, height / input.scaledHeight];
  const detections = [...scores].map((score, index) => {
    const [left, top, right, bottom] = boxes.subarray(4 * index, 4 * index + 4);
    const box = [left, top, right - left, bottom - top].map((value, place) => value * scales[place % 2]);
    return { score: Math.min(1, score), box };
  });
  return detections.filter(({ score, box }) => score >= threshold && Math.min(box[2], box[3]) >= MIN_SIDE_PX);
}

/** Where the crop of a box lies: the box padded, then one side grown until it has the crop's shape. */
export function frameOf([left, top, width, height], padding, size) {
  const [paddedWidth, paddedHeight] = [width * padding[0], height * padding[1]];
  const step = Math.max(paddedWidth, (paddedHeight * size.width) / size.height) / size.width;
  const [centerX, centerY] = [left + width / 2, top + height / 2];
  return { left: centerX - (step * size.width) / 2, top: centerY - (step * size.height) / 2, step };
}

/**
 * What a network says of a crop, in the photo.
 *
 * @param keypoints x and y in crop pixels, one after another
 * @param peaks of the heat maps, which rank a pose where the protocol says so
 */
export function placePose(detection, { left, top, step }, { keypoints, scores, peaks }, protocol) {
  const points = [...scores].map((score, index) => [
    left + step * keypoints[2 * index],
    top + step * keypoints[2 * index + 1],
    score,
  ]);
  return {
    ...{ box: detection.box, boxScore: detection.score, points },
    score: detection.score * mean([...scores]),
    rank: detection.score * boxFactor(points, peaks, scores, protocol),
  };
}

/** The poses of a photo, best first; of two that are more similar than the threshold, the one ranked lower is out. */
export function selectPoses(poses, sigmas, threshold) {
  const kept = [];
  for (const pose of [...poses].sort((one, other) => other.rank - one.rank)) {
    if (kept.every((better) => similarity(better, pose, sigmas) <= threshold)) kept.push(pose);
  }
  return kept.sort((one, other) => other.score - one.score);
}

/** A pose as predictions.json has it. */
export function describePose({ box, boxScore, score, points }, { keypoints, category }) {
  const named = keypoints.map((name, index) => {
    const [x, y, pointScore] = points[index];
    return [name, [rounded(x, 2), rounded(y, 2), rounded(pointScore, 4)]];
  });
  return {
    ...{ box: box.map((value) => rounded(value, 2)), box_score: rounded(boxScore, 4), score: rounded(score, 4) },
    ...(category ? { category } : {}),
    keypoints: Object.fromEntries(named),
  };
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values) {
  return sum(values) / Math.max(1, values.length);
}

function boxFactor(points, peaks, scores, { rescoring, score_offset: offset, oks_predictor: predictor }) {
  if (rescoring === "box_only") return 1;
  if (rescoring === "predicted_oks" && predictor) return predictOks(points, [...peaks], predictor) ** OKS_POWER;
  if (["weighted_mean", "predicted_oks"].includes(rescoring)) {
    return sum(scores.map((score) => score ** 2)) / Math.max(SMALLEST_SUM, sum(scores));
  }
  const raised = [...peaks].map((peak) => peak + offset);
  return mean(rescoring === "confident_mean" ? raised.filter((peak) => peak > MIN_CONFIDENT_SCORE) : raised);
}

/** As `OksPredictor.predict`. */
function predictOks(points, peaks, { layers, mirror_order: order }) {
  const mirrored = order.map((index) => [-points[index][0], points[index][1]]);
  const ofMirrored = predictAsSeen(mirrored, order.map((index) => peaks[index]), layers);
  return (predictAsSeen(points, peaks, layers) + ofMirrored) / 2;
}

function predictAsSeen(points, peaks, [first, ...others]) {
  const apply = ({ weights, biases }, inputs) =>
    weights.map((row, output) => biases[output] + sum(row.map((weight, input) => weight * inputs[input])));
  let values = apply(first, poseFeatures(points, peaks));
  for (const layer of others) values = apply(layer, values.map((value) => Math.max(0, value)));
  const limited = values.map((value) => Math.min(MAX_LOG_ODDS, Math.max(-MAX_LOG_ODDS, value)));
  const probabilities = limited.map((value) => 1 / (1 + Math.exp(-value)));
  const labeled = probabilities.slice(0, peaks.length);
  return sum(labeled.map((share, index) => share * probabilities[peaks.length + index])) / sum(labeled);
}

/** As `pose_features`. */
function poseFeatures(points, peaks) {
  const clip = (value, highest) => Math.min(highest, Math.max(LOWEST_PEAK, value));
  const logOdds = peaks.map((peak) => clip(peak, 1 - LOWEST_PEAK)).map((peak) => Math.log(peak / (1 - peak)));
  const shares = peaks.map((peak) => clip(peak, 1));
  const total = sum(shares);
  const weigh = (values) => sum(values.map((value, index) => value * shares[index])) / total;
  const center = [0, 1].map((side) => weigh(points.map((point) => point[side])));
  const centered = points.map((point) => [point[0] - center[0], point[1] - center[1]]);
  const spread = Math.max(MIN_SPREAD, Math.sqrt(weigh(centered.map(([x, y]) => x ** 2 + y ** 2))));
  return [...logOdds, ...centered.flat().map((value) => value / spread)];
}

/** OKS for the mean area of the two boxes, over all keypoints. */
function similarity(one, other, sigmas) {
  const area = (one.box[2] * one.box[3] + other.box[2] * other.box[3]) / 2;
  const similarities = sigmas.map((sigma, index) => {
    const [dx, dy] = [0, 1].map((side) => one.points[index][side] - other.points[index][side]);
    return Math.exp(-(dx ** 2 + dy ** 2) / (2 * area * (2 * sigma) ** 2));
  });
  return mean(similarities);
}
