/**
 * Keeps the files of the site, so that it works without a net. `SITE` is written above this when the site is made: its
 * version, the names of all its files, and of those the ones that every browser needs.
 */

const NAME = `mspn ${registration.scope} `; // sites of one host share their caches
const CACHE = NAME + SITE.version;
const PAGE = new URL("./", registration.scope).href;
const FILES = new Set([PAGE, ...SITE.files.map((path) => new URL(path, PAGE).href)]);

addEventListener("install", (event) => {
  const keepFirst = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll([PAGE, ...SITE.first].map((path) => new Request(new URL(path, PAGE), { cache: "no-cache" })));
  };
  event.waitUntil(keepFirst());
});

addEventListener("activate", (event) => {
  const forgetOld = async () => {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith(NAME) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await clients.claim();
  };
  event.waitUntil(forgetOld());
});

addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  address.search = address.hash = "";
  const place = address.href === `${PAGE}index.html` ? PAGE : address.href;
  if (event.request.method === "GET" && FILES.has(place)) event.respondWith(answer(event.request, place));
});

async function answer(request, place) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(place);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await cache.put(place, response.clone());
  return response;
}
