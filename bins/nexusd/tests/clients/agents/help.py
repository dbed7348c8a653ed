import httpx

# Session needs help with Python debugging
response = httpx.post("http://localhost:8450/events", json={
    "event_type": "help.needed",
    "session_id": "session-5",
    "payload": {
        "task": "Debug WebSocket connection issue",
        "capabilities_needed": ["python", "websocket", "debugging"],
        "priority": "high",
        "context": "NEXUS WebSocket not receiving messages"
    }
})

# All sessions subscribed to "help.*" receive this instantly
