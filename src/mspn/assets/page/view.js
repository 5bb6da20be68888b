/**
 * The photo and, on a canvas over it, the skeletons, sharp at any size of the window; and what every stage and level
 * of the network sees of a person: the paper's Figure 4.
 */

import { drawBox, drawPoses, drawRing } from "./draw.js";
import { mirrorPeople } from "./results.js";

const MAX_HEIGHT_SHARE = 0.7;
const MAX_ENLARGEMENT = 3;
const CLICK_MARGIN_PX = 24;

/** Let the context draw from left to right, or as a mirror. */
function turn(context, isMirrored) {
  context.setTransform(isMirrored ? -1 : 1, 0, 0, 1, isMirrored ? context.canvas.width : 0, 0);
}

export class View {
  #shown = { people: [] };

  constructor(stage, photo, skeletons) {
    this.stage = stage;
    this.photo = photo;
    this.skeletons = skeletons;
    new ResizeObserver(() => this.#fit()).observe(stage);
  }

  /** Show a bitmap, a video or a canvas of that size; a mirrored one as its subject knows it. */
  show(source, width, height, isMirrored = false) {
    this.#shown = { ...this.#shown, source, width, height, isMirrored };
    this.#fit();
  }

  /** Show nothing. */
  clear() {
    this.#shown = { people: [] };
    for (const canvas of [this.photo, this.skeletons]) canvas.style.width = canvas.style.height = "0";
  }

  #drawPhoto() {
    const { source, isMirrored } = this.#shown;
    const context = this.photo.getContext("2d");
    const { width, height } = this.photo;
    turn(context, isMirrored);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, width, height);
  }

  /**
   * Draw people over the photo.
   *
   * @param drawing people, skeleton, theme; person: gets a box; joint: name of that person's joint that gets a ring;
   *   layer: an image and its box that is shown in place of the skeletons
   */
  draw(drawing) {
    Object.assign(this.#shown, drawing);
    this.#drawSkeletons();
  }

  /** The person at a place on the page, the smallest of several; undefined if nobody is there. */
  personAt(clientX, clientY) {
    const { left, width } = this.skeletons.getBoundingClientRect();
    const { top } = this.skeletons.getBoundingClientRect();
    const scale = this.#shown.width / width;
    const x = (this.#shown.isMirrored ? width - (clientX - left) : clientX - left) * scale;
    const y = (clientY - top) * scale;
    const margin = CLICK_MARGIN_PX * scale;
    const isInside = ({ box: [boxLeft, boxTop, boxWidth, boxHeight] }) =>
      x > boxLeft - margin && x < boxLeft + boxWidth + margin && y > boxTop - margin && y < boxTop + boxHeight + margin;
    const area = ({ box }) => box[2] * box[3];
    return this.#shown.people.filter(isInside).sort((one, other) => area(one) - area(other))[0];
  }

  /** The photo with its skeletons in full size, as a PNG. */
  async toPng() {
    const { source, width, height, isMirrored, people, skeleton, theme } = this.#shown;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    turn(context, isMirrored);
    context.drawImage(source, 0, 0, width, height);
    context.resetTransform();
    drawPoses(context, isMirrored ? mirrorPeople(people, width) : people, skeleton, theme);
    return canvas.convertToBlob({ type: "image/png" });
  }

  /** As large as the window allows. */
  #fit() {
    const { source, width, height } = this.#shown;
    if (!source) return;
    const room = [this.stage.clientWidth / width, (MAX_HEIGHT_SHARE * innerHeight) / height, MAX_ENLARGEMENT];
    const scale = Math.min(...room);
    for (const canvas of [this.photo, this.skeletons]) {
      const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
      for (const [side, length] of Object.entries(size)) {
        canvas.style[side] = `${length}px`;
        const pixels = Math.round(length * devicePixelRatio);
        if (canvas[side] !== pixels) canvas[side] = pixels; // setting it clears the canvas
      }
    }
    this.#drawPhoto();
    this.#drawSkeletons();
  }

  #drawSkeletons() {
    const { source, width, isMirrored, people, skeleton, theme, person, joint, layer } = this.#shown;
    if (!source || !skeleton) return;
    const context = this.skeletons.getContext("2d");
    const scale = this.skeletons.width / width;
    context.clearRect(0, 0, this.skeletons.width, this.skeletons.height);
    if (layer) {
      const [left, top, layerWidth, layerHeight] = layer.box;
      turn(context, isMirrored);
      context.imageSmoothingEnabled = false; // cells of coarse levels stay visible
      context.drawImage(layer.image, left * scale, top * scale, layerWidth * scale, layerHeight * scale);
      context.resetTransform();
      return;
    }
    const facing = isMirrored ? mirrorPeople(people, width) : people;
    drawPoses(context, facing, skeleton, theme, { scale, minLine: 1.5 * devicePixelRatio });
    const chosen = facing[people.indexOf(person)];
    if (chosen && people.length > 1) drawBox(context, chosen.box, scale);
    if (chosen && joint) drawRing(context, chosen.keypoints[joint], scale, 8 * devicePixelRatio);
  }
}

const SECONDS_PER_LEVEL = 0.7;

/** What every stage and level of the network sees of a person. */
export class Heatmaps {
  #playing;
  #cells = [];
  #request = 0;

  /**
   * @param service asked for heat maps
   * @param onLayer called with the image and box of the level that someone chose, and undefined after that
   */
  constructor({ service, section, levels, steps, onLayer }) {
    Object.assign(this, { service, section, levels, steps, onLayer });
    steps.addEventListener("click", () => (this.#playing ? this.clearLayer() : this.#play()));
  }

  /**
   * Show what the network sees of a person; a later request wins.
   *
   * @param item with `sent`, the photo as the service got it, `sentScale`, its own pixels in one of that, and
   *   `askedThreshold`; undefined: nothing is shown
   * @param person of it, in the item's own pixels
   */
  async ask(item, person) {
    const request = ++this.#request;
    if (item === undefined) {
      this.hide();
      return;
    }
    try {
      const [left, top, width, height] = person.box;
      const place = [left + width / 2, top + height / 2].map((value) => value / item.sentScale);
      const { sentScale } = item;
      const { stages, box } = await this.service.paintHeatmaps(item.sent, place, item.askedThreshold);
      if (request === this.#request) await this.#show(stages, box.map((value) => value * sentScale));
    } catch (error) {
      if (request === this.#request) throw error;
    }
  }

  /** Show an answer of the service; while one kind of network is shown, the chosen level stays chosen. */
  async #show(stages, box) {
    const images = await Promise.all(stages.flat().map(({ keypoint_max: address }) => loadImage(address)));
    if (this.#cells.length !== images.length) this.#build(stages);
    this.#cells.forEach((cell, index) => {
      cell.layer = { image: images[index], box };
      cell.button.querySelector("img").replaceWith(images[index]);
      images[index].alt = "";
      if (cell.button.ariaPressed === "true") this.onLayer(cell.layer);
    });
    this.section.hidden = false;
  }

  hide() {
    this.clearLayer();
    this.section.hidden = true;
  }

  /** Show the skeletons again. */
  clearLayer() {
    clearTimeout(this.#playing);
    this.#playing = undefined;
    this.steps.textContent = "Play coarse to fine";
    this.#choose(undefined);
  }

  #build(stages) {
    this.#cells = [];
    const rows = stages.map((levels, stage) => {
      const row = document.createElement("div");
      row.className = "stage";
      const title = document.createElement("h3");
      title.textContent = `Stage ${stage + 1}`;
      const cells = levels.map((_, level) => this.#makeCell(stage, level, levels.length));
      this.#cells.push(...cells);
      row.append(title, ...cells.map((cell) => cell.button));
      return row;
    });
    this.levels.replaceChildren(...rows);
  }

  #makeCell(stage, level, numLevels) {
    const button = document.createElement("button");
    const end = level === 0 ? ", coarse" : level === numLevels - 1 ? ", fine" : "";
    button.type = "button";
    button.ariaPressed = "false";
    button.ariaLabel = `Stage ${stage + 1}, level ${level + 1}${end}`;
    const caption = document.createElement("span");
    caption.textContent = `Level ${level + 1}${end}`;
    button.append(document.createElement("img"), caption);
    const cell = { button };
    button.addEventListener("click", () => {
      const isOn = button.ariaPressed === "true";
      this.clearLayer();
      if (!isOn) this.#choose(cell);
    });
    return cell;
  }

  #choose(chosen) {
    for (const cell of this.#cells) cell.button.ariaPressed = String(cell === chosen);
    this.onLayer(chosen?.layer);
  }

  #play(index = 0) {
    if (index === this.#cells.length) {
      this.clearLayer();
      return;
    }
    this.steps.textContent = "Stop";
    this.#choose(this.#cells[index]);
    this.#playing = setTimeout(() => this.#play(index + 1), 1000 * SECONDS_PER_LEVEL);
  }
}

async function loadImage(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}
