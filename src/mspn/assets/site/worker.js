/** Finds people beside the page, which stays quick meanwhile: pictures in, entries of predictions.json out. */

import { loadNetworks } from "./networks.js";

let networks;
let last = Promise.resolve();

onmessage = ({ data: { site, base, number, picture, threshold } }) => {
  if (site) start(site, base);
  else last = last.then(() => answer(number, picture, threshold)); // one after another, for there is one processor
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

async function answer(number, picture, threshold) {
  try {
    const loaded = await networks;
    const image = await readPixels(picture);
    const people = await loaded.findPeople(image, threshold);
    postMessage({ number, answer: { width: image.width, height: image.height, people } });
  } catch (error) {
    postMessage({ number, error: error.message });
  }
}

/** Colors as the file has them, whatever profile it names, for so the networks learned them; on white, as in Python. */
async function readPixels(picture) {
  const bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
