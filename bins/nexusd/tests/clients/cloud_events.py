"""Sends with the official CloudEvents SDK in each mode, and reads back what Nexus then has.

  python cloud_events.py http://127.0.0.1:3000 --token T

Each answer is a line of JSON, {"sent": <mode>, "status": …, "data": …}; each event that is read back too,
{"received": <the CloudEvent>}, after the SDK has parsed and checked it.
"""

import argparse
import json
import urllib.error
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

BATCH = "application/cloudevents-batch+json"

parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("--token", default="")
asked = parser.parse_args()
address = f"{asked.address}/api/v1/events"
authorization = {"Authorization": f"Bearer {asked.token}"}


def event(name):
    attributes = {
        "id": name,
        "source": "/sdk/python",
        "type": "VOTE_CAST",
        "specversion": "1.0",
        "subject": "voter é%7",
        "time": datetime(2026, 11, 21, 6, tzinfo=timezone.utc),
        "myextension": "kept by nobody",
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes, {"proposalId": "p", "voterId": name, "decision": "for"})


def show(line):
    print(json.dumps(line), flush=True)


def send(mode, message):
    headers = {**message.headers, **authorization}
    request = urllib.request.Request(address, data=message.body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            status, answer = response.status, json.load(response)
    except urllib.error.HTTPError as refusal:
        status, answer = refusal.code, json.load(refusal)
    show({"sent": mode, "status": status, "data": answer.get("data"), "code": answer.get("code")})


send("binary", to_binary_event(event("binary")))
send("structured", to_structured_event(event("structured")))
batch = b",".join(JSONFormat().write(event(name)) for name in ["batch-1", "batch-2"])
send("batch", HTTPMessage({"content-type": BATCH}, b"[" + batch + b"]"))
# The same event once more.
send("binary", to_binary_event(event("binary")))

request = urllib.request.Request(f"{address}?patterns=vote.cast", headers={**authorization, "Accept": BATCH})
with urllib.request.urlopen(request, timeout=20) as response:
    for item in json.load(response):
        message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(item).encode())
        received = from_structured_event(message)
        show({"received": json.loads(JSONFormat().write(received))})
