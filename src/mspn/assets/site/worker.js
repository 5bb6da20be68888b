/**
 * Finds people beside the page, which stays quick meanwhile: photos in, entries of predictions.json out.
 *
 * The detector and the pose network run in onnxruntime-web: by WebGPU where there is one, else by WebAssembly.
 */

import { describePose, frameOf, placePose, readDetections, selectPoses } from "./people.js";
import { cutCrop, letterbox } from "./pixels.js";

let networks;
let last = Promise.resolve();

onmessage = ({ data: { site, base, number, photo, threshold } }) => {
  if (site) start(site, base);
  else last = last.then(() => answer(number, photo, threshold)); // one after another, for there is one processor
};

function start(site, base) {
  networks = loadNetworks(
    site,
    (path) => new URL(path, base).href,
    (numBytes) => postMessage({ numBytes }),
  );
  networks.then(
    ({ name }) => postMessage({ computedBy: name }),
    (error) => postMessage({ failure: error.message }),
  );
}

async function answer(number, photo, threshold) {
  try {
    const loaded = await networks;
    const image = await readPixels(photo);
    const people = await loaded.findPeople(image, threshold);
    postMessage({ number, answer: { width: image.width, height: image.height, people } });
  } catch (error) {
    postMessage({ number, error: error.message });
  }
}

/** Colors as the file has them, whatever profile it names, for so the networks learned them; on white, as in Python. */
async function readPixels(photo) {
  const bitmap = await createImageBitmap(photo, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

const PEOPLE_AT_ONCE = 8;
const COLORS = 3;

/**
 * Load what finds people and their joints.
 *
 * @param site as `site.json` describes it
 * @param locate gives the address of a file of the site
 * @param onLoaded called with the number of bytes that have come, again and again
 */
async function loadNetworks(site, locate, onLoaded) {
  const loader = new Loader(site.files, locate, onLoaded);
  const [pose, detector] = await Promise.all([loader.load(site.pose.file), loader.load(site.detector.file)]);
  if (await hasGpu()) {
    try {
      return await startNetwork("WebGPU", "webgpu", site, loader, { pose, detector });
    } catch (error) {
      console.warn(`WebGPU computes no networks here: ${error.message}`);
    }
  }
  return startNetwork("WebAssembly", "wasm", site, loader, { pose, detector });
}

/** Whether there is a graphics processor, and what lets WebAssembly wait for it. */
async function hasGpu() {
  if (!("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu?.requestAdapter();
  return Boolean(adapter) && !adapter.info.isFallbackAdapter;
}

async function startNetwork(name, provider, site, loader, files) {
  const { script, binary } = site.runtimes[provider];
  const ort = await import(loader.locate(script));
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: await loader.load(binary) });
  const open = (file) => ort.InferenceSession.create(file, { executionProviders: [provider] });
  const ready = new Networks(name, ort, site, await open(files.pose), await open(files.detector));
  await ready.warmUp();
  return ready;
}

class Loader {
  #numBytes = 0;

  constructor(sizes, locate, onLoaded) {
    Object.assign(this, { sizes, locate, onLoaded });
  }

  /** The bytes of a file. */
  async load(path) {
    const response = await fetch(this.locate(path)).catch(() => undefined);
    if (!response?.ok) throw new Error(`${path} cannot be loaded. Is there a connection?`);
    const bytes = new Uint8Array(this.sizes[path]); // the header's length would be that of the compressed file
    let place = 0;
    for await (const part of readParts(response.body)) {
      if (place + part.length > bytes.length) break;
      bytes.set(part, place);
      place += part.length;
      this.#numBytes += part.length;
      this.onLoaded(this.#numBytes);
    }
    if (place !== bytes.length) throw new Error(`${path} is not the file of this page. Reload it.`);
    return bytes;
  }
}

async function* readParts(stream) {
  const reader = stream.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
}

class Networks {
  /** @param name of what computes */
  constructor(name, ort, site, pose, detector) {
    Object.assign(this, { name, ort, site, pose, detector });
  }

  /** Let both networks make ready what they make ready only when they are used. */
  async warmUp() {
    const image = new ImageData(1, 1);
    await this.#detect(image, 0);
    await this.#estimate(image, [{ score: 1, box: [0, 0, 1, 1] }]);
  }

  /** The people of an `ImageData`, as predictions.json has them. */
  async findPeople(image, threshold) {
    const { skeleton, suppression_oks: suppression } = this.site;
    const detections = await this.#detect(image, threshold);
    const poses = [];
    for (let start = 0; start < detections.length; start += PEOPLE_AT_ONCE) {
      poses.push(...(await this.#estimate(image, detections.slice(start, start + PEOPLE_AT_ONCE))));
    }
    return selectPoses(poses, skeleton.sigmas, suppression).map((pose) => describePose(pose, skeleton));
  }

  async #detect(image, threshold) {
    const input = letterbox(image, this.site.detector.longer_side);
    const { boxes, scores } = await this.#run(this.detector, {
      images: new this.ort.Tensor("uint8", bytesOf(input.pixels), [1, input.height, input.width, COLORS]),
      image_sizes: new this.ort.Tensor("float32", [input.scaledHeight, input.scaledWidth], [1, 2]),
    });
    return readDetections(boxes, scores, input, image, threshold);
  }

  async #estimate(image, detections) {
    const { input, protocol } = this.site.pose;
    const cropLength = input.width * input.height * COLORS;
    const crops = new Uint8ClampedArray(detections.length * cropLength);
    const frames = detections.map(({ box }) => frameOf(box, protocol.padding, input));
    frames.forEach((frame, index) => {
      cutCrop(image, frame, input, crops.subarray(index * cropLength, (index + 1) * cropLength));
    });
    const { keypoints, scores, peaks } = await this.#run(this.pose, {
      crops: new this.ort.Tensor("uint8", bytesOf(crops), [detections.length, input.height, input.width, COLORS]),
    });
    const count = scores.length / detections.length;
    const of = (values, index, width) => values.subarray(index * width, (index + 1) * width);
    return detections.map((detection, index) => {
      const found = {
        keypoints: of(keypoints, index, 2 * count),
        scores: of(scores, index, count),
        peaks: of(peaks, index, count),
      };
      return placePose(detection, frames[index], found, protocol);
    });
  }

  async #run(session, inputs) {
    const outputs = await session.run(inputs);
    return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]));
  }
}

const bytesOf = (pixels) => new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length);
