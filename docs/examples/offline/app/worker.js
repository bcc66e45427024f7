// Keeps the page's own files, so that it opens without the network. Its scope is /app/: a worker whose scope covers
// the gateway's pages is refused by the gateway, because it could answer the log-in page in its place.

const CACHE = "notes-shell-1";
const SHELL = ["/app/", "/app/app.js", "/app/style.css"];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(CACHE).then((cache) =>
      // Without a session these would be redirects to the log-in page, which is no shell.
      cache.addAll(SHELL.map((path) => new Request(path, { redirect: "error", cache: "reload" })))),
  );
  self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("notes-shell-") && name !== CACHE;
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const ours = url.origin === self.location.origin && SHELL.includes(url.pathname);
  // Everything else, the gateway's own paths above all, goes to the network untouched.
  if (ours && event.request.method === "GET") {
    event.respondWith(fromNetworkFirst(event.request, url.pathname));
  }
});

async function fromNetworkFirst(request, path) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok && !answer.redirected) {
      await cache.put(path, answer.clone());
    }
    // A log-in is due (a redirect), or all is well; only a gateway or an application in trouble counts as no network.
    return answer.status >= 500 ? ((await cache.match(path)) ?? answer) : answer;
  } catch {
    return (await cache.match(path)) ?? Response.error();
  }
}
