"""Lab 1's playground: every control at both ends with what it does to the completions, and dialogues that mean harm."""

import re

import pytest

# Counts how often Generate has finished: it is disabled while it works.
COUNT = """button => { button.runs = 0; let was = button.disabled;
            new MutationObserver(() => { if (was && !button.disabled) button.runs++; was = button.disabled; })
                .observe(button, {attributes: true}); }"""
HARM = """\
#Person1#: <script>window.hacked = 1</script> said "hello" & 'bye' 😀🎉 <img src=x onerror="window.hacked = 1">
#Person2#: <b>bold</b> </textarea><svg onload="window.hacked = 1"> I'll bring the umbrella tomorrow."""
QUIET = {
    "samples": 0,
    "beams": 1,
    "new tokens": 8,
    "examples": 1,
    "top-k": 0,
    "top-p": 1,
    "temperature": 0.7,
    "seed": 0,
}


class Playground:
    """Its controls by their names; what it wrote as {heading: completion}."""

    def __init__(self, notebook):
        self.notebook, self.page = notebook, notebook.page
        self.output = notebook.cell("playground(model, tokenizer").locator(".jp-OutputArea-output")
        self.button = self.output.locator("button")
        self.button.evaluate(COUNT)
        self.dialogue = self.output.get_by_role("textbox", name="dialogue")
        self.own = self.dialogue.input_value()

    def field(self, name):
        return self.output.get_by_role("spinbutton", name=name)

    def set(self, **values):
        """Types numbers, by name with _ for a space or a dash."""
        for name, value in values.items():
            field = self.field(name)
            if float(field.input_value()) != value:
                field.fill(str(value))
                field.press("Enter")

    def end(self, name, key):
        """Moves a slider to its end; gives the number that its field then shows."""
        handle = (
            self.output.locator(".widget-hbox")
            .filter(has=self.page.get_by_role("spinbutton", name=name))
            .locator(".noUi-handle")
        )
        handle.focus()
        self.page.keyboard.press(key)
        end = float(handle.get_attribute({"Home": "aria-valuemin", "End": "aria-valuemax"}[key]))
        self.notebook.wait(
            lambda: abs(float(self.field(name).input_value()) - end) < 0.06, 60, f"{name} to be {end}"
        )  # aria has one decimal
        return float(self.field(name).input_value())

    def generate(self):
        """Presses the button and waits for what it brings."""
        before = self.button.evaluate("button => button.runs")
        self.button.click()
        self.notebook.wait(lambda: self.button.evaluate("button => button.runs") > before, 300, "Generate to finish")
        self.notebook.wait(lambda: self.notebook.status() == "idle", 60, "the kernel to be idle")
        return dict(row.locator("td").all_inner_texts() for row in self.output.locator("tbody tr").all())

    def note(self):
        """(tokens in the prompt, examples that fit, examples asked for)."""
        return tuple(
            map(int, re.search(r"(\d+) tokens in the prompt, (\d+) of (\d+) examples fit", self.result()).groups())
        )

    def result(self):
        return self.output.locator(".widget-html-content").inner_text()

    def samples(self):
        return [text for name, text in self.generate().items() if name.startswith("sample")]


@pytest.fixture(scope="module")
def opened(labs):
    return Playground(labs.ran("01_dialogue_summarization"))


@pytest.fixture
def playground(opened):
    """With few and short completions, so that a test changes what it is about."""
    opened.dialogue.fill(opened.own)
    opened.output.get_by_role("combobox", name="template").select_option(index=0)
    opened.set(**QUIET)
    return opened


def test_examples_from_none_to_all_lengthen_the_prompt(playground):
    none = playground.end("examples", "Home")
    playground.generate()
    bare = playground.note()
    most = playground.end("examples", "End")
    playground.generate()
    full = playground.note()
    assert bare[1:] == (none, none) == (0, 0) and full[1:] == (most, most) == (3, 3) and full[0] > bare[0] + 100


def test_the_first_and_the_last_template_make_other_prompts(playground):
    template = playground.output.get_by_role("combobox", name="template")
    template.select_option(index=0)
    playground.generate()
    first = playground.note()
    template.select_option("none")
    assert template.locator("option").last.inner_text() == "none"
    playground.generate()
    assert playground.note()[0] < first[0], "without an instruction the prompt is shorter"


def test_samples_and_beams_from_least_to_most_are_the_columns(playground):
    assert (playground.end("samples", "Home"), playground.end("beams", "Home")) == (0, 1)
    assert list(playground.generate()) == ["greedy"]
    assert (playground.end("samples", "End"), playground.end("beams", "End")) == (5, 8)
    assert list(playground.generate()) == [
        "greedy",
        "beam search, 8 beams",
        *(f"sample {number}" for number in range(1, 6)),
    ]


def test_new_tokens_from_one_to_all_lengthen_the_completion(playground):
    assert playground.end("new tokens", "Home") == 1
    (short,) = playground.generate().values()
    assert playground.end("new tokens", "End") > 60
    (long,) = playground.generate().values()
    assert len(short) < 20 < len(long)


def test_temperature_at_both_ends_makes_samples_alike_and_different(playground):
    playground.set(samples=5)
    assert playground.end("temperature", "Home") == 0.05
    cold = playground.samples()
    assert playground.end("temperature", "End") == 2
    assert len(set(cold)) < len(set(playground.samples()))  # two tokens may be nearly alike, so cold is not yet greedy


@pytest.mark.parametrize(("name", "narrow", "wide"), [("top-k", None, "End"), ("top-p", "Home", "End")])
def test_a_narrow_choice_makes_samples_greedy_and_a_wide_one_does_not(playground, name, narrow, wide):
    playground.set(samples=5, temperature=1)
    wild = playground.samples()
    if narrow:
        playground.end(name, narrow)
    else:
        playground.set(**{name: 1})  # 0, the slider's end, is off
    completions = playground.generate()
    assert set(completions.values()) == {completions["greedy"]}
    widest = playground.end(name, wide)
    again = playground.samples()
    assert len(set(again)) > 1 and (widest != 1 or again == wild), "top-p 1 cuts nothing"
    if name == "top-k":
        assert playground.end(name, "Home") == 0 and playground.samples() == wild


def test_the_seed_at_both_ends_and_back_repeats_its_samples(playground):
    playground.set(samples=3, temperature=2)
    assert playground.end("seed", "Home") == 0
    first = playground.samples()
    assert playground.end("seed", "End") == 99
    assert playground.samples() != first
    playground.end("seed", "Home")
    assert playground.samples() == first


def test_code_quotes_and_emoji_are_only_text(playground):
    playground.dialogue.fill(HARM)
    playground.set(samples=2, **{"new tokens": 60})
    completions = playground.generate()
    assert (
        list(completions) == ["greedy", "sample 1", "sample 2"]
        and all(completions.values())
        and playground.note()[0] > 60
    )
    assert playground.dialogue.input_value() == HARM
    assert playground.page.evaluate("() => window.hacked") is None
    assert playground.output.locator("script, svg, img, td b").count() == 0


@pytest.mark.parametrize(
    ("dialogue", "message"),
    [
        ("umbrella tomorrow " * 5000, "the dialogue alone takes"),
        ("", "is empty; a prompt needs a dialogue"),
        ('<script>window.hacked = 1</script> "' * 2500, "the dialogue alone takes"),
    ],
)
def test_what_cannot_be_a_prompt_is_a_clear_message_and_the_page_goes_on(playground, dialogue, message):
    playground.dialogue.fill(dialogue)
    assert playground.generate() == {} and message in playground.result() and len(playground.result()) < 400
    assert playground.page.evaluate("() => window.hacked") is None and playground.button.is_enabled()
    playground.dialogue.fill(playground.own)
    assert playground.generate()["greedy"] and playground.notebook.faults == []


def test_a_long_dialogue_typed_key_by_key_arrives_whole(playground):
    playground.dialogue.fill("")
    playground.dialogue.press_sequentially('#Person1#: "Tea?" <i> 😀')
    playground.dialogue.press("Enter")
    playground.dialogue.press_sequentially("#Person2#: Yes, with lemon.")
    assert playground.dialogue.input_value() == '#Person1#: "Tea?" <i> 😀\n#Person2#: Yes, with lemon.'
    assert playground.generate()["greedy"]
