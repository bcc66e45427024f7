// Pages of other origins: one on the same site, to which browsers send cookies, and one from elsewhere.

import assert from "node:assert/strict";

const STRANGERS = ["https://other.example.test", "https://elsewhere.test"];

/** A page of a stranger, in a browser that is signed in. */
async function* pages(stage) {
  for (const origin of STRANGERS) {
    const ada = await stage.visitor();
    await ada.signIn();
    await ada.visit(`${origin}/stranger`);
    yield [ada, origin];
  }
}

async function assertStillSignedIn(ada) {
  await ada.visit("/");
  assert.equal(await ada.identity(), ada.stage.username);
}

export async function no_page_of_another_origin_can_sign_anybody_out(stage) {
  for await (const [ada, origin] of pages(stage)) {
    const answer = await ada.follow(() =>
      ada.page.evaluate((target) => {
        const form = document.createElement("form");
        form.method = "post";
        form.action = target;
        document.body.append(form);
        form.submit();
      }, `${stage.origin}/.portcullis/logout`),
    );
    assert.equal(answer.status(), 403, origin);
    assert.equal(await ada.heading(), "This came from somewhere else");
    await assertStillSignedIn(ada);
    await ada.visit(`${origin}/stranger`);
    await ada.page.evaluate(async (target) => {
      const image = new Image();
      image.src = target;
      await new Promise((done) => Object.assign(image, { onload: done, onerror: done }));
      await fetch(target, { method: "POST", mode: "no-cors", credentials: "include" });
    }, `${stage.origin}/.portcullis/logout`);
    await assertStillSignedIn(ada);
  }
}

export async function no_page_of_another_origin_reads_who_is_signed_in_or_opens_a_web_socket(stage) {
  for await (const [ada, origin] of pages(stage)) {
    const { read, opened } = await ada.page.evaluate(async (target) => {
      const read = await fetch(`https://${target}/.portcullis/me`, { credentials: "include" }).then(
        (answer) => answer.status,
        () => "refused",
      );
      const opened = await new Promise((done) => {
        const socket = new WebSocket(`wss://${target}/ws`);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
      });
      return { read, opened };
    }, new URL(stage.origin).host);
    assert.deepEqual({ read, opened }, { read: "refused", opened: "refused" }, origin);
    // The console tells of both; that is how it should be.
    assert.ok(ada.findings.length >= 2, "the browser says so, too");
    ada.findings.length = 0;
    await ada.visit("/");
    const own = await ada.page.evaluate(
      () =>
        new Promise((done, fail) => {
          const socket = new WebSocket(`wss://${location.host}/ws`);
          socket.onopen = () => socket.send("hello");
          socket.onmessage = (event) => done(event.data);
          socket.onerror = () => fail(new Error("refused"));
        }),
    );
    assert.equal(own, "hello", "a page of the application itself may");
  }
}

export async function no_page_shows_the_log_in_form_in_a_frame(stage) {
  for (const origin of [...STRANGERS, stage.origin]) {
    const ada = await stage.visitor();
    await ada.visit(origin === stage.origin ? "/public" : `${origin}/stranger`);
    for (const path of ["/.portcullis/login", "/.portcullis/logout", "/echo"]) {
      await ada.page.evaluate(
        (address) =>
          new Promise((done) => {
            const frame = document.createElement("iframe");
            frame.src = address;
            frame.onload = done;
            document.body.replaceChildren(frame);
          }),
        `${stage.origin}${path}`,
      );
      const text = await ada.page.frameLocator("iframe").locator("body").innerText();
      assert.doesNotMatch(text, /Sign in|Password/, `${path} in a frame of ${origin}`);
      assert.match(text, /refused to connect/);
    }
    assert.ok(
      ada.findings.every((finding) => /frame-ancestors|X-Frame-Options/.test(finding)),
      ada.findings.join("\n"),
    );
    ada.findings.length = 0;
  }
}

export async function no_service_worker_of_the_application_stands_before_the_log_in_page(stage) {
  const ada = await stage.visitor();
  await ada.signIn();
  const register = (script, scope) =>
    ada.page.evaluate(
      ([script, scope]) =>
        navigator.serviceWorker.register(script, scope ? { scope } : {}).then(
          (worker) => new URL(worker.scope).pathname,
          (error) => error.name,
        ),
      [script, scope],
    );
  assert.equal(await register("/sw.js"), "TypeError", "its script is refused");
  assert.equal(await register("/tools/sw.js", "/"), "SecurityError", "the application's leave to cover all is struck");
  assert.equal(await register("/tools/sw.js"), "/tools/", "its own folder is its own");
  ada.findings.length = 0;
}
