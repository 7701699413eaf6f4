"""The report about a file: every problem with its place, value and remedy; without errors the file loads, and what
loads has none.
"""

import copy
import csv
import json
import random
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from helpers.data import inspection
from helpers.data.file_checks import misread, speakers, warnings_of
from helpers.data.findings import ALIKE, Finding, Report, visible
from helpers.data.inspection import inspect_dialogues, main
from helpers.data.loading import load_dialogues
from helpers.data.records import DataError
from helpers.settings import load_settings

TALK = "#Person1#: Is number {0} ready to be sent off today?\n#Person2#: Yes, it is on the table by the door."
GOOD = {"dialogue": TALK, "summary": "#Person2# has put parcel {0} by the door."}


def good(number, **changes):
    return {"id": f"d{number}"} | {name: text.format(number) for name, text in GOOD.items()} | changes


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
    return path


def inspect(place, tokenizer=None, **overrides):
    return inspect_dialogues(place, load_settings("pocket", **overrides), tokenizer, show_progress=False)


def loads(place):
    try:
        load_dialogues(load_settings("pocket", data=str(place)))
    except DataError:
        return False
    return True


def test_a_faultless_file_has_an_empty_report(tmp_path):
    report = inspect(write_jsonl(tmp_path / "mine.jsonl", map(good, range(20))))
    assert report.findings == [] and str(report) == "20 rows looked at; 0 errors, 0 warnings: can be loaded"


def test_every_fault_of_every_row_is_listed_not_the_first_twenty(tmp_path):
    report = inspect(
        write_jsonl(
            tmp_path / "mine.jsonl",
            [good(number, summary="" if number % 2 else "S said this.") for number in range(100)],
        )
    )
    assert [error.line for error in report.errors] == list(range(2, 101, 2)) and {
        error.column for error in report.errors
    } == {"summary"}
    assert len(
        [finding for finding in report.listed() if finding.severity == "error"]
    ) == ALIKE and "50 of this kind in all" in str(report)


@pytest.mark.parametrize(
    "changes, column, value, what, remedy",
    [
        ({"dialogue": ""}, "dialogue", "", "is empty", "write the text, or delete the row"),
        ({"dialogue": 12}, "dialogue", "12", "is '12' (type int), not a text", "write a text"),
        ({"summary": "half \ud83d"}, "summary", "half \\ud83d", "holds half a character", "emoji are cut in two"),
        ({"summary": ["a"]}, "summary", "['a']", "not a text", "write a text"),
        ({"id": "d1"}, "id", "d1", "'d1' is the id of row 2 too", "an id of its own"),
        ({"rude": "no"}, "rude", "no", "in the rows before it is of type bool", "one type throughout"),
    ],
)
def test_an_error_names_line_column_value_and_remedy(tmp_path, changes, column, value, what, remedy):
    rows = [good(number, rude=True) for number in range(20)]
    rows[5] |= changes
    (error,) = inspect(write_jsonl(tmp_path / "mine.jsonl", rows)).errors
    assert (error.source, error.line, error.record, error.column, error.value) == ("mine.jsonl", 6, 6, column, value)
    assert what in error.what and remedy in error.remedy


def test_line_and_record_differ_where_a_cell_holds_newlines(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "dialogue,summary\n"
        + "".join(
            f'"{TALK.format(number)}",{"" if number == 3 else f"Parcel {number} is ready."}\n' for number in range(12)
        ),
        encoding="utf-8",
        newline="\n",
    )
    (error,) = inspect(path).errors
    assert (error.line, error.record) == (8, 4)


@pytest.mark.parametrize(
    "name, content, line, what, remedy",
    [
        ("a.csv", b"", 0, "is empty (0 bytes)", "save or copy"),
        ("a.xlsx", b"x", 0, "ends in '.xlsx'", ""),
        ("a.csv", b"dialogue,summary\n", 0, "has no rows below its header", ""),
        ("a.csv", b'dialogue,summary\n"never closed,S\nB,S\n', 2, "unexpected end of data", ""),
        ("a.csv", b"dialogue,dialogue\nA,B\n", 1, "the header names 'dialogue' twice", "a name of its own"),
        (
            "a.csv",
            b"Dialogue,summary\nA,B\n",
            2,
            "missing; columns found: Dialogue, summary",
            "rename the column 'Dialogue' to 'dialogue'",
        ),
        (
            "a.csv",
            b"transcript,summary\nA,B\n",
            2,
            "missing; columns found",
            "rename the column 'transcript' to 'dialogue'",
        ),
        ("a.csv", b"dialogue|summary\nA|B\n", 1, "separated by vertical bars", "export the table with commas"),
        ("a.csv", b"dialogue\tsummary\nA\tB\n", 1, "separated by tabs", "export the table with commas"),
        ("a.tsv", b"dialogue,summary\nA,B\n", 1, "separated by commas", ""),
        ("a.csv", b"conversation\tabstract\nA\tB\n", 1, "separated by tabs", "export the table with commas"),
        ("a.txt", b"Ann: Hi.\n", 0, "ends in '.txt'", "put each dialogue into a row of a table, with its summary"),
        ("a.csv", "dialogue,summary\nA,Grüße\n".encode("cp1252"), 2, "is not UTF-8", "CSV UTF-8"),
        ("a.csv", "dialogue,summary\nA,B\n".encode("utf-16"), 1, "is not UTF-8", "CSV UTF-8"),
        ("a.jsonl", b'{"dialogue": "A", "summary": "B"}\n{"id": \n', 2, "is not JSON", "one JSON object a line"),
        (
            "a.jsonl",
            b'{"dialogue": "A", "summary": "B"}\n',
            0,
            "splitting into train, validation and test needs at least",
            "add dialogues",
        ),
    ],
)
def test_faults_of_a_whole_file(tmp_path, name, content, line, what, remedy):
    (tmp_path / name).write_bytes(content)
    errors = inspect(tmp_path / name).errors
    assert any(error.line == line and what in error.what and remedy in error.remedy for error in errors), list(
        map(str, errors)
    )
    assert not loads(tmp_path / name) and all(error.remedy for error in errors)


def test_after_a_fault_that_stops_the_loader_the_other_rows_are_looked_at(tmp_path):
    rows = [
        "Dialogue;Summary",
        *(f"#Person1#: Grüße {number} an alle.;{'' if number == 4 else 'Er grüßt uns alle.'}" for number in range(12)),
    ]
    (tmp_path / "excel.csv").write_bytes("\r\n".join(rows).encode("cp1252"))
    errors = inspect(tmp_path / "excel.csv").errors
    assert [error.line for error in errors if "UTF-8" in error.what] == list(range(2, 14))
    assert {error.column for error in errors if "missing" in error.what} == {"dialogue", "summary"}
    assert [(error.line, error.column) for error in errors if error.what == "is empty"] == [(6, "summary")]
    assert any("Grüße 0 an alle." in error.value for error in errors), "the value is shown by the likely encoding"


def test_a_folder_is_looked_at_file_by_file(tmp_path):
    for split, numbers in {"train": range(5), "dev": range(5, 8)}.items():
        write_jsonl(
            tmp_path / f"my.{split}.jsonl",
            [good(number, summary="" if number == 6 else "S was said.") for number in numbers],
        )
    errors = inspect(tmp_path).errors
    assert {error.source for error in errors} == {tmp_path.name, "my.dev.jsonl"}
    assert "no file for test" in next(error.what for error in errors if error.source == tmp_path.name)
    assert "does not exist" in inspect(tmp_path / "nowhere.csv").errors[0].what


def test_a_dialogue_in_two_splits_is_a_leak(tmp_path):
    for split, numbers in {"train": range(10), "validation": range(10, 12), "test": (3, 12, 13)}.items():
        write_jsonl(tmp_path / f"{split}.jsonl", map(good, numbers))
    report = inspect(tmp_path)
    (leak,) = report.warnings
    assert (not report.errors and leak.source == "train.jsonl") or leak.source == "test.jsonl"
    assert "stands in another split too" in leak.what and "must not be trained on" in leak.remedy


def test_repeated_dialogues_of_one_file_are_named_but_not_those_of_several_annotators(tmp_path):
    rows = [good(number) for number in range(20)] + [good(3, id="again", summary="Number 3 lies by the door.")]
    (repeated,) = inspect(write_jsonl(tmp_path / "mine.jsonl", rows)).warnings
    assert (repeated.line, repeated.column) == (21, "dialogue") and repeated.what == "is the dialogue of line 4 too"
    rows = [
        good(number, id=f"test_{number}_{annotator}", summary=f"Person {annotator} says {number} is ready.")
        for number in range(12)
        for annotator in (1, 2)
    ]
    assert inspect(write_jsonl(tmp_path / "annotated.jsonl", rows)).findings == []


@pytest.mark.parametrize(
    "changes, column, what",
    [
        ({"summary": "Great."}, "summary", "is very short: 1 word"),
        ({"dialogue": TALK.format(7).replace("\n", " \\n ")}, "dialogue", "stands on one line"),
        ({"dialogue": TALK.format(7).replace("\n", " | ")}, "dialogue", "stands on one line"),
        ({"dialogue": TALK.format(7).replace("#", "").replace(":", "")}, "dialogue", "names a speaker on 0 of 2 lines"),
        ({"summary": "TODO"}, "summary", "holds the place of a summary"),
        ({"summary": " ... "}, "summary", "holds the place of a summary"),
        ({"summary": "n/a"}, "summary", "holds the place"),
        ({"summary": "Fine then."}, "summary", "is very short: 2 words"),
        ({"summary": "Yes, it is on the table by the door."}, "summary", "is copied from the dialogue"),
        ({"summary": "word " * 60}, "summary", "is longer than its dialogue"),
        (
            {"dialogue": "#Person1#: Hello to you.", "summary": "They say hello."},
            "dialogue",
            "is very short: 1 turn, 4 words",
        ),
        (
            {"dialogue": "Nobody is named in this text at all, sadly.\nNot even on its second line."},
            "dialogue",
            "names a speaker on 0 of 2 lines",
        ),
        (
            {"dialogue": "#Person1#: I am talking here.\n#Person1#: And nobody answers me."},
            "dialogue",
            "has one speaker only",
        ),
        ({"summary": "#Person1# goes to the cafÃ© to meet Ann."}, "summary", "wrong encoding"),
        ({"summary": "It is Annâ€™s turn to cook."}, "summary", "wrong encoding"),
        ({"summary": "They meet <b>today</b> at noon."}, "summary", "has HTML in it, '<b>'"),
        ({"summary": "Ann &amp; Bob meet today."}, "summary", "has HTML in it, '&amp;'"),
        (
            {"summary": "Write to ann.b@example.org today."},
            "summary",
            "has an e-mail address in it, 'ann.b@example.org'",
        ),
        ({"summary": "She calls +44 20 7946 0991 today."}, "summary", "telephone"),
        ({"summary": "She calls 555-867-5309 at noon."}, "summary", "telephone"),
        ({"summary": '=HYPERLINK("x") is what they said.'}, "summary", "is a formula for a spreadsheet"),
        ({"summary": "They meet \u202etoday\u202c at noon."}, "summary", "invisible characters"),
    ],
)
def test_warnings_about_a_row(tmp_path, changes, column, what):
    rows = [good(number) for number in range(20)]
    rows[7] |= changes
    path = write_jsonl(tmp_path / "mine.jsonl", rows)
    report = inspect(path)
    assert not report.errors and loads(path)
    (warned,) = report.warnings
    assert (warned.line, warned.column) == (8, column) and what in warned.what and warned.remedy


@pytest.mark.parametrize(
    "text",
    [
        "They meet on 12-05-2024 at 09:40.",
        "It costs 1,748.39 pounds in all.",
        "Café and Grüße – “fine” – are fine.",
        "x < y, and a > b, they say.",
        "He says: - that is all - today.",
        "Naïve Zoë pays £4 to Ângela today.",
    ],
)
def test_what_is_no_reason_to_warn(text):
    assert list(warnings_of(good(1, summary=text, summaries=[text]))) == []


RIGHT = [
    "« C’était l’été\u00a0», dit-elle à\u00a0Zoé… « Où\u00a0? » À L’OPÉRA…",
    "CAFÉ—le meilleur, au cœur de la ville, pour 5\u00a0€.",
    "Er sagt: „Das macht Spaß“ – und geht über die Straße… „Größe“",
    "Das macht Spaß…aber nicht heute, denn Spaß\u00a0kostet Geld.",
    "Łukasz zażółcił gęślą jaźń – „tak”, mówi się.",
    "Příliš žluťoučký kůň úpěl – „ano“, říká STÍŽNOST i VÝŠE.",
    "Η Άννα και ο Μπεν «συναντώνται» στις 5…",
    "Анна сказала: «Хорошо» – и ушла… «Ёлка»",
    "Ayşe İstanbul'a gidiyor, “ışık” ve dağ…",
    "安娜和本在车站见面。“好的”……",
    "SÍ…pero no, ¿él? ¡Ñandú! Año… 1º, 5ª, 20 °C, m², 2×½ y 5 ×\u00a0al día",
    "Não! “Amanhã”… é às 5; Ångström på Ærø, “HÅ”, Ä…",
    "Anna laughs 😂 – “fine”.",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_letters_of_any_language_raise_no_alarm(text):
    assert misread(text) == ""


@pytest.mark.parametrize("as_bytes", ["cp1252", "latin-1"])
@pytest.mark.parametrize(
    "text", ["see you 😂", "się", "Λάμπω", "Анна", "dağ", "ışık", "Ayşe", "安娜", "שלום", "Grüße", "5 €"]
)
def test_letters_in_the_wrong_encoding_are_found_in_any_language(text, as_bytes):
    read = "".join(bytes([byte]).decode(as_bytes, "ignore") or chr(byte) for byte in text.encode())
    found = misread(f"Ann says: {read}, and Ben agrees.")
    assert found and found in read


@pytest.mark.parametrize(
    "stamp",
    [
        "[12/03/24, 10:1{}] ",
        "12.03.24, 10:1{} - ",
        "00:01:2{} ",
        "[00:01:2{}.500] ",
        "(1:1{} PM) ",
        "2024-03-12 10:1{}:00 ",
        "",
    ],
)
def test_the_time_before_a_speaker_is_no_name(tmp_path, stamp):
    rows = [
        good(
            number,
            dialogue="\n".join(stamp.format(turn) + line for turn, line in enumerate(TALK.format(number).split("\n"))),
        )
        for number in range(12)
    ]
    assert speakers(rows[0]["dialogue"]) == ["#Person1#", "#Person2#"]
    path = write_jsonl(tmp_path / "mine.jsonl", rows)
    assert inspect(path).findings == []
    loaded = load_dialogues(load_settings("pocket", data=str(path)))
    assert {row["dialogue"] for split in loaded.values() for row in split} == {row["dialogue"] for row in rows}


def test_a_time_alone_names_no_speaker():
    assert speakers("10:15 we meet\n00:01:23 and go") == [] and speakers("Ann: at 10:15\nRoom 10: yes") == [
        "Ann",
        "Room 10",
    ]


def test_every_summary_is_looked_at():
    record = good(1, summaries=["#Person2# put it by the door.", "todo"])
    assert [(found.column, found.what) for found in warnings_of(record)] == [
        ("summary 2", "holds the place of a summary")
    ]


def test_other_names_of_speakers_are_mentioned_once(tmp_path):
    rows = [
        good(number, dialogue=f"Ann: Is number {number} ready to be sent off?\nBen: Yes, it is, by the door.")
        for number in range(12)
    ]
    (warned,) = inspect(write_jsonl(tmp_path / "mine.jsonl", rows)).warnings
    assert warned.line == 0 and warned.value == "Ann, Ben"


def test_what_the_labs_would_leave_out_is_known_before(tmp_path, tiny_tokenizer):
    rows = [good(number) for number in range(12)]
    rows[2]["dialogue"] += "\n#Person1#: And on it goes." * 60
    rows[4]["summary"] = "#Person2# has put it by the door, and this goes on. " + "The parcel waits there. " * 12
    rows[4]["dialogue"] = TALK.format(4) + "\n#Person1#: The door is open." * 8
    path = write_jsonl(tmp_path / "mine.jsonl", rows)
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.model_max_length = 300
    report = inspect(path, tokenizer, max_prompt_tokens=300, max_new_tokens=60)
    assert [(found.line, found.column) for found in report.warnings if "tokens" in found.what] == [
        (3, "dialogue"),
        (5, "summary"),
    ] and not report.errors


@pytest.mark.parametrize(
    "text",
    [
        "." * 10**5,
        " " * 10**5,
        "<" * 10**5,
        "a@" * 5 * 10**4,
        "0 " * 5 * 10**4,
        "a:" * 5 * 10**4,
        "\n" * 10**5 + ":",
        "&" * 10**5,
        "-" * 10**5 + "x",
    ],
    ids=lambda text: repr(text[:2]),
)
def test_no_text_takes_the_search_long(text):
    """Each of them would take hours by an expression that tries every way of dividing it."""
    list(warnings_of(good(1, dialogue=f"a{text}b", summary=text, summaries=[text])))


def test_what_is_shown_has_no_control_characters_and_is_escaped(tmp_path):
    name = "data.csv" if sys.platform == "win32" else "<img src=x onerror=alert(1)>.csv"
    with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "dialogue", "summary", "<script>alert(1)</script>"))
        rows.writerows(
            (number, "<script>alert(1)</script>\x1b[31m \u202e", "" if number % 2 else "=cmd|' /C calc'!A0 <b>", "x")
            for number in range(30)
        )
    report = inspect(tmp_path / name)
    assert report.errors and report.warnings
    assert (
        "<script>" not in report.show().data and "<img" not in report.show().data and "<b>=" not in report.show().data
    )
    for finding in report.findings:
        assert all(letter.isprintable() for part in finding for letter in str(part))
    assert (
        "\x1b" not in str(report)
        and visible("a\nb\x1b\u202e\ud83d") == "a⏎b\\x1b\\u202e\\ud83d"
        and visible("x" * 100) == "x" * 60 + "…"
    )


def test_a_finding_reads_as_a_sentence():
    finding = Finding("error", "a.csv", 3, 2, "summary", "x", "is empty", "write it")
    assert str(finding) == "error: a.csv, line 3, record 2, column summary: is empty (found: x); write it"
    assert "0 errors, 0 warnings" in Report([], 4).show().data


def test_the_command_prints_the_report_and_its_verdict(tmp_path, capsys):
    path = write_jsonl(
        tmp_path / "mine.jsonl", [good(number, summary="" if number == 2 else "S was said.") for number in range(12)]
    )
    assert main([str(path)]) == 1
    assert "error: mine.jsonl, line 3, record 3, column summary: is empty" in capsys.readouterr().out
    assert main([str(write_jsonl(path, map(good, range(12))))]) == 0 and main([]) == 2


TEXTS = st.sampled_from(
    [*(TALK.format(number) for number in range(12)), "", " ", "TODO", 'a,b;c"d', "line\none", "<b>", "Grüße"]
)
VALUES = TEXTS | st.sampled_from([None, 5, True, ["a"], ["a", ""], [], {"a": 1}, "half \ud83d", 10**30])
ROWS = st.lists(
    st.fixed_dictionaries(
        {"dialogue": VALUES, "summary": VALUES},
        optional={
            "id": st.sampled_from(["a", "b", 1, 2, "", None]),
            "summaries": VALUES,
            "topic": VALUES,
            "extra": VALUES,
            "group": st.sampled_from(["x", "y", ""]),
        },
    ),
    max_size=6,
)


@st.composite
def files(draw):
    """(ending, content) of a file that may have any fault, or none: good rows, rows of any values, cut and mangled
    bytes.
    """
    spoiled = draw(st.booleans())
    ending, count = (
        draw(st.sampled_from([".jsonl", ".csv", ".tsv", *([".txt"] if spoiled else [])])),
        draw(st.sampled_from([0, 12, 30] if spoiled else [10, 30])),
    )
    odd = (
        draw(st.just([]) | ROWS)
        if spoiled
        else draw(st.lists(st.sampled_from(['a;b"c', "line\none", "<b>", "Grüße", "TODO", "x" * 2000]), max_size=4))
    )
    rows = [good(number) for number in range(count)] + [
        row if spoiled else good(count + number, summary=row, dialogue=row) for number, row in enumerate(odd)
    ]
    rows = random.Random(draw(st.integers(0, 99))).sample(rows, len(rows))
    if ending == ".jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        mark = (
            draw(st.sampled_from([",", "\t", ";"]))
            if spoiled
            else "\t"
            if ending == ".tsv"
            else draw(st.sampled_from([",", ";"]))
        )
        good_headers = [["id", "dialogue", "summary"], ["dialogue", "summary"], ["summary", "dialogue"]]
        header = draw(
            st.sampled_from(
                good_headers
                + [["Dialogue", "summary"], ["id", "dialogue"], ["id", "id"], ["summary", "dialogue", ""]] * spoiled
            )
        )
        lines = [mark.join(header)] + [
            mark.join('"' + str(row.get(name.casefold(), "")).replace('"', '""') + '"' for name in header)
            for row in rows
        ]
        text = "\n".join(lines)
    content = text.encode(
        draw(st.sampled_from(["utf-8", "utf-8-sig", *(["cp1252", "utf-16"] if spoiled else [])])), errors="replace"
    )
    for _ in range(draw(st.sampled_from([0, 0, 1, 2])) if spoiled else 0):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        content = (
            content[:place]
            + draw(st.sampled_from([b"", b'"', b",", b"\n", b"\xff", b"{", b"\0"]))
            + content[place + draw(st.integers(0, 3)) :]
        )
    return ending, content


@settings(max_examples=200)
@given(files())
def test_no_errors_if_and_only_if_it_loads(file):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"mine{file[0]}")
        path.write_bytes(file[1])
        report = inspect(path)
        assert (not report.errors) == loads(path), str(report)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["train", "dev", "validation", "test", "wild", "notes"]), files(), max_size=4))
def test_and_so_does_a_folder(splits):
    with tempfile.TemporaryDirectory() as folder:
        for name, (ending, content) in splits.items():
            Path(folder, name + ending).write_bytes(content)
        report = inspect(folder)
        assert (not report.errors) == loads(folder), str(report)


def test_both_verdicts_are_met(tmp_path, monkeypatch):
    """What the property above rests on: the walk itself finds what the loader refuses, without the loader's own
    help.
    """
    monkeypatch.setattr(inspection, "_left_to_find", lambda *given: [])
    rows = [good(number) for number in range(20)]
    assert not inspect(write_jsonl(tmp_path / "good.jsonl", rows)).errors
    for fault in ({"dialogue": ""}, {"id": "d0"}, {"summary": 7}):
        assert inspect(write_jsonl(tmp_path / "bad.jsonl", [*rows, good(99) | fault])).errors


def test_words_of_any_script_are_counted(tmp_path):
    rows = [
        {
            "dialogue": f"דנה: האם החבילה {number} הגיעה היום לחנות?\nיואב: היא הגיעה בבוקר והקופסה רטובה לגמרי.",
            "summary": f"יואב אומר שהחבילה {number} הגיעה רטובה ויחזיר אותה.",
        }
        for number in range(12)
    ]
    report = inspect(write_jsonl(tmp_path / "mine.jsonl", rows))
    assert [finding.what for finding in report.findings] == ["speakers have other names than #Person1# and #Person2#"]
