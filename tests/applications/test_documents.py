"""Documents: chunks that overlap and lose nothing, places of all questions, words that a source supports."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from helpers.applications import documents as module
from helpers.applications.documents import (
    DOCS,
    Chunk,
    DocumentError,
    chunk_documents,
    load_documents,
    load_questions,
    passages,
    plain,
    relevant_chunks,
    sections,
    support,
    windows,
)


class Words:
    """A tokenizer whose tokens are words."""

    def __call__(self, texts, add_special_tokens=True):
        if isinstance(texts, str):
            return {"input_ids": texts.split()}
        return {"input_ids": [text.split() for text in texts]}


PAGE = "# Title\n\nIntro [a link](there.md#1.-A-(b)).\n\n## Table\n| name | text |\n|---|---|\n| **x** | `y` z |\n"


def test_sections_have_words_alone():
    assert sections(PAGE) == [("Title", ["Intro a link."]), ("Table", ["name | text", "x | y z"])]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(4, 20), st.integers(0, 4))
def test_windows_cover_all_words_in_order_and_overlap_by_no_more_than_asked(counts, size, overlap):
    found = windows(counts, size, min(overlap, size // 2))
    assert found[0][0] == 0 and found[-1][1] == len(counts)
    for (first, last), (following, end) in pairwise(found):
        assert first < following <= last < end and sum(counts[following:last]) <= overlap
    assert all(sum(counts[first:last]) <= size or last - first == 1 for first, last in found)


def test_no_chunk_is_too_long_or_crosses_a_heading():
    text = "# A\n" + "word " * 100 + "\n## B\nlast words of all\n"
    chunks = chunk_documents({"page.md": text}, Words(), max_tokens=20, overlap=5)
    assert all(len(chunk.titled.split()) <= 20 for chunk in chunks) and chunks[-1].text == "last words of all"
    assert {chunk.heading for chunk in chunks} == {"A", "B"}
    with pytest.raises(DocumentError, match="overlap=15"):
        chunk_documents({"page.md": text}, Words(), max_tokens=20, overlap=15)


def test_every_question_has_its_place_and_its_answer_stands_there():
    questions, pages = load_questions(), load_documents()
    assert 40 <= len(questions) == len({question.question for question in questions})
    for question in questions:
        chunks = [
            Chunk(question.document, heading, "\n".join(lines)) for heading, lines in sections(pages[question.document])
        ]
        (number,) = relevant_chunks(question, chunks)
        assert question.is_answered_by(chunks[number].text), question.question
        assert not question.is_answered_by(question.question), "the question gives its own answer away"


def test_questions_are_not_copied_from_their_place():
    for question in load_questions():
        own = question.question.lower().split()
        for first in range(len(own) - 4):
            assert " ".join(own[first : first + 5]) not in plain(question.quote).lower(), question.question


def test_a_place_that_is_gone_is_named():
    question = load_questions()[0]
    with pytest.raises(DocumentError, match="no chunk of troubleshooting.md"):
        relevant_chunks(question, [Chunk("troubleshooting.md", question.heading, "other words")])


def test_folders_that_hold_nothing_to_read_are_named(tmp_path):
    with pytest.raises(DocumentError, match="is no folder"):
        load_documents(tmp_path / "missing")
    with pytest.raises(DocumentError, match="no .md or .txt file was found"):
        load_documents(tmp_path)
    (tmp_path / "a.md").write_bytes(b"caf\xe9")
    with pytest.raises(DocumentError, match="is not UTF-8"):
        load_documents(tmp_path)


def test_an_installed_kit_finds_its_pages_beside_its_packages(monkeypatch, tmp_path):
    page = tmp_path / "share/genai-lab-kit/docs/claims.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Claims", encoding="utf-8")

    class Listed(type(Path())):
        def locate(self):
            return tmp_path / self

    monkeypatch.setattr(module, "DOCS", tmp_path / "none")
    listed = [Listed("share/genai-lab-kit/docs/claims.md"), Listed("helpers/x.py")]
    monkeypatch.setattr(module, "files", lambda name: listed)
    assert load_documents() == {"claims.md": "# Claims"}
    monkeypatch.setattr(module, "files", lambda name: None)
    with pytest.raises(DocumentError, match="install the kit again"):
        load_documents()


def test_the_package_takes_the_pages_along():
    code = (DOCS.parent / "setup.py").read_text(encoding="utf-8")
    assert '"share/genai-lab-kit/docs"' in code and (DOCS / "glossary.md").is_file()


def test_passages_are_sentences_and_rows():
    chunk = Chunk("a.md", "h", "It is late now. Go.\nname one | the text. More of it\n<script>alert(1)</script> x y z")
    assert passages(chunk) == ["It is late now.", "name one | the text. More of it", "<script>alert(1)</script> x y z"]


@pytest.mark.parametrize(
    ("text", "share"),
    [("The bakery opens at 9:40.", 1), ("The bakery opens at 8:10.", 2 / 3), ("Nobody can say", 0), ("at", 1), ("", 1)],
)
def test_support_counts_words_of_the_sources(text, share):
    assert support(text, ["A bakery that opens at 9:40"]) == pytest.approx(share)


def test_words_of_the_question_support_nothing():
    assert support("The bakery opens early", ["no such words"], question="When does the bakery open?") == 0
