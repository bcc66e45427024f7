// What is refused although nothing is wrong with it: too many attempts, too many sessions.

import assert from "node:assert/strict";

/** The stage allows three attempts for an account. */
export async function strangers_who_guess_are_slowed_down_and_the_owner_is_not(stage) {
  const [owner, stranger] = [await stage.visitor(), await stage.visitor()];
  await owner.signIn();
  await owner.visit("/.portcullis/logout");
  await owner.press("Sign out");
  await stranger.visit("/");
  for (let attempt = 0; attempt < 3; attempt += 1) {
    assert.equal((await stranger.fillIn({ password: `guess ${attempt}` })).status(), 401);
  }
  const refused = await stranger.fillIn();
  assert.equal(refused.status(), 429, "the right password as well, so that guessing tells nothing");
  const seconds = Number(await refused.headerValue("retry-after"));
  assert.ok(seconds > 0 && seconds <= 600, `Retry-After: ${seconds}`);
  assert.match(await stranger.page.getByRole("alert").innerText(), /too many attempts[\s\S]*in \d+ (seconds|minutes)/);
  assert.equal(await stranger.page.getByLabel("User name or e-mail").inputValue(), stage.username);
  assert.equal(await stranger.sessionCookie(), undefined);
  await stranger.examine("login-throttled");
  await owner.visit("/");
  await owner.fillIn();
  assert.equal(await owner.identity(), stage.username, "who signed in here before is not kept out by strangers");
}

/** The stage allows one session a user, and refuses more. */
export async function a_session_too_many_is_refused_with_what_to_do_about_it(stage) {
  const [first, second] = [await stage.visitor(), await stage.visitor()];
  await first.signIn();
  await second.visit("/");
  assert.equal((await second.fillIn()).status(), 409);
  await second.examine("login-full");
  assert.match(await second.page.getByRole("alert").innerText(), /sign/i);
  assert.equal(await first.identity(), stage.username);
  await first.visit("/.portcullis/logout");
  await first.press("Sign out");
  await second.fillIn();
  assert.equal(await second.identity(), stage.username);
}

/** The stage allows one session a user, and ends the oldest. */
export async function the_newest_session_takes_the_place_of_the_oldest(stage) {
  const [first, second] = [await stage.visitor(), await stage.visitor()];
  await first.signIn();
  await second.signIn();
  assert.equal((await first.fetch("/echo")).status, 401);
  assert.equal(await second.identity(), stage.username);
}
