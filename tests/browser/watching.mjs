// A page that has streams open: an application's events and WebSocket, and what the portal tells of the session.

import { eventually } from "./stage.mjs";

/** Opens an event stream and a WebSocket that says something all the time, in the page that is open. */
export async function watch(visitor) {
  await visitor.page.evaluate(() => {
    const seen = { events: 0, echoes: 0, cut: null, refused: false, close: null, told: [] };
    window.seen = seen;
    const source = new EventSource("/events");
    source.onmessage = () => (seen.events += 1);
    // The stream ends, the browser asks again after some seconds, and is refused for good.
    source.onerror = () => {
      seen.cut ??= Date.now();
      seen.refused = source.readyState === EventSource.CLOSED;
    };
    const portal = new EventSource("/.portcullis/events");
    for (const name of ["expiring", "ended", "changed"]) {
      portal.addEventListener(name, (event) => seen.told.push({ name, ...JSON.parse(event.data) }));
    }
    portal.addEventListener("ended", () => portal.close());
    const socket = new WebSocket(`wss://${location.host}/ws`);
    socket.onopen = () => setInterval(() => socket.readyState === WebSocket.OPEN && socket.send("still here"), 50);
    socket.onmessage = () => (seen.echoes += 1);
    socket.onclose = ({ code, wasClean }) => (seen.close = { code, wasClean, at: Date.now() });
  });
  await eventually("both streams flow", async () => {
    const { events, echoes } = await seen(visitor);
    return events > 2 && echoes > 2;
  });
}

/** What the page that watches has seen so far. */
export const seen = (visitor) => visitor.page.evaluate(() => window.seen);

/** What it has seen when both streams were cut and the browser was refused a new one. */
export const bothAreCut = (visitor) =>
  eventually("both streams are cut, and refused when asked for again", async () => {
    const now = await seen(visitor);
    return now.close && now.refused && now;
  });
