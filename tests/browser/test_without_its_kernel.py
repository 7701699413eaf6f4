"""What outlives a kernel: a restart in the middle of a run, and a saved notebook opened again with and without its
kernel. Comes last.
"""

import pytest

LAB = "01_dialogue_summarization"
BROKEN = "Error displaying widget"


@pytest.fixture(scope="module")
def again(labs):
    """Lab 1, saved, its tab closed, and opened in a new one, where no cell has run since."""
    first = labs.ran(LAB)
    first.save()
    first.page.context.close()
    notebook = labs.tab(LAB)
    yield notebook
    notebook.page.context.close()


def test_a_kernel_restarted_in_the_middle_of_a_run_leaves_a_lab_that_runs_again(labs):
    labs.ran(LAB)
    before, after = labs.restart["before"], labs.restart["after"]
    assert before[:9] == [f"[{number}]:" for number in range(1, 10)] and "[*]:" in before, "it was in the middle"
    assert "[*]:" not in after and after[-1] == "[ ]:", "no cell waits for a kernel that knows nothing of it"
    assert labs.opened[LAB].prompts()[0] == "[1]:", "the new kernel counts from one"


def widget(notebook, words):
    return notebook.cell(words).locator(".jp-OutputArea-output")


def test_a_notebook_opened_again_goes_on_with_its_kernel(again):
    output = widget(again, "next_token_explorer(model, tokenizer")
    field = output.get_by_role("spinbutton", name="temperature")
    again.wait(lambda: field.count() and output.locator("img").count(), 60, "the widget")
    for value in ("0.3", "1.7"):
        field.fill(value)
        field.press("Enter")
        again.wait(lambda value=value: f"temperature {value}," in output.inner_text(), 60, "the kernel's answer")
    assert again.page.get_by_text(BROKEN).count() == 0


def test_without_its_kernel_every_widget_still_shows_what_it_showed(again, labs):
    again.save()
    again.menu("Kernel", "Shut Down Kernel")
    again.wait(lambda: again.page.get_by_text("No Kernel").count(), 60, "the kernel to be gone")
    again.page.reload()
    again.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
    explorer, playground = (
        widget(again, "next_token_explorer(model, tokenizer"),
        widget(again, "playground(model, tokenizer"),
    )
    again.wait(lambda: explorer.locator("img").count(), 120, "the saved picture")
    explorer.scroll_into_view_if_needed()  # what is far away is not drawn, and has no text
    again.wait(lambda: "temperature 1.7," in explorer.inner_text(), 60, "the saved sentence")
    assert explorer.get_by_role("spinbutton", name="temperature").input_value() == "1.7"
    again.page.wait_for_timeout(2000)
    assert again.page.get_by_text("Loading widget").count() == 0
    playground.scroll_into_view_if_needed()
    again.wait(lambda: "tokens in the prompt" in playground.inner_text(), 60, "the playground's text")
    assert playground.locator("td").count()
    assert again.page.get_by_text(BROKEN).count() == 0
    assert again.page.evaluate("() => window.hacked") is None
