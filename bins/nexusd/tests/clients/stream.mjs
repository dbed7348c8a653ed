// Reads `/api/v1/stream` with npm `ws` in `nexus.v1.json` and prints each frame as one line of JSON.
//
//   node stream.mjs ws://127.0.0.1:3000 --token T [--by header|frame] [--patterns A,B] [--filter F]
//                   [--from POSITION] [--batch] [--publish JSON]
//
// The end is a line too: {"closed":<code>,"reason":…}, or {"refused":<status>} before the upgrade.

import { parseArgs } from "node:util";
import WebSocket from "ws";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    token: { type: "string", default: "" },
    by: { type: "string", default: "header" },
    patterns: { type: "string", default: ">" },
    filter: { type: "string" },
    from: { type: "string" },
    batch: { type: "boolean", default: false },
    publish: { type: "string" },
  },
});

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const headers = values.by === "header" ? { authorization: `Bearer ${values.token}` } : {};
const socket = new WebSocket(`${positionals[0]}/api/v1/stream`, ["nexus.v1.json"], { headers });
const send = (frame) => socket.send(JSON.stringify(frame));
let refused = false;

socket.on("open", () => {
  if (values.by === "frame") send({ type: "auth", token: values.token });
  const { filter, from, batch } = values;
  send({ type: "subscribe", id: "a", patterns: values.patterns.split(","), filter, from, batch });
});
socket.on("message", (data) => {
  for (const frame of [JSON.parse(data)].flat()) {
    print(frame);
    if (frame.type === "subscribed" && values.publish) {
      send({ type: "publish", ref: 1, ...JSON.parse(values.publish) });
    }
  }
});
socket.on("unexpected-response", (_, response) => {
  refused = true;
  print({ refused: response.statusCode });
  socket.terminate();
});
socket.on("error", (error) => {
  if (!refused) print({ failed: error.message });
});
socket.on("close", (code, reason) => {
  if (!refused) print({ closed: code, reason: reason.toString() });
});
