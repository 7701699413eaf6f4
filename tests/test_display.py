import pytest

from helpers.display import table, texts, tokens

SCRIPT = "<script>alert('x')</script>"


def test_table_has_a_cell_for_every_value():
    page = table(("name", "value"), [("a", 1), ("b", 2.5)], title="Numbers").data
    assert page.count("<th ") == 2 and page.count("<td ") == 4 and "<b>Numbers</b>" in page and ">2.5<" in page


def test_table_takes_rows_that_can_be_gone_through_only_once():
    page = table(("name", "value"), zip(("a", "b"), (1, 2))).data
    assert page.count("<td ") == 4


@pytest.mark.parametrize("rows", [[("a",)], [("a", "b"), ("a", "b", "c")]])
def test_a_row_of_another_length_than_the_header_is_named(rows):
    with pytest.raises(ValueError, match=rf"rows\[{len(rows) - 1}\] has {len(rows[-1])} cells, the header has 2"):
        table(("name", "value"), rows)


@pytest.mark.parametrize(
    "page",
    [
        table((SCRIPT,), [(SCRIPT,)], title=SCRIPT),
        texts(SCRIPT, prompt=SCRIPT),
        tokens([SCRIPT]),
        tokens([SCRIPT], [7]),
    ],
)
def test_what_a_model_or_a_file_wrote_is_escaped(page):
    assert "<script" not in page.data and "&lt;script&gt;" in page.data


def test_texts_stand_below_one_another_with_their_names():
    page = texts("One dialogue", prompt_text="Hello", completion="Bye").data
    assert page.index(">prompt text<") < page.index(">Hello<") < page.index(">completion<") < page.index(">Bye<")


def test_tokens_show_newlines_and_ids():
    page = tokens(["▁a", "\n", "b"], [5, 6, 77]).data
    assert page.count("<span") == 3 and "⏎" in page and "\n" not in page and ">77<" in page
    assert "<small" not in tokens(["a"]).data


def test_tokens_want_an_id_for_every_piece():
    with pytest.raises(ValueError, match="ids: 1 of them for 2 pieces"):
        tokens(["a", "b"], [1])


def test_a_table_without_rows_says_so():
    assert "nothing to show" in table(("a", "b"), []).data and "nothing to show" not in table(("a",), [(1,)]).data


def test_an_interval_stays_on_one_line_where_there_is_room():
    few, many = (table(range(columns), [["0.44 [0.42, 0.46]"] * columns]).data for columns in (5, 6))
    assert few.count("nowrap") == 5 and "nowrap" not in many
    assert "nowrap" not in table(["text"], [["a [b, c] and more"]]).data
