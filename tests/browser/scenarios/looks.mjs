// Every page as people see it: in light and dark, narrow and wide, by keyboard, and under its own policy.

import assert from "node:assert/strict";
import { focus, stops } from "../measure.mjs";

/** Every page: its name, its status, and how somebody comes to see it. */
const PAGES = [
  ["login", 200, (guest) => guest.visit("/.portcullis/login")],
  [
    "login-wrong",
    401,
    async (guest) => {
      await guest.visit("/");
      return guest.fillIn({ password: "not the password" });
    },
  ],
  ["login-signed-out", 200, (guest) => guest.visit("/.portcullis/login?notice=signed-out")],
  ["signed-in", 200, (_, ada) => ada.visit("/.portcullis/login")],
  ["logout", 200, (_, ada) => ada.visit("/.portcullis/logout")],
  ["account", 200, (_, ada) => ada.visit("/.portcullis/me")],
  ["account-of-long-names", 200, (_, __, long) => long.visit("/.portcullis/me")],
  ["logout-of-long-names", 200, (_, __, long) => long.visit("/.portcullis/logout")],
  ["sessions", 200, (_, ada) => ada.visit("/.portcullis/sessions")],
  ["sessions-ended", 200, (_, ada) => ada.visit("/.portcullis/sessions?notice=others-ended")],
  ["sessions-of-long-names", 200, (_, __, long) => long.visit("/.portcullis/sessions")],
  ["send-again", 401, (guest) => post(guest, "/")],
  ["forbidden", 403, (_, ada) => ada.visit("/closed")],
  ["not-found", 404, (guest) => guest.visit("/.portcullis/nothing-here")],
  ["wrong-method", 405, (guest) => post(guest, "/.portcullis/me")],
  ["bad-request", 400, (_, ada) => ada.visit("/a%2fb")],
  ["unreachable", 502, (_, ada) => ada.visit("/broken")],
];

const OTHER_BROWSERS = [
  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
  "curl/8.9.1",
];

function post(visitor, path) {
  return visitor.visit("/public").then(() =>
    visitor.follow(() =>
      visitor.page.evaluate((action) => {
        const form = Object.assign(document.createElement("form"), { method: "post", action });
        document.body.append(form);
        form.submit();
      }, path),
    ),
  );
}

/** Opens each page in turn; `look` is given the visitor who sees it. */
async function onEachPage(stage, look) {
  const [guest, ada, long] = [await stage.visitor(), await stage.visitor(), await stage.visitor()];
  await ada.signIn();
  await long.signIn({ username: stage.long_name });
  for (const userAgent of OTHER_BROWSERS) {
    const elsewhere = await stage.visitor({ userAgent });
    await elsewhere.signIn();
    await elsewhere.context.close();
  }
  for (const [name, status, open] of PAGES) {
    const before = new Map([guest, ada, long].map((visitor) => [visitor, visitor.page.url()]));
    const answer = await open(guest, ada, long);
    assert.equal(answer.status(), status, name);
    const frame = answer.frame();
    const visitor = [guest, ada, long].find(({ page }) => page.mainFrame() === frame);
    assert.ok(before.has(visitor));
    await look(name, visitor);
  }
}

export async function every_page_is_readable_in_light_and_dark_narrow_and_wide(stage) {
  await onEachPage(stage, (name, visitor) => visitor.examine(name));
}

export async function the_keyboard_reaches_everything_in_order_and_shows_where_it_is(stage) {
  await onEachPage(stage, async (name, { page }) => {
    const count = await page.evaluate(stops);
    // From the top, wherever the page put the focus at first.
    await page.evaluate(() => {
      document.body.tabIndex = -1;
      document.body.focus();
    });
    for (let place = 0; place < count; place += 1) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(focus);
      assert.equal(at.place, place, `${name}: stop ${place} is ${at.html}`);
      assert.ok(at.shown >= 2, `${name}: nothing shows that the focus is on ${at.html}`);
      assert.ok(at.onScreen, `${name}: the focus, or its ring, is out of sight on ${at.html}`);
    }
  });
}

export async function no_page_breaks_its_own_policy_and_the_policy_is_kept(stage) {
  await onEachPage(stage, async (name, visitor) => {
    assert.deepEqual(visitor.findings, [], name);
    const ran = await visitor.page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.injected = true";
      document.body.append(script);
      const style = document.createElement("style");
      style.textContent = "body { display: none }";
      document.head.append(style);
      return window.injected === true || getComputedStyle(document.body).display === "none";
    });
    assert.equal(ran, false, `${name}: what was slipped in has no effect`);
    await visitor.page.evaluate(() => new Promise((done) => setTimeout(done)));
    assert.ok(
      visitor.findings.some((finding) => finding.includes("Content Security Policy")),
      `${name}: the browser says so`,
    );
    visitor.findings.length = 0;
  });
}
