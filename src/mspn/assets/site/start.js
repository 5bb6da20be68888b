/** Starts the page of a site whose networks run in the browser, in place of the page's own start.js. */

import { LocalService } from "./local_service.js";
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
