"""A small HTTP service of the demonstration: says who it is. `python -m biandou.demo.service web v1 web-v1-a`.

With a fourth word, `failing`, it says so with status 500; a fifth is the address to serve on. Prints the port that it
listens on, then serves until it is ended or its standard input is closed: so it never outlives the demonstration.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

INSTANCE_HEADER = "X-Instance"


async def serve(service: str, version: str, instance: str, mood: str = "", ip: str = "127.0.0.1") -> None:
    """Serve on a free port of `ip`; fail if `mood` is `failing`."""
    status = 500 if mood == "failing" else 200

    async def answer(request: web.Request) -> web.Response:
        text = f"{service} {version}, instance {instance}, was asked for {request.path}\n"
        return web.Response(status=status, text=text, headers={INSTANCE_HEADER: instance})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, ip, 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:6]))
