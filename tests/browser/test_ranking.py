"""The ranking widget of the extra on human feedback: a name, clicks from best to worst, undo, and going on after a new
start.
"""

import pytest

NAME = 'Ann <script>window.hacked = 1</script> "😀"'


@pytest.fixture(scope="module")
def notebook(labs):
    return labs.ran("human_feedback")


@pytest.fixture(scope="module")
def output(notebook):
    return notebook.cell("ranking_widget(store, CRITERION)").locator(".jp-OutputArea-output")


def sign_in(notebook, output, name):
    field = output.get_by_role("textbox", name="your name")
    field.fill(name)
    field.press("Enter")
    notebook.wait(lambda: "ranked by" in output.inner_text() or "name" in status(output), 60, "the first item")


def status(output):
    return output.locator(".widget-html-content").first.inner_text()


def choices(output):
    return output.get_by_role("button", name="next best")


def test_ranking_one_item_with_undo_is_kept(notebook, output):
    sign_in(notebook, output, NAME)
    assert (
        status(output).startswith(f"0 of 20 ranked by {NAME}.")
        and notebook.page.evaluate("() => window.hacked") is None
    )
    undo, count = output.get_by_role("button", name="Undo"), choices(output).count()
    assert count > 1 and undo.is_disabled()
    first = output.locator("pre").inner_text()
    choices(output).first.click()
    notebook.wait(lambda: choices(output).count() == count - 1, 60, "the first place")
    assert output.get_by_role("button", name="1.").is_disabled() and undo.is_enabled()
    undo.click()
    notebook.wait(lambda: choices(output).count() == count, 60, "undo")
    assert undo.is_disabled()
    for left in range(count, 0, -1):
        assert choices(output).count() == left or "1 of 20" in status(output)
        if "1 of 20" in status(output):
            break
        choices(output).last.click()
        notebook.wait(
            lambda left=left: choices(output).count() == left - 1 or "1 of 20" in status(output), 60, "the next place"
        )
    notebook.wait(lambda: status(output).startswith(f"1 of 20 ranked by {NAME}."), 60, "the ranking to be kept")
    assert output.locator("pre").inner_text() != first, "the next item"


def test_another_person_begins_at_the_first_and_the_same_goes_on(notebook, output):
    sign_in(notebook, output, "Bo")
    notebook.wait(lambda: status(output).startswith("0 of 20 ranked by Bo."), 60, "another person's first item")
    sign_in(notebook, output, NAME)
    notebook.wait(lambda: status(output).startswith(f"1 of 20 ranked by {NAME}."), 60, "the first person's second item")


def test_a_name_of_nothing_is_a_clear_message(notebook, output):
    sign_in(notebook, output, "   ")
    notebook.wait(lambda: "name" in status(output) and "ranked by" not in status(output), 60, "a message")
    assert (
        len(status(output)) < 300
        and choices(output).count() == 0
        and output.get_by_role("button", name="Undo").is_disabled()
    )


def test_the_lab_counts_what_people_ranked(notebook, output):
    cell = notebook.cell("people = store.rankings()")
    cell.locator(".jp-Editor").click()
    notebook.page.keyboard.press("Shift+Enter")
    notebook.wait(lambda: "Ann" in cell.locator(".jp-OutputArea").inner_text(), 60, "the count of rankings")
    assert notebook.page.evaluate("() => window.hacked") is None
