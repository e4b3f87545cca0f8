"""The page in a real browser: every view, playing, keys, languages, and what axe-core says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import opened_page, started_browser, violations, wait_until
from fakes import FakeModel, clipped, colour_video
from people_media import drawn, film
from PIL import Image
from serving import Client, served

from mmi_tvr import plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.library import Library
from mmi_tvr.library.people import PeopleStore
from mmi_tvr.library.people.recognition import recognise
from mmi_tvr.protocols import FaceEncoder
from mmi_tvr.serve.page import STATIC
from mmi_tvr.types import Answer, AnswerPair, Explanation, ScoreTerm

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 360, "height": 740}
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as one:
        yield one


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Colours, a film in which anna is known and ben is seen, and a file that is none."""
    folder = tmp_path_factory.mktemp("page")
    for colours in (["red"], ["blue"], ["blue", "red"], ["green"]):
        colour_video(folder / "films" / f"{' then '.join(colours)}.mp4", *colours)
    film(folder / "films" / "both.mp4", ["anna"], ["anna", "ben"])
    (folder / "films" / "broken.mp4").write_bytes(b"nothing that plays")
    encoder: FaceEncoder = plugins.build("people.faces", "fake", {})
    rerank = Section(name="skeleton", answerer={"name": "fake"}, judge={"name": "fake"})
    settings = Settings(faces=Section(name="fake"), rerank=rerank)
    model = FakeModel()
    model.reads = frozenset({"text", "pictures"})
    with Library(folder / "library", model, settings, clipped) as library:
        library.index(folder / "films", people=True)
        with PeopleStore.open_to_write(library.path) as store:
            picture = drawn("anna")
            store.add("anna", encoder.describe(picture, encoder.detect(picture)))
            recognise(store, encoder.threshold)
        yield library


@pytest.fixture(scope="module")
def client(opened: Library) -> Iterator[Client]:
    with served(opened) as one:
        yield one


@pytest.fixture
def page(browser: Browser, client: Client) -> Iterator[Page]:
    with opened_page(browser, client.running.url) as one:
        yield one


def names(page: Page) -> list[str]:
    return [text.strip() for text in page.locator(".hits .name").all_inner_texts()]


def search(page: Page, text: str) -> None:
    page.fill("#q", text)
    wait_for_results(page, text)


def wait_for_results(page: Page, text: str) -> None:
    """Wait until the hits of a query are there, and not those of what was typed before it."""
    wait_until(page, f"document.title === '{text}' && document.querySelector('.results')?.ariaBusy === 'false'")


def test_what_is_typed_is_searched_for_and_plays_from_its_second(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("/")  # the cursor is in the search field again
    page.keyboard.type("red")
    wait_for_results(page, "red")
    assert names(page)[0] == "red.mp4"
    assert "q=red" in page.url
    assert page.title() == "red"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert names(page)[1] == "blue then red.mp4"
    best = page.locator(".open:focus .bar .best")
    assert best.evaluate("node => parseFloat(node.style.insetInlineStart)") >= 40  # in the second half of the film
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelector('dialog video')?.currentTime >= 1.9")
    assert page.locator("dialog h2").inner_text() == "blue then red.mp4"
    assert "Relevance" in page.locator(".why").inner_text()
    page.keyboard.press("ArrowLeft")
    assert page.locator("dialog h2").inner_text() == "red.mp4"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert "blue then red" in page.locator(":focus").inner_text()
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "q"


def test_a_search_that_is_overtaken_is_ended(page: Page) -> None:
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(str(request.post_data)))
    page.route("**/api/search", lambda route: None if "blue" in route.request.post_data else route.continue_())
    with page.expect_request("**/api/search"):
        page.fill("#q", "blue")
    search(page, "red")
    assert names(page)[0] == "red.mp4"
    assert ["blue" in body for body in ended] == [True]


def test_nothing_to_find_an_error_and_going_on(page: Page, client: Client) -> None:
    page.route("**/api/search", lambda route: route.fulfill(status=503, body='{"error": "too many wait"}'))
    page.fill("#q", "red")
    page.wait_for_selector("[role=alert]")
    assert "too many wait" in page.inner_text("[role=alert]")
    page.unroute("**/api/search")
    page.click("[role=alert] button")
    page.wait_for_selector(".results .open")
    page.goto(f"{client.running.url}/?q=red&where=action%3Dspins")
    page.wait_for_selector("[role=alert]")
    page.click(".chips button")  # without the filter
    page.wait_for_selector(".results .open")
    assert "where" not in page.url


def test_people_are_named_hidden_and_forgotten(page: Page, client: Client) -> None:
    page.goto(f"{client.running.url}/people")
    page.wait_for_selector("img.face")
    assert page.locator("article h3").all_inner_texts()[0] == "anna"
    page.get_by_role("button", name="Name", exact=True).click()
    page.keyboard.type("ben")
    page.keyboard.press("Enter")
    page.wait_for_selector("article h3:text('ben')")
    ben = page.locator("article", has_text="ben")
    ben.get_by_role("link", name="Search").click()
    wait_for_results(page, "[ben]")
    assert names(page) == ["both.mp4"]
    assert page.locator(".tag").all_inner_texts() != []
    page.goto(f"{client.running.url}/people")
    page.locator("article", has_text="ben").get_by_role("button", name="Hide").click()
    page.wait_for_selector("article h3:text('ben')", state="detached")
    page.check("#hidden")
    page.locator("article", has_text="ben").get_by_role("button", name="Forget").click()
    page.keyboard.press("Escape")  # not meant
    assert page.locator("article", has_text="ben").count() == 1
    page.locator("article", has_text="ben").get_by_role("button", name="Forget").click()
    page.locator("dialog button.danger").click()
    page.wait_for_selector("[role=status]")
    assert "no trace is left" in page.inner_text("[role=status]")
    assert page.locator("article h3").all_inner_texts() == ["anna"]


def test_the_collection_says_what_was_set_aside_and_tries_again(page: Page, client: Client) -> None:
    page.goto(f"{client.running.url}/collection")
    page.wait_for_selector(".files td")
    assert "broken.mp4" in page.inner_text(".files")
    page.click("text=Try these again")
    page.wait_for_selector(".job [role=status]:text('Indexed: 0 added')")
    assert "broken.mp4" in page.inner_text(".files")


def test_questions_are_edited_compared_and_chosen(page: Page, client: Client) -> None:
    page.goto(f"{client.running.url}/pools")
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr").count() == 50
    row = page.locator("tbody tr", has=page.locator("[title=Asked]")).first
    row.get_by_role("button").click()
    page.fill("#text", "Is it red?")
    page.fill("#query", "red")
    page.click("text=Compare before and after")
    page.wait_for_selector("dialog tbody tr")
    assert "Is it red?" in page.inner_text("dialog ul")
    assert violations(page) == []
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("dialog", state="detached")
    assert "choose again" in page.inner_text("[role=status]")
    assert "Is it red?" in page.inner_text("table")
    page.locator("tbody input").first.uncheck()
    page.wait_for_selector("text=49 enabled")
    page.click("text=Choose again")
    page.wait_for_selector("text=is asked now")
    page.click("text=Show the groups")
    page.wait_for_selector("svg g.group-0 path")
    page.click("text=Add a question")
    page.fill("#text", "Is it red")  # as good as there
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("dialog [role=alert]")
    assert violations(page) == []


def test_a_picture_and_a_moment_are_searched_by(page: Page, client: Client, tmp_path: Path) -> None:
    page.goto(f"{client.running.url}/?any=")
    page.wait_for_selector(".chips .chip")
    Image.new("RGB", (64, 64), (255, 0, 0)).save(tmp_path / "mine.png")
    page.set_input_files("input[type=file]", tmp_path / "mine.png")
    page.wait_for_selector(".results .open")
    assert set(names(page)[:2]) == {"red.mp4", "blue then red.mp4"}
    assert "like mine.png" in page.inner_text(".chips")
    page.locator(".open", has_text="blue then red.mp4").click()
    page.click("text=More like this")
    page.wait_for_selector(".chips img[src*=thumbnail]")
    page.wait_for_selector(".results[aria-busy=false] .open")
    assert names(page)[0] == "red.mp4"  # not itself
    assert "like=" in page.url
    page.reload()
    page.wait_for_selector(".results .open")
    assert names(page)[0] == "red.mp4"


def test_an_explanation_pairs_answers_and_gives_the_formula(page: Page) -> None:
    text = (Answer("t1", "Who?", "<b>a dog</b>"), Answer("t2", "Which colour?", "red"), Answer("t3", "Where?", "here"))
    video = (Answer("v1", "Which colours?", "blue"), Answer("v2", "Who is there?", "a dog"))
    pairs = (AnswerPair(0, 1, "agrees"), AnswerPair(1, 0, "conflicts"))
    terms = (ScoreTerm("cosine", 0.6, 0.5), ScoreTerm("probability", 0.3, 0.25))
    explanation = Explanation(text, video, 0.25, 0.5, 0.375, judge="llava", pairs=pairs, terms=terms)
    search(page, "red")
    page.locator(".open").first.click()
    page.wait_for_selector("dialog .why")
    page.evaluate(
        """async (skeleton) => {
            const { why } = await import("/static/why.js");
            const hit = { relevance: 0.5, scores: {}, also: [], skeleton };
            document.querySelector("dialog .why").replaceWith(why({ levels: {} }, hit));
        }""",
        explanation.as_dict(),
    )
    assert "joint score 0.375 = 0.6 × cosine 0.500 + 0.3 × same scene 0.250" in page.locator(".why").inner_text()
    rows = [row.split("\t") for row in page.locator(".skeletons tbody tr").all_inner_texts()]
    assert [row[0].strip() for row in rows] == ["agrees", "conflicts", ""]
    assert ["Who?" in rows[0][1], "Who is there?" in rows[0][2], "Where?" in rows[2][1]] == [True] * 3
    assert page.locator(".why b").count() == 0  # an answer is no markup
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_keeps_anybody_from_using_a_view(browser: Browser, client: Client, scheme: str) -> None:
    url = client.running.url
    with opened_page(browser, f"{url}/?q=red", color_scheme=scheme) as page:
        page.wait_for_selector(".results .open")
        page.click("text=Filter")
        page.wait_for_selector(".panel fieldset")
        assert violations(page) == []
        page.locator(".open").nth(1).click()
        page.wait_for_selector("dialog .why")
        assert violations(page) == []
        for view, ready in (("people", "img.face"), ("collection", ".files td"), ("pools", "tbody tr")):
            page.goto(f"{url}/{view}")
            page.wait_for_selector(ready)
            assert violations(page) == []


def test_in_chinese_and_on_a_phone(browser: Browser, client: Client) -> None:
    with opened_page(browser, f"{client.running.url}/?q=red", locale="zh-CN", viewport=PHONE) as page:
        page.wait_for_selector(".results .open")
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        assert page.locator("nav a").first.inner_text() == "搜索"
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert violations(page) == []
        page.locator(".open").first.click()
        page.wait_for_selector("dialog .why")
        assert page.evaluate("document.querySelector('dialog').scrollWidth") <= PHONE["width"]
        page.click(".close")
        page.click("text=English")
        page.wait_for_selector("nav a:text('Search')")
        page.reload()
        assert page.locator("nav a").first.inner_text() == "Search"  # it is remembered


def test_signing_in(browser: Browser, tmp_path: Path) -> None:
    """As from another machine: what a browser says of where a form comes from is let in, and a wrong token is said."""
    with Library(tmp_path / "none") as library, served(library, host="0.0.0.0") as client:
        token = client.running.token_file.read_text(encoding="ascii").strip()
        with opened_page(browser, f"{client.running.url}/people") as page:
            assert violations(page) == []
            for text, shown in (("wrong", "another token"), (token, "mmi-tvr index FOLDER")):
                page.fill("#token", text)
                page.keyboard.press("Enter")
                page.wait_for_selector(f"main:has-text('{shown}')")


def test_a_film_that_is_away_is_said_to_be(browser: Browser, tmp_path: Path) -> None:
    films = colour_video(tmp_path / "films" / "red.mp4", "red").parent
    with Library(tmp_path / "library", FakeModel(), relevance=clipped) as library:
        library.index(films)
        with served(library) as client, opened_page(browser, f"{client.running.url}/?q=red") as page:
            page.wait_for_selector(".results .open")
            (films / "red.mp4").unlink()
            page.locator(".open").first.click()
            alert = page.wait_for_selector(".stage [role=alert]:has-text('not there any more')")
            assert alert is not None


def test_without_scripts_the_page_searches(browser: Browser, client: Client) -> None:
    with opened_page(browser, client.running.url, java_script_enabled=False) as page:
        page.fill("#q", "red")
        page.click("button:text('Search')")
        assert names(page)[0] == "red.mp4"
        page.click("text=People")
        assert "mmi-tvr people list" in page.inner_text("main")


def test_without_a_library_it_says_how_to_begin_and_goes_on_by_itself(browser: Browser, tmp_path: Path) -> None:
    colour_video(tmp_path / "films" / "red.mp4", "red")
    library = Library(tmp_path / "library", FakeModel(), relevance=clipped)
    with library, served(library) as client, opened_page(browser, f"{client.running.url}/people") as page:
        assert "mmi-tvr index FOLDER" in page.inner_text("main")
        assert violations(page) == []
        library.index(tmp_path / "films")
        page.wait_for_selector("text=Nobody is known here")


def test_every_word_is_there_and_used_and_nothing_comes_from_elsewhere() -> None:
    """Holds without a browser, too."""
    keys = re.findall(r"^  (\w+): \[", SCRIPTS["words.js"], re.MULTILINE)
    assert len(keys) == len(set(keys)) > 50
    sources = "".join(text for name, text in SCRIPTS.items() if name != "words.js")
    templates = "".join(path.read_text(encoding="utf-8") for path in STATIC.parent.glob("templates/*.j2"))
    used = (
        set(re.findall(r'"(\w+)"', sources))
        | {"idle", "rerank", "any", "duplicates"}
        | {"since", "until", "longer", "shorter", "without_words"}
        | set(re.findall(r'data-(?:word|label)="(\w+)"', templates))
    )
    prefixes = re.findall(r"`(\w+_)\$\{", sources)
    called = set(re.findall(r'\bt\("(\w+)"', sources)) | {
        f"{key}_other" for key in re.findall(r'count\("(\w+)"', sources)
    }
    assert called <= set(keys)
    views = {"search", "people", "collection", "pools"}
    unused = {key for key in keys if key not in used | views and not key.startswith(tuple(prefixes))}
    assert {key for key in unused if not re.search("_(one|other)$", key)} == set()
    style = "".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.css"))
    assert set(re.findall(r"https?://[\w.]+", sources + style + templates)) <= {"http://www.w3.org"}
