/**
 * Draws skeletons on a canvas as `mspn.draw_poses` does on an array.
 *
 * A person is an entry of `people` in predictions.json; a skeleton is that of `GET /v1/models`: keypoint names, edges
 * as pairs of their indices, colors by theme.
 */

const FACE = new Set(["nose", "left_eye", "right_eye", "left_ear", "right_ear"]);
const FACE_TO_BODY = 0.6;
const FULL_SCORE_RANGE = [0.35, 0.6];
const FULL_TO_BEST_SCORE = 1.75;
const SHOWN_TO_FULL_SCORE = 1 / 6;
const OPACITY_RANGE = [0.15, 1];
const PERSON_TO_LINE = 100;
const POSE_TO_PERSON = 1.3;
const OUTLINE_TO_LINE = 0.25;
const MIN_OUTLINE_PX = 0.3;
const MIN_STROKE_PX = 1.4;
const PERSON_TO_DIGIT = 14;
const DIGIT_RANGE_PX = [11, 48];
const CAP_TO_FONT = 0.72;

const clip = (value, [low, high]) => Math.min(Math.max(value, low), high);
const css = ([red, green, blue], opacity = 1) => `rgb(${red} ${green} ${blue} / ${opacity})`;
const toCanvas = (index, scale) => (index + 0.5) * scale; // a canvas counts from the edge of the first pixel
const centerX = (person) => person.box[0] + person.box[2] / 2;

/** Numbers that themes color people by: of tracks, or else from left to right. */
export function numberPeople(people) {
  const fromLeft = [...people].sort((one, other) => centerX(one) - centerX(other));
  return new Map(fromLeft.map((person, index) => [person, person.track_id ?? index]));
}

/** CSS color of a person in a theme, that of the first keypoint. */
export function personColor(skeleton, theme, number) {
  const { keypoints } = skeleton.colors[theme];
  return css(keypoints[number % keypoints.length][0]);
}

/**
 * Draw people, the best on top, over what the canvas shows.
 *
 * @param context of the canvas, without a transform
 * @param people to draw, in pixels of the photo, whose centers are whole numbers
 * @param skeleton of the people
 * @param theme name of the colors
 * @param scale canvas pixels of one photo pixel
 * @param minLine thinnest limb, in canvas pixels
 */
export function drawPoses(context, people, skeleton, theme, { scale = 1, minLine = 1 } = {}) {
  const colors = skeleton.colors[theme];
  if (colors.brightness < 1) {
    context.fillStyle = css([0, 0, 0], 1 - colors.brightness);
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  }
  const numbers = numberPeople(people);
  const best = Math.max(0, ...people.flatMap((person) => Object.values(person.keypoints).map((point) => point[2])));
  const fullScore = clip(FULL_TO_BEST_SCORE * best, FULL_SCORE_RANGE);
  for (const person of [...people].sort((one, other) => one.score - other.score)) {
    const number = numbers.get(person);
    const chosen = {
      keypoints: colors.keypoints[number % colors.keypoints.length],
      edges: colors.edges[number % colors.edges.length],
      outlineOpacity: colors.outline_opacity,
    };
    drawFigure(context, measureFigure(person, skeleton, fullScore, scale, minLine), chosen);
    if (person.track_id !== undefined) drawNumber(context, person, css(chosen.keypoints[0]), scale);
  }
}

/** Draw a thin white box, given as (left, top, width, height) in pixels of the photo. */
export function drawBox(context, [left, top, width, height], scale) {
  context.lineWidth = Math.max(1, context.canvas.width / 600);
  context.strokeStyle = css([255, 255, 255], 0.6);
  context.strokeRect(left * scale, top * scale, width * scale, height * scale);
}

/** Draw a ring around a joint, given as (x, y) in pixels of the photo. */
export function drawRing(context, [x, y], scale, radius) {
  for (const [width, color] of [[radius / 2, "black"], [radius / 4, "white"]]) {
    context.lineWidth = width;
    context.strokeStyle = color;
    context.beginPath();
    context.arc(toCanvas(x, scale), toCanvas(y, scale), radius, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** Limbs and joints of a person in pixels of the canvas; those of low scores are left out. */
function measureFigure(person, skeleton, fullScore, scale, minLine) {
  const points = skeleton.keypoints.map((name) => person.keypoints[name]);
  const spread = (axis) => {
    const values = points.map((point) => point[axis]);
    return Math.max(...values) - Math.min(...values);
  };
  const size = Math.min(Math.max(person.box[2], person.box[3]), POSE_TO_PERSON * Math.max(spread(0), spread(1)));
  const width = Math.max(minLine, (size * scale) / PERSON_TO_LINE);
  const [faintest, full] = OPACITY_RANGE;
  const lowest = SHOWN_TO_FULL_SCORE * fullScore;
  const joints = points.map(([x, y, score], index) => {
    const share = Math.min((score - lowest) / (fullScore - lowest), 1);
    const size = FACE.has(skeleton.keypoints[index]) ? FACE_TO_BODY : 1;
    const opacity = faintest + share * (full - faintest);
    return { index, x: toCanvas(x, scale), y: toCanvas(y, scale), opacity, size, isShown: share >= 0 };
  });
  const limbs = skeleton.edges
    .map(([start, end], index) => ({ index, start: joints[start], end: joints[end] }))
    .filter(({ start, end }) => start.isShown && end.isShown)
    .map((limb) => ({
      ...limb,
      opacity: Math.min(limb.start.opacity, limb.end.opacity),
      width: width * Math.min(limb.start.size, limb.end.size),
    }))
    .sort((one, other) => one.opacity - other.opacity);
  return { limbs, joints: joints.filter((joint) => joint.isShown), width };
}

/** Limbs below joints, outlines below everything; strokes of one person replace each other and do not add up. */
function drawFigure(context, { limbs, joints, width }, colors) {
  if (joints.length === 0) return;
  const outline = MIN_OUTLINE_PX + OUTLINE_TO_LINE * width;
  const margin = 3 * width + outline + 2;
  const { canvas } = context;
  const left = Math.floor(clip(Math.min(...joints.map((joint) => joint.x)) - margin, [0, canvas.width]));
  const top = Math.floor(clip(Math.min(...joints.map((joint) => joint.y)) - margin, [0, canvas.height]));
  const right = Math.ceil(clip(Math.max(...joints.map((joint) => joint.x)) + margin, [0, canvas.width]));
  const bottom = Math.ceil(clip(Math.max(...joints.map((joint) => joint.y)) + margin, [0, canvas.height]));
  if (right <= left || bottom <= top) return;

  const layer = new OffscreenCanvas(right - left, bottom - top).getContext("2d");
  layer.translate(-left, -top);
  const replace = (draw, color, opacity) => {
    layer.globalCompositeOperation = "destination-out";
    draw(css([0, 0, 0]));
    layer.globalCompositeOperation = "source-over";
    draw(css(color, opacity));
  };
  const line = (limb, lineWidth, color, opacity) =>
    replace(
      (style) => {
        layer.strokeStyle = style;
        layer.lineWidth = Math.max(lineWidth, MIN_STROKE_PX);
        layer.beginPath();
        layer.moveTo(limb.start.x, limb.start.y);
        layer.lineTo(limb.end.x, limb.end.y);
        layer.stroke();
      },
      color,
      opacity,
    );
  const disc = (joint, radius, color, opacity) =>
    replace(
      (style) => {
        layer.fillStyle = style;
        layer.beginPath();
        layer.arc(joint.x, joint.y, radius, 0, 2 * Math.PI);
        layer.fill();
      },
      color,
      opacity,
    );
  const radius = width + 0.7;
  const black = [0, 0, 0];
  for (const limb of limbs) line(limb, limb.width + 2 * outline, black, colors.outlineOpacity * limb.opacity);
  for (const joint of joints) disc(joint, radius * joint.size + outline, black, colors.outlineOpacity * joint.opacity);
  for (const limb of limbs) line(limb, limb.width, colors.edges[limb.index], limb.opacity);
  for (const joint of joints) disc(joint, radius * joint.size, colors.keypoints[joint.index], joint.opacity);
  context.drawImage(layer.canvas, left, top);
}

/** The number of a person's track above the box, inside the canvas. */
function drawNumber(context, person, color, scale) {
  const [left, top, boxWidth, boxHeight] = person.box.map((value) => value * scale);
  const height = clip(Math.max(boxWidth, boxHeight) / PERSON_TO_DIGIT, DIGIT_RANGE_PX);
  const text = String(person.track_id);
  context.font = `600 ${height / CAP_TO_FONT}px system-ui, sans-serif`;
  const { width } = context.measureText(text);
  const x = clip(left + boxWidth / 2 - width / 2, [0, Math.max(context.canvas.width - width, 0)]);
  const y = clip(top - height / 4, [height + 2, context.canvas.height - 1]);
  context.lineJoin = "round";
  context.lineWidth = Math.max(2, height / 5);
  context.strokeStyle = "black";
  context.strokeText(text, x, y);
  context.fillStyle = color;
  context.fillText(text, x, y);
}
