/**
 * The people of a photo as buttons, and the joints of the chosen one as a table; the controls of a video: play, scrub,
 * and a lane for each track that shows when its person is seen.
 */

import { numberPeople, personColor } from "./draw.js";
import { labelOf } from "./results.js";

const words = (name) => {
  const text = name.replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
};

/** The people of a photo and their joints. */
export class Panel {
  /**
   * @param onPerson called with the label of the person that someone chose
   * @param onJoint called with the name of the joint that someone looks at, and undefined after that
   */
  constructor({ people, table, nobody, onPerson, onJoint }) {
    Object.assign(this, { people, table, nobody, onJoint });
    people.addEventListener("change", ({ target }) => onPerson(Number(target.value)));
    table.addEventListener("pointerleave", () => onJoint(undefined));
  }

  /** Show the shown ones of all people; `person` is the chosen one, or undefined. */
  update({ shown, people, person, skeleton, theme }) {
    this.#updatePeople(shown, people, person, skeleton, theme);
    this.#updateTable(person, skeleton);
    this.nobody.hidden = person !== undefined;
  }

  #updatePeople(shown, people, person, skeleton, theme) {
    const labels = shown.map((one) => labelOf(one, people));
    const buttons = [...this.people.querySelectorAll("label")];
    if (buttons.map((button) => button.dataset.label).join() !== labels.join()) {
      for (const button of buttons) button.remove();
      this.people.append(...labels.map(makeButton));
    }
    this.people.hidden = shown.length === 0;
    const isColored = skeleton.colors[theme].colored_by === "person";
    const numbers = numberPeople(shown);
    [...this.people.querySelectorAll("label")].forEach((button, index) => {
      button.firstChild.checked = shown[index] === person;
      const color = isColored ? personColor(skeleton, theme, numbers.get(shown[index])) : "";
      button.style.setProperty("--person", color);
    });
  }

  #updateTable(person, skeleton) {
    const body = this.table.tBodies[0];
    this.table.hidden = person === undefined;
    if (person === undefined) return;
    if (body.rows.length !== skeleton.keypoints.length) {
      body.replaceChildren(...skeleton.keypoints.map((name) => this.#makeRow(name)));
    }
    skeleton.keypoints.forEach((name, index) => {
      const [x, y, score] = person.keypoints[name];
      const [, xCell, yCell, scoreCell] = body.rows[index].cells;
      xCell.textContent = x.toFixed(1);
      yCell.textContent = y.toFixed(1);
      scoreCell.textContent = score.toFixed(2);
      scoreCell.style.setProperty("--share", score);
    });
  }

  #makeRow(name) {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = words(name);
    row.append(head, ...[0, 1, 2].map(() => document.createElement("td")));
    row.lastChild.className = "score";
    row.addEventListener("pointerenter", () => this.onJoint(name));
    return row;
  }
}

function makeButton(label) {
  const button = document.createElement("label");
  button.dataset.label = label;
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "person", value: label });
  button.append(input, String(label));
  return button;
}

const LANE_PX = 6;
const LANE_GAP_PX = 3;
const MAX_LANES = 8;

export const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}.${Math.floor((seconds % 1) * 10)}`;

/** The controls of a video. */
export class Player {
  #file;

  /** @param onFrame called with what shows the frame, and its time in seconds */
  constructor({ play, scrubber, tracks, time, onFrame }) {
    Object.assign(this, { play, scrubber, tracks, time, onFrame });
    play.addEventListener("click", () => this.#toggle());
    scrubber.addEventListener("input", () => this.seek(Number(scrubber.value)));
  }

  /** Control a `VideoFile`. */
  open(file) {
    this.#file = file;
    const { video } = file;
    this.scrubber.max = file.duration;
    video.onplay = video.onpause = video.onended = () => {
      if (file !== this.#file) return;
      this.play.textContent = video.paused ? "Play" : "Pause";
      if (!file.isFollowed) this.show(video, video.currentTime);
    };
    video.onseeked = () => {
      if (file === this.#file) this.show(video, video.currentTime);
    };
    video.onpause();
    this.show(video, video.currentTime);
  }

  /** Control nothing. */
  close() {
    this.#file?.video.pause();
    this.#file = undefined;
  }

  /** Stop and go to a time. */
  seek(seconds) {
    this.#file.isFollowed = false;
    this.#file.video.pause();
    this.#file.video.currentTime = seconds;
  }

  show(source, seconds) {
    this.scrubber.value = seconds;
    this.scrubber.ariaValueText = `${seconds.toFixed(1)} of ${this.#file.duration.toFixed(1)} seconds`;
    this.time.textContent = clock(seconds);
    this.onFrame(source, seconds);
  }

  /** Draw how far the video has been looked through, and its longest tracks in the order in which they begin. */
  drawTracks(skeleton) {
    const file = this.#file;
    const longest = [...file.tracks.values()].map((frames) => frames.length).sort((one, other) => other - one);
    const shortest = longest[MAX_LANES - 1] ?? 0;
    const tracks = [...file.tracks].filter(([, frames]) => frames.length >= shortest).slice(0, MAX_LANES);
    const ratio = devicePixelRatio;
    const lane = (LANE_PX + LANE_GAP_PX) * ratio;
    const canvas = this.tracks;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = (tracks.length + 1) * lane;
    canvas.style.height = `${canvas.height / ratio}px`;
    const context = canvas.getContext("2d");
    const bar = (first, next, row, color, height) => {
      const [start, end] = [first, next].map((frame) => Math.round(file.placeOf(frame) * canvas.width));
      context.fillStyle = color;
      context.fillRect(start, row * lane, end - start, height * ratio);
    };
    bar(0, file.samples.length, 0, getComputedStyle(canvas).color, LANE_PX / 2);
    tracks.forEach(([track, frames], index) => {
      for (const frame of frames) bar(frame, frame + 1, index + 1, personColor(skeleton, "people", track), LANE_PX);
    });
  }

  #toggle() {
    const { video } = this.#file;
    this.#file.isFollowed = false;
    if (!video.paused) {
      video.pause();
      return;
    }
    this.show(video, video.currentTime);
    video.play();
    this.#watch(this.#file);
  }

  /** Show each frame as it plays. */
  #watch(file) {
    const { video } = file;
    const next = (_, frame) => {
      if (file !== this.#file) return;
      this.show(video, frame?.mediaTime ?? video.currentTime);
      if (!video.paused) this.#watch(file);
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(next);
    else requestAnimationFrame(next);
  }
}
