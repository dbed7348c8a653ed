"""Uses the hub with the official SDK: over Streamable HTTP, or over a command that relays to it.

    python mcp_client.py URL TOKEN PLAN [PROGRAM]

PLAN is an object of JSON: `calls` of tools, `read` (addresses of resources) and `prompts`. What was seen is
printed as one object of JSON: the names of what there is, and the answers in the order of the plan.
"""

import asyncio
import json
import os
import sys

import httpx2
import mcp
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

# Of one answer, in seconds. Only a failing test waits that long.
PATIENCE = 300


async def every(ask, member):
    """All entries of a list, page by page."""
    entries, cursor = [], None
    while True:
        page = await ask(cursor=cursor)
        entries += getattr(page, member)
        cursor = page.next_cursor
        if cursor is None:
            return entries


def plain(answer):
    """An answer as it came over the wire."""
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


async def call(client, wanted):
    """Calls a tool: its result, and how far its server said it was, of which the last may be told late."""
    steps = []

    async def progress(step, total, message):
        steps.append(step)

    result = await client.call_tool(
        wanted["name"], wanted.get("arguments"), progress_callback=progress
    )
    return {"result": plain(result), "progress": steps}


async def use(client, plan):
    """Lists what there is, does what the plan says, and prints what was seen."""
    tools = await every(client.list_tools, "tools")
    resources = await every(client.list_resources, "resources")
    prompts = await every(client.list_prompts, "prompts")
    seen = {
        "tools": [tool.name for tool in tools],
        "resources": [str(resource.uri) for resource in resources],
        "prompts": [prompt.name for prompt in prompts],
        "calls": [await call(client, wanted) for wanted in plan.get("calls", [])],
        "read": [plain(await client.read_resource(uri)) for uri in plan.get("read", [])],
        "got": [
            plain(await client.get_prompt(wanted["name"], wanted.get("arguments")))
            for wanted in plan.get("prompts", [])
        ],
    }
    for answer in seen["calls"]:
        answer["progress"] = len(answer["progress"])
    print(json.dumps(seen), flush=True)


async def over_http(url, token, plan):
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http:
        transport = streamable_http_client(url, http_client=http)
        async with mcp.Client(transport, read_timeout_seconds=PATIENCE) as client:
            await use(client, plan)


async def over_a_command(program, url, token, plan):
    command = StdioServerParameters(
        command=program,
        args=["mcp", "--url", url],
        env={"NEXUS_TOKEN": token, "PATH": os.environ["PATH"]},
    )
    async with mcp.Client(command, read_timeout_seconds=PATIENCE) as client:
        await use(client, plan)


url, token, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if len(sys.argv) > 4:
    asyncio.run(over_a_command(sys.argv[4], url, token, plan))
else:
    asyncio.run(over_http(url, token, plan))
