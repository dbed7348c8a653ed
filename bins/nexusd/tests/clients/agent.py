"""A session at the face of the agents, told what to do line by line.

  python agent.py ws://127.0.0.1:8450/ws/session/session-1 [--token T]

Every line of standard input is sent as one frame; its end ends the session in order. Every line of standard
output is JSON with the machine's monotonic time: {"at_ns", "connected"}, {"at_ns", "sent": <how many so far>},
{"at_ns", "got": <frame>}, and {"at_ns", "closed": <code>} or {"at_ns", "refused": <status>} at the end.
"""

import argparse
import asyncio
import json
import sys
import time

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

# What a connection has for a code that ended without one.
ABNORMAL = 1006


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--token")
    return parser.parse_args()


def show(**line):
    at_ns = line.pop("at_ns", None) or time.monotonic_ns()
    print(json.dumps({"at_ns": at_ns, **line}), flush=True)


async def send_lines(socket):
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sent = 0
    while line := await reader.readline():
        at_ns = time.monotonic_ns()
        await socket.send(line.decode().strip())
        sent += 1
        show(at_ns=at_ns, sent=sent)
    await socket.close()


async def show_frames(socket):
    async for message in socket:
        at_ns = time.monotonic_ns()
        show(at_ns=at_ns, got=json.loads(message))


async def main():
    asked = arguments()
    headers = {"Authorization": f"Bearer {asked.token}"} if asked.token else {}
    try:
        async with websockets.connect(asked.address, additional_headers=headers) as socket:
            show(connected=asked.address)
            sending = asyncio.create_task(send_lines(socket))
            # Ends with the connection, whoever closes it.
            await show_frames(socket)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            show(closed=socket.close_code)
    except InvalidStatus as refusal:
        show(refused=refusal.response.status_code)
    except ConnectionClosed as end:
        show(closed=end.rcvd.code if end.rcvd else ABNORMAL)


asyncio.run(main())
