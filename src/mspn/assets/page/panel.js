/** The people of a picture as buttons, and the joints of the chosen one as a table. */

import { numberPeople, personColor } from "./draw.js";
import { labelOf } from "./results.js";

const words = (name) => {
  const text = name.replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
};

export class Panel {
  /**
   * @param onPerson called with the label of the person that someone chose
   * @param onJoint called with the name of the joint that someone looks at, and undefined after that
   */
  constructor({ people, table, nobody, onPerson, onJoint }) {
    Object.assign(this, { people, table, nobody, onJoint });
    people.addEventListener("change", ({ target }) => onPerson(Number(target.value)));
    table.addEventListener("pointerleave", () => onJoint(undefined));
  }

  /** Show the shown ones of all people; `person` is the chosen one, or undefined. */
  update({ shown, people, person, skeleton, theme }) {
    this.#updatePeople(shown, people, person, skeleton, theme);
    this.#updateTable(person, skeleton);
    this.nobody.hidden = person !== undefined;
  }

  #updatePeople(shown, people, person, skeleton, theme) {
    const labels = shown.map((one) => labelOf(one, people));
    const buttons = [...this.people.querySelectorAll("label")];
    if (buttons.map((button) => button.dataset.label).join() !== labels.join()) {
      for (const button of buttons) button.remove();
      this.people.append(...labels.map(makeButton));
    }
    this.people.hidden = shown.length === 0;
    const isColored = skeleton.colors[theme].colored_by === "person";
    const numbers = numberPeople(shown);
    [...this.people.querySelectorAll("label")].forEach((button, index) => {
      button.firstChild.checked = shown[index] === person;
      const color = isColored ? personColor(skeleton, theme, numbers.get(shown[index])) : "";
      button.style.setProperty("--person", color);
    });
  }

  #updateTable(person, skeleton) {
    const body = this.table.tBodies[0];
    this.table.hidden = person === undefined;
    if (person === undefined) return;
    if (body.rows.length !== skeleton.keypoints.length) {
      body.replaceChildren(...skeleton.keypoints.map((name) => this.#makeRow(name)));
    }
    skeleton.keypoints.forEach((name, index) => {
      const [x, y, score] = person.keypoints[name];
      const [, xCell, yCell, scoreCell] = body.rows[index].cells;
      xCell.textContent = x.toFixed(1);
      yCell.textContent = y.toFixed(1);
      scoreCell.textContent = score.toFixed(2);
      scoreCell.style.setProperty("--share", score);
    });
  }

  #makeRow(name) {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = words(name);
    row.append(head, ...[0, 1, 2].map(() => document.createElement("td")));
    row.lastChild.className = "score";
    row.addEventListener("pointerenter", () => this.onJoint(name));
    return row;
  }
}

function makeButton(label) {
  const button = document.createElement("label");
  button.dataset.label = label;
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "person", value: label });
  button.append(input, String(label));
  return button;
}
