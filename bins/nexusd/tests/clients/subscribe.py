"""Subscribes with Python `websockets` and prints each frame as one line of JSON.

  python subscribe.py ws://127.0.0.1:3000 --token T [--by header|subprotocol|query]
                      [--events A,B] [--from POSITION]

The end is a line too: {"closed": <code>, "reason": …}, or {"refused": <status>} before the upgrade.
"""

import argparse
import json
import urllib.parse

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--token", default="")
    parser.add_argument("--by", choices=["header", "subprotocol", "query"], default="header")
    parser.add_argument("--events", default=">")
    parser.add_argument("--from", dest="start")
    return parser.parse_args()


def opened(asked):
    if asked.by == "subprotocol":
        return connect(asked.address, subprotocols=[asked.token])
    if asked.by == "query":
        return connect(f"{asked.address}/?token={urllib.parse.quote(asked.token, safe='')}")
    return connect(asked.address, additional_headers={"Authorization": f"Bearer {asked.token}"})


def show(line):
    print(line if isinstance(line, str) else json.dumps(line), flush=True)


def main():
    asked = arguments()
    subscribe = {"action": "subscribe", "events": asked.events.split(",")}
    if asked.start:
        subscribe["from"] = asked.start
    try:
        with opened(asked) as socket:
            socket.send(json.dumps(subscribe))
            while True:
                show(socket.recv())
    except InvalidStatus as refusal:
        show({"refused": refusal.response.status_code})
    except ConnectionClosed as end:
        show({"closed": end.code, "reason": end.reason})


main()
