// Signing out, sessions that were ended elsewhere, and what is left in the browser.

import assert from "node:assert/strict";
import { eventually } from "../stage.mjs";

/** Ends the visitor's sessions from the outside, and waits until the gateway has seen it. */
async function endAll(visitor) {
  await visitor.stage.command("session", "end", "--user", visitor.stage.username);
  await eventually("the end is seen", async () => (await visitor.fetch("/echo")).status === 401);
}

export async function signing_out_asks_first_and_leaves_nothing_behind(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  await ada.visit("/.portcullis/logout");
  assert.equal(await ada.heading(), "Sign out?");
  assert.match(await ada.text(), /Ada Lovelace/);
  const tab = await ada.context.newPage();
  await tab.goto(`${stage.origin}/.portcullis/session`);
  assert.match(await tab.locator("body").innerText(), /"state":"active"/, "asking ends nothing");
  const cookie = await ada.sessionCookie();
  await ada.press("Sign out");
  assert.equal(await ada.heading(), "Sign in");
  assert.equal(await ada.page.getByRole("status").innerText(), "You are signed out.");
  assert.equal(await ada.sessionCookie(), undefined);
  assert.equal(await ada.page.evaluate(() => document.cookie), "theirs=1", "the application's own cookie stays");
  await ada.visit("/");
  assert.equal(await ada.heading(), "Sign in");
  await ada.context.addCookies([cookie]);
  await ada.visit("/");
  assert.equal(await ada.heading(), "Sign in", "a cookie that was kept opens nothing");
}

export async function going_back_after_signing_out_shows_nothing_private(stage) {
  // Browsers treat the page that comes right after log-in in a way of its own.
  for (const way of [
    ["/.portcullis/me", "/private", "/.portcullis/me"],
    ["/private", "/.portcullis/me", "/.portcullis/logout"],
    ["/private", "/.portcullis/logout"],
  ]) {
    const ada = await stage.visitor();
    await ada.visit(way[0]);
    await ada.fillIn();
    for (const path of way.slice(1)) await ada.visit(path);
    assert.match(await ada.text(), /Ada Lovelace/);
    await ada.press("Sign out");
    for (let steps = 1; steps <= way.length; steps += 1) {
      // A page that the browser kept never loads again; it is just there.
      await ada.page.goBack({ waitUntil: "commit" });
      assert.equal(await ada.heading(), "Sign in", `${steps} back on the way ${way.join(", ")}`);
      assert.doesNotMatch(await ada.text(), /ada/i);
    }
  }
}

export async function a_session_that_was_ended_elsewhere_is_told_and_can_be_begun_again(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  await endAll(ada);
  await ada.visit("/echo");
  assert.equal(await ada.heading(), "Sign in");
  assert.match(await ada.page.getByRole("status").innerText(), /Your session has ended/);
  await ada.fillIn();
  assert.equal(ada.path(), "/echo");
}

export async function a_form_sent_after_the_session_ended_can_be_sent_again(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  await ada.visit("/form");
  await ada.page.getByLabel("Note").fill("what took an hour to write");
  await endAll(ada);
  const refused = await ada.press("Save");
  assert.equal(refused.status(), 401);
  assert.equal(await ada.heading(), "Please sign in first");
  const [tab] = await Promise.all([
    ada.context.waitForEvent("page"),
    ada.page.getByRole("link", { name: "Open the sign-in page" }).click(),
  ]);
  await tab.getByLabel("User name or e-mail").fill(stage.username);
  await tab.getByLabel("Password").fill(stage.password);
  await tab.getByRole("button", { name: "Sign in" }).click();
  await tab.waitForURL((address) => !address.pathname.startsWith("/.portcullis"));
  await ada.page.goBack({ waitUntil: "commit" });
  assert.equal(await ada.page.getByLabel("Note").inputValue(), "what took an hour to write");
  await ada.press("Save");
  assert.match(await ada.text(), /saved/);
}

/** Whether the browser still has `/asset` from before. */
const isCached = (visitor) => visitor.page.evaluate(() =>
  fetch("/asset", { cache: "only-if-cached", mode: "same-origin" }).then(
    (answer) => answer.ok,
    () => false,
  ),
);

async function signOutAfterReading(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  await ada.fetch("/asset");
  assert.ok(await isCached(ada));
  await ada.visit("/.portcullis/logout");
  await ada.press("Sign out");
  await ada.visit("/public");
  const found = await isCached(ada);
  ada.findings.length = 0;
  return found;
}

export async function signing_out_clears_the_cache_where_the_host_asks_for_it(stage) {
  assert.equal(await signOutAfterReading(stage), false);
}

export async function signing_out_leaves_the_cache_alone_where_nobody_asks(stage) {
  assert.equal(await signOutAfterReading(stage), true);
}
