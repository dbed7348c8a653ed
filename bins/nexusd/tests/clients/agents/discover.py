import httpx

# Find sessions capable of Python development
response = httpx.get(
    "http://localhost:8450/sessions/capabilities",
    params={"skill": "python", "available": "true"}
)

matches = response.json()["matches"]
for session in matches:
    print(f"Session {session['session_id']}: {session['role']}")
    print(f"  Capabilities: {', '.join(session['capabilities'])}")
