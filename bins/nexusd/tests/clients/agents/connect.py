import asyncio
import websockets
import json

async def connect_to_nexus():
    uri = "ws://localhost:8450/ws/session/session-5"
    async with websockets.connect(uri) as ws:
        # Subscribe to work events
        await ws.send(json.dumps({
            "action": "subscribe",
            "topics": ["work.*", "help.*"]
        }))

        # Listen for events
        async for message in ws:
            event = json.loads(message)
            print(f"Event: {event['event_type']}")
            print(f"From: {event['session_id']}")
            print(f"Payload: {event['payload']}")

asyncio.run(connect_to_nexus())
