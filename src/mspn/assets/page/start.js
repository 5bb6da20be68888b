/** Starts the page, which asks the service that served it. */

import { startPage } from "./page.js";

const MAX_TRIES = 6;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Asks the service that served this page. */
class Service {
  privacy = "Photos stay between this page and its service.";
  hasInterface = true; // for programs

  /** @param base address of the page */
  constructor(base = document.baseURI) {
    this.base = base;
    this.sample = new URL("static/sample/scene.jpg", base);
  }

  /** The network: name, skeleton with colors, threshold, limits. */
  async describe() {
    const [model] = await this.#ask("v1/models");
    return model;
  }

  /** An entry of predictions.json. */
  async findPeople(photo, threshold) {
    return this.#ask(`v1/poses?threshold=${threshold}`, photo);
  }

  /** Images of the heat maps of the person at a place (x, y) of a photo, of those that the threshold finds. */
  async paintHeatmaps(photo, [x, y], threshold) {
    return this.#ask(`v1/heatmaps?x=${x}&y=${y}&threshold=${threshold}`, photo);
  }

  /** Frames of one video or camera, whose people keep their numbers. */
  openStream(threshold) {
    const address = new URL(`v1/stream?threshold=${threshold}`, this.base);
    address.protocol = address.protocol.replace("http", "ws");
    return new Stream(address);
  }

  async #ask(path, body) {
    for (let tries = 1; ; tries++) {
      let response;
      try {
        response = await fetch(new URL(path, this.base), body ? { method: "POST", body } : {});
      } catch {
        throw new Error("The service does not answer. Is it running?");
      }
      if (response.ok) return response.json();
      const isBusy = response.status === 503 || response.status === 429;
      if (!isBusy || tries === MAX_TRIES) {
        const answer = await response.json().catch(() => ({}));
        throw new Error(answer.error ?? `The service answered ${response.status}.`);
      }
      await pause(Math.min(Number(response.headers.get("retry-after")) || 1, 10));
    }
  }
}

class Stream {
  #waiting = new Map();
  #count = 0;

  constructor(address) {
    this.socket = new WebSocket(address);
    this.socket.onmessage = ({ data }) => {
      const answer = JSON.parse(data);
      for (const [number, { resolve, reject }] of this.#waiting) {
        if (number > answer.frame) break;
        this.#waiting.delete(number);
        if (number < answer.frame) resolve(undefined);
        else if (answer.error) reject(new Error(answer.error));
        else resolve(answer);
      }
    };
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onclose = ({ reason }) => {
        const error = new Error(reason || "The service closed the stream.");
        reject(error);
        for (const waiting of this.#waiting.values()) waiting.reject(error);
      };
    });
    this.opened.catch(() => {}); // told by `ask`
  }

  /** The answer for a frame; undefined if a newer one took its place. */
  async ask(frame) {
    await this.opened;
    if (this.socket.readyState !== WebSocket.OPEN) throw new Error("The service closed the stream.");
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.#count++, { resolve, reject });
      this.socket.send(frame);
    });
  }

  close() {
    this.socket.close();
  }
}

startPage(new Service());
