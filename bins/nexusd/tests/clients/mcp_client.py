"""Uses the hub with the official SDK: over Streamable HTTP, or over a command that relays to it."""

import asyncio
import json
import os
import sys

import httpx2
import mcp
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


async def use(client):
    """Lists the tools, publishes, reads that back, and reads a resource; prints what it saw."""
    tools = await client.list_tools()
    message = {"message": "from the SDK"}
    arguments = {"event": "message.broadcast", "payload": message}
    published = await client.call_tool("nexus_publish", arguments)
    read = await client.call_tool("nexus_read", {"patterns": ["message.*"], "limit": 1})
    resource = await client.read_resource("nexus://events/message.*")
    refused = await client.call_tool("nexus_publish", {"event": "no.such", "payload": {}})
    seen = {
        "tools": sorted(tool.name for tool in tools.tools),
        "published": published.structured_content["seq"],
        "read": read.structured_content["events"][0]["seq"],
        "resource": json.loads(resource.contents[0].text)["events"][-1]["seq"],
        "refused": refused.is_error,
    }
    print(json.dumps(seen), flush=True)


async def over_http(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(url, http_client=http)
        async with mcp.Client(transport) as client:
            await use(client)


async def over_a_command(program, url, token):
    command = StdioServerParameters(
        command=program,
        args=["mcp", "--url", url],
        env={"NEXUS_TOKEN": token, "PATH": os.environ["PATH"]},
    )
    async with mcp.Client(command) as client:
        await use(client)


url, token = sys.argv[1], sys.argv[2]
if len(sys.argv) > 3:
    asyncio.run(over_a_command(sys.argv[3], url, token))
else:
    asyncio.run(over_http(url, token))
