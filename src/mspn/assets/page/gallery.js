/** Files, how they come and go, and their thumbnails. */

const THUMBNAIL_PX = 160;

export const countPeople = (number) => (number === 1 ? "1 person" : `${number || "no"} people`);

/** The pixels of a file, upright. */
export async function decode(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error("This browser cannot show it.");
  }
}

/** Call `onFiles` with what is chosen, pasted or dropped on the page. */
export function takeFiles(chooser, onFiles) {
  chooser.addEventListener("change", () => {
    onFiles([...chooser.files]);
    chooser.value = "";
  });
  addEventListener("paste", ({ clipboardData }) => onFiles([...clipboardData.files]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  for (const event of ["dragleave", "drop"]) {
    addEventListener(event, () => document.body.classList.remove("dropping"));
  }
  addEventListener("drop", (event) => {
    event.preventDefault();
    onFiles([...event.dataTransfer.files]);
  });
}

/** Let the browser store a file of that name. */
export function giveFile(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A photo or a video, with its button in the gallery; `state` is waiting, working, done or failed. */
export class Item {
  people = [];
  state = "waiting";
  isClosed = false;

  /** @param onChoose called with this item when someone chooses it */
  constructor(file, onChoose) {
    this.file = file;
    this.name = file.name;
    this.kind = file.type.startsWith("video/") ? "video" : "photo";
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.title = file.name;
    this.thumbnail = document.createElement("canvas");
    this.badge = document.createElement("span");
    this.button.append(this.thumbnail, this.badge);
    this.button.addEventListener("click", () => onChoose(this));
    this.entry = document.createElement("li");
    this.entry.append(this.button);
    this.update(0);
  }

  /** Say how many people are shown. */
  update(number) {
    const isVideo = this.kind === "video";
    const badges = { waiting: "…", working: "…", failed: "!", done: isVideo ? "▶" : String(number) };
    const words = { waiting: "in work", working: "in work", failed: "failed", done: isVideo ? "video" : countPeople(number) };
    this.badge.textContent = badges[this.state];
    this.button.ariaLabel = `${this.name}: ${words[this.state]}`;
  }

  /** Nobody will look at it again. */
  close() {
    this.isClosed = true;
    this.video?.close();
  }

  /** Fill the thumbnail with the middle of what shows the photo. */
  drawThumbnail(source) {
    const factor = THUMBNAIL_PX / Math.min(this.width, this.height);
    const [width, height] = [this.width * factor, this.height * factor];
    this.thumbnail.width = this.thumbnail.height = THUMBNAIL_PX;
    const context = this.thumbnail.getContext("2d");
    context.drawImage(source, (THUMBNAIL_PX - width) / 2, (THUMBNAIL_PX - height) / 2, width, height);
  }
}
