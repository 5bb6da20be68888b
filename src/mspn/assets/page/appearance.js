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
