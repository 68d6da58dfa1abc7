"""What viewers must never be told, and what a playout system may do with the overlay, in a real browser."""

from pathlib import Path

import pytest
from playwright.async_api import Browser

from pipeline.clock import now_ms
from pipeline.domain.record import PollClosed, encode

from .conftest import GoLive
from .counting import Count
from .test_browser import STATUS, VOTES
from .watching import Watched, see

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

WINNERS = "() => document.querySelectorAll('.winner').length"
LONG_AGO_MS = 5_000


async def begin(count: Count) -> None:
    await count.open(opened_at=now_ms() - LONG_AGO_MS)
    await count.vote("ada", 3)


async def both_pages(browser: Browser, go_live: GoLive) -> tuple[Watched, Watched]:
    air, _ = await go_live()
    return await see(browser, air, "overlay"), await see(browser, air, "host")


async def close_in(count: Count, partition: int, closed_at: int) -> None:
    await count.add(partition, [(now_ms(), b"marker", encode(PollClosed(*count.poll_id, closed_at)))])


async def test_a_result_on_which_the_parts_disagree_has_no_winner(
    browser: Browser, go_live: GoLive, count: Count
) -> None:
    await begin(count)
    for partition in range(len(count.log)):
        await close_in(count, partition, now_ms() - 1_000 - partition)
    await count.finalize()
    overlay, host = await both_pages(browser, go_live)
    await overlay.until(VOTES, ["3", "0", "0"])
    await overlay.until(STATUS, "Voting closed")
    await host.until("() => document.getElementById('notice').textContent.includes('Do not announce')", expected=True)
    assert await overlay.page.evaluate(WINNERS) == 0


async def test_voting_is_closed_from_its_end_on_although_a_part_has_not_heard_of_it(
    browser: Browser, go_live: GoLive, count: Count
) -> None:
    await begin(count)
    overlay, host = await both_pages(browser, go_live)
    await overlay.until(STATUS, "Voting open")
    await close_in(count, 1, now_ms() - 1)
    await overlay.until(STATUS, "Voting closed")
    await host.until(STATUS, "Voting is closed, last votes are arriving")


@pytest.mark.parametrize("off_ms", [-60_000, 60_000])
async def test_the_end_is_that_of_the_service_s_clock(
    browser: Browser, go_live: GoLive, count: Count, off_ms: int
) -> None:
    await count.open(opened_at=now_ms() - LONG_AGO_MS)
    await count.close(ahead_ms=8_000)
    air, _ = await go_live()
    overlay = await see(browser, air, "overlay")
    await overlay.page.add_init_script(f"const right = Date.now; Date.now = () => right() + {off_ms}")
    await overlay.page.reload()
    await overlay.until(STATUS, "Voting open")
    await overlay.until(STATUS, "Voting closed")


async def test_what_is_final_takes_no_line_from_others(browser: Browser, go_live: GoLive, count: Count) -> None:
    await begin(count)
    await count.close(ahead_ms=-1)
    await count.finalize()
    air, _ = await go_live()
    context = await browser.new_context()  # whose pages share six lines to a host
    overlays = [Watched(await context.new_page()) for _ in range(9)]
    for overlay in overlays:
        await overlay.page.goto("{}/overlay/{}/{}".format(air.url, *air.poll_id))
        await overlay.until(VOTES, ["3", "0", "0"])
        await overlay.until(WINNERS, 1)
    host = Watched(await context.new_page())
    await host.page.goto("{}/host/{}/{}".format(air.url, *air.poll_id))
    await host.until("() => document.getElementById('line').textContent", "Connected")
    await count.vote("bo")  # too late: it has an outcome all the same
    await host.until("() => document.getElementById('words').textContent.includes('Too late')", expected=True)
    assert [page.complaints for page in (*overlays, host)] == [[]] * 10
    await context.close()


async def test_a_template_frames_it_and_adds_styles(
    browser: Browser, go_live: GoLive, count: Count, tmp_path: Path
) -> None:
    await count.open()
    await count.vote("ada", 3)
    air, _ = await go_live()
    template = tmp_path / "template.html"
    template.write_text(
        '<iframe width="1920" height="1080" src="{}/overlay/{}/{}"></iframe>'.format(air.url, *air.poll_id)
    )
    page = Watched(await browser.new_page())
    await page.page.goto(template.as_uri())
    frame = page.page.frames[1]
    await frame.wait_for_selector(".votes >> text=3")
    await frame.add_style_tag(content="#panel { outline: 7px solid rgb(1, 2, 3) }")  # as OBS adds its Custom CSS
    assert await frame.evaluate("getComputedStyle(document.getElementById('panel')).outlineWidth") == "7px"
    assert page.complaints == []


async def test_who_wants_no_motion_sees_none(browser: Browser, go_live: GoLive, count: Count) -> None:
    await count.open()
    air, _ = await go_live()
    overlay = await see(browser, air, "overlay", "?lang=tr&live=oylama+s%C3%BCr%C3%BCyor")
    await overlay.until("() => document.getElementById('panel').className.startsWith('open')", expected=True)
    animation = "() => getComputedStyle(document.getElementById('dot')).animationName"
    assert await overlay.page.evaluate(animation) == "pulse"
    await overlay.page.emulate_media(reduced_motion="reduce")
    assert await overlay.page.evaluate(animation) == "none"
    moving = "() => getComputedStyle(document.querySelector('.label')).transitionDuration"
    assert set((await overlay.page.evaluate(moving)).split(", ")) == {"0s"}
    assert await overlay.page.evaluate("document.documentElement.lang") == "tr"  # whose capital of i is İ


async def test_pages_of_others_may_read_if_they_are_named(go_live: GoLive, count: Count) -> None:
    await count.open()
    named = "https://graphics.example"
    (air, _), (closed, _) = await go_live(AIRTALLY_LIVE_ORIGINS=named), await go_live()
    path = "/v1/shows/{}/polls/{}".format(*air.poll_id)
    for service, origin, allowed in ((air, named, named), (air, "https://other.example", None), (closed, named, None)):
        for address in (path, f"{path}/events"):
            async with service.session.get(service.url + address, headers={"Origin": origin}) as answer:
                assert answer.status == 200
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
