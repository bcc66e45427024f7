// The page of docs/examples/offline: notes that survive the loss of the network and of the session.

import assert from "node:assert/strict";
import { eventually } from "../stage.mjs";

const texts = (visitor, list) => visitor.page.locator(`#${list} li`).allInnerTexts();

/** Waits until the page shows exactly this. */
async function shows(visitor, status, { queue, sent, message }) {
  let last;
  const wanted = { status, queue, ...(sent && { sent }), ...(message && { message }) };
  await eventually(JSON.stringify(wanted), async () => {
    last = { status: await visitor.page.locator("#status").innerText(), queue: await texts(visitor, "queue") };
    if (sent) last.sent = await texts(visitor, "sent");
    if (message) last.message = await visitor.page.locator("#message").innerText();
    return JSON.stringify(last) === JSON.stringify(wanted);
  }).catch((error) => assert.deepEqual(last, wanted, error.message));
}

async function write(visitor, text) {
  await visitor.page.getByLabel("A note").fill(text);
  await visitor.page.getByRole("button", { name: "Add" }).click();
}

async function signIn(visitor, username) {
  await visitor.fillIn({ username });
  assert.equal(visitor.path(), "/app/");
}

export async function a_page_that_works_offline_loses_the_network_and_the_session_and_no_note(stage) {
  const ada = await stage.visitor();
  await ada.visit("/app/");
  await signIn(ada);
  await write(ada, "written online");
  await shows(ada, "online", { queue: [], sent: ["written online"] });
  assert.equal(await ada.page.locator("#user").innerText(), stage.username);
  const cookie = await ada.sessionCookie();
  await ada.page.evaluate(() => navigator.serviceWorker.ready);

  // The network goes, and the page is even loaded again without it.
  stage.wire.cut();
  await ada.context.setOffline(true);
  await write(ada, "written offline");
  await shows(ada, "offline", { queue: ["written offline"], sent: ["written online"] });
  await ada.page.reload();
  await shows(ada, "offline", { queue: ["written offline"] });
  assert.equal(await ada.page.locator("#user").innerText(), stage.username, "the page knows whose notes wait");
  await write(ada, "written after loading it again");
  await shows(ada, "offline", { queue: ["written offline", "written after loading it again"] });

  // It comes back, and nobody was signed out.
  stage.wire.mend();
  await ada.context.setOffline(false);
  const all = ["written online", "written offline", "written after loading it again"];
  await shows(ada, "online", { queue: [], sent: all });
  assert.deepEqual((await ada.sessionCookie()).value, cookie.value);

  // The session is ended while the page watches.
  await stage.command("session", "end", "--user", stage.username);
  await shows(ada, "signed out", { queue: [], message: "Your session was ended somewhere else." });
  await write(ada, "written signed out");
  await shows(ada, "signed out", { queue: ["written signed out"] });

  // Somebody else at the same computer neither sees nor sends what waits.
  await ada.follow(() => ada.page.getByRole("link", { name: "Sign in" }).click());
  await signIn(ada, "eve");
  await shows(ada, "online", { queue: [], sent: [] });
  await ada.visit("/.portcullis/logout");
  await ada.press("Sign out");
  await ada.visit("/app/");
  await signIn(ada);
  await shows(ada, "online", { queue: [], sent: [...all, "written signed out"] });
  // Connections that broke are in the console.
  ada.findings.length = 0;
}
