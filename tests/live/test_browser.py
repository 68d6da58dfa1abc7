"""The pages in a real browser: Chromium, without a screen. Pictures of each are left in tests/live/out for a person to see."""

import asyncio
import uuid

import pytest
from playwright.async_api import Browser

from pipeline.clock import now_ms
from pipeline.domain.record import Option
from pipeline.local.stack import LocalStack

from .conftest import GoLive
from .counting import Count, Entry
from .watching import PHONE, TELEVISION, VIDEO, see

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

HOSTILE = (
    Option("markup", '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'),
    Option("quotes", "\"'`${window.hacked=3}`'\" \\ &lt;b&gt;"),
    Option("emoji", "👩‍👩‍👧‍👦 🇧🇷 Família 🎤"),
    Option("rtl", "\u202eمرحبا بالعالم (123) abc"),
    Option("long", "W" * 200),
    Option("breaks", "one\ntwo\tthree\u2028four"),
)


VOTES = "() => [...document.querySelectorAll('.votes')].map((cell) => cell.textContent)"
SHARES = "() => [...document.querySelectorAll('.share')].map((cell) => cell.textContent.replace('\\u00a0', ' '))"
LENGTHS = "() => [...document.querySelectorAll('.fill')].map((bar) => bar.style.transform)"
# What is left of the room of the longest name, in pixels.
ROOM = """() => Math.min(...[...document.querySelectorAll('.label')].map((label) => {
  const text = document.createRange();
  text.selectNodeContents(label);
  return label.clientWidth - parseFloat(getComputedStyle(label).paddingRight) - text.getBoundingClientRect().width;
}))"""
STATUS = "() => document.getElementById('status').textContent.trim()"


async def test_bars_and_numbers_arrive_where_they_should(browser: Browser, go_live: GoLive, count: Count) -> None:
    await count.open()
    air, _ = await go_live()
    overlay, host = await see(browser, air, "overlay", "?title=Who+wins%3F"), await see(browser, air, "host")
    await count.vote("ada", 30, 0)
    await count.vote("bo", 15, 1)
    await count.vote("cy", 5, 2)
    for page in (overlay, host):
        await page.until(VOTES, ["30", "15", "5"])
        await page.until(SHARES, ["60.0 %", "30.0 %", "10.0 %"])
    lengths = ["scaleX(1)", "scaleX(0.5)", "scaleX(0.166667)"]
    await overlay.until(LENGTHS, lengths)
    await host.until(LENGTHS, lengths)
    await count.vote("cy", 1200, 3)
    await overlay.until(VOTES, ["30", "15", "1,205"])
    await host.until("() => document.getElementById('total').textContent", "1,250")
    await host.until("() => document.querySelectorAll('#chart polyline').length", 1)
    for page in (overlay, host):
        assert page.complaints == []
        assert page.hosts == {air.url.split("/")[2]}


async def test_the_template_functions_of_playout_systems(browser: Browser, go_live: GoLive, count: Count) -> None:
    await count.open()
    await count.vote("ada", 2)
    air, _ = await go_live()
    overlay = await see(browser, air, "overlay", "?wait=1&hide=totals&theme=light")
    away = "() => document.getElementById('panel').classList.contains('away')"
    await overlay.until(VOTES, ["2", "0", "0"])
    await overlay.until(away, True)
    await overlay.page.evaluate("play()")
    await overlay.until(away, False)
    assert not await overlay.page.is_visible("#totals")
    assert await overlay.page.evaluate("document.documentElement.className") == "light"
    assert await overlay.page.is_visible(".votes")
    await overlay.page.evaluate("next()")
    assert not await overlay.page.is_visible(".votes")
    field = '<componentData id="title"><data id="text" value="A &lt;b&gt; &amp; &quot;B&quot;"/></componentData>'
    xml = f"<templateData>{field}</templateData>"
    for content, expected in ((xml, 'A <b> & "B"'), ('{"title": "<i>2</i>"}', "<i>2</i>"), ("{nonsense", "<i>2</i>")):
        await overlay.page.evaluate("(content) => update(content)", content)
        await overlay.until("() => document.getElementById('title').textContent", expected)
    await overlay.page.evaluate("stop()")
    await overlay.until(away, True)
    assert overlay.complaints == []


async def test_hostile_labels_are_only_text(browser: Browser, go_live: GoLive, count: Count) -> None:
    await count.open(HOSTILE)
    for number, option in enumerate(HOSTILE):
        await count.vote(option.id, 40 - 5 * number, number % 4)
    air, _ = await go_live()
    labels = [option.label for option in HOSTILE]
    for kind, size in (("overlay", TELEVISION), ("host", TELEVISION), ("host", PHONE)):
        page = await see(browser, air, kind, size=size)
        await page.until("() => [...document.querySelectorAll('.label')].map((label) => label.textContent)", labels)
        await page.until("() => document.querySelectorAll('.votes')[0].textContent", "40")
        assert await page.page.evaluate("window.hacked") is None
        assert await page.page.evaluate("document.querySelectorAll('img, #bars script, tbody script').length") == 0
        inside = "() => document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll('.label')]"
        inside += ".every((label) => label.getBoundingClientRect().height < 170)"
        assert await page.page.evaluate(inside), (kind, size)
        assert page.complaints == []
        await page.picture(f"hostile-{kind}-{size['width']}", VIDEO if kind == "overlay" else "")


async def test_any_number_of_options_stays_inside_the_safe_area(
    browser: Browser, go_live: GoLive, count: Count
) -> None:
    await count.open([Option(f"act-{number}", f"The {number}th act of the night") for number in range(100)])
    await count.vote("act-7", 40)
    await count.vote("act-99", 41, 1)
    air, _ = await go_live()
    overlay = await see(browser, air, "overlay", "?title=" + "Long+title+" * 30)
    await overlay.until("() => (document.querySelectorAll('.votes')[1] || {}).textContent", "40")
    assert (
        await overlay.page.text_content(".label") == "The 99th act of the night"
    )  # those that lead are never left out
    box = await overlay.page.evaluate(
        "() => { const box = document.getElementById('panel').getBoundingClientRect(); "
        "return [box.left, box.top, box.right, box.bottom].map(Math.round) }"
    )
    assert box[0] >= 96
    assert box[1] >= 54
    assert box[2] <= 1824
    assert box[3] <= 1026
    await overlay.picture("hundred-overlay", VIDEO)
    small = await see(browser, air, "overlay", size={"width": 1280, "height": 720})
    await small.until("() => document.getElementById('panel').getBoundingClientRect().right <= 1216", expected=True)


async def test_pages_come_back_after_restarts(
    browser: Browser, system: LocalStack, go_live: GoLive, count: Count
) -> None:
    await count.open()
    await count.vote("ada", 3)
    air, child = await go_live()
    overlay, host = await see(browser, air, "overlay"), await see(browser, air, "host")
    await overlay.until(VOTES, ["3", "0", "0"])
    await host.until(VOTES, ["3", "0", "0"])
    await asyncio.to_thread(child.kill)
    await host.until("() => document.getElementById('line').textContent.startsWith('Connection lost')", expected=True)
    await overlay.until(VOTES, ["3", "0", "0"])  # held, and nothing else is to be seen
    await overlay.picture("service-away-overlay", VIDEO)
    await host.picture("service-away-host")
    await count.vote("bo", 2)
    await asyncio.to_thread(system.restart, child.launch.name)
    for page in (overlay, host):
        await page.until(VOTES, ["3", "2", "0"])
    await host.until("() => document.getElementById('line').textContent", "Connected")

    await asyncio.to_thread(system.restart, "redis")  # it forgets everything
    await host.until(STATUS, "Recounting")
    await overlay.until(VOTES, ["3", "2", "0"])
    await host.picture("recounting-host")
    await overlay.picture("recounting-overlay", VIDEO)
    for partition in range(len(count.log)):
        await count.lose(partition)
        await count.fold_again(partition)
    await count.vote("cy", 4)
    for page in (overlay, host):
        await page.until(VOTES, ["3", "2", "4"])
    await host.until(STATUS, "Voting is open")
    # The browser itself notes lines that broke; the pages have nothing to add.
    assert all("Failed to load resource" in complaint or "net::" in complaint for complaint in overlay.complaints)


LINE = "() => document.getElementById('line').textContent.split(' since ')[0]"


async def test_the_host_is_told_when_the_count_does_not_answer(
    browser: Browser, system: LocalStack, go_live: GoLive, count: Count
) -> None:
    await count.open()
    await count.vote("ada", 3)
    air, _ = await go_live()
    host = await see(browser, air, "host")
    await host.until(VOTES, ["3", "0", "0"])
    await host.until(LINE, "Connected")
    redis = system.children["redis"].identity.process()
    assert redis is not None
    redis.suspend()
    try:
        await host.until(LINE, "The count has not answered")
        later = await see(browser, air, "host")
        await later.until(LINE, "The count has not answered")
        await later.until(VOTES, ["3", "0", "0"])
        await later.until("() => document.getElementById('lag').textContent", "unknown")
        await host.picture("count-away-host")
    finally:
        redis.resume()
    await host.until(LINE, "Connected")
    await later.until(LINE, "Connected")


async def test_a_page_keeps_its_line_while_there_is_no_news(browser: Browser, go_live: GoLive, count: Count) -> None:
    await count.open(opened_at=now_ms() - 5_000)
    await count.close(ahead_ms=-1)
    air, _ = await go_live()
    host = await see(browser, air, "host")
    await host.until(STATUS, "Voting is closed, last votes are arriving")
    asked: list[str] = []
    host.page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[1]))
    await host.page.add_init_script("Math.random = () => 0")  # it waits for no longer than it must
    await host.page.reload()
    await asyncio.sleep(17)  # SILENCE_MS, and a look
    assert asked.count("events") == 1
    assert host.complaints == []


def strays(_: int, key: bytes, value: bytes) -> list[Entry]:
    """Make of a good vote some that do not count: past the limit, of an impossible time, for nobody, before the opening."""
    new_id = value.replace(b'"vote_id":"', b'"vote_id":"%b","was":"' % str(uuid.uuid4()).encode())
    impossible, early = value.replace(b'"cast_at":', b'"cast_at":9'), value.replace(b'"cast_at":1', b'"cast_at":')
    nobody = value.replace(b'"option_id":"', b'"option_id":"nobody","was":"')
    return [(now_ms(), key, stray) for stray in (new_id, impossible, nobody, early)]


async def test_pictures_of_a_show(browser: Browser, go_live: GoLive, count: Count) -> None:
    names = ("Ada Lovelace", "Bo Diddley", "Cy Twombly", "Dee Dee Bridgewater", "Eli Wallach")
    options = [Option(name.split()[0].lower(), name) for name in names]
    await count.open(options, opened_at=now_ms() - 50_000)
    began = now_ms() - 48_000
    for second in range(48):  # a history: quiet, a spike, quiet again; one edge is not heard from its end on
        count.at = began + 1000 * second
        count.edge_id = "edge-ams-1" if second % 2 and second < 30 else "edge-gru-1"
        for number, option in enumerate(options):
            await count.vote(option.id, (90 if 14 <= second < 19 else 9) // (number + 1) + second % 3, number % 4)
    count.at = None
    air, _ = await go_live()
    overlay = await see(browser, air, "overlay", "?title=Who+wins+the+final%3F")
    host, phone = await see(browser, air, "host"), await see(browser, air, "host", size=PHONE)
    index, light = await see(browser, air, ""), await see(browser, air, "overlay", "?theme=light&hide=totals")
    clear = await see(browser, air, "overlay", "?theme=clear&title=Who+wins+the+final%3F")
    for page in (overlay, host, phone, light, clear):
        await page.until("() => document.querySelectorAll('.votes')[0].textContent !== '0'", expected=True)
    for _ in range(9):  # while the pictures are taken it goes on, with everything that may become of a vote
        for number, option in enumerate(options):
            await count.vote(option.id, 60 // (number + 1), number % 4)
        await count.add(0, count.log[0][-9:])
        await count.add(1, [(now_ms(), b"somebody-else", count.log[1][-1][2])] * 2)
        await count.add(0, strays(*count.log[0][-1]))
        await asyncio.sleep(0.2)
    heard = "() => document.getElementById('edges').textContent.replace(/\\s+/g, ' ')"
    await host.until(f"() => ({heard})().includes('1 of 2 edges went quiet edge-ams-1, last heard at')", expected=True)
    pages = {"overlay": overlay, "host": host, "phone": phone, "index": index, "light": light, "clear": clear}
    below = {"overlay": VIDEO, "light": VIDEO, "clear": VIDEO}
    for name, page in pages.items():
        await page.picture(f"spike-{name}", below.get(name, ""))
    for page in (overlay, light, clear):
        assert await page.page.evaluate(ROOM) > 0  # names like these are shown in full
    await count.close(ahead_ms=-1)
    await host.until(STATUS, "Voting is closed, last votes are arriving")
    await overlay.picture("closed-overlay", VIDEO)
    await count.finalize()
    await host.until(STATUS, "Final result")
    await overlay.until(STATUS, "Final result")
    await host.until("() => document.getElementById('rate').textContent", "0")
    await host.until("() => document.getElementById('heard').textContent", "2 edges took part")
    await count.vote("ada")  # too late
    await host.until("() => document.querySelectorAll('#words > div').length", 8)
    assert await host.page.evaluate("document.documentElement.scrollHeight <= innerHeight")  # all of it at one glance
    await asyncio.sleep(1)
    for name, page in pages.items():
        await page.picture(f"final-{name}", below.get(name, ""))
        assert page.complaints == [], name
