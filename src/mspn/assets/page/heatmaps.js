/** What every stage and level of the network sees of a person: the paper's Figure 4. */

const SECONDS_PER_LEVEL = 0.7;

export class Heatmaps {
  #playing;
  #cells = [];
  #request = 0;

  /**
   * @param service asked for heat maps
   * @param onLayer called with the picture and box of the level that someone chose, and undefined after that
   */
  constructor({ service, section, levels, steps, onLayer }) {
    Object.assign(this, { service, section, levels, steps, onLayer });
    steps.addEventListener("click", () => (this.#playing ? this.clearLayer() : this.#play()));
  }

  /**
   * Show what the network sees of a person; a later request wins.
   *
   * @param item with `sent`, the picture as the service got it, `sentScale`, its own pixels in one of that, and
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
