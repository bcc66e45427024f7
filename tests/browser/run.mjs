// Plays one scenario in Debian's Chromium: node run.mjs SCENARIO, with the facts of the stage as JSON on standard input.
// `--list` prints the names of all scenarios, one a line.

import { readFileSync } from "node:fs";
import { Stage } from "./stage.mjs";
import * as credentials from "./scenarios/credentials.mjs";
import * as leaving from "./scenarios/leaving.mjs";
import * as limits from "./scenarios/limits.mjs";
import * as looks from "./scenarios/looks.mjs";
import * as offline from "./scenarios/offline.mjs";
import * as sessions from "./scenarios/sessions.mjs";
import * as signingIn from "./scenarios/signing_in.mjs";
import * as strangers from "./scenarios/strangers.mjs";

const SCENARIOS = { ...credentials, ...leaving, ...limits, ...looks, ...offline, ...sessions, ...signingIn, ...strangers };
const DEADLINE = 90_000;

const name = process.argv[2];
if (name === "--list") {
  console.log(Object.keys(SCENARIOS).sort().join("\n"));
} else if (!Object.hasOwn(SCENARIOS, name)) {
  console.error(`no scenario is called ${name}`);
  process.exit(2);
} else {
  setTimeout(() => {
    console.error(`${name} was not finished after ${DEADLINE / 1000} s`);
    process.exit(1);
  }, DEADLINE).unref();
  const stage = await Stage.open(JSON.parse(readFileSync(0, "utf8")));
  try {
    await SCENARIOS[name](stage);
    stage.assertNothingFound();
  } catch (error) {
    await stage.photographAll(name);
    throw error;
  } finally {
    await stage.close();
  }
}
