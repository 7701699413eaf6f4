"""The language: sentences of at most 30 words, and none of the turns that stop a reader whose second language is
English.
"""

import ast
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [ROOT / "kit.py", *(path for name in ("helpers", "cli") for path in sorted((ROOT / name).rglob("*.py")))]
LABS = [path for path in sorted((ROOT / "labs").rglob("[!.]*.ipynb")) if "runs" not in path.parts]

LONGEST = 30  # words of a sentence
MOST = 3000  # words of a numbered lab
TURNS = {  # a turn that stops a reader: what to write in its place
    r"\bwhoever\b": "'anyone who', or who it is",
    r"\bwhatever (is|are|was|were|has|had|comes|stands|happens|holds|decides|shortens)\b": "'everything that'",
    r"\bis to say\b": "'means', or nothing",
    r"\b(not|are|is) to be had\b": "'available', 'possible'",
    r"\bwhat\b[^.?!;]*\b(is|are) worth\b": "what is measured: 'the gain of …', 'the loss without …'",
    r"\b(is|are) worth (its|their)\b": "what is gained, and at what cost",
    r", be it\b": "'whether it is'",
    r"\blest\b": "'so that … not'",
    r"\b(whence|hence|wherein|whereby|thereof|therein)\b": "'so', 'from which', 'in which'",
    r"\ball the more\b": "'even more'",
    r"\bthe (more|less) [^.?!;]*, the (more|less)\b": "'X grows with Y'",
    r"\bnot least\b": "'also'",
    r"\bso as to\b": "'to'",
    r", for (it|they|he|she|we|you|there|nobody|no one)\b(?= \w)": "'because'",
    r"\bhardly\b": "'almost no', 'almost never', 'only a little'",
}
ABBREVIATIONS = {"e.g.", "i.e.", "cf.", "vs.", "al.", "eq.", "eqs.", "fig.", "sec.", "p.", "pp."}
END = "\0"  # of a paragraph, an item, a cell of a table


def replaced(pattern, by, text, flags=re.MULTILINE):
    """The text with `by` in place of a pattern, in as many lines as before."""
    return re.sub(pattern, lambda match: match.expand(by) + "\n" * match[0].count("\n"), text, flags=flags)


def blocks(markdown):
    """(line, text) of each paragraph, item of a list, cell of a table, and text of a picture.

    Headings, blocks of code and the sources under "References" are left out. Code between backticks and formulas are
    one word each.
    """
    text = replaced(r"^[ >]*(`{3,}|~{3,})[^\n]*\n.*?^[ >]*\1[^\n]*$", END, markdown, re.MULTILINE | re.DOTALL)
    text = replaced(r"<!--.*?-->", END, text, re.DOTALL)
    text = replaced(r"^## References$.*?(?=^## |\Z)", END, text, re.MULTILINE | re.DOTALL)
    text = replaced(r"\$\$.+?\$\$", "formula", text, re.DOTALL)
    text = replaced(r"(?<![`\\])(`+)(?!`).+?(?<!`)\1(?!`)", "code", text, re.DOTALL)
    text = replaced(r"(?<!\\)\$[^$\n]+\$", "formula", text)
    text = replaced(r"!\[([^\]]*)\]\([^)]*\)", rf"{END}\1{END}", text)
    text = re.sub(r"\[([^\[\]]*)\]\((?:[^()]|\([^()]*\))*\)", r"\1", text)
    text = replaced(r"^\[[^\]]+\]: .*$|^#{1,6} .*$|^[ >]*$|</?[a-z]\w*( [^>]*)?>", END, text)
    text = replaced(r"^[ >]*([-*+]|\d+[.)]) |^\||(?<=[^\\])\|", END, text)
    line, found = 1, []
    for part in text.split(END):
        if part.strip():
            found.append((line + part[: len(part) - len(part.lstrip())].count("\n"), " ".join(part.split())))
        line += part.count("\n")
    return found


def sentences(text):
    """The sentences of a paragraph."""
    found, words = [], []
    for word, following in pairwise([*re.sub(r"\*+|(?<!\w)_|_(?!\w)", "", text).split(), END]):
        words.append(word)
        bare = word.strip("()[]\"'“”‘’")
        stops = bare.endswith(".") and bare.lower() not in ABBREVIATIONS
        stops = stops or (bare.endswith(("?", "!", "…")) and not following[0].islower())
        if stops or following == END:
            found.append(" ".join(words))
            words = []
    return found


def length(sentence):
    """Words; a dash, a sign or a bullet is none."""
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


def turns(text):
    """What is wrong with a text besides its length."""
    return [f"{found[0]!r}: write {better}" for turn, better in TURNS.items() if (found := re.search(turn, text, re.I))]


def faults(markdown):
    """("line 3", fault, sentence) of each sentence that is too long or has one of the turns; a paragraph's line."""
    for line, block in blocks(markdown):
        for sentence in sentences(block):
            if length(sentence) > LONGEST:
                yield f"line {line}", f"{length(sentence)} words, at most {LONGEST}", sentence
            for fault in turns(sentence):
                yield f"line {line}", fault, sentence


def messages(source):
    """(line, text) of each string of Python code, docstrings too; what an f-string computes is one word."""
    nodes = list(ast.walk(ast.parse(source)))
    pieces = {id(piece) for node in nodes if isinstance(node, ast.JoinedStr) for piece in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "code" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            yield node.lineno, node.value


def faults_of_messages(source):
    """The same for Python code: messages that have one of the turns."""
    for line, text in messages(source):
        for sentence in sentences(text):
            for fault in turns(sentence):
                yield f"line {line}", fault, sentence


def faults_of_lab(path):
    """The same for a notebook's prose and its code; "cell 4" counts from 0, code and prose together."""
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        code = re.sub(r"^(\s*)%.*$", r"\1pass", source, flags=re.MULTILINE)
        for line, fault, text in faults(source) if cell["cell_type"] == "markdown" else faults_of_messages(code):
            yield f"cell {number}, {line}", fault, text


def report(path, found):
    """Two lines for each fault, where and what; empty without one."""
    name = path.relative_to(ROOT).as_posix() if ROOT in path.parents else path.name
    return "\n".join(f"{name}, {place}: {fault}\n    {text}" for place, fault, text in found)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_written_in_short_plain_sentences(path):
    found = report(path, faults(path.read_text(encoding="utf-8")))
    assert not found, found


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_labs_are_written_in_short_plain_sentences(path):
    found = report(path, faults_of_lab(path))
    assert not found, found


@pytest.mark.parametrize("path", [path for path in LABS if path.stem[:2].isdigit()], ids=lambda path: path.stem)
def test_numbered_labs_are_read_in_one_sitting(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert sum(length(text) for _, text in blocks(prose)) <= MOST


def test_messages_have_no_turn_that_stops_a_reader():
    reports = [report(path, faults_of_messages(path.read_text(encoding="utf-8"))) for path in SOURCES]
    found = "\n".join(filter(None, reports))
    assert not found, found


LONG = "word " * LONGEST + "end."
PLAIN = "word " * (LONGEST - 1) + "end."


def test_a_long_sentence_is_found_where_it_stands():
    assert list(faults(f"# Title\n\nShort.\n\n{PLAIN} {LONG}\n")) == [("line 5", "31 words, at most 30", LONG)]
    assert list(faults(f"Short. {PLAIN}\n\n{PLAIN}")) == []


@pytest.mark.parametrize(
    "markdown",
    [
        f"> {LONG}",
        f"- an item\n- {LONG}",
        f"1. {LONG}",
        f"| name | text |\n|---|---|\n| x | {LONG} |",
        f"<details><summary>A hint</summary>{LONG}</details>",
        f"![{LONG}](picture.png)",
        f"```python\ncode\n```\n{LONG}",
        f"## References\n\nA title.\n\n## Time\n\n{LONG}",
        f"*Emphasis* and **weight** are no words, {LONG}",
        "word, " * LONGEST + "see [the page](https://example.org/a_page_(1)?b=c.d).",
    ],
)
def test_a_long_sentence_is_found_in_any_block(markdown):
    assert len(list(faults(markdown))) == 1


@pytest.mark.parametrize(
    "markdown",
    [
        f"## {LONG}",
        f"```python\n{LONG}\n```",
        f"- An item:\n  ```\n{LONG}\n  ```",
        f"<!-- {LONG} -->",
        f"Text.\n\n## References\n\n- {LONG}\n",
        f"`{LONG}` is code, ``and ` {LONG}`` too.",
        f"${LONG}$ is a formula.\n\n$$\n{LONG}\n$$",
        f"- {PLAIN[:-1]}\n- {PLAIN[:-1]}",
        f"| {PLAIN[:-1]} | {PLAIN[:-1]} |",
        f"{PLAIN} pocket-t5 starts the next sentence.",
        f'Does it? W{PLAIN[1:]} ("Yes.") {PLAIN}',
        "word – " * LONGEST,
    ],
)
def test_what_is_no_long_sentence_is_left_alone(markdown):
    assert list(faults(markdown)) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "Use a small rate, e.g. 0.05 or i.e. 1e-3, cf. eq. 3, vs. Schulman et al. 2016, p. 4.",
        "Python 3.11.4 reads https://example.org/a.b?c=d, and x.Y too.",
        "It asks (why?) and answers “Stop!” at once, and then … goes on.",
        "The split is 0.8 / 0.1 / 0.1 of the rows.",
    ],
)
def test_abbreviations_numbers_and_addresses_end_no_sentence(sentence):
    assert sentences(sentence) == [sentence]
    assert sentences(f"{sentence} {sentence}") == [sentence, sentence]


def test_words_are_counted_as_a_reader_counts_them():
    markdown = "See [two words](a.md#b): `a b c`, $a + b$ – a state-of-the-art 0.05 … e.g."
    assert blocks(markdown) == [(1, "See two words: code, formula – a state-of-the-art 0.05 … e.g.")]
    assert length(blocks(markdown)[0][1]) == 9


@pytest.mark.parametrize(
    "sentence",
    [
        "Whoever needs it reads on.",
        "Whatever is not on the list is refused.",
        "The critic is to say what comes.",
        "Biases are not to be had.",
        "It shows what a good teacher is worth.",
        "The step is worth its price.",
        "A symbol, be it a byte.",
        "Stop, lest it diverge.",
        "It is small, hence the noise.",
        "That matters all the more here.",
        "The more is broken, the more there is to repair.",
        "It helps, not least in memory.",
        "It is cut so as to fit.",
        "The best counts, for nobody knows more.",
        "It hardly\nmoves.",
    ],
)
def test_a_turn_is_found_in_prose_and_in_messages(sentence):
    assert [fault.partition(":")[0] for _, fault, _ in faults(f"A start. {sentence}")] != []
    source = f'"""Module."""\n\n\ndef stop(name):\n    raise ValueError(f"{{name}}: " {" ".join(sentence.split())!r})\n'
    assert [line for line, *_ in faults_of_messages(source)] == ["line 5"]


@pytest.mark.parametrize(
    "sentence",
    [
        "The bar stands for it alone.",
        "One row is kept for each layer, for nothing else.",
        "A look is worth the time, and what is saved is large.",
        "Maybe it holds, whatever the profile.",
        "None of them should be it.",
        "`whoever` is code.",
    ],
)
def test_plain_words_are_no_turns(sentence):
    assert list(faults(sentence)) == []


def test_the_report_names_place_fault_and_sentence(tmp_path):
    cells = [
        {"cell_type": "code", "source": ["%matplotlib inline\n", 'print("it hardly moves")']},
        {"cell_type": "markdown", "source": ["Short.\n", "\n", LONG]},
    ]
    lab = tmp_path / "lab.ipynb"
    lab.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert report(lab, faults_of_lab(lab)).splitlines() == [
        "lab.ipynb, cell 0, line 2: 'hardly': write 'almost no', 'almost never', 'only a little'",
        "    it hardly moves",
        "lab.ipynb, cell 1, line 3: 31 words, at most 30",
        f"    {LONG}",
    ]
