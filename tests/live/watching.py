"""Pages in a browser, with an eye on what they complain of and whom they ask."""

import asyncio
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from .air import Air

OUT = Path(__file__).parent / "out"
TELEVISION, PHONE = {"width": 1920, "height": 1080}, {"width": 390, "height": 844}


# What a transparent page lies over, more or less: a stage in the dark, with spotlights.
VIDEO = (
    "radial-gradient(circle at 22% 18%, #ffe9b0 0, #b8651f 9%, transparent 26%), "
    "radial-gradient(circle at 70% 12%, #d9f0ff 0, #3a7bd5 10%, transparent 30%), "
    "radial-gradient(ellipse at 50% 78%, #f4c9a0 0, #7d4a3a 18%, transparent 55%), "
    "linear-gradient(#140a24, #3b1d52 55%, #0c0714)"
)


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

    async def picture(self, name: str, background: str = "") -> None:
        OUT.mkdir(exist_ok=True)
        await self.page.evaluate("(value) => { document.documentElement.style.background = value }", background)
        await self.page.screenshot(path=OUT / f"{name}.png")


async def see(browser: Browser, air: Air, kind: str, query: str = "", size: dict[str, int] | None = None) -> Watched:
    page = await browser.new_page(viewport=size or TELEVISION, locale="en-GB")  # type: ignore[arg-type]
    watched = Watched(page)
    address = air.url + "/" if kind == "" else "{}/{}/{}/{}{}".format(air.url, kind, *air.poll_id, query)
    await page.goto(address)
    return watched
