"""When a server in this process accepts connections."""

import asyncio


async def until_listening(port: int) -> None:
    """Wait until a server accepts connections."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
