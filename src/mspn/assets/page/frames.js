/** Frames of videos and cameras, and the people in them and in photos, found for a few files at once. */

import { decode } from "./gallery.js";
import { blendPeople, scalePeople } from "./results.js";

export const MAX_SIDE_PX = 960;
const JPEG_QUALITY = 0.9;
const SECONDS_PER_SAMPLE = 0.1;
const RATE_SECONDS = 2;

/** A JPEG of what a video, a photo or a canvas shows, at most `maxSide` pixels long. */
export async function encodeFrame(source, width, height, maxSide = MAX_SIDE_PX) {
  const factor = Math.min(1, maxSide / Math.max(width, height));
  const [drawnWidth, drawnHeight] = [width, height].map((side) => Math.max(1, Math.floor(side * factor)));
  const canvas = new OffscreenCanvas(drawnWidth, drawnHeight);
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}

function makeVideo() {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.preload = "auto";
  return video;
}

const once = (target, event, failure) =>
  new Promise((resolve, reject) => {
    target.addEventListener(event, resolve, { once: true });
    target.addEventListener("error", () => reject(new Error(failure)), { once: true });
  });

async function openFile(address) {
  const video = makeVideo();
  video.src = address;
  await once(video, "loadeddata", "This browser cannot play the video.");
  if (!Number.isFinite(video.duration)) await seek(video, Number.MAX_SAFE_INTEGER); // recordings learn it at their end
  return video;
}

async function seek(video, seconds) {
  const seeked = once(video, "seeked", "This browser cannot play the video.");
  video.currentTime = seconds;
  await seeked;
}

/** A video file: `video` is for watching, another copy of it is looked through from begin to end. */
export class VideoFile {
  #address;
  #isClosed = false;
  samples = [];

  async open(file) {
    this.#address = URL.createObjectURL(file);
    this.video = await openFile(this.#address);
    await seek(this.video, 0);
    this.width = this.video.videoWidth;
    this.height = this.video.videoHeight;
    this.duration = this.video.duration;
  }

  /** Find the people of ten frames a second of the video; `onSample` is called after each. */
  async analyze(stream, onSample) {
    const copy = await openFile(this.#address);
    try {
      const count = Math.ceil(this.duration / SECONDS_PER_SAMPLE);
      const take = async (index) => {
        await seek(copy, index * SECONDS_PER_SAMPLE);
        return { bitmap: await createImageBitmap(copy), encoded: await encodeFrame(copy, this.width, this.height) };
      };
      let shown;
      let next = take(0);
      for (let index = 0; index < count && !this.#isClosed; index++) {
        const { bitmap, encoded } = await next;
        const asked = stream.ask(encoded);
        if (index + 1 < count) next = take(index + 1); // while the service looks at this one
        const [answer] = await Promise.all([asked, next]);
        const people = scalePeople(answer.people, this.width / answer.width);
        this.samples.push({ frame: index, seconds: Math.round(index * SECONDS_PER_SAMPLE * 1e6) / 1e6, people });
        onSample(bitmap);
        shown?.close();
        shown = bitmap;
      }
    } finally {
      stream.close();
      copy.removeAttribute("src");
    }
  }

  /** People at a time in seconds; none where nobody has looked yet. */
  peopleAt(seconds) {
    const place = seconds / SECONDS_PER_SAMPLE;
    const index = Math.floor(place + 1e-6);
    const before = this.samples[index];
    if (before === undefined) return [];
    const after = this.samples[index + 1];
    return after === undefined ? before.people : blendPeople(before.people, after.people, Math.max(place - index, 0));
  }

  /** When each track is seen: track, then the numbers of its samples. */
  get tracks() {
    const tracks = new Map();
    for (const { frame, people } of this.samples) {
      for (const { track_id: track } of people) {
        if (track === undefined) continue;
        if (!tracks.has(track)) tracks.set(track, []);
        tracks.get(track).push(frame);
      }
    }
    return tracks;
  }

  /** Place of a sample in the video, 0 to 1. */
  placeOf(frame) {
    return Math.min((frame * SECONDS_PER_SAMPLE) / this.duration, 1);
  }

  close() {
    this.#isClosed = true;
    this.video?.pause();
    URL.revokeObjectURL(this.#address);
  }
}

/** The camera: each frame is shown with its own people, as fast as the service answers. */
export class Camera {
  #isOpen = true;
  #times = [];

  async open() {
    if (!navigator.mediaDevices) throw new Error("The camera needs https, or localhost.");
    try {
      this.media = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" } });
    } catch (error) {
      const isForbidden = error.name === "NotAllowedError";
      throw new Error(isForbidden ? "The camera is not allowed here." : "There is no camera to use.");
    }
    this.video = makeVideo();
    this.video.srcObject = this.media;
    await this.video.play();
    if (!this.video.videoWidth) await once(this.video, "resize", "The camera shows nothing.");
  }

  /** Call `onFrame(bitmap, people, rate)` for each frame, of which `rate` came in a second, until it is closed. */
  async run(stream, onFrame) {
    const takeFrames = async () => {
      while (this.#isOpen) {
        const bitmap = await createImageBitmap(this.video);
        const answer = await stream.ask(await encodeFrame(bitmap, bitmap.width, bitmap.height));
        if (!this.#isOpen || !answer) {
          bitmap.close();
          continue;
        }
        onFrame(bitmap, scalePeople(answer.people, bitmap.width / answer.width), this.#countFrame());
      }
    };
    try {
      await Promise.all([takeFrames(), takeFrames()]); // one is on its way while the service looks at the other
    } catch (error) {
      if (this.#isOpen) throw error;
    } finally {
      stream.close();
      this.close();
    }
  }

  /** Frames a second of late, with this one. */
  #countFrame() {
    const now = performance.now() / 1000;
    this.#times.push(now);
    while (now - this.#times[0] > RATE_SECONDS) this.#times.shift();
    return Math.round((this.#times.length - 1) / (now - this.#times[0]));
  }

  close() {
    this.#isOpen = false;
    for (const track of this.media?.getTracks() ?? []) track.stop();
  }
}

const LOWEST_THRESHOLD = 0.2;
const FILES_AT_ONCE = 3;

/** Finds the people in photos and videos. */
export class Analysis {
  #waiting = [];
  #working = 0;

  /**
   * @param service asked for people
   * @param model as the service describes it
   * @param getThreshold gives the lowest score that is shown
   * @param onOpen called with an item and, of a photo, its pixels
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
      const work = item.kind === "video" ? this.#analyzeVideo(item) : this.#analyzePhoto(item);
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

  async #analyzePhoto(item) {
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

  /** The file, or a smaller photo if the service takes no such file. */
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
