// Signing in: the way there and back, what is kept after a mistake, and what the browser is given.

import assert from "node:assert/strict";

const WRONG = "The user name or the password is wrong. Please try again.";
const DAY = 86_400;

export async function a_visitor_signs_in_and_lands_where_they_wanted_to_go(stage) {
  const ada = await stage.visitor();
  const asked = await ada.visit("/echo?page=7&sort=a%20b");
  assert.equal(asked.status(), 200);
  assert.equal(ada.path(), "/.portcullis/login?next=/echo%3Fpage%3D7%26sort%3Da%2520b");
  assert.equal(await ada.heading(), "Sign in");
  const arrived = await ada.fillIn();
  assert.equal(arrived.status(), 200);
  assert.equal(ada.path(), "/echo?page=7&sort=a%20b");
  const told = JSON.parse(await ada.text());
  assert.equal(told["x-forwarded-user"], stage.username);
  assert.ok(!(told.cookie ?? "").includes("portcullis"), "no cookie of ours reaches the application");
  const protocol = await ada.page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
  assert.equal(protocol, "h2");
}

export async function a_wrong_password_keeps_the_name_and_the_way_and_forgets_the_password(stage) {
  const ada = await stage.visitor();
  await ada.visit("/echo?page=7");
  const refused = await ada.fillIn({ password: "not her password", remember: true });
  assert.equal(refused.status(), 401);
  assert.equal(await ada.page.getByRole("alert").innerText(), WRONG);
  assert.equal(await ada.page.getByLabel("User name or e-mail").inputValue(), stage.username);
  assert.equal(await ada.page.getByLabel("Password").inputValue(), "");
  assert.ok(await ada.page.getByLabel("Keep me signed in on this device").isChecked());
  assert.equal(await ada.page.evaluate(() => document.activeElement.id), "password", "where the mistake was");
  assert.ok(!(await ada.page.content()).includes("not her password"));
  assert.equal(await ada.sessionCookie(), undefined);
  await ada.page.getByLabel("Password").fill(stage.password);
  await ada.page.keyboard.press("Enter");
  await ada.page.waitForURL("**/echo?page=7");
  assert.equal(await ada.identity(), stage.username);
}

export async function an_unknown_name_is_told_the_same_as_a_wrong_password(stage) {
  const nobody = await stage.visitor();
  await nobody.visit("/");
  await nobody.fillIn({ username: "nobody.here" });
  assert.equal(await nobody.page.getByRole("alert").innerText(), WRONG);
}

export async function the_cookie_is_out_of_reach_of_scripts_and_lasts_as_long_as_was_asked(stage) {
  const [short, long] = [await stage.visitor(), await stage.visitor()];
  await short.signIn();
  await long.signIn({ remember: true });
  const now = Date.now() / 1000;
  // Until it has lain idle for half a day, or to its very end.
  for (const [visitor, days] of [
    [short, 0.5],
    [long, 30],
  ]) {
    const { value, expires, ...rest } = await visitor.sessionCookie();
    assert.deepEqual(rest, {
      name: "__Host-portcullis",
      domain: "app.example.test",
      path: "/",
      httpOnly: true,
      secure: true,
      sameSite: "Lax",
    });
    assert.ok(value.length >= 64, "32 bytes and 16 that prove them, as text");
    assert.ok(Math.abs(expires - now - days * DAY) < 120, `${days} days, not ${(expires - now) / DAY}`);
    // The application's own cookie shows that scripts of this page can read cookies at all.
    assert.equal(await visitor.page.evaluate(() => document.cookie), "theirs=1");
    const storage = await visitor.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    assert.equal(storage, "[{},{}]");
  }
}

export async function signing_in_and_out_works_without_scripts(stage) {
  const ada = await stage.visitor({ javaScriptEnabled: false });
  await ada.visit("/.portcullis/me");
  const refused = await ada.fillIn({ password: "not her password" });
  assert.equal(refused.status(), 401);
  assert.equal(await ada.page.getByRole("alert").innerText(), WRONG);
  await ada.fillIn();
  assert.equal(ada.path(), "/.portcullis/me");
  assert.equal(await ada.heading(), "Ada Lovelace");
  assert.match(await ada.text(), /Groups\s+staff/);
  await ada.press("Sign out");
  assert.equal(await ada.page.getByRole("status").innerText(), "You are signed out.");
  assert.equal(await ada.sessionCookie(), undefined);
}

export async function who_is_signed_in_already_is_told_so_and_can_become_somebody_else(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  const before = (await ada.sessionCookie()).value;
  await ada.visit("/.portcullis/login?next=/echo");
  assert.equal(await ada.heading(), "You are signed in");
  await ada.press("Sign in as somebody else");
  assert.equal(await ada.heading(), "Sign in");
  assert.equal(await ada.sessionCookie(), undefined);
  await ada.fillIn({ username: "eve" });
  assert.equal(ada.path(), "/echo", "the way is kept");
  assert.equal(await ada.identity(), "eve");
  assert.notEqual((await ada.sessionCookie()).value, before);
}

export async function the_form_is_filled_and_sent_by_keyboard_alone(stage) {
  const ada = await stage.visitor();
  await ada.visit("/echo");
  const focused = () => ada.page.evaluate(() => document.activeElement.name || document.activeElement.textContent.trim());
  assert.equal(await focused(), "username", "one can type at once");
  await ada.page.keyboard.type(stage.username);
  await ada.page.keyboard.press("Tab");
  assert.equal(await focused(), "password");
  await ada.page.keyboard.type(stage.password);
  await ada.page.keyboard.press("Tab");
  assert.equal(await focused(), "remember");
  await ada.page.keyboard.press("Space");
  assert.ok(await ada.page.getByRole("checkbox").isChecked());
  await ada.page.keyboard.press("Tab");
  assert.equal(await focused(), "Sign in");
  await ada.follow(() => ada.page.keyboard.press("Enter"));
  assert.equal(ada.path(), "/echo");
}
