// Passwords that people choose: changing one's own, and making an account.

import assert from "node:assert/strict";
import { bothAreCut, watch } from "../watching.mjs";

const CHOSEN = "seventeen green bicycles";

export async function changing_the_password_signs_out_every_other_browser_and_keeps_this_one(stage) {
  const [desk, phone] = [await stage.visitor(), await stage.visitor()];
  await desk.signIn();
  await phone.signIn();
  await watch(phone);
  const before = await desk.sessionCookie();
  await desk.visit("/.portcullis/me");
  await desk.follow(() => desk.page.getByRole("link", { name: "Change your password" }).click());
  await desk.examine("password");

  const change = async (current, chosen) => {
    await desk.page.getByLabel("Current password").fill(current);
    await desk.page.getByLabel("New password").fill(chosen);
    return desk.press("Change password");
  };
  await desk.page.getByLabel("New password").fill("short");
  assert.ok(await desk.page.getByLabel("New password").evaluate((field) => field.validity.tooShort), "the browser helps");

  assert.equal((await change("not the password", CHOSEN)).status(), 403);
  const wrong = await desk.page.getByRole("alert").innerText();
  assert.equal(wrong, "The current password is wrong. Please try again.");
  await desk.examine("password-wrong");
  const common = await change(stage.password, "password1234");
  assert.equal(common.status(), 400);
  assert.match(await desk.page.getByRole("alert").innerText(), /most common/);
  for (const label of ["Current password", "New password"]) {
    assert.equal(await desk.page.getByLabel(label).inputValue(), "", `${label} is not sent back`);
  }
  assert.equal((await desk.sessionCookie()).value, before.value, "nothing has happened yet");
  assert.equal((await phone.fetch("/echo")).status, 200);

  assert.equal((await change(stage.password, CHOSEN)).status(), 200);
  assert.equal(await desk.heading(), "Your password was changed");
  await desk.examine("password-changed");
  assert.notEqual((await desk.sessionCookie()).value, before.value, "a new token as well");
  const { close, told } = await bothAreCut(phone);
  assert.equal(close.code, 1008);
  assert.equal(told.at(-1).name, "ended");
  phone.findings.length = 0;
  await desk.follow(() => desk.page.getByRole("link", { name: "Continue" }).click());
  assert.equal(await desk.identity(), stage.username);

  await phone.visit("/");
  assert.equal((await phone.fillIn()).status(), 401, "the old password is no longer one");
  await phone.fillIn({ password: CHOSEN });
  assert.equal(await phone.identity(), stage.username);
}

/** The stage lets visitors register. */
export async function somebody_new_makes_an_account_without_scripts_and_lands_where_they_wanted_to_go(stage) {
  const grace = await stage.visitor({ javaScriptEnabled: false });
  await grace.visit("/echo?page=7");
  await grace.follow(() => grace.page.getByRole("link", { name: "Create an account" }).click());
  await grace.examine("register");
  const fields = async (username, password) => {
    await grace.page.getByLabel("User name").fill(username);
    await grace.page.getByLabel(/^Name/).fill("Grace Hopper");
    await grace.page.getByLabel(/^E-mail address/).fill("grace@example.com");
    await grace.page.getByLabel("Password").fill(password);
    return grace.press("Create account");
  };
  assert.equal((await fields(stage.username, CHOSEN)).status(), 409);
  assert.match(await grace.page.getByRole("alert").innerText(), /not free/);
  assert.equal(await grace.page.getByLabel("User name").inputValue(), stage.username);
  assert.equal(await grace.page.getByLabel(/^Name/).inputValue(), "Grace Hopper");
  assert.equal(await grace.page.getByLabel("Password").inputValue(), "");
  await grace.examine("register-taken");
  assert.equal(await grace.sessionCookie(), undefined);

  await fields("grace", CHOSEN);
  assert.equal(grace.path(), "/echo?page=7", "the way was kept");
  const told = JSON.parse(await grace.text());
  assert.equal(told["x-forwarded-user"], "grace");
  assert.equal(told["x-forwarded-groups"], "registered");
  assert.equal(told["x-forwarded-email"], undefined, "nobody has verified the address");

  const elsewhere = await stage.visitor();
  await elsewhere.visit("/");
  await elsewhere.fillIn({ username: "grace", password: CHOSEN });
  assert.equal(await elsewhere.identity(), "grace");
}

export async function nobody_makes_an_account_where_registration_is_off(stage) {
  const grace = await stage.visitor();
  await grace.visit("/");
  assert.equal(await grace.page.getByRole("link", { name: "Create an account" }).count(), 0);
  assert.equal((await grace.visit("/.portcullis/register")).status(), 404);
}
