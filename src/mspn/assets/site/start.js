/** Starts the page of a site whose networks run in the browser, in place of the page's own start.js. */

import { startPage } from "./page.js";

const SECONDS_FOR_CACHE = 5;

const element = (id) => document.getElementById(id);

/** Let the service worker keep what is loaded from now on; without one, the page works as long as there is a net. */
async function keepFiles() {
  const { serviceWorker } = navigator;
  if (!serviceWorker || serviceWorker.controller) return;
  const controlled = new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", resolve, { once: true });
  });
  await serviceWorker.register(new URL("service-worker.js", document.baseURI));
  await Promise.race([controlled, new Promise((resolve) => setTimeout(resolve, 1000 * SECONDS_FOR_CACHE))]);
}

/** Answers as the page's `Service` does, without a service: the networks run in this browser. */
class LocalService {
  #waiting = new Map();
  #count = 0;
  #worker;
  privacy = "Photos stay in this browser: nothing is sent anywhere.";

  /**
   * @param base address of the page
   * @param kept a promise; the networks are loaded after it
   * @param onProgress called with the share of the networks that is loaded, 0 to 1
   * @param onReady called with the name of what computes
   * @param onFailure called with the error if the networks cannot be loaded
   */
  constructor({ base = document.baseURI, kept, onProgress, onReady, onFailure }) {
    Object.assign(this, { base, kept, onProgress, onReady, onFailure });
    this.sample = new URL("static/sample/scene.jpg", base);
  }

  /** The networks: name, skeleton with colors, threshold, limits. */
  async describe() {
    const response = await fetch(new URL("site.json", this.base)).catch(() => undefined);
    if (!response?.ok) throw new Error("The page is not complete: site.json cannot be loaded.");
    const site = await response.json();
    this.#worker = this.kept.then(() => this.#startWorker(site));
    return site;
  }

  /** An entry of predictions.json. */
  async findPeople(photo, threshold) {
    const worker = await this.#worker;
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.#count, { resolve, reject });
      worker.postMessage({ number: this.#count++, photo, threshold });
    });
  }

  /** Frames of one video or camera. */
  openStream(threshold) {
    return { ask: (frame) => this.findPeople(frame, threshold), close: () => {} };
  }

  #startWorker(site) {
    const files = [site.pose.file, site.detector.file, site.runtimes.wasm.binary];
    const total = files.reduce((sum, file) => sum + site.files[file], 0);
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onerror = () => this.#fail(new Error("This browser cannot start the networks; a newer one can."));
    worker.onmessage = ({ data: { numBytes, computedBy, failure, number, answer, error } }) => {
      if (numBytes) this.onProgress(Math.min(1, numBytes / total));
      else if (computedBy) this.onReady(computedBy);
      else if (failure) this.onFailure(new Error(failure));
      else this.#settle(number, answer, error);
    };
    worker.postMessage({ site, base: this.base });
    return worker;
  }

  /** No photo will be answered. */
  #fail(error) {
    this.onFailure(error);
    this.#worker = Promise.reject(error);
    this.#worker.catch(() => {}); // told by `findPeople`
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #settle(number, answer, error) {
    const { resolve, reject } = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (error) reject(new Error(error));
    else resolve(answer);
  }
}

const loading = element("loading");
loading.hidden = false;
startPage(
  new LocalService({
    kept: keepFiles().catch((error) => console.warn(`Nothing is kept for use without a net: ${error.message}`)),
    onProgress: (share) => {
      loading.querySelector("progress").value = share;
    },
    onReady: (name) => {
      loading.hidden = true;
      element("model").append(` · ${name}`);
    },
    onFailure: (error) => {
      loading.hidden = true;
      element("alert").textContent = error.message;
    },
  }),
);
