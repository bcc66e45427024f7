// One user in several browsers: seeing them, ending one while it watches, ending all others.

import assert from "node:assert/strict";
import { bothAreCut, seen, watch } from "../watching.mjs";

const PHONE = {
  viewport: { width: 390, height: 844 },
  userAgent:
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36",
};
const TABLET = {
  userAgent:
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
};
/** The longest that a stream may go on after the end; the promise is far shorter, and busy machines are slow. */
const CUT = 5000;

async function cards(visitor) {
  return visitor.page.getByRole("listitem").filter({ has: visitor.page.getByRole("heading", { level: 2 }) }).allInnerTexts();
}

export async function one_browser_ends_the_session_of_another_while_it_watches_streams(stage) {
  const [desk, phone] = [await stage.visitor(), await stage.visitor(PHONE)];
  await desk.signIn();
  await phone.signIn();
  await watch(phone);
  await watch(desk);
  await desk.visit("/.portcullis/me");
  await desk.follow(() => desk.page.getByRole("link", { name: "Where you are signed in" }).click());
  const before = await cards(desk);
  assert.equal(before.length, 2);
  assert.equal(before.filter((card) => card.includes("This browser")).length, 1);
  assert.match(
    before.find((card) => !card.includes("This browser")),
    /Android[\s\S]*127\.0\.0\.1/,
  );
  const pressed = Date.now();
  await desk.press(/^End the session on .*Android/);
  assert.equal(await desk.page.getByRole("status").innerText(), "The session was ended.");
  assert.equal((await cards(desk)).length, 1);

  const { close, cut } = await bothAreCut(phone);
  assert.equal(close.code, 1008, "the WebSocket is told why");
  assert.ok(close.at - pressed < CUT, `the WebSocket went on for ${close.at - pressed} ms`);
  assert.ok(cut - pressed < CUT, `the events went on for ${cut - pressed} ms`);
  console.log(`cut after ${close.at - pressed} ms (WebSocket) and ${cut - pressed} ms (events)`);
  const { told, ...after } = await seen(phone);
  assert.deepEqual(
    told.map(({ name, reason }) => ({ name, reason })),
    [{ name: "ended", reason: "ended" }],
    "and the page is told, once",
  );
  await new Promise((done) => setTimeout(done, 500));
  assert.deepEqual(await seen(phone), { told, ...after }, "nothing comes after that");
  // The refused attempt of the event stream is in the console, as it should be.
  phone.findings.length = 0;

  await phone.visit("/");
  assert.equal(await phone.heading(), "Sign in");
  assert.match(await phone.page.getByRole("status").innerText(), /Your session has ended/);
  await phone.fillIn();
  await watch(phone);
  await desk.visit("/");
  assert.equal(await desk.identity(), stage.username, "the other browser goes on");
}

export async function the_streams_of_a_session_end_when_its_own_browser_signs_out(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  await watch(ada);
  const tab = await ada.context.newPage();
  await tab.goto(`${stage.origin}/.portcullis/logout`);
  await tab.getByRole("button", { name: "Sign out" }).click();
  await tab.waitForURL("**/.portcullis/login?notice=signed-out");
  const { close, told } = await bothAreCut(ada);
  assert.equal(close.code, 1008);
  assert.deepEqual(
    told.map(({ name, reason }) => ({ name, reason })),
    [{ name: "ended", reason: "logged_out" }],
  );
  ada.findings.length = 0;
}

/** The stage's sessions last eight seconds. */
export async function a_page_that_watches_is_told_before_its_session_ends_and_when(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  const { expires } = await ada.sessionCookie();
  await watch(ada);
  const { told } = await bothAreCut(ada);
  assert.deepEqual(
    told.map(({ name, reason }) => ({ name, reason })),
    [
      { name: "expiring", reason: "absolute" },
      { name: "ended", reason: "expired" },
    ],
  );
  for (const { at } of told) assert.ok(Math.abs(Date.parse(at) / 1000 - expires) < 2, `${at} is not ${expires}`);
  ada.findings.length = 0;
  await ada.visit("/");
  assert.equal(await ada.heading(), "Sign in");
}

export async function signing_out_everywhere_else_works_without_scripts_and_keeps_this_browser(stage) {
  const here = await stage.visitor({ javaScriptEnabled: false });
  const others = [await stage.visitor(PHONE), await stage.visitor(TABLET)];
  const eve = await stage.visitor();
  for (const ada of [here, ...others]) await ada.signIn();
  await eve.signIn({ username: "eve" });
  await here.visit("/.portcullis/sessions");
  assert.equal((await cards(here)).length, 3);
  await here.press("Sign out everywhere else");
  assert.equal(await here.page.getByRole("status").innerText(), "You are signed out everywhere else.");
  assert.equal((await cards(here)).length, 1);
  assert.equal(await here.page.getByRole("button", { name: "Sign out everywhere else" }).count(), 0);
  for (const other of others) {
    assert.equal((await other.fetch("/echo")).status, 401);
    await other.visit("/");
    assert.equal(await other.heading(), "Sign in");
  }
  await here.visit("/private");
  assert.match(await here.text(), /only for ada/);
  assert.equal(await eve.identity(), "eve", "other people's sessions are theirs");
}

export async function a_session_that_another_browser_ended_first_is_told_to_be_gone(stage) {
  const [one, two] = [await stage.visitor(), await stage.visitor(PHONE)];
  await one.signIn();
  await two.signIn();
  await one.visit("/.portcullis/sessions");
  await two.visit("/.portcullis/logout");
  await two.press("Sign out");
  await one.press(/^End the session on/);
  assert.match(await one.page.getByRole("alert").innerText(), /no such session/);
  assert.equal((await cards(one)).length, 1);
}
