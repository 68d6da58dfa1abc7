"""Pages in a browser, with an eye on what they complain of and whom they ask."""

import asyncio
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from .air import Air

OUT = Path(__file__).parent / "out"
TELEVISION, PHONE = {"width": 1920, "height": 1080}, {"width": 390, "height": 844}


class Watched:
    """A page whose complaints and requests are written down."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    async def until(self, script: str, expected: Any) -> None:
        """Wait until a script gives what is expected."""
        found = None
        for _ in range(150):
            found = await self.page.evaluate(script)
            if found == expected:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{script}: {found} instead of {expected}; {self.complaints}")

    async def picture(self, name: str) -> None:
        OUT.mkdir(exist_ok=True)
        await self.page.screenshot(path=OUT / f"{name}.png")


async def see(browser: Browser, air: Air, kind: str, query: str = "", size: dict[str, int] | None = None) -> Watched:
    page = await browser.new_page(viewport=size or TELEVISION, locale="en-GB")  # type: ignore[arg-type]
    watched = Watched(page)
    address = air.url + "/" if kind == "" else "{}/{}/{}/{}{}".format(air.url, kind, *air.poll_id, query)
    await page.goto(address)
    return watched
