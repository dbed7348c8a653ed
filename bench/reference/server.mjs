// The reference stack of the benchmarks: Express, ws and better-sqlite3 doing the job of `POST /events`.
//
// It is written as a careful Node.js developer would: signature over the raw bytes in constant time, the
// event synced to disk before the answer, every subscriber told after the commit. What it leaves out (retries,
// resuming, permissions, limits) only makes it faster.

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import process from "node:process";

import Database from "better-sqlite3";
import express from "express";
import { WebSocketServer } from "ws";

const BODY_BYTES_MAX = 1024 * 1024;
const KNOWN_EVENTS = new Set([
  "PAYMENT_RECEIVED",
  "PAYMENT_FAILED",
  "MINT_REQUESTED",
  "MINT_CONFIRMED",
  "MINT_FAILED",
]);

const secret = required("NEXUS_SECRET");
const database = openDatabase(required("REFERENCE_DATABASE"));
const insert = database.prepare(
  "INSERT INTO events (id, event, payload, timestamp_ms) VALUES (?, ?, ?, ?)",
);

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.get("/health", (_request, response) => response.json({ status: "ok" }));
app.post("/events", express.raw({ type: () => true, limit: BODY_BYTES_MAX }), acceptEvent);

const server = createServer(app);
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket) => {
  socket.subscriptions = new Set();
  socket.on("message", (data) => subscribe(socket, data));
  socket.on("error", () => socket.terminate());
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  process.stdout.write(`listening on ${server.address().port}\n`);
});

function required(name) {
  const value = process.env[name];
  if (!value) {
    process.stderr.write(`${name} is not set\n`);
    process.exit(2);
  }
  return value;
}

function openDatabase(path) {
  const opened = new Database(path);
  opened.pragma("journal_mode = WAL");
  opened.pragma("synchronous = FULL");
  const journal = opened.pragma("journal_mode", { simple: true });
  const synchronous = opened.pragma("synchronous", { simple: true });
  if (journal !== "wal" || synchronous !== 2) {
    throw new Error(`the database is not durable: ${journal}, ${synchronous}`);
  }
  opened.exec(`CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    event TEXT NOT NULL,
    payload TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL
  )`);
  return opened;
}

function acceptEvent(request, response) {
  const body = request.body;
  if (!Buffer.isBuffer(body) || !isSigned(body, request.get("x-nexus-signature"))) {
    return response.status(401).json({ error: "Unauthorized" });
  }
  let message;
  try {
    message = JSON.parse(body.toString("utf8"));
  } catch {
    return response.status(400).json({ error: "Malformed JSON" });
  }
  if (!KNOWN_EVENTS.has(message?.event)) {
    return response.status(400).json({ error: "Invalid event type" });
  }
  if (typeof message.payload !== "object" || message.payload === null) {
    return response.status(400).json({ error: "Missing payload" });
  }

  const { event, payload } = message;
  const id = randomUUID();
  const timestamp = Date.now();
  const { lastInsertRowid: seq } = insert.run(id, event, JSON.stringify(payload), timestamp);
  response.json({ status: "dispatched", event, event_id: id, seq, timestamp });
  broadcast({ event, payload, timestamp, event_id: id, seq });
}

function isSigned(body, signature) {
  const given = Buffer.from(signature ?? "", "hex");
  const wanted = createHmac("sha256", secret).update(body).digest();
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

function subscribe(socket, data) {
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return socket.send(JSON.stringify({ error: "Invalid message format" }));
  }
  if (message.action !== "subscribe" || !Array.isArray(message.events)) {
    return socket.send(JSON.stringify({ error: "Unknown action" }));
  }
  for (const event of message.events) {
    if (KNOWN_EVENTS.has(event)) socket.subscriptions.add(event);
  }
  socket.send(JSON.stringify({ status: "subscribed", events: [...socket.subscriptions] }));
}

function broadcast(frame) {
  if (sockets.clients.size === 0) return;
  const text = JSON.stringify(frame);
  for (const socket of sockets.clients) {
    if (socket.readyState === socket.OPEN && socket.subscriptions.has(frame.event)) {
      socket.send(text);
    }
  }
}
