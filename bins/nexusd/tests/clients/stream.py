"""Reads `/api/v1/stream` with Python `websockets` in `nexus.v1.json` and prints each frame as one line of JSON.

  python stream.py ws://127.0.0.1:3000 --token T [--by header|frame] [--patterns A,B] [--filter F]
                   [--from POSITION] [--batch] [--publish JSON]

The end is a line too: {"closed": <code>, "reason": …}, or {"refused": <status>} before the upgrade.
"""

import argparse
import json

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--token", default="")
    parser.add_argument("--by", choices=["header", "frame"], default="header")
    parser.add_argument("--patterns", default=">")
    parser.add_argument("--filter")
    parser.add_argument("--from", dest="start")
    parser.add_argument("--batch", action="store_true")
    parser.add_argument("--publish")
    return parser.parse_args()


def opened(asked):
    by_header = {"Authorization": f"Bearer {asked.token}"} if asked.by == "header" else {}
    return connect(
        f"{asked.address}/api/v1/stream",
        subprotocols=["nexus.v1.json"],
        additional_headers=by_header,
    )


def subscribe(asked):
    wanted = {"type": "subscribe", "id": "a", "patterns": asked.patterns.split(",")}
    if asked.filter:
        wanted["filter"] = asked.filter
    if asked.start:
        wanted["from"] = asked.start
    if asked.batch:
        wanted["batch"] = True
    return wanted


def show(line):
    print(json.dumps(line), flush=True)


def follow(socket, asked):
    if asked.by == "frame":
        socket.send(json.dumps({"type": "auth", "token": asked.token}))
    socket.send(json.dumps(subscribe(asked)))
    while True:
        message = json.loads(socket.recv())
        for frame in message if isinstance(message, list) else [message]:
            show(frame)
            if frame["type"] == "subscribed" and asked.publish:
                socket.send(json.dumps({"type": "publish", "ref": 1, **json.loads(asked.publish)}))


def main():
    asked = arguments()
    try:
        with opened(asked) as socket:
            follow(socket, asked)
    except InvalidStatus as refusal:
        show({"refused": refusal.response.status_code})
    except ConnectionClosed as end:
        show({"closed": end.code, "reason": end.reason})


main()
