// A browser that trusts the gateway's local authority the way a person makes theirs trust it, and the visitors who use it.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { complaints } from "./measure.mjs";

const { chromium } = createRequire(new URL("../.cache/browser/", import.meta.url))("playwright-core");

/** The longest wait for anything that a page should do. */
export const PATIENCE = 15_000;

const WIDTHS = [320, 768, 1280];
const SCHEMES = ["light", "dark"];

export class Stage {
  #browser;
  #home;
  #visitors = [];

  /**
   * `facts`: address, hosts (all of which are that address), origin, ca, cookie, program, config, username, password,
   * shots. Without an origin, visitors come to `localhost` by a wire that can be cut.
   */
  static async open(facts) {
    const stage = new Stage();
    Object.assign(stage, facts);
    stage.#home = mkdtempSync(join(tmpdir(), "portcullis-browser-"));
    try {
      if (facts.ca) trust(stage.#home, facts.ca);
      if (!facts.origin) {
        stage.wire = await Wire.open(facts.address);
        stage.origin = `http://localhost:${stage.wire.port}`;
      }
      stage.#browser = await chromium.launch({
        executablePath: program("chromium", "chromium-browser", "google-chrome"),
        // Chromium refuses to sandbox itself as root.
        chromiumSandbox: process.getuid() !== 0,
        env: { ...process.env, HOME: stage.#home, XDG_DATA_HOME: undefined },
        // People go back; the pages that come then are what is tested.
        ignoreDefaultArgs: ["--disable-back-forward-cache"],
        // No DNS, and no other address than the gateway's.
        args: [
          `--host-resolver-rules=${[
            ...facts.hosts.map((host) => `MAP ${host}:443 ${facts.address}`),
            "MAP localhost 127.0.0.1",
            "MAP * ~NOTFOUND",
            "EXCLUDE 127.0.0.1",
          ].join(",")}`,
        ],
        timeout: PATIENCE * 2,
      });
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  /** Somebody with a browser of their own: cookies, cache and storage are shared with nobody. */
  async visitor(options = {}) {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(PATIENCE);
    const visitor = new Visitor(this, context, await context.newPage());
    this.#visitors.push(visitor);
    return visitor;
  }

  /** Runs a command of the program on the gateway's configuration; what it printed. */
  async command(...args) {
    const options = { timeout: PATIENCE * 2 };
    const { stdout } = await promisify(execFile)(this.program, [...args, "--config", this.config], options);
    return stdout;
  }

  /** No page broke its own policy, and no script of ours failed. */
  assertNothingFound() {
    assert.deepEqual(
      this.#visitors.flatMap((visitor) => visitor.findings),
      [],
    );
  }

  /** What everybody sees at this moment, for whoever reads about a failure. */
  async photographAll(name) {
    mkdirSync(this.shots, { recursive: true });
    for (const [number, { page }] of this.#visitors.entries()) {
      const path = join(this.shots, `failed-${name}-${number}.png`);
      await page.screenshot({ path, timeout: 5000 }).catch(() => {});
      console.error(`visitor ${number} was at ${page.url()}; see ${path}`);
    }
  }

  async close() {
    await this.#browser?.close();
    this.wire?.close();
    rmSync(this.#home, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Visitor {
  constructor(stage, context, page) {
    this.stage = stage;
    this.context = context;
    this.page = page;
    /** What the browser held against the pages. */
    this.findings = [];
    context.on("weberror", (event) => this.findings.push(`a script failed: ${event.error()}`));
    context.on("console", (message) => {
      // A page that is answered with 401 or 404 on purpose is told to the console, too.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
        this.findings.push(message.text());
      }
    });
  }

  /** Opens a path of the application's host, or a whole address; the answer. */
  async visit(address) {
    return this.page.goto(new URL(address, this.stage.origin).href);
  }

  /** Does something that loads a page, and waits until it is there. */
  async follow(action) {
    const [, response] = await Promise.all([
      this.page.waitForEvent("load"),
      this.page.waitForResponse((answer) => answer.request().isNavigationRequest() && !isRedirect(answer)),
      action(),
    ]);
    return response;
  }

  /** Fills the log-in form that is open and sends it; the last answer. */
  async fillIn({ username = this.stage.username, password = this.stage.password, remember = false } = {}) {
    await this.page.getByLabel("User name or e-mail").fill(username);
    await this.page.getByLabel("Password").fill(password);
    await this.page.getByLabel("Keep me signed in on this device").setChecked(remember);
    return this.follow(() => this.page.getByRole("button", { name: "Sign in" }).click());
  }

  /** Goes to the application and signs in on the way. */
  async signIn(how = {}) {
    await this.visit("/");
    await this.fillIn(how);
    assert.equal(this.path(), "/", "signed in");
  }

  async press(name) {
    return this.follow(() => this.page.getByRole("button", { name }).click());
  }

  /** Path and query of the page that is open. */
  path() {
    const { pathname, search } = new URL(this.page.url());
    return pathname + search;
  }

  async heading() {
    return this.page.getByRole("heading", { level: 1 }).innerText();
  }

  async text() {
    return this.page.locator("body").innerText();
  }

  /** Photographs the page that is open in every scheme and width, and measures it. */
  async examine(name) {
    mkdirSync(this.stage.shots, { recursive: true });
    for (const colorScheme of SCHEMES) {
      await this.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      for (const width of WIDTHS) {
        await this.page.setViewportSize({ width, height: 800 });
        const path = join(this.stage.shots, `${name}-${colorScheme}-${width}.png`);
        await this.page.screenshot({ path, fullPage: true });
        assert.deepEqual(await this.page.evaluate(complaints), [], `${name}, ${colorScheme}, ${width} px`);
      }
    }
    await this.page.setViewportSize({ width: 1280, height: 800 });
  }

  async sessionCookie() {
    const cookies = await this.context.cookies();
    return cookies.find((cookie) => cookie.name === this.stage.cookie);
  }

  /** What a script of the open page gets from an address. */
  async fetch(path, options = {}) {
    return this.page.evaluate(
      async ([address, how]) => {
        const answer = await fetch(address, how);
        return { status: answer.status, text: await answer.text() };
      },
      [path, options],
    );
  }

  /** The user that the application is told of; `null` for nobody. */
  async identity() {
    const { status, text } = await this.fetch("/echo");
    return status === 200 ? (JSON.parse(text)["x-forwarded-user"] ?? null) : null;
  }
}

/** What lies between the browser and the gateway, and can be cut and mended. */
class Wire {
  #ends = new Set();
  #server;
  #isCut = false;

  static async open(address) {
    const wire = new Wire();
    const [host, port] = address.split(":");
    wire.#server = createServer((near) => {
      if (wire.#isCut) return near.resetAndDestroy();
      const far = connect(Number(port), host);
      for (const [end, other] of [
        [near, far],
        [far, near],
      ]) {
        wire.#ends.add(end);
        end.on("error", () => other.destroy());
        end.on("close", () => wire.#ends.delete(end));
        end.pipe(other);
      }
    });
    await new Promise((done) => wire.#server.listen(0, "127.0.0.1", done));
    wire.port = wire.#server.address().port;
    return wire;
  }

  cut() {
    this.#isCut = true;
    for (const end of this.#ends) end.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

/** Waits until `look` gives something; says what it gave last when it never does. */
export async function eventually(what, look) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < end, `${what}: not in ${PATIENCE / 1000} s`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

const isRedirect = (answer) => answer.status() >= 300 && answer.status() < 400;

/** What Chromium reads on Linux: a database in the home folder. */
function trust(home, ca) {
  const folder = join(home, ".pki", "nssdb");
  mkdirSync(folder, { recursive: true });
  const database = `sql:${folder}`;
  const certutil = (...args) => execFileSync(program("certutil"), ["-d", database, ...args], { timeout: PATIENCE });
  certutil("-N", "--empty-password");
  certutil("-A", "-t", "C,,", "-n", "portcullis", "-i", ca);
}

/** The first of the programs that is there. */
function program(...names) {
  for (const name of names) {
    for (const folder of process.env.PATH.split(delimiter)) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // The next folder.
      }
    }
  }
  throw new Error(`${names[0]} is missing: run ./test --full, which installs it`);
}
