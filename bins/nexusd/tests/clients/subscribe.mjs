// Subscribes with npm `ws` and prints each frame as one line of JSON.
//
//   node subscribe.mjs ws://127.0.0.1:3000 --token T [--by header|subprotocol|query]
//                      [--events A,B] [--from POSITION]
//
// The end is a line too: {"closed":<code>,"reason":…}, or {"refused":<status>} before the upgrade.

import { parseArgs } from "node:util";
import WebSocket from "ws";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    token: { type: "string", default: "" },
    by: { type: "string", default: "header" },
    events: { type: "string", default: ">" },
    from: { type: "string" },
  },
});

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function connect(address, token, by) {
  if (by === "subprotocol") return new WebSocket(address, [token]);
  if (by === "query") return new WebSocket(`${address}/?token=${encodeURIComponent(token)}`);
  return new WebSocket(address, { headers: { authorization: `Bearer ${token}` } });
}

const socket = connect(positionals[0], values.token, values.by);
let refused = false;

socket.on("open", () => {
  const subscribe = { action: "subscribe", events: values.events.split(",") };
  socket.send(JSON.stringify(values.from ? { ...subscribe, from: values.from } : subscribe));
});
socket.on("message", (data) => process.stdout.write(`${data}\n`));
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
