// Notes that can be written without the network. What waits is kept in this browser, for the user who wrote it, until it
// was sent; signing out or losing the session loses none of it.

const GATEWAY = "/.portcullis";
const $ = (id) => document.getElementById(id);

let user = read("notes-user", null);
let signedIn = false;
let events = null;
let sending = null;

// --- what is kept in this browser ---

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function keep(key, value) {
  localStorage.setItem(key, JSON.stringify(value));
}

const queue = () => read("notes-queue", []);
/** Notes of the user who is shown. What somebody else wrote here stays theirs. */
const mine = () => queue().filter((note) => note.user === user?.id);

// --- what is shown ---

function show(status) {
  $("user").textContent = user ? (user.name ?? user.username) : "nobody";
  $("status").textContent = status;
  list("queue", mine().map((note) => note.text));
}

function list(id, texts) {
  $(id).replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

function tell(message, { login = false, stay = false } = {}) {
  $("message").textContent = message;
  $("login").hidden = !login;
  $("stay").hidden = !stay;
  $("banner").hidden = message === "";
}

function offline() {
  show("offline");
}

/** Nobody is signed in any more. The queue stays, and so does whose it is. */
function signedOut(why) {
  signedIn = false;
  events?.close();
  events = null;
  const words = {
    logged_out: "You signed out.",
    ended: "Your session was ended somewhere else.",
    expired: "Your session has expired.",
    disabled: "This account may no longer sign in.",
    signed_in_again: "You signed in again in another tab.",
  };
  const waiting = mine().length > 0 ? " What waits here will be sent when you are back." : "";
  tell(`${words[why] ?? "Please sign in."}${waiting}`, { login: true });
  show("signed out");
}

// --- the gateway ---

/** `sync`: says that this page is back, and hears who is signed in. It counts as activity. */
async function sync() {
  const answer = await fetch(`${GATEWAY}/sync`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ device: { name: deviceName() } }),
  });
  if (answer.status === 401) {
    // `error` is "Session expired" for a session that is over, "Not authenticated" for none.
    signedOut((await answer.json()).error === "Session expired" ? "expired" : "none");
    return false;
  }
  if (!answer.ok) {
    throw new Error(`sync: ${answer.status}`);
  }
  ({ user } = await answer.json());
  keep("notes-user", user);
  signedIn = true;
  tell("");
  return true;
}

function deviceName() {
  const system = navigator.userAgentData?.platform ?? navigator.platform ?? "";
  return `Notes on ${system || "this device"}`.slice(0, 60);
}

/** `events`: what becomes of the session, as it happens. */
function listen() {
  if (events && events.readyState !== EventSource.CLOSED) {
    return;
  }
  events = new EventSource(`${GATEWAY}/events`);
  events.addEventListener("ended", (event) => signedOut(JSON.parse(event.data).reason));
  events.addEventListener("expiring", (event) => {
    const { at, reason } = JSON.parse(event.data);
    const time = new Date(at).toLocaleTimeString();
    // Activity moves the idle end; the absolute one needs a new log-in.
    const idle = reason === "idle";
    tell(`Your session ends at ${time}.`, { stay: idle, login: !idle });
  });
  events.addEventListener("changed", () => back());
  events.addEventListener("error", () => {
    // The browser comes back by itself after a lost connection, but not after an answer such as 401 or 503.
    if (events?.readyState === EventSource.CLOSED) {
      events = null;
      setTimeout(back, 5000);
    }
  });
}

// --- the application ---

async function send() {
  for (const note of mine()) {
    const answer = await fetch("/app/notes", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ id: note.id, text: note.text }),
    });
    if (answer.status === 401) {
      signedOut("expired");
      return;
    }
    if (!answer.ok) {
      throw new Error(`notes: ${answer.status}`);
    }
    keep("notes-queue", queue().filter((other) => other.id !== note.id));
    show("online");
  }
  const answer = await fetch("/app/notes", { headers: { Accept: "application/json" } });
  if (answer.ok) {
    list("sent", await answer.json());
  }
}

/** Back from wherever: who is signed in, then all that waits. One at a time, however many events ask for it. */
function back() {
  sending ??= (async () => {
    try {
      if (await sync()) {
        listen();
        show("online");
        await send();
      }
    } catch {
      // No network, or nobody answers behind it: not a sign that anybody was signed out.
      offline();
      if (navigator.onLine) {
        setTimeout(back, 5000);
      }
    } finally {
      sending = null;
    }
  })();
  return sending;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("note").value.trim();
  if (text && user) {
    keep("notes-queue", [...queue(), { id: crypto.randomUUID(), user: user.id, text }]);
    $("note").value = "";
    show($("status").textContent);
    if (signedIn && navigator.onLine) {
      back();
    }
  }
});
$("stay").addEventListener("click", back);
addEventListener("online", back);
addEventListener("offline", offline);

show("starting");
navigator.serviceWorker?.register("worker.js").catch(() => {});
back();
