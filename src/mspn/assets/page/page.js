/** The page: files, a video or the camera in; skeletons, joints and heat maps out. It asks whatever service it gets. */

import { Analysis, Camera, MAX_SIDE_PX, encodeFrame } from "./frames.js";
import { Item, countPeople, decode, giveFile, takeFiles } from "./gallery.js";
import { Panel, Player } from "./panel.js";
import { above, describeItems, labelOf, toCsv, toJson } from "./results.js";
import { Heatmaps, View } from "./view.js";
const element = (id) => document.getElementById(id);

/**
 * Start the page of index.html.
 *
 * @param service with `describe`, `findPeople` and `openStream`, as `Service` has them, and `paintHeatmaps` if it can
 */
export async function startPage(service) {
  try {
    const page = new Page(service, await service.describe());
    page.start();
  } catch (error) {
    element("alert").textContent = error.message;
  }
}

class Page {
  #items = [];
  #current;
  #label;
  #joint;
  #layer;

  constructor(service, model) {
    this.service = service;
    this.model = model;
    this.skeleton = model.skeleton;
    this.view = new View(element("stage"), element("photo"), element("skeletons"));
    this.panel = new Panel({
      people: element("people"),
      table: element("joints"),
      nobody: element("nobody"),
      onPerson: (label) => this.#choosePerson(label),
      onJoint: (name) => {
        this.#joint = name;
        this.#update();
      },
    });
    this.heatmaps = new Heatmaps({
      service,
      section: element("heatmaps"),
      levels: element("levels"),
      steps: element("steps"),
      onLayer: (layer) => {
        this.#layer = layer;
        if (layer) element("stage").scrollIntoView({ block: "nearest" });
        this.#update();
      },
    });
    this.analysis = new Analysis({
      service,
      model,
      getThreshold: () => this.#threshold,
      onOpen: (item, bitmap) => this.#showOpened(item, bitmap),
      onSample: (item, frame) => this.#showSample(item, frame),
      onEnd: (item) => this.#showEnd(item),
    });
    this.player = new Player({
      play: element("play"),
      scrubber: element("scrubber"),
      tracks: element("tracks"),
      time: element("clock"),
      onFrame: (source, seconds) => this.#showFrame(source, seconds),
    });
  }

  start() {
    element("model").textContent = this.model.recipe ?? this.model.name;
    element("privacy").textContent = this.service.privacy;
    element("programs").hidden = !this.service.hasInterface;
    element("heatmaps-switch").hidden = !this.service.paintHeatmaps;
    for (const theme of Object.keys(this.skeleton.colors)) {
      element("theme").append(new Option(theme[0].toUpperCase() + theme.slice(1).replaceAll("-", " "), theme));
    }
    element("threshold").value = this.model.threshold;
    for (const id of ["theme", "threshold"]) element(id).addEventListener("input", () => this.#update());
    element("threshold").addEventListener("change", () => this.#askHeatmaps());
    element("show-heatmaps").addEventListener("change", () => {
      const { video } = this.#current;
      if (video) this.#sendFrame(this.#current, video.video);
      this.#askHeatmaps();
    });
    takeFiles(element("files"), (files) => this.add(files));
    element("skeletons").addEventListener("click", ({ clientX, clientY }) => {
      const person = this.view.personAt(clientX, clientY);
      if (person) this.#choosePerson(labelOf(person, this.#current.people));
    });
    this.#press("sample", () => this.#addSample());
    this.#press("clear", () => this.#clear());
    this.#press("camera", () => this.#startCamera());
    this.#press("stop", () => this.#stopCamera());
    this.#press("keep", () => this.#keep());
    const save = (text, type, ending) => this.#save(new Blob([text], { type }), ending);
    this.#press("save-json", () => save(toJson(this.#entries()), "application/json", "json"));
    this.#press("save-csv", () => save(toCsv(this.#entries()), "text/csv", "csv"));
    this.#press("save-png", async () => this.#save(await this.view.toPng(), "png"));
  }

  /** Take photos and videos; the last one before is no longer shown. */
  add(files) {
    element("alert").textContent = "";
    const choose = (item) => {
      this.#stopCamera();
      this.#select(item);
    };
    const items = files.map((file) => new Item(file, choose));
    if (items.length === 0) return;
    this.#stopCamera();
    this.#items.push(...items);
    element("gallery").append(...items.map((item) => item.entry));
    this.#select(items[0]);
    this.analysis.add(items);
  }

  /** What happens on a press of a button; its failure becomes a line. */
  #press(id, action) {
    element(id).addEventListener("click", () => Promise.resolve(action()).catch((error) => this.#tell(error)));
  }

  #tell(error) {
    element("alert").textContent = error.message;
  }

  get #threshold() {
    return Number(element("threshold").value);
  }

  #showOpened(item, bitmap) {
    if (item !== this.#current) return;
    if (item.video) this.#select(item);
    else this.view.show(bitmap, bitmap.width, bitmap.height);
    this.#update();
  }

  #showSample(item, frame) {
    if (item !== this.#current) return;
    this.player.drawTracks(this.skeleton);
    if (item.video.isFollowed) this.player.show(frame, item.video.samples.at(-1).seconds);
  }

  #showEnd(item) {
    if (item !== this.#current) {
      item.update(above(this.#threshold, item.people).length);
      return;
    }
    if (item.video?.isFollowed && item.state === "done") this.player.seek(0);
    this.#update();
    if (item.state === "failed") element("alert").textContent = item.error;
    if (item.state === "done") element("status").textContent = item.button.ariaLabel;
    if (item.state === "done" && item.kind === "photo") this.#askHeatmaps();
  }

  /** Show a frame of the current video with its people. */
  #showFrame(source, seconds) {
    const item = this.#current;
    item.people = item.video.peopleAt(seconds);
    this.view.show(source, item.width, item.height);
    this.#update();
    if (item.video.video.paused && !item.video.isFollowed) this.#sendFrame(item, source);
  }

  /** Ask for the heat maps of the newest frame, after those of another that are on their way. */
  async #sendFrame(item, source) {
    this.newest = { item, source };
    if (this.isSending || !element("show-heatmaps").checked) return;
    this.isSending = true;
    try {
      while (this.newest?.item === this.#current) {
        const frame = this.newest;
        this.newest = undefined;
        frame.item.sent = await encodeFrame(frame.source, frame.item.width, frame.item.height);
        frame.item.sentScale = Math.max(1, frame.item.width / MAX_SIDE_PX, frame.item.height / MAX_SIDE_PX);
        await this.#askHeatmaps();
      }
    } finally {
      this.isSending = false;
    }
  }

  #select(item) {
    this.player.close();
    this.view.clear();
    this.#current = item;
    this.#joint = undefined;
    this.#label = undefined;
    this.heatmaps.hide();
    element("start").hidden = item !== undefined;
    element("entrance").classList.toggle("is-empty", item === undefined);
    element("work").hidden = item === undefined;
    element("clear").hidden = this.#items.length === 0;
    element("gallery").hidden = this.#items.length < 2;
    for (const { button } of this.#items) button.ariaCurrent = String(button === item?.button);
    if (item === undefined) return;
    element("title").textContent = item.name;
    element("player").hidden = !item.video;
    element("shutter").hidden = item.kind !== "camera";
    element("alert").textContent = item.error ?? "";
    if (item.video) {
      this.player.open(item.video);
      this.player.drawTracks(this.skeleton);
    }
    if (item.kind === "photo" && item.width) this.#showPhoto(item).catch((error) => this.#tell(error));
    this.#update();
    this.#askHeatmaps();
  }

  async #showPhoto(item) {
    const bitmap = await decode(item.file);
    if (item === this.#current) this.view.show(bitmap, bitmap.width, bitmap.height);
  }

  /** Draw again what threshold, colors and choice change. */
  #update() {
    element("threshold-value").textContent = this.#threshold.toFixed(2);
    const item = this.#current;
    if (item === undefined) return;
    const theme = element("theme").value;
    const shown = above(this.#threshold, item.people);
    const person = shown.find((one) => labelOf(one, item.people) === this.#label) ?? shown[0];
    const isKnown = item.state === "done" || item.people.length > 0 || item.kind !== "photo";
    this.view.draw({ people: shown, skeleton: this.skeleton, theme, person, joint: this.#joint, layer: this.#layer });
    this.panel.update({ shown, people: item.people, person, skeleton: this.skeleton, theme });
    element("count").textContent = isKnown ? countPeople(shown.length) : "";
    element("nobody").hidden = !isKnown || shown.length > 0;
    element("busy").hidden = item.state !== "working" && item.state !== "waiting";
    element("busy").textContent = item.video ? "Looking through the video…" : "Looking for people…";
    element("skeletons").ariaLabel = `${item.name}: ${isKnown ? countPeople(shown.length) : "in work"}`;
    element("skeletons").dataset.people = shown.length;
    for (const id of ["save-png", "keep"]) element(id).disabled = !item.width;
    for (const other of this.#items) other.update(above(this.#threshold, other.people).length);
    element("heatmaps-person").textContent = person ? `person ${labelOf(person, item.people)}` : "the person";
    this.person = person;
  }

  #choosePerson(label) {
    this.#label = label;
    this.#update();
    this.#askHeatmaps();
  }

  /** Ask for the heat maps of the chosen person, if they are to be seen. */
  async #askHeatmaps() {
    const isWanted = element("show-heatmaps").checked && this.person && this.#current.sent;
    try {
      await this.heatmaps.ask(isWanted ? this.#current : undefined, this.person);
    } catch (error) {
      this.#tell(error);
    }
  }

  async #addSample() {
    const response = await fetch(this.service.sample);
    if (!response.ok) throw new Error("There is no sample here.");
    this.add([new File([await response.blob()], "sample.jpg", { type: "image/jpeg" })]);
  }

  #clear() {
    this.#stopCamera();
    for (const item of this.#items) item.close();
    this.#items = [];
    this.analysis.clear();
    element("gallery").replaceChildren();
    this.#select(undefined);
  }

  async #startCamera() {
    this.#stopCamera();
    const camera = new Camera();
    element("camera").disabled = true;
    try {
      await camera.open();
    } finally {
      element("camera").disabled = false;
    }
    const item = { kind: "camera", name: "Camera", people: [], state: "live", camera };
    this.#select(item);
    try {
      await camera.run(this.analysis.openStream(item), (bitmap, people, rate) => {
        element("rate").textContent = rate ? `${rate} frames a second` : "";
        item.bitmap?.close();
        Object.assign(item, { bitmap, people, width: bitmap.width, height: bitmap.height });
        this.view.show(bitmap, bitmap.width, bitmap.height, true);
        this.#update();
        this.#sendFrame(item, bitmap);
      });
    } catch (error) {
      this.#stopCamera();
      throw error;
    }
  }

  #stopCamera() {
    if (this.#current?.kind !== "camera") return;
    this.#current.camera.close();
    this.#select(this.#items.at(-1));
  }

  /** Take what the camera shows as a photo. */
  async #keep() {
    const { bitmap, width, height } = this.#current;
    const photo = await encodeFrame(bitmap, width, height, Infinity);
    this.add([new File([photo], `camera-${this.#items.length + 1}.jpg`, { type: photo.type })]);
  }

  /** What is shown of all files, or of the camera. */
  #entries() {
    return describeItems(this.#current.kind === "camera" ? [this.#current] : this.#items, this.#threshold);
  }

  #save(blob, ending) {
    const isOne = ending === "png" || this.#items.length === 1 || this.#current.kind === "camera";
    giveFile(blob, `${isOne ? this.#current.name.replace(/\.\w+$/, "") : "predictions"}.${ending}`);
  }
}

/** Light or dark: as the system, until someone chooses. */
const button = document.getElementById("appearance");
const system = matchMedia("(prefers-color-scheme: dark)");

function update() {
  const chosen = localStorage.getItem("appearance");
  document.documentElement.dataset.appearance = chosen ?? "";
  button.ariaPressed = String(chosen ? chosen === "dark" : system.matches);
}

button.addEventListener("click", () => {
  localStorage.setItem("appearance", button.ariaPressed === "true" ? "light" : "dark");
  update();
});
system.addEventListener("change", update);
update();
