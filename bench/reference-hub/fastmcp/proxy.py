"""A FastMCP proxy as its documentation makes one: python proxy.py <address of the server> <port>."""

import sys

from fastmcp.server import create_proxy

if __name__ == "__main__":
    upstream, port = sys.argv[1:]
    proxy = create_proxy(upstream, name="bench")
    proxy.run(
        transport="http",
        host="127.0.0.1",
        port=int(port),
        path="/mcp",
        show_banner=False,
        log_level="warning",
    )
