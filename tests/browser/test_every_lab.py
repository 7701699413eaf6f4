"""Every lab in JupyterLab: runs from its first to its last cell, looks right at two widths in two themes, and needs no
mouse.
"""

import pytest

from tests.browser.open_labs import SCREENSHOTS

CONTROLS = "input, select, textarea, button, .noUi-handle"
# What of an output reaches beyond its edges, where it would be cut off or need scrolling.
BEYOND = """output => { const edge = output.getBoundingClientRect();
    return Array.from(output.querySelectorAll('img, table, p, input, select, textarea, button, .slider'))
        .filter(part => { const box = part.getBoundingClientRect();
            return part.offsetParent && (box.right > edge.right + 1 || box.left < edge.left - 1); })
        .map(part => part.outerHTML.slice(0, 200)); }"""
NAME = "control => control.computedName || ''"


def test_it_is_the_token_that_lets_one_in(chromium, server):
    page = chromium.new_context().new_page()
    page.goto(f"{server.facts['url']}lab")
    assert "/login" in page.url
    assert page.request.get(f"{server.facts['url']}api/contents/labs").status == 403
    assert server.facts["url"].startswith("http://127.0.0.1:")
    page.context.close()


def test_all_cells_run_without_error_or_warning(lab):
    prompts = lab.prompts()
    assert prompts == [f"[{number}]:" for number in range(1, len(prompts) + 1)] and lab.faults == []
    outputs = [output for cell in lab.save()["cells"] for output in cell.get("outputs", [])]
    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []
    assert len(outputs) > len(prompts) / 2


def test_nobody_is_asked_about_news(lab):
    assert lab.page.get_by_text("official Jupyter news").count() == 0


@pytest.fixture
def as_before(lab):
    """Puts width and theme back, whatever a test finds."""
    yield
    lab.width(1280)
    lab.theme("Light")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
@pytest.mark.usefixtures("as_before")
def test_figures_and_widgets_fit_into_the_window(lab, theme):
    lab.theme(theme)
    shown, pictures = lab.outputs(), 0
    for width in (1280, 800):
        lab.width(width)
        for number in range(shown.count()):
            output = shown.nth(number)
            output.scroll_into_view_if_needed()
            if not output.locator("img, .noUi-handle, input, select, button").count():
                continue  # a progress bar that is gone
            assert output.evaluate(BEYOND) == [], f"output {number} at {width} pixels"
            output.screenshot(
                animations="disabled", path=SCREENSHOTS / f"{lab.file.stem}-{width}-{theme.lower()}-{number:02}.png"
            )
            pictures += 1
    assert pictures


def test_every_picture_has_loaded(lab):
    pictures = lab.page.locator(".jp-NotebookPanel .jp-OutputArea img")
    assert pictures.count() and all(
        pictures.evaluate_all("all => all.map(img => img.complete && img.naturalWidth > 0)")
    )


def test_every_control_has_a_name(lab):
    controls = lab.page.locator(".jp-NotebookPanel .jp-OutputArea-output").locator(CONTROLS)
    assert controls.count()
    for control in controls.all():
        control.scroll_into_view_if_needed()
        named = control
        if "noUi-handle" in (
            control.get_attribute("class") or ""
        ):  # ipywidgets gives it none: the field beside it has one
            named = control.locator("xpath=ancestor::*[contains(@class, 'widget-hbox')][1]").locator("input")
            assert float(named.input_value()) == pytest.approx(float(control.get_attribute("aria-valuetext")))
        html = named.evaluate("control => control.outerHTML")
        # What was far away comes into the accessibility tree with the first frame that is drawn after scrolling, not at
        # once.
        lab.wait(lambda named=named: named.evaluate(NAME).strip(), 10, f"the name of {html}", pause=0.05)


def test_every_control_is_reached_by_keyboard(lab):
    for output in lab.outputs().all():
        controls = output.locator(CONTROLS).filter(visible=True)
        usable = [control for control in controls.all() if control.is_enabled()]
        if not usable:
            continue
        usable[0].focus()
        for place, control in enumerate(usable):
            assert control.evaluate("control => control === document.activeElement"), (
                f"{place} Tab presses do not lead to {control}"
            )
            lab.page.keyboard.press("Tab")


def test_a_profile_is_chosen_and_its_settings_are_told(lab):
    start = lab.cell("lab = start()")
    dropdown = start.get_by_role("combobox", name="profile")
    chosen = dropdown.locator("option").all_text_contents()
    assert chosen[0] == "pocket" and len(chosen) > 1
    for profile in (chosen[-1], chosen[0]):
        dropdown.select_option(profile)
        lab.wait(
            lambda profile=profile: f"profile{profile}" in start.locator("tr").all_text_contents(),
            60,
            f"the settings of {profile}",
        )
    assert not start.locator("table").is_visible(), "the settings are folded away"
    assert lab.status() in ("idle", "busy")
