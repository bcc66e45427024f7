// An application with express-session and connect-pg-simple: node express.mjs SETTINGS, which are JSON. Says its port.
import express from "express";
import session from "express-session";
import connectPgSimple from "connect-pg-simple";
import pg from "pg";

const settings = JSON.parse(process.argv[2]);
const pool = new pg.Pool({ connectionString: settings.database, options: settings.options });
const Store = connectPgSimple(session);
const app = express();
if (settings.trust_proxy) app.set("trust proxy", 1);

// Once it is behind somebody else's log-in, an application needs no sessions of its own.
const sessions = settings.behind ? (request, response, next) => next() : session({
  store: new Store({
    pool,
    createTableIfMissing: true,
    pruneSessionInterval: false,
    ...(settings.table && { tableName: settings.table }),
    ...(settings.schema && { schemaName: settings.schema }),
    ...(settings.ttl && { ttl: settings.ttl }),
    ...(settings.disable_touch && { disableTouch: true }),
  }),
  secret: settings.secret,
  ...(settings.name && { name: settings.name }),
  ...(settings.resave !== undefined && { resave: settings.resave }),
  ...(settings.rolling !== undefined && { rolling: settings.rolling }),
  ...(settings.proxy !== undefined && { proxy: settings.proxy }),
  ...(settings.prefix && {
    genid: () => `${settings.prefix}_${Date.now()}_${Math.random().toString(36).slice(2)}`,
  }),
  saveUninitialized: false,
  cookie: { httpOnly: true, ...settings.cookie },
});
app.use(sessions);

// Some applications note each request in the session, so that each request writes the whole row.
app.use((request, response, next) => {
  if (settings.notes && (request.session.userId || request.session.passport)) {
    request.session.lastActivity = Date.now();
  }
  next();
});

app.post("/login", (request, response, next) => {
  request.session.regenerate((error) => {
    if (error) return next(error);
    const user = settings.numbers ? Number(request.query.user) : request.query.user;
    if (settings.passport) request.session.passport = { user };
    else request.session.userId = user;
    if (request.query.lives) request.session.cookie.maxAge = Number(request.query.lives);
    request.session.save((failed) => (failed ? next(failed) : response.sendStatus(204)));
  });
});

app.post("/note", (request, response) => {
  request.session.note = request.query.text;
  response.sendStatus(204);
});

app.post(["/logout", "/bye"], (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.sendStatus(204)));
});

// A request that takes its time and changes the session.
app.post("/change", (request, response) => {
  setTimeout(() => {
    request.session.changed = Math.random();
    response.sendStatus(204);
  }, Number(request.query.takes));
});

// A stream that stays open until somebody closes it.
app.get("/events", (request, response) => {
  response.set("Content-Type", "text/event-stream");
  response.write("data: 0\n\n");
});

app.get("/", (request, response) => {
  const user = settings.passport ? request.session?.passport?.user : request.session?.userId;
  response.json({ user: user ?? null, told: request.get("x-forwarded-user") ?? null });
});

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
