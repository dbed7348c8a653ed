"""The reference stack of the benchmark of agents: FastAPI, uvicorn and `websockets` as an event bus for sessions.

It is written as a careful Python developer would: one process, one loop, each event encoded once, each table a
dictionary. What it leaves out (durability, tokens, leases, files, limits) only makes it faster.

  python -m uvicorn server:app --port 8450
"""

import json
import re
import time
import uuid
from collections import deque
from datetime import datetime, timezone
from typing import Any

from fastapi import FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

VERSION = "1.0.0"
HISTORY_EVENTS = 1000

app = FastAPI(title="nexus-event-bus", version=VERSION)
started = time.monotonic()
events: deque[dict] = deque(maxlen=HISTORY_EVENTS)
sessions: dict[str, "Session"] = {}
claims: dict[str, dict] = {}
events_total = 0


class Session:
    """A connected session, and what it wants to hear."""

    def __init__(self, session_id: str, role: str, capabilities: list[str], socket: WebSocket):
        self.session_id = session_id
        self.role = role
        self.capabilities = capabilities
        self.socket = socket
        self.status = "active"
        self.current_work: str | None = None
        self.connected_at = self.last_event = now()
        self.topics: set[str] = set()
        # Which event types fit the topics, looked up for each event and each session.
        self.known: dict[str, bool] = {}

    def subscribe(self, topics: list[str]):
        self.topics.update(topics)
        self.known.clear()

    def unsubscribe(self, topics: list[str]):
        self.topics.difference_update(topics)
        self.known.clear()

    def wants(self, event_type: str) -> bool:
        fits = self.known.get(event_type)
        if fits is None:
            fits = any(matches(topic, event_type) for topic in self.topics)
            self.known[event_type] = fits
        return fits

    def view(self) -> dict:
        return {
            "session_id": self.session_id,
            "role": self.role,
            "status": self.status,
            "current_work": self.current_work,
            "capabilities": self.capabilities,
            "connected_at": self.connected_at,
            "last_event": self.last_event,
        }


class Published(BaseModel):
    event_type: str
    session_id: str
    payload: dict[str, Any] = {}


class Claimed(BaseModel):
    session_id: str
    work_id: str
    work_description: str | None = None


def now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def matches(topic: str, event_type: str) -> bool:
    if topic == "broadcast":
        return event_type in ("message.broadcast", "system.notification")
    if topic.endswith(".*"):
        return event_type.startswith(topic[:-1])
    return topic in ("*", event_type)


def encode(frame: dict) -> str:
    return json.dumps(frame, separators=(",", ":"))


async def publish(event_type: str, session_id: str, payload: dict, sender: Session | None = None) -> dict:
    """Keeps an event and tells everybody who wants it, but not the socket that it came from."""
    global events_total
    event = {
        "event_id": str(uuid.uuid4()),
        "event_type": event_type,
        "session_id": session_id,
        "timestamp": now(),
        "payload": payload,
    }
    events.append(event)
    events_total += 1
    text = encode(event)
    to = payload.get("to") if event_type == "message.direct" else None
    for session in list(sessions.values()):
        if to is not None:
            wanted = session.session_id == to
        else:
            wanted = session is not sender and session.wants(event_type)
        if wanted:
            await send(session, text)
    return event


async def send(session: Session, text: str):
    try:
        await session.socket.send_text(text)
    except (RuntimeError, WebSocketDisconnect):
        # It has just gone; its own loop notices.
        pass


async def notify(message: str, about: Session):
    text = encode(
        {
            "event_type": "system.notification",
            "session_id": "nexus",
            "message": message,
            "payload": {"message": message},
            "timestamp": now(),
        }
    )
    for session in list(sessions.values()):
        if session is not about and session.topics:
            await send(session, text)


@app.get("/health")
async def health():
    return {"status": "active", "service": "nexus-event-bus", "version": VERSION, "timestamp": now()}


@app.get("/state")
async def state():
    return {
        "uptime_seconds": int(time.monotonic() - started),
        "connected_sessions": len(sessions),
        "events_total": events_total,
    }


@app.post("/events")
async def post_event(body: Published):
    event = await publish(body.event_type, body.session_id, body.payload)
    return {"event_id": event["event_id"], "status": "published", "timestamp": event["timestamp"]}


@app.get("/events/history")
async def history(since: str | None = None, event_type: str | None = None, limit: int = 100):
    found = [
        event
        for event in events
        if (since is None or event["timestamp"] >= since)
        and (event_type is None or matches(event_type, event["event_type"]))
    ][-limit:]
    return {"count": len(found), "events": found}


@app.get("/sessions/active")
async def active():
    views = [session.view() for session in sessions.values()]
    return {"count": len(views), "sessions": views}


@app.get("/sessions/capabilities")
async def capable(skill: str, available: bool = False):
    return {
        "matches": [
            {
                "session_id": session.session_id,
                "role": session.role,
                "capabilities": session.capabilities,
                "availability": "busy" if session.current_work else "idle",
            }
            for session in sessions.values()
            if skill in session.capabilities and not (available and session.current_work)
        ]
    }


@app.get("/sessions/{session_id}")
async def one_session(session_id: str):
    if session_id not in sessions:
        raise HTTPException(404, "there is no such session")
    return sessions[session_id].view()


@app.post("/work/claim")
async def claim(body: Claimed):
    held = claims.get(body.work_id)
    if held and held["claimed_by"] != body.session_id:
        raise HTTPException(409, f"{body.work_id} is held by {held['claimed_by']}")
    if not held:
        held = claims[body.work_id] = {
            "work_id": body.work_id,
            "claimed_by": body.session_id,
            "claimed_at": now(),
            "description": body.work_description or body.work_id,
            "status": "claimed",
        }
        set_work(body.session_id, "working", held["description"])
        await publish("work.claimed", body.session_id, held)
    return held


@app.post("/work/release")
async def release(body: Claimed):
    held = claims.get(body.work_id)
    if not held:
        raise HTTPException(404, "nobody has claimed it")
    if held["claimed_by"] != body.session_id:
        raise HTTPException(409, "it is held by another")
    await give_up(held, "work.released")
    return {"status": "released", "work_id": body.work_id}


@app.get("/work/claimed")
async def claimed():
    return {"count": len(claims), "claims": list(claims.values())}


async def give_up(held: dict, event_type: str):
    del claims[held["work_id"]]
    set_work(held["claimed_by"], "active", None)
    await publish(event_type, held["claimed_by"], held)


def set_work(session_id: str, status: str, current_work: str | None):
    if session := sessions.get(session_id):
        session.status = status
        session.current_work = current_work


@app.websocket("/ws/session/{session_id}")
async def follow(socket: WebSocket, session_id: str, role: str = "Unknown", capabilities: str = ""):
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", session_id):
        await socket.close(1008)
        return
    await socket.accept()
    session = Session(session_id, role, [name for name in capabilities.split(",") if name], socket)
    sessions[session_id] = session
    await publish("session.connected", session_id, {"role": role}, session)
    await notify(f"Session {session_id} connected", session)
    try:
        while True:
            await take(session, json.loads(await socket.receive_text()))
    except WebSocketDisconnect:
        pass
    finally:
        if sessions.get(session_id) is session:
            del sessions[session_id]
        for held in [held for held in claims.values() if held["claimed_by"] == session_id]:
            await give_up(held, "work.released")
        await publish("session.disconnected", session_id, {})


async def take(session: Session, frame: dict):
    session.last_event = now()
    action = frame.get("action")
    if action == "subscribe":
        session.subscribe(frame["topics"])
        await acknowledge(session, frame, "subscribed")
    elif action == "unsubscribe":
        session.unsubscribe(frame["topics"])
        await acknowledge(session, frame, "unsubscribed")
    elif action == "publish":
        await publish(frame["event_type"], session.session_id, frame.get("payload", {}), session)
        await acknowledge(session, frame, "published")


async def acknowledge(session: Session, frame: dict, status: str):
    if "ref" in frame:
        answer = {"event_type": "system.ack", "session_id": "nexus", "status": status}
        await send(session, encode({**answer, "ref": frame["ref"], "payload": {}, "timestamp": now()}))
