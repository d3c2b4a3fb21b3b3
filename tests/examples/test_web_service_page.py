"""The page of `examples/web_service`, in a browser: what a visitor sees and does.

What is seen is waited for; the answers are held by the test where one must be seen to grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from chatgpt.testing import Answer, ChatGPTServer, Fault
from tests.browser import browser, complaints, wait
from tests.cli.processes import environment
from tests.examples.programs import Held, web_service
from tests.redis_server import until

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ChatGPTServer]]:
    folder = tmp_path_factory.mktemp("web_service")
    with ChatGPTServer() as server, web_service(folder, environment(folder, server)) as url:
        yield url, server


@pytest.fixture
def server(running: tuple[str, ChatGPTServer]) -> ChatGPTServer:
    """The server that the service asks; as new."""
    server = running[1]
    server.requests.clear()
    server.replies = None
    return server


@pytest.fixture
def page(browser: Chrome, running: tuple[str, ChatGPTServer]) -> Chrome:
    """The page, of a visitor who was never there."""
    browser.delete_all_cookies()
    browser.get(running[0])
    wait_until_ready(browser)
    complaints(browser)
    return browser


def wait_until_ready(page: Chrome) -> None:
    wait(page, lambda _: page.find_element(By.ID, "send").is_enabled())


def ask(page: Chrome, text: str) -> None:
    page.find_element(By.ID, "text").send_keys(text, Keys.ENTER)


def texts(page: Chrome) -> list[str]:
    """What all messages say, at one moment."""
    script = "return [...document.querySelectorAll('.message')].map((each) => each.textContent)"
    found: list[str] = page.execute_script(script)
    return found


def last_reply(page: Chrome) -> WebElement:
    return page.find_elements(By.CSS_SELECTOR, ".assistant")[-1]


def wait_for_the_end(page: Chrome) -> None:
    wait(page, lambda _: not page.find_elements(By.CSS_SELECTOR, ".growing"))
    wait(page, lambda _: page.find_element(By.ID, "send").is_displayed())


def note(page: Chrome) -> str:
    found: str = wait(page, lambda _: page.find_elements(By.CSS_SELECTOR, ".note"))[-1].text
    return found


def test_an_answer_grows_and_is_there_after_a_reload(
    page: Chrome, server: ChatGPTServer, tmp_path: Path
) -> None:
    story = Held("Once upon", " a time", ", there was a river\nthat wanted to be a lake.")
    server.replies = ["A monad is a burrito.\n\n    unit, bind", Answer(parts=story)]

    ask(page, "What is a monad?")
    wait_for_the_end(page)
    ask(page, "And a tale about it, please: a short one, of two lines, with a river in it.")
    wait(page, lambda _: texts(page)[-1:] == ["Once upon"])
    assert "growing" in str(last_reply(page).get_attribute("class"))
    assert page.find_element(By.ID, "stop").is_displayed()
    assert page.save_screenshot(str(tmp_path / "growing.png"))
    story.let_go()
    wait_for_the_end(page)

    seen = texts(page)
    assert seen[1] == "A monad is a burrito.\n\n    unit, bind"
    assert seen[3] == "Once upon a time, there was a river\nthat wanted to be a lake."
    page.refresh()
    wait(page, lambda _: texts(page) == seen)
    for name, size in {"wide": (1280, 800), "narrow": (500, 800)}.items():
        page.set_window_size(*size)
        width = page.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert width == 0  # nothing sticks out
        assert page.save_screenshot(str(tmp_path / f"{name}.png"))
    page.set_window_size(1280, 800)
    assert complaints(page) == []


def test_stop_ends_the_answer_on_the_server(page: Chrome, server: ChatGPTServer) -> None:
    server.replies = [Answer(parts=Held("Once upon", " a time."))]

    ask(page, "A long tale?")
    wait(page, lambda _: texts(page) == ["A long tale?", "Once upon"])
    page.find_element(By.ID, "stop").click()

    until(lambda: server.requests[-1].is_disconnected)
    assert note(page) == "Stopped. Nothing of this answer is kept."
    wait_for_the_end(page)
    # What was asked can be sent again, or changed.
    assert page.find_element(By.ID, "text").get_attribute("value") == "A long tale?"
    page.refresh()
    wait_until_ready(page)
    assert texts(page) == []
    assert complaints(page) == []


@pytest.mark.parametrize("left_by", ["closing the tab", "going elsewhere"])
def test_a_page_that_is_left_ends_its_answer(
    left_by: str, page: Chrome, server: ChatGPTServer
) -> None:
    server.replies = [Answer(parts=Held("Once upon", " a time."))]
    address, first = page.current_url, page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(address)
    wait_until_ready(page)
    ask(page, "A long tale?")
    wait(page, lambda _: texts(page)[-1:] == ["Once upon"])

    if left_by == "going elsewhere":  # the browser keeps the page, for the button "back"
        page.get("about:blank")
        until(lambda: server.requests[-1].is_disconnected)
    page.close()
    page.switch_to.window(first)

    until(lambda: server.requests[-1].is_disconnected)


def test_an_error_is_said(page: Chrome, server: ChatGPTServer, tmp_path: Path) -> None:
    server.inject(Fault(error_after=2))

    ask(page, "Hello!")

    assert note(page) == "The answer could not be made."
    wait_for_the_end(page)
    assert page.save_screenshot(str(tmp_path / "failed.png"))
    page.find_element(By.ID, "text").send_keys(Keys.ENTER)  # the same again
    # What failed is not kept: the question stands once.
    wait(
        page,
        lambda _: (
            texts(page)
            == ["Hello!", "You said: Hello! That is the first message of our conversation."]
        ),
    )
    assert page.find_elements(By.CSS_SELECTOR, ".note") == []


def test_a_form_of_another_site_asks_nothing_and_loses_nothing(
    page: Chrome, server: ChatGPTServer, running: tuple[str, ChatGPTServer]
) -> None:
    ask(page, "Hello!")
    wait_for_the_end(page)
    seen, asked = texts(page), len(server.requests)
    complaints(page)
    form = (
        f"<form method=post enctype=text/plain action={running[0]}/messages>"
        """<input name='{"text": "Hi", "rest": "' value='"}'></form>"""
    )

    page.get("data:text/html," + quote(form + "<script>document.forms[0].submit()</script>"))

    wait(page, lambda _: "may ask for this" in page.page_source)
    page.get(running[0])
    wait(page, lambda _: texts(page) == seen)
    assert len(server.requests) == asked


def test_what_the_service_cannot_do_is_said(
    page: Chrome, running: tuple[str, ChatGPTServer], tmp_path: Path
) -> None:
    ask(page, "Hello!")
    wait_for_the_end(page)
    seen = texts(page)
    page.execute_cdp_cmd("Network.enable", {})
    page.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/messages"]})
    try:
        page.find_element(By.ID, "forget").click()
        assert note(page) == "The conversation could not be deleted. Try again in a while."
        assert texts(page) == seen
        page.refresh()
        assert note(page).startswith("The conversation could not be loaded.")
        assert not page.find_element(By.ID, "send").is_enabled()
    finally:
        page.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    complaints(page)
    page.refresh()
    wait(page, lambda _: texts(page) == seen)


def test_what_is_said_is_text_and_never_html(page: Chrome, server: ChatGPTServer) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    server.replies = [evil]

    ask(page, evil)
    wait_for_the_end(page)
    page.refresh()
    wait(page, lambda _: texts(page) == [evil, evil])

    assert page.find_elements(By.CSS_SELECTOR, ".message *") == []
    assert page.title == "Chat"


def test_a_new_conversation_forgets_the_old_one(page: Chrome, server: ChatGPTServer) -> None:
    ask(page, "Hello!")
    wait_for_the_end(page)
    page.find_element(By.ID, "forget").click()
    wait(page, lambda _: texts(page) == [])
    ask(page, "Who are you?")
    wait_for_the_end(page)
    assert texts(page) == [
        "Who are you?",
        "You said: Who are you? That is the first message of our conversation.",
    ]
