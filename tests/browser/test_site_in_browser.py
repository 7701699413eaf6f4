"""The site in a browser, opened from disk with the network off: search, dark mode, and outputs that try to act."""

import shutil

import pytest

from tests.cli.site_cases import ATTACKED, WORD


@pytest.fixture
def browser_page(chromium, built_site):
    """A page without network, and what it asked for and complained about."""
    context = chromium.new_context(offline=True, color_scheme="light")
    page = context.new_page()
    page.asked, page.refused, page.complaints = [], [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("requestfailed", lambda request: page.refused.append((request.url, request.failure)))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.goto((built_site.folder / "index.html").as_uri())
    yield page
    context.close()


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_search_from_disk_finds_a_word_of_an_output(browser_page):
    browser_page.fill("input[name=q]", WORD)
    browser_page.press("input[name=q]", "Enter")
    browser_page.wait_for_selector("ul.search li a")
    found = browser_page.locator("ul.search li a")
    assert found.count() == 1 and ATTACKED in found.first.get_attribute("href")
    found.first.click()
    browser_page.wait_for_selector(f"article:has-text('{WORD}')")
    assert all(url.startswith(("file:", "data:")) for url in browser_page.asked) and browser_page.complaints == []


def test_the_switch_changes_the_colours_and_is_remembered(browser_page):
    seen = [background(browser_page)]
    for _ in range(2):
        browser_page.locator("button.theme-toggle:visible").first.click()
        seen.append(background(browser_page))
    assert len(set(seen)) == 2, "light and dark"
    browser_page.goto(browser_page.url.replace("index.html", "docs/glossary.html"))
    assert background(browser_page) == seen[-1]


def test_a_lab_fits_a_narrow_window_and_asks_for_nothing(browser_page, built_site):
    browser_page.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1 }")
    for width in (1300, 800):
        browser_page.set_viewport_size({"width": width, "height": 900})
        browser_page.goto((built_site.folder / "labs" / f"{ATTACKED}.html").as_uri())
        browser_page.wait_for_load_state("networkidle")
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    assert browser_page.evaluate("window.hits") == 0
    assert browser_page.evaluate("window.hit(), window.hits") == 1, "the counter works"
    assert all(url.startswith(("file:", "data:")) for url in browser_page.asked)


def test_even_a_script_that_got_into_a_page_does_not_run(browser_page, built_site, tmp_path):
    folder = tmp_path / "site"
    shutil.copytree(built_site.folder, folder)
    page = folder / "docs" / "glossary.html"
    attack = (
        '<script>document.title = "hit"</script><img src="https://example.org/x.png" '
        "onerror=\"document.title = 'hit'\">"
    )
    page.write_text(page.read_text(encoding="utf-8").replace("<article", f"{attack}<article", 1), encoding="utf-8")
    browser_page.goto(page.as_uri())
    browser_page.wait_for_load_state("networkidle")
    assert attack[:20] in browser_page.content() and browser_page.title() != "hit"
    assert any("Content Security Policy" in complaint for complaint in browser_page.complaints)
    assert browser_page.refused == [("https://example.org/x.png", "csp")], "stopped in the browser, before any network"
