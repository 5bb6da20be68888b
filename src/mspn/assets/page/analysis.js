/** Finds the people in pictures and videos, a few files at once. */

import { VideoFile, encodeFrame } from "./frames.js";
import { decode } from "./gallery.js";
import { scalePeople } from "./results.js";

const LOWEST_THRESHOLD = 0.2;
const FILES_AT_ONCE = 3;

export class Analysis {
  #waiting = [];
  #working = 0;

  /**
   * @param service asked for people
   * @param model as the service describes it
   * @param getThreshold gives the lowest score that is shown
   * @param onOpen called with an item and, of a picture, its pixels
   * @param onSample called with an item and the frame of its video that was looked at
   * @param onEnd called with an item that is done or has failed
   */
  constructor({ service, model, getThreshold, onOpen, onSample, onEnd }) {
    Object.assign(this, { service, model, getThreshold, onOpen, onSample, onEnd });
  }

  add(items) {
    this.#waiting.push(...items);
    this.#work();
  }

  /** Forget what waits; the videos in work end as their items are closed. */
  clear() {
    this.#waiting = [];
  }

  /** Frames whose people get numbers: only those that count, for whoever is too faint would take a number too. */
  openStream(item) {
    item.askedThreshold = Math.min(this.getThreshold(), this.model.threshold);
    return this.service.openStream(item.askedThreshold);
  }

  #work() {
    while (this.#working < FILES_AT_ONCE && this.#waiting.length > 0) {
      const item = this.#waiting.shift();
      this.#working++;
      const work = item.kind === "video" ? this.#analyzeVideo(item) : this.#analyzePicture(item);
      work
        .catch((error) => {
          item.state = "failed";
          item.error = `${item.name}: ${error.message}`;
        })
        .then(() => {
          this.#working--;
          this.onEnd(item);
          this.#work();
        });
    }
  }

  async #analyzePicture(item) {
    const bitmap = await decode(item.file);
    Object.assign(item, { width: bitmap.width, height: bitmap.height, state: "working" });
    item.drawThumbnail(bitmap);
    this.onOpen(item, bitmap);
    item.sent = await this.#encodeWithinLimits(item.file, bitmap);
    item.askedThreshold = Math.min(LOWEST_THRESHOLD, this.model.threshold); // the slider filters what comes
    const answer = await this.service.findPeople(item.sent, item.askedThreshold);
    item.sentScale = bitmap.width / answer.width;
    item.people = scalePeople(answer.people, item.sentScale);
    item.state = "done";
  }

  /** The file, or a smaller picture if the service takes no such file. */
  async #encodeWithinLimits(file, bitmap) {
    const { max_bytes: maxBytes = Infinity, max_pixels: maxPixels = Infinity } = this.model.limits ?? {};
    const factor = Math.min(1, Math.sqrt(maxPixels / (bitmap.width * bitmap.height)));
    if (file.size <= maxBytes && factor === 1) return file;
    const side = Math.floor(factor * Math.max(bitmap.width, bitmap.height));
    return encodeFrame(bitmap, bitmap.width, bitmap.height, side);
  }

  async #analyzeVideo(item) {
    const video = new VideoFile();
    await video.open(item.file);
    if (item.isClosed) {
      video.close();
      return;
    }
    Object.assign(item, { video, width: video.width, height: video.height, state: "working" });
    video.isFollowed = true;
    item.drawThumbnail(video.video);
    this.onOpen(item);
    await video.analyze(this.openStream(item), (frame) => this.onSample(item, frame));
    item.state = "done";
  }
}
