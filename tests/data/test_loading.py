"""Data: every layout in the one form, the splits, and errors that name file, row and column."""

import json
import os
import random
from pathlib import Path

import datasets
import pytest
from hypothesis import given, strategies as st

from helpers.data import loading as data
from helpers.data.dialogues import merge_annotators
from helpers.data.lengths import a_few
from helpers.data.loading import load_dialogues, load_tasks
from helpers.data.records import DataError
from helpers.data.splits import dialogue_key, split_by_hash
from helpers.evaluation.experiments import by_part, rude_rows
from helpers.hub import HubError
from helpers.settings import load_settings

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "dialogsum"


def row(number, **changes):
    return {
        "id": f"d{number}",
        "dialogue": f"#Person1#: Number {number}?\n#Person2#: Yes.",
        "summary": f"It is {number}.",
        "topic": "numbers",
    } | changes


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_folder(folder, **splits):
    for name, rows in ({"train": [row(1)], "validation": [row(2)], "test": [row(3)]} | splits).items():
        write_jsonl(folder / f"{name}.jsonl", rows)
    return folder


def load(path, **options):
    return load_dialogues(load_settings("pocket", data=path), **options)


def last_line(path, **options):
    with pytest.raises(DataError) as error:
        load(path, **options)
    return str(error.value).splitlines()[-1].strip()


def test_folder_with_one_file_a_split(tmp_path):
    loaded = load(write_folder(tmp_path, wild=[row(4), row(5)]))
    assert list(loaded) == ["train", "validation", "test", "wild"] and loaded["wild"].num_rows == 2
    assert loaded["test"][0] == row(3) | {"summaries": ["It is 3."]}


def test_dialogsums_own_files(tmp_path):
    three = {
        "fname": "test_0",
        "dialogue": "#Person1#: Hi.",
        "summary1": "One.",
        "topic1": "a",
        "summary2": "Two.",
        "topic2": "b",
        "summary3": "Three.",
        "topic3": "c",
    }
    for name, rows in {"train": [row(1)], "dev": [row(2)], "test": [three]}.items():
        write_jsonl(tmp_path / f"dialogsum.{name}.jsonl", rows)
    loaded = load(tmp_path)
    assert loaded["validation"]["id"] == ["d2"]
    assert loaded["test"][0] == {
        "id": "test_0",
        "dialogue": "#Person1#: Hi.",
        "summary": "One.",
        "topic": "a",
        "summaries": ["One.", "Two.", "Three."],
    }


def test_further_columns_pass_through(tmp_path):
    rows = [row(number, loud=number % 2 == 0, summaries=["A.", "B."]) for number in range(4)]
    loaded = load(write_folder(tmp_path, test=rows))
    assert loaded["test"]["loud"] == [True, False, True, False]
    assert loaded["test"][0]["summaries"] == ["A.", "B."] and loaded["test"][0]["summary"] == "It is 0."


def test_columns_steer_the_labs_in_the_kits_own_data_alone(tmp_path):
    (tmp_path / "data").mkdir()
    folder = write_folder(tmp_path / "data", test=[row(number, part="abc"[number % 3], rude=1) for number in range(9)])
    found = load(folder)["test"]
    assert list(by_part(found)) == ["test"] and rude_rows(found) == list(found) and len(a_few(found, 3)) == 3
    assert found["own_part"][:3] == ["a", "b", "c"] and found["own_rude"] == [1] * 9, "nothing is lost"
    (tmp_path / "world.json").write_text("{}", encoding="utf-8")  # which the kit writes beside its own data
    assert list(by_part(load(folder)["test"])) == ["a", "b", "c"]


def test_no_column_steers_the_labs_because_its_new_name_is_taken(tmp_path):
    rows = [row(number, part="abc"[number % 3], own_part="x", own_own_part=number, own_rude="y") for number in range(9)]
    found = load(write_folder(tmp_path, test=rows))["test"]
    assert list(by_part(found)) == ["test"] and "part" not in found.column_names
    assert found["own_own_own_part"][:3] == ["a", "b", "c"] and found["own_part"][:] == ["x"] * 9
    assert found["own_own_part"][:] == list(range(9)) and found["own_rude"][:] == ["y"] * 9, "nothing is lost"


def test_a_column_gets_the_same_new_name_in_every_split(tmp_path):
    found = load(
        write_folder(
            tmp_path,
            train=[row(1, part="a", own_part="x")],
            validation=[row(2, part="b")],
            test=[row(3, part="c")],
        )
    )
    assert [found[split]["own_own_part"][0] for split in found] == ["a", "b", "c"]
    assert found["train"]["own_part"][:] == ["x"] and "own_part" not in found["test"].column_names


def test_list_of_summaries_alone_is_enough(tmp_path):
    wild = row(7, summaries=["A.", "B."])
    del wild["summary"], wild["topic"]
    loaded = load(write_folder(tmp_path, wild=[wild]))["wild"][0]
    assert (loaded["summary"], loaded["topic"]) == ("A.", "")


def test_csv_with_bom_windows_newlines_and_quoted_lines(tmp_path):
    path = tmp_path / "mine.csv"
    lines = ["id,dialogue,summary", '"1","#Person1#: Hi, you.\r\n#Person2#: ""Hello"".","Greeting."', ""]
    lines += [f"{number},A: {number}\\r\\nB: yes\\nno,Sum {number}" for number in range(2, 11)]
    path.write_bytes(("\ufeff" + "\r\n".join(lines)).encode("utf-8"))
    loaded = load(path)
    rows = {record["id"]: record for split in loaded.values() for record in split}
    assert rows["1"]["dialogue"] == '#Person1#: Hi, you.\n#Person2#: "Hello".'
    assert rows["2"]["dialogue"] == "A: 2\nB: yes\\nno" and rows["2"]["topic"] == ""
    assert {split: table.num_rows for split, table in loaded.items()} == {"train": 6, "validation": 2, "test": 2}


@pytest.mark.parametrize("name, delimiter", [("a.tsv", "\t"), ("a.csv", ";")])
def test_other_delimiters(tmp_path, name, delimiter):
    lines = [delimiter.join(["id", "dialogue", "summary"])]
    lines += [delimiter.join([f"x{number}", f"Hi, {number}", "Short"]) for number in range(10)]
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    assert sum(split.num_rows for split in load(tmp_path / name).values()) == 10


def test_rows_without_ids_are_named_by_line_and_split_by_dialogue(tmp_path):
    rows = [{"dialogue": f"A: {number}", "summary": "S."} for number in range(20)]
    first = load(write_jsonl(tmp_path / "a.jsonl", rows))
    second = load(write_jsonl(tmp_path / "b.jsonl", rows[::-1]))
    assert set(first["test"]["dialogue"]) == set(second["test"]["dialogue"]) and first["test"].num_rows == 2
    assert {record["id"] for split in first.values() for record in split} == {f"row-{line}" for line in range(1, 21)}


@given(st.sets(st.text(min_size=1, max_size=8), min_size=10, max_size=60), st.randoms())
def test_split_does_not_depend_on_order(ids, order):
    records = [{"id": name, "dialogue": f"A: {number}", "summary": "S."} for number, name in enumerate(sorted(ids))]
    shuffled = random.Random(order.random()).sample(records, len(records))
    split = split_by_hash(records, "a file")
    assert split == split_by_hash(shuffled, "a file")
    assert len(split["validation"]) == len(split["test"]) == max(2, round(len(ids) / 10))
    assert sorted(record["id"] for part in split.values() for record in part) == sorted(ids)


@given(
    st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["", "", "a", "b"])), min_size=10, max_size=60), st.randoms()
)
def test_no_dialogue_and_no_group_is_in_two_splits(rows, order):
    records = [
        {"id": f"d{number}", "dialogue": f"A: {text}{' ' * (number % 3)}", "summary": f"S{number}", "group": group}
        for number, (text, group) in enumerate(rows)
    ]
    try:
        split = split_by_hash(records, "a file")
    except DataError as refused:
        assert "one dialogue or one group has" in str(refused)
        return
    for key in (lambda record: dialogue_key(record["dialogue"]), lambda record: record["group"] or record["id"]):
        places = [{key(record) for record in part} for part in split.values()]
        assert sum(map(len, places)) == len(set().union(*places))
    assert sorted(record["id"] for part in split.values() for record in part) == sorted(
        record["id"] for record in records
    )
    assert split == split_by_hash(random.Random(order.random()).sample(records, len(records)), "a file")
    assert all(len(split[name]) >= round(len(rows) / 10) for name in ("validation", "test"))


def test_a_group_that_leaves_nothing_to_train_on_is_named():
    records = [
        {"id": f"d{number}", "dialogue": f"A: {number}", "summary": "S.", "group": "class 7b"} for number in range(20)
    ]
    with pytest.raises(
        DataError, match="one dialogue or one group has 20 of 20 rows, so that nothing is left for train and validation"
    ):
        split_by_hash(records, "a file")


def test_the_real_way_of_loading_keeps_repeated_dialogues_together(tmp_path):
    rows = [row(number, dialogue=f"A: {number // 4}", summary=f"S{number}") for number in range(120)]
    loaded = load(write_jsonl(tmp_path / "mine.jsonl", rows))
    places = [set(loaded[split]["dialogue"]) for split in ("train", "validation", "test")]
    assert sum(map(len, places)) == 30 and all(places)


def test_a_single_file_in_a_folder_is_split(tmp_path):
    write_jsonl(tmp_path / "dialogsum.dev.jsonl", [row(number) for number in range(30)])
    assert [load(tmp_path)[split].num_rows for split in ("train", "validation", "test")] == [24, 3, 3]


def test_a_single_json_file_in_a_folder_is_split_whatever_its_name(tmp_path):
    text = json.dumps([row(number) for number in range(30)])
    (tmp_path / "corpus.json").write_text(text, encoding="utf-8")
    (tmp_path / "README.md").touch()
    assert load(tmp_path)["train"].num_rows == 24
    (tmp_path / "more.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="no file for train, .*files found: none; not read: corpus.json, more.json"):
        load(tmp_path)
    (tmp_path / "more.json").replace(tmp_path / "train.json.gz")
    with pytest.raises(DataError, match="no file for train, .*files found: corpus.json; not read: train.json.gz"):
        load(tmp_path)


def test_rows_of_several_annotators_become_one():
    def record(name, dialogue, summary):
        return {"id": name, "dialogue": dialogue, "summary": summary, "topic": "", "summaries": [summary]}

    merged = merge_annotators(
        [
            record("test_0_2", "A", "two"),
            record("test_0_1", "A", "one"),
            record("test_0_10", "A", "ten"),
            record("test_1_1", "B", "x"),
            record("test_1_2", "C", "y"),
            record("train_1", "D", "z"),
            record("train_2", "D", "w"),
        ]
    )
    assert [row["id"] for row in merged] == ["test_0", "test_1_1", "test_1_2", "train_1", "train_2"]
    assert merged[0]["summaries"] == ["one", "two", "ten"] and merged[0]["summary"] == "one"


def hub_rows(numbers):
    return datasets.Dataset.from_list([row(number) for number in numbers])


def test_hub_data_set_with_one_row_an_annotator(monkeypatch):
    asked = []

    def load_dataset(folder):
        test = [
            row(0, id=f"test_{dialogue}_{annotator}", dialogue=f"A: {dialogue}", summary=f"S{annotator}")
            for dialogue in range(4)
            for annotator in (1, 2, 3)
        ]
        return datasets.DatasetDict(
            train=hub_rows([1, 2]), validation=hub_rows([3]), test=datasets.Dataset.from_list(test)
        )

    monkeypatch.setattr(data, "fetch", lambda name, revision, *_, **options: asked.append((name, revision, options)))
    monkeypatch.setattr(data, "load_dataset", load_dataset)
    loaded = load_dialogues(load_settings("base", data="some/dialogues", data_revision="abc"))
    assert asked == [("some/dialogues", "abc", {"kind": "dataset"})]
    assert loaded["test"]["id"] == ["test_0", "test_1", "test_2", "test_3"]
    assert loaded["test"][3]["summaries"] == ["S1", "S2", "S3"]


def test_hub_out_of_reach(monkeypatch):
    def fetch(name, *_, **options):
        raise HubError(f"{name}: nobody answers")

    monkeypatch.setattr(data, "fetch", fetch)
    with pytest.raises(DataError, match="use the profile pocket, or set LAB_DATA") as error:
        load_dialogues(load_settings("base"))
    assert str(error.value).splitlines()[-1] == "knkarthick/dialogsum: nobody answers"


def test_files_of_a_hub_data_set_that_are_no_tables(monkeypatch, tmp_path):
    (tmp_path / "README.md").write_text("Nothing but words.", encoding="utf-8")
    monkeypatch.setattr(data, "fetch", lambda *_, **options: tmp_path)
    with pytest.raises(DataError, match=r"cannot be read as a table.*LAB_DATA.*\nsome/dialogues: "):
        load_dialogues(load_settings("base", data="some/dialogues"))


def test_paths_never_go_to_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "fetch", lambda *args, **options: pytest.fail("the hub was asked"))
    assert load(write_folder(tmp_path))["train"].num_rows == 1


@pytest.mark.parametrize(
    "changes, column, what",
    [
        ({"dialogue": None}, "dialogue", "is empty"),
        ({"dialogue": " \n"}, "dialogue", "is empty"),
        ({"dialogue": 12}, "dialogue", "is '12' (type int), not a text"),
        ({"dialogue": "half \ud83d"}, "dialogue", "holds half a character"),
        ({"summary": ""}, "summary", "is empty"),
        ({"summary": ["a"]}, "summary", "is \"['a']\" (type list), not a text"),
        ({"topic": 3}, "topic", "is '3' (type int), not a text"),
        ({"id": "d1"}, "id", "'d1' is the id of row 1 too"),
        ({"id": ""}, "id", "is empty"),
        ({"rude": "no"}, "rude", "is 'no' (type str); in the rows before it is of type bool"),
        ({"summaries": ["a", ""]}, "summaries[1]", "is empty"),
    ],
)
def test_bad_rows_name_file_row_and_column(tmp_path, changes, column, what):
    rows = [row(1, rude=True), row(2, rude=False) | changes, row(3, rude=True)]
    if "summaries" in changes:
        rows = [{"summaries": ["a"]} | each for each in rows]
    folder = write_folder(tmp_path, train=rows, validation=[row(8)])
    assert last_line(folder).startswith(f"{folder / 'train.jsonl'}, row 2, column {column}: {what}")
    with pytest.warns(UserWarning, match="1 of 5 rows were left out"):
        assert load(folder, on_bad_rows="report")["train"]["id"] == ["d1", "d3"]


def test_every_bad_row_of_every_file_is_listed_up_to_twenty(tmp_path):
    folder = write_folder(
        tmp_path, train=[row(0)] + [row(number, summary="") for number in range(1, 24)], test=[row(1, dialogue="")]
    )
    with pytest.raises(DataError) as error:
        load(folder)
    lines = str(error.value).splitlines()
    assert "24 of 26 rows cannot be used; the first 20 of 24 faults are listed" in lines[0] and len(lines) == 21
    folder = write_folder(tmp_path, train=[row(0), row(1, summary="")], test=[row(1, dialogue="")])
    assert "test.jsonl, row 1, column dialogue" in last_line(folder)


def test_on_bad_rows_is_checked_even_if_all_is_well(tmp_path):
    with pytest.raises(ValueError, match="on_bad_rows: 'drop' is not one of error, report"):
        load(write_folder(tmp_path), on_bad_rows="drop")


def test_split_without_a_usable_row_is_named(tmp_path):
    folder = write_folder(tmp_path, test=[row(1, dialogue="")])
    with pytest.warns(UserWarning):
        assert "test.jsonl: split 'test' has no usable row" in last_line(folder, on_bad_rows="report")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty (0 bytes)"),
        (b"\n \n", "has no rows"),
        (b'{"id": "1", "dialogue": "caf\xe9"}\n', "row 1: byte 0xe9 at offset 28 is not UTF-8"),
        (
            b'{"id": "1", "dialogue": "A", "summary": "B"}\n{"id": \n',
            "row 2: is not JSON: Expecting value at character 8",
        ),
        (b'["id"]\n', "row 1: is a JSON list, not an object"),
        (
            b'{"id": "1", "text": "A", "summary": "B"}\n',
            "row 1, column dialogue: missing; columns found: id, text, sum",
        ),
        (b'{"id": "1", "dialogue": "A"}\n', "row 1, column summary: missing; columns found: id, dialogue"),
        (b'{"id": "1", "dialogue": "A", "summary": "B"}\n', "has 1 dialogues; splitting"),
        (b'{"id": "1", "dialogue": "A", "summary": "B"}\n', "needs at least 10"),
    ],
)
def test_unusable_jsonl(tmp_path, content, message):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    assert str(path) in last_line(path) and message in last_line(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"id,dialogue,summary\n", "has no rows below its header"),
        (b"\n\n", "holds blank lines only"),
        (b"id,dialogue,summary\n1,Hi, you,Short\n", "row 2: has 4 fields, the header has 3"),
        (b'id,dialogue,summary\n1,"A\nB",\n', "row 2, column summary: is empty"),
        (b'id,dialogue,summary\n1,"A\nB",S\n2,"",S\n', "row 4, column dialogue: is empty"),
        (b'id,dialogue,summary\n1,A,S\n2,"never closed,S\n3,B,S\n', "row 3: unexpected end of data"),
        (b"id,dialogue,dialogue\n1,A,B\n", "row 1, column 3: the header names 'dialogue' twice"),
        (b"id,,dialogue\n1,A,B\n", "row 1, column 2: the header gives it no name"),
        (b"id,Dialogue,summary\n1,A,B\n", "column dialogue: missing; columns found: id, Dialogue, summary"),
        ("id,dialogue,summary\n".encode("utf-16"), "byte 0xff at offset 0 is not UTF-8"),
    ],
)
def test_unusable_csv(tmp_path, content, message):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    assert str(path) in last_line(path) and message in last_line(path)


def test_unknown_ending_and_missing_splits(tmp_path):
    (tmp_path / "mine.xlsx").write_text("x", encoding="utf-8")
    assert "mine.xlsx: ends in '.xlsx'" in last_line(tmp_path / "mine.xlsx")
    assert "no file for train, validation, test; files found: none" in last_line(tmp_path)
    write_folder(tmp_path)
    (tmp_path / "test.jsonl").unlink()
    assert "no file for test; files found: train.jsonl, validation.jsonl" in last_line(tmp_path)
    write_jsonl(tmp_path / "dev.jsonl", [row(1)])
    assert "is a second file of split 'validation', next to dev.jsonl" in last_line(tmp_path)


def test_split_called_all_is_an_ordinary_one(tmp_path):
    assert load(write_folder(tmp_path, all=[row(9)]))["all"]["id"] == ["d9"]


def test_file_that_is_no_split_says_so(tmp_path):
    folder = write_folder(tmp_path, notes=[{"text": "x"}])
    with pytest.raises(DataError, match="notes.jsonl is read as a split 'notes' of its own; move it away"):
        load(folder)


def test_line_separators_inside_json_do_not_end_a_row(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [row(number, summary="one\u2028two") for number in range(10)]
    path.write_text("\r\n".join(json.dumps(each, ensure_ascii=False) for each in rows), encoding="utf-8", newline="")
    assert load(path)["test"][0]["summary"] == "one\u2028two"


def test_tasks_lie_beside_the_data(tmp_path):
    (tmp_path / "data").mkdir()
    settings = load_settings("pocket", data=write_folder(tmp_path / "data"))
    with pytest.raises(DataError, match="has no tasks.jsonl beside it"):
        load_tasks(settings)
    about = load_dialogues(settings)["test"][0]
    task = {"id": about["id"], "task": "question", "question": "Who?", "answer": "Ann", "part": "known"}
    path = write_jsonl(tmp_path / "tasks.jsonl", [task])
    assert load_tasks(settings).to_list() == [
        {
            "id": about["id"],
            "task": "question",
            "answer": "Ann",
            "part": "known",
            "prompt": about["dialogue"] + "\n\nQuestion: Who?\nAnswer:",
        }
    ]
    for column, value, what in (
        ("answer", "", "is empty"),
        ("id", ["a"], None),
        ("id", "nobody", "'nobody' is the id of no dialogue"),
        ("task", "riddle", "task: 'riddle' is not one of question, topic, speaker, tone"),
        ("task", "speaker", "task 'speaker' needs the field 'line'"),
    ):
        write_jsonl(path, [task, task | {column: value}])
        with pytest.raises(DataError) as error:
            load_tasks(settings)
        last = str(error.value).splitlines()[-1].strip()
        assert last.startswith(f"{path}, row 2, column {column}: ") and str(error.value).count("row 2") == 1
        assert what is None or last.endswith(f": {what}")
    with pytest.raises(DataError, match="knkarthick/dialogsum: has no tasks.jsonl"):
        load_tasks(load_settings("base"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real dialogues are not here")
def test_real_dialogues():
    loaded = load(REAL)
    assert [loaded[split].num_rows for split in ("train", "validation", "test")] == [400, 50, 50]
    assert all(dialogue.startswith("#Person1#") for dialogue in loaded["train"]["dialogue"][:20])


@pytest.mark.skipif(not os.path.isdir(load_settings("pocket").data), reason="the pocket data are not built yet")
def test_pocket_data():
    loaded, tasks = load_dialogues(load_settings("pocket")), load_tasks(load_settings("pocket"))
    assert {"train", "validation", "test", "wild"} <= set(loaded)
    assert {"rude", "part"} <= set(loaded["test"].column_names) and len(tasks) > 100
    assert all(len(summaries) == 3 for summaries in loaded["test"]["summaries"])
