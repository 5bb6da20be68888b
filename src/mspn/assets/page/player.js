/** The controls of a video: play, scrub, and a lane for each track that shows when its person is seen. */

import { personColor } from "./draw.js";

const LANE_PX = 6;
const LANE_GAP_PX = 3;
const MAX_LANES = 8;

export const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}.${Math.floor((seconds % 1) * 10)}`;

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
