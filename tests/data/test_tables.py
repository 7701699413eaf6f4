"""Tables as spreadsheets and programs write them, and other files of rows: each is read, or named with its remedy."""

import csv
import gzip
import json

import pandas as pd
import pytest
from datasets import Dataset

from helpers.data.dialogues import read_list, read_turns
from helpers.data.inspection import inspect_dialogues
from helpers.data.loading import load_dialogues
from helpers.data.records import DataError, read_rows
from helpers.data.tables import is_data, likely_delimiter, split_table, stated_delimiter
from helpers.settings import load_settings

TALK = "#Person1#: Is parcel {0} here?\n#Person2#: Yes, it came at {0}."


def row(number, **changes):
    return {"id": f"d{number}", "dialogue": TALK.format(number), "summary": f"Parcel {number} came."} | changes


def load(path):
    return load_dialogues(load_settings("pocket", data=str(path)))


def rows_of(path):
    return {record["id"]: record for split in load(path).values() for record in split}


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


def table(delimiter=",", quote=csv.QUOTE_MINIMAL, rows=None):
    """A CSV text of twelve rows."""
    rows = rows or [row(number) for number in range(12)]
    lines = [list(rows[0]), *(list(each.values()) for each in rows)]
    return "\n".join(
        delimiter.join(
            '"' + str(value).replace('"', '""') + '"' if "\n" in str(value) else str(value) for value in line
        )
        for line in lines
    )


LAYOUTS = {
    "sep line": ("a.csv", "sep=;\r\n" + table(";")),
    "quoted sep line of Excel": ("a.csv", '"sep=;"\n' + table(";")),
    "any delimiter that is stated": ("a.csv", "sep=|\n" + table("|")),
    "comma in a header with semicolons": (
        "a.csv",
        table(";").replace("summary", "summary;notes, if any", 1).replace("came.", "came.;none"),
    ),
    "line ends of old Macs": ("a.csv", table(";").replace("\n", "\r")),
    "sep line and line ends of old Macs": ("a.csv", "sep=|\r" + table("|").replace("\n", "\r")),
    "two byte order marks": ("a.csv", "\ufeff\ufeff" + table()),
    "two byte order marks before JSON": ("a.jsonl", "\ufeff\ufeff" + "\n".join(json.dumps(row(n)) for n in range(12))),
    "marks in the middle": ("a.jsonl", "\n\ufeff".join(json.dumps(row(n)) for n in range(12))),
    "empty columns at the end": (
        "a.csv",
        ";;\n".join([*table(";").split("\nd")[:1], *("d" + part for part in table(";").split("\nd")[1:])]) + ";;",
    ),
    "blank before a quote": ("a.csv", table().replace(",", ", ")),
    "one array": ("a.json", json.dumps([row(n) for n in range(12)], indent=1)),
    "one array called jsonl": ("a.jsonl", json.dumps([row(n) for n in range(12)], indent=1)),
    "lines called json": ("a.json", "\n".join(json.dumps(row(n)) for n in range(12))),
    "ndjson": ("a.ndjson", "\n".join(json.dumps(row(n)) for n in range(12))),
}


@pytest.mark.parametrize("name, text", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_the_same_rows(tmp_path, name, text):
    found = rows_of(write(tmp_path / name, text))
    assert len(found) == 12 and all(
        found[f"d{number}"]["dialogue"].replace("Yes,  it", "Yes, it") == row(number)["dialogue"]
        and found[f"d{number}"]["summary"] == row(number)["summary"]
        for number in range(12)
    )
    assert not inspect_dialogues(tmp_path / name, load_settings("pocket"), show_progress=False).errors


def test_parquet_is_read(tmp_path):
    Dataset.from_list([row(number, summaries=["A b c.", "D e f."]) for number in range(12)]).to_parquet(
        tmp_path / "a.parquet"
    )
    assert rows_of(tmp_path / "a.parquet")["d3"]["summaries"] == ["A b c.", "D e f."]
    write(tmp_path / "b.parquet", "no parquet")
    with pytest.raises(DataError, match="b.parquet: cannot be read as parquet"):
        load(tmp_path / "b.parquet")
    report = inspect_dialogues(tmp_path / "b.parquet", load_settings("pocket"), show_progress=False)
    assert report.errors[0].remedy == "write or copy the file again"


@pytest.mark.parametrize("length", [131_072, 131_073, 300_000])
def test_a_field_may_be_longer_than_pythons_limit(tmp_path, length):
    before = csv.field_size_limit()
    long = row(0, dialogue="#Person1#: " + "a" * length)
    rows, problems = read_rows(write(tmp_path / "a.csv", table(rows=[long, *(row(n) for n in range(1, 12))])))
    assert rows[0].values == long and problems == [] and csv.field_size_limit() == before


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_first_line_longer_than_pythons_limit_and_a_row_that_is_none_are_named(tmp_path, end):
    rows = [f"d{number},A: Is {number} here?,It came." for number in range(12)]
    path = write(tmp_path / "a.csv", end.join(["d0,#Person1#: " + "a" * 131_073 + ",It came.", *rows]))
    with pytest.raises(DataError, match="row 1: has texts where the names of the columns should stand"):
        load(path)
    assert inspect_dialogues(path, load_settings("pocket"), show_progress=False).errors[0].line == 1
    path = write(tmp_path / "b.csv", end.join(["id,dialogue,summary", *rows, "d12,A: Hi"]))
    (error,) = inspect_dialogues(path, load_settings("pocket"), show_progress=False).errors
    assert (error.line, error.value) == (14, "d12,A: Hi")
    path.write_bytes(path.read_bytes().replace(b"Hi", b"H\xe9"))
    with pytest.raises(DataError, match="row 14: byte 0xe9"):
        load(path)


def test_text_that_only_looks_like_a_blank_before_a_quote_stays():
    assert split_table('a,b\n1, "Yes" she said\n', ",")[1] == (2, ["1", ' "Yes" she said'])
    assert split_table('a,b\n1, "Yes, sir"\n', ",")[1] == (2, ["1", "Yes, sir"])
    assert stated_delimiter("sep=;\na;b") == ("\na;b", ";") and stated_delimiter("separate,b") == ("separate,b", None)
    assert likely_delimiter("id;dialogue;a, b") == ";" and likely_delimiter("id,dialogue;x,summary") == ","


def test_a_table_without_header_is_named(tmp_path):
    path = write(tmp_path / "a.csv", table().split("\n", 1)[1])
    with pytest.raises(DataError, match="row 1: has texts where the names of the columns should stand"):
        load(path)
    (error,) = inspect_dialogues(path, load_settings("pocket"), show_progress=False).errors
    assert error.line == 1 and error.remedy == "put them into a line of their own above"
    assert is_data(["d0", "A: Hello", "Short"]) and not is_data(["id", "A: b", "c"]) and not is_data(["nr", "text"])


@pytest.mark.parametrize(
    "name, remedy",
    [("a.csv.gz", "unpack it"), ("a.zip", "unpack it"), ("a.xlsx", "CSV UTF-8"), ("a.arrow", "to_parquet")],
)
def test_an_ending_that_is_not_read_is_named_with_its_remedy(tmp_path, name, remedy):
    (tmp_path / name).write_bytes(gzip.compress(b"x"))
    with pytest.raises(DataError, match=remedy):
        load(tmp_path / name)
    (error,) = inspect_dialogues(tmp_path / name, load_settings("pocket"), show_progress=False).errors
    assert "ends in" in error.what and str(error).count(remedy) == error.remedy.count(remedy) == 1


def test_an_object_of_splits_and_a_broken_array_are_named(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"train": [row(1)], "test": [row(2)]}))
    with pytest.raises(DataError, match="is one object; write the list under 'train' into a file of its own"):
        load(path)
    path = write(tmp_path / "b.json", json.dumps([row(n) for n in range(12)], indent=1)[:-20])
    with pytest.raises(DataError, match="row 60: is not JSON: Unterminated string"):
        load(path)


LISTS = {
    "of Python": "['It''s here.', \"It's there.\"]".replace("''", "\\'"),
    "of JSON": '["It\'s here.", "It\'s there."]',
    "of numpy, without commas": '["It\'s here."\n "It\'s there."]',
}


@pytest.mark.parametrize("cell", LISTS.values(), ids=LISTS)
def test_a_list_in_one_cell_is_read(tmp_path, cell):
    frame = pd.DataFrame([{"id": f"d{n}", "dialogue": TALK.format(n), "summaries": cell} for n in range(12)])
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert rows_of(tmp_path / "a.csv")["d3"]["summaries"] == ["It's here.", "It's there."]


def test_what_datasets_writes_is_what_it_had(tmp_path):
    rows = [row(n, summaries=[f"Parcel {n} 'came'.", 'Say "yes".\nNow.']) for n in range(12)]
    Dataset.from_list(rows).to_csv(tmp_path / "a.csv")
    assert rows_of(tmp_path / "a.csv")["d3"]["summaries"] == rows[3]["summaries"]


@pytest.mark.parametrize(
    "text",
    ["[Person1 laughs]", "[1]", "['a', open('x')]", "['a'", "[f'{1}']", "[['a']]", "['a'] + ['b']", "[b'a']", "a"],
)
def test_other_texts_in_brackets_are_no_lists(text):
    assert read_list(text) is None


@pytest.mark.parametrize(
    "changes, column, what",
    [
        ({"summary": "['a', 'b']"}, "summary", "holds a list of 2 texts; call the column summaries"),
        ({"dialogue": "['A: Hi.', 'B: Ho.']"}, "dialogue", "holds a list of 2 texts; write one text, with each turn"),
        ({"dialogue": "[{'role': 'user', 'content"}, "dialogue", "begins like a list of messages, and is none that"),
        ({"summaries": "['a', 'b"}, "summaries", "begins like a list of texts, and is none that can be read"),
        ({"summaries": "[]"}, "summaries", "is empty"),
    ],
)
def test_a_list_where_none_belongs_is_named(tmp_path, changes, column, what):
    rows = [({"summaries": "a"} if "summaries" in changes else {}) | row(n) for n in range(12)]
    if "summaries" in changes:
        rows = [{name: value for name, value in each.items() if name != "summary"} for each in rows]
    rows[4] |= changes
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=f"column {column}: {what}".replace("[", r"\[")):
        load(tmp_path / "a.csv")
    errors = inspect_dialogues(tmp_path / "a.csv", load_settings("pocket"), show_progress=False).errors
    assert [error.column for error in errors] == [column] and errors[0].remedy != "correct it, or delete the row"


def test_a_chat_is_a_dialogue(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it\nhere?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}, {"type": "image_url"}]},
    ]
    assert read_turns(messages) == "user: Is it here?\nassistant: Yes."
    assert read_turns([{"from": "human", "value": "Hi."}]) == "human: Hi." and read_turns("user: Hi.") is None
    rows = [
        {"messages": [{"role": "user", "content": f"Number {n}?"}, messages[2]], "summary": "It is."} for n in range(12)
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert "user: Number 3?\nassistant: Yes." in {each["dialogue"] for each in rows_of(path).values()}
    assert not inspect_dialogues(path, load_settings("pocket"), show_progress=False).errors
    rows[2]["messages"] = "none"
    write(path, "\n".join(json.dumps({"dialogue": each.pop("messages"), **each}) for each in rows))
    assert len(rows_of(path)) == 12, "also where the column has its right name"


def errors_of(path):
    return inspect_dialogues(path, load_settings("pocket"), show_progress=False).errors


@pytest.mark.parametrize(
    "said, text",
    [
        (["see ", {"type": "link", "text": "x.org"}, " at five"], "see x.org at five"),
        (["(", {"type": "bold", "text": "now"}, ")"], "(now)"),
        (["Hi.", "Ho."], "Hi. Ho."),
        ([{"type": "text", "text": "Hi."}, {"type": "image_url"}, {"type": "text", "text": "Ho."}], "Hi. Ho."),
        ([{"type": "image_url"}, 5], None),
    ],
)
def test_no_part_of_a_message_is_lost(said, text):
    assert read_turns([{"from": "Ann", "text": said}]) == ("" if text is None else f"Ann: {text}")


def test_turns_may_hold_utterances():
    assert read_turns([{"speaker": "Ann", "utterance": "Hi."}]) == "Ann: Hi."


@pytest.mark.parametrize("last, hinted", [("assistant", True), ("user", False)])
def test_a_summary_that_is_the_last_message_is_named(tmp_path, last, hinted):
    hint = "if the last message is the summary, move it into a column 'summary'"
    chat = [{"role": "user", "content": "Sum up: A: Hi."}, {"role": last, "content": "A greets."}]
    path = write(tmp_path / "a.jsonl", "\n".join([json.dumps({"messages": chat, "lang": "en"})] * 12))
    with pytest.raises(DataError, match="column summary: missing; columns found: messages, lang$") as raised:
        load(path)
    (error,) = errors_of(path)
    assert (hint in str(raised.value)) is (hint in error.remedy) is hinted
    assert error.what == "missing; columns found: messages, lang" and error.remedy.startswith("add a column 'summary'")


@pytest.mark.parametrize(
    "dialogue, summary",
    [("prompt", "completion"), ("input", "output"), ("article", "highlights"), ("Document", "Response")],
)
def test_usual_names_of_other_data_sets_are_known(tmp_path, dialogue, summary):
    rows = [{dialogue: TALK.format(number), summary: "It came."} for number in range(12)]
    errors = errors_of(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert [error.remedy for error in errors] == [
        f"rename the column {dialogue!r} to 'dialogue'",
        f"rename the column {summary!r} to 'summary'",
    ]


@pytest.mark.parametrize("mark, name", [("\t", "tabs"), ("|", "vertical bars")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("ids", [True, False])
def test_another_delimiter_is_named_though_dialogues_stand_in_quotes(tmp_path, mark, name, encoding, ids):
    rows = [row(n, summary="" if n == 3 else "Yes.") for n in range(12)]
    if not ids:  # a quote opens the row then, and reading it by commas stops at the quote that closes
        rows = [{name: value for name, value in each.items() if name != "id"} for each in rows]
    (tmp_path / "a.csv").write_bytes(table(mark, rows=rows).encode(encoding))
    with pytest.raises(DataError):
        load(tmp_path / "a.csv")
    *others, empty = errors_of(tmp_path / "a.csv")
    assert [error.what for error in others] == ["is not UTF-8"] * (encoding == "utf-16") + [
        f"the header names no column 'dialogue': its names are separated by {name}"
    ]
    assert others[-1].remedy == "export the table with commas"
    assert (empty.record, empty.column, empty.what) == (4, "summary", "is empty"), "rows are looked at all the same"


def test_a_broken_quote_in_a_table_with_the_right_delimiter_stays_what_it_is(tmp_path):
    for mark in (",", ";"):
        path = write(tmp_path / "a.csv", table(mark) + f'\nd99{mark}"A: "Hi"{mark}Greeting.')
        (error,) = errors_of(path)
        assert "expected after" in error.what and error.line == 26


def test_columns_first_is_told(tmp_path):
    pd.DataFrame([row(number) for number in range(12)]).to_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="is one object of columns, not of rows"):
        load(tmp_path / "a.json")
    (error,) = errors_of(tmp_path / "a.json")
    assert 'orient="records"' in error.remedy
    pd.DataFrame([row(number) for number in range(12)]).to_json(tmp_path / "a.json", orient="records")
    assert len(load(tmp_path / "a.json")) == 3 and not errors_of(tmp_path / "a.json")


def test_one_row_a_message_is_told(tmp_path):
    rows = [{"type": "message", "user": f"U{n % 2}", "text": f"Hi {n}", "ts": f"{n}.0"} for n in range(12)]
    error, _ = errors_of(write(tmp_path / "a.json", json.dumps(rows)))
    assert error.remedy.startswith("one row is one message: join the turns of each dialogue into one text")
    rows = [{"user": "Ann", "text": TALK.format(n), "summary": "It came."} for n in range(12)]
    (error,) = errors_of(write(tmp_path / "b.json", json.dumps(rows)))
    assert error.remedy == "rename the column 'text' to 'dialogue'", "each has a summary, and so is a dialogue"


def calling(number):
    return [
        {"role": "user", "content": f"Is {number} here?"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "find"}}]},
        {"role": "tool", "content": "yes"},
        {"role": "assistant", "content": "Yes."},
    ]


def test_a_message_that_only_calls_a_tool_says_nothing(tmp_path):
    assert read_turns(calling(5)) == "user: Is 5 here?\ntool: yes\nassistant: Yes."
    assert read_turns([{"role": "user", "content": None, "value": "Hi."}]) == "user: Hi.", "parquet fills up with null"
    rows = [{"messages": calling(number), "summary": f"{number}."} for number in range(12)]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert len(rows_of(path)) == 12 and not inspect_dialogues(path, load_settings("pocket"), show_progress=False).errors


@pytest.mark.parametrize(
    "messages, what, remedy",
    [
        ([{"role": "user", "content": 5}], "is no list of messages that can be read", "write a list of objects with"),
        ("[{'role': 'user'", "is no list of messages that can be read", "write a list of objects with"),
        ([{"role": "user", "content": None}], "is empty", "write the text"),
        (None, "is empty", "write the text"),
        ([{"role": "user", "content": "half \ud83d"}], "holds half a character", "write the character again"),
    ],
)
def test_a_chat_that_is_no_dialogue_is_named_by_the_column_that_the_file_has(tmp_path, messages, what, remedy):
    rows = [{"messages": calling(number), "summary": f"{number}."} for number in range(13)]
    rows[4]["messages"] = messages
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=f"row 5, column messages: {what}"):
        load(path)
    (error,) = inspect_dialogues(path, load_settings("pocket"), show_progress=False).errors
    assert (error.line, error.column) == (5, "messages") and error.remedy.startswith(remedy)
    with pytest.warns(UserWarning, match="column messages"):
        loaded = load_dialogues(load_settings("pocket", data=str(path)), on_bad_rows="report")
    assert "messages" not in loaded["train"].column_names, "which a row that was left out would have brought in"


CHATS = {
    "of Python": str,
    "of JSON": json.dumps,
    "of numpy, without commas": lambda chat: "[" + "\n ".join(map(str, chat)) + "]",
}


@pytest.mark.parametrize("column", ["dialogue", "messages"])
@pytest.mark.parametrize("form", CHATS.values(), ids=CHATS)
def test_a_chat_in_one_cell_is_a_dialogue(tmp_path, form, column):
    chats = [
        [{"role": "user", "content": f"Is {n} 'here'? [{{}}"}, {"role": "assistant", "content": "Yes."}]
        for n in range(12)
    ]
    frame = pd.DataFrame([{"id": f"d{n}", column: form(chat), "summary": f"{n}."} for n, chat in enumerate(chats)])
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert rows_of(tmp_path / "a.csv")["d3"]["dialogue"] == "user: Is 3 'here'? [{}\nassistant: Yes."
    assert not inspect_dialogues(tmp_path / "a.csv", load_settings("pocket"), show_progress=False).errors


@pytest.mark.parametrize(
    "text",
    [
        "[{'role': 'user', 'content': open('x')}]",
        "[{'role': f'{1}', 'content': 'a'}]",
        "[{'role': 'user'}]",
        "[{'a'",
        "[{'a': " * 300,
        "[{[]: 1}]",
        "[1]",
        "[{'role': 'user', 'content': 'Hi.'}] and so on",
    ],
)
def test_other_texts_in_brackets_are_no_chats(text):
    assert read_turns(text) is None


def test_one_row_a_turn_is_told(tmp_path):
    rows = [{"dialogue_id": "d", "speaker": "A", "text": f"Hi {n}", "summary": "They talk."} for n in range(12)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    (error,) = inspect_dialogues(tmp_path / "a.csv", load_settings("pocket"), show_progress=False).errors
    assert error.remedy.startswith("join the turns of each dialogue into one text")
    rows = [{"id": n // 3, "turn": n % 3, "dialogue": f"Hi {n}", "summary": "They talk."} for n in range(30)]
    pd.DataFrame(rows).to_csv(tmp_path / "b.csv", index=False)
    errors = inspect_dialogues(tmp_path / "b.csv", load_settings("pocket"), show_progress=False).errors
    assert len(errors) == 20 and all(error.remedy.startswith("join the turns of each dialogue") for error in errors)


@pytest.mark.parametrize("other", ["train.json.gz", "train.xlsx", "train.arrow", "data-train.txt"])
def test_a_split_that_is_not_read_is_named(tmp_path, other):
    write(tmp_path / "test.csv", table())
    write(tmp_path / "readme.txt", "about")
    assert sum(split.num_rows for split in load(tmp_path).values()) == 12, "a file alone is split"
    write(tmp_path / other, "x")
    with pytest.raises(DataError, match=f"no file for train, validation; files found: test.csv; not read: {other}"):
        load(tmp_path)


def test_a_folder_may_mix_endings_and_hold_notes(tmp_path):
    write(tmp_path / "test.csv", table())
    write(tmp_path / "train.json", json.dumps([row(n) for n in range(20, 30)]))
    with pytest.raises(DataError, match="no file for validation; files found: test.csv, train.json"):
        load(tmp_path)
    Dataset.from_list([row(40)]).to_parquet(tmp_path / "validation-00000-of-00001.parquet")
    write(tmp_path / "dataset_infos.json", "{}")
    assert {split: rows.num_rows for split, rows in load(tmp_path).items()} == {
        "train": 10,
        "validation": 1,
        "test": 12,
    }


@pytest.mark.parametrize("count, test", [(10, 2), (12, 2), (30, 3)])
def test_two_rows_at_least_are_measured_on(tmp_path, count, test):
    path = write(tmp_path / "a.csv", table(rows=[row(number) for number in range(count)]))
    assert load(path)["test"].num_rows == load(path)["validation"].num_rows == test


@pytest.mark.parametrize("name, call", [("a.csv", "read_bytes"), ("folder", "iterdir")])
def test_what_may_not_be_read_is_named(tmp_path, monkeypatch, name, call):
    write(tmp_path / "a.csv", table())
    (tmp_path / "folder").mkdir()

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(f"pathlib.Path.{call}", refuse)
    with pytest.raises(DataError, match=f"{name}: cannot be read .Permission denied."):
        load(tmp_path / name)
    (error,) = inspect_dialogues(tmp_path / name, load_settings("pocket"), show_progress=False).errors
    assert "cannot be read (Permission denied)" in error.what and "right to read" in error.remedy
