/** Poses as data: what is shown, scaled, between two times, and as files. An entry is one of predictions.json. */

/** People whose detection has at least this score. */
export const above = (threshold, people) => people.filter((person) => person.box_score >= threshold);

/** What a person is called: the number of the track, or the place in the list from 1 on. */
export const labelOf = (person, people) => person.track_id ?? people.indexOf(person) + 1;

const rounded = (value) => Math.round(value * 100) / 100;

function mapKeypoints(person, box, change) {
  const keypoints = Object.entries(person.keypoints).map(([name, [x, y, score]]) => [name, [...change(x, y), score]]);
  return { ...person, box, keypoints: Object.fromEntries(keypoints) };
}

/** People in a photo of another size. Boxes are edges, points are indices of pixels, whose centers are at a half. */
export function scalePeople(people, factor) {
  if (factor === 1) return people;
  const scale = (index) => rounded((index + 0.5) * factor - 0.5);
  const scaleBox = (box) => box.map((value) => rounded(value * factor));
  return people.map((person) => mapKeypoints(person, scaleBox(person.box), (x, y) => [scale(x), scale(y)]));
}

/** People as a mirror of the photo's width shows them. */
export function mirrorPeople(people, width) {
  const mirrorBox = ([left, top, boxWidth, height]) => [width - left - boxWidth, top, boxWidth, height];
  return people.map((person) => mapKeypoints(person, mirrorBox(person.box), (x, y) => [width - 1 - x, y]));
}

/** People at a time between two others: tracks that both have move in a straight line. */
export function blendPeople(before, after, share) {
  const later = new Map(after.map((person) => [person.track_id, person]));
  if (before.some((person) => person.track_id === undefined)) return share < 0.5 ? before : after;
  const mix = (one, other) => one.map((value, index) => value + share * (other[index] - value));
  return before.flatMap((person) => {
    const next = later.get(person.track_id);
    if (next === undefined) return share < 0.5 ? [person] : [];
    const keypoints = Object.entries(person.keypoints).map(([name, point]) => [name, mix(point, next.keypoints[name])]);
    return [{ ...person, box: mix(person.box, next.box), keypoints: Object.fromEntries(keypoints) }];
  });
}

/** Entries of predictions.json: what the threshold shows of items, of videos for each frame that was looked at. */
export function describeItems(items, threshold) {
  return items.flatMap(({ name: source, width, height, people, state, video }) => {
    const frames = video?.samples ?? (state === "done" || state === "live" ? [{ people }] : []);
    const show = ({ people: found, ...time }) => ({
      ...{ source, ...time, width, height },
      people: above(threshold, found),
    });
    return frames.map(show);
  });
}

/** The text of a predictions.json. */
export const toJson = (entries) => `[\n${entries.map((entry) => JSON.stringify(entry)).join(",\n")}\n]\n`;

const COLUMNS = [
  ...["source", "frame", "seconds", "person", "track_id", "person_score", "box_left", "box_top", "box_width"],
  ...["box_height", "box_score", "keypoint", "x", "y", "score"],
];

/** The text of a predictions.csv: a row for each keypoint, one without them for a photo without people. */
export function toCsv(entries) {
  const rows = entries.flatMap(({ source, frame, seconds, people }) => {
    const image = [source, frame, seconds];
    if (people.length === 0) return [[...image, ...Array(COLUMNS.length - image.length).fill("")]];
    return people.flatMap((person, index) =>
      Object.entries(person.keypoints).map(([name, point]) => [
        ...[...image, index, person.track_id, person.score, ...person.box, person.box_score, name, ...point],
      ]),
    );
  });
  return [COLUMNS, ...rows].map((row) => `${row.map(quote).join(",")}\r\n`).join("");
}

/** A cell; text that spreadsheets would take for a formula gets an apostrophe. */
function quote(cell) {
  if (typeof cell !== "string") return cell ?? "";
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
