"""Habits that only Windows punishes: encodings, newlines, paths, names of files, processes, calls that are not
there.
"""

import ast
import csv
import json
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path, PurePath

import nbformat
import pytest

from cli import doctor
from cli.pages import write_figures
from cli.publish import Address, find_set_up, renew
from cli.student import contents, find_notebooks, without_answers
from helpers.data.records import DataError, read_rows
from helpers.settings import load_settings
from sweeps.finetuning import points as finetuning_points
from sweeps.ppo import points as ppo_points

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    ROOT / "kit.py",
    *chain.from_iterable(
        sorted((ROOT / name).rglob("*.py")) for name in ("helpers", "sweeps", "cli", "pocket", "benchmarks", "tests")
    ),
]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
SUBPROCESSES = ("subprocess.run", "subprocess.Popen", "subprocess.check_output")
UNIX_ONLY = {
    "os": ("fork", "geteuid", "getuid", "sysconf", "sched_getaffinity", "getpgid", "killpg", "mkfifo"),
    "signal": ("SIGKILL", "SIGALRM", "SIGHUP"),
}


def calls(trees=None):
    """(place, name of the function or method, call, its keywords) of every call in the kit."""
    for path, tree in (TREES if trees is None else trees).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
                yield (
                    f"{path.name}:{node.lineno}",
                    name,
                    node,
                    {keyword.arg: keyword.value for keyword in node.keywords},
                )


def without_encoding(trees=None):
    """Places where a text is read, written or received in whatever encoding the computer prefers."""
    found = []
    for place, name, node, given in calls(trees):
        method = name.rpartition(".")[2]
        mode = given.get("mode") or next(
            (
                argument
                for argument in node.args
                if isinstance(argument, ast.Constant)
                and isinstance(argument.value, str)
                and re.fullmatch(r"[rwaxbt+]+", argument.value)
            ),
            None,
        )
        binary = mode is not None and "b" in str(getattr(mode, "value", ""))
        opens = name == "open" or (
            method == "open" and not name.startswith(("os.", "zipfile.", "webbrowser.", "Image."))
        )
        text = (
            method in ("read_text", "write_text")
            or (opens and not binary)
            or (name in SUBPROCESSES and "text" in given)
        )
        if text and "encoding" not in given:
            found.append(f"{place} {name}")
    return found


def test_every_text_file_names_its_encoding():
    assert without_encoding() == []


@pytest.mark.parametrize(
    "code",
    [
        "open('a')",
        "open('a', 'w')",
        "path.open('r')",
        "path.read_text()",
        "path.write_text('x')",
        "subprocess.run([], text=True)",
    ],
)
def test_a_missing_encoding_is_found(code):
    assert len(without_encoding({Path("x.py"): ast.parse(code)})) == 1
    assert (
        without_encoding({Path("x.py"): ast.parse(code[:-1] + (", " if code[-2] != "(" else "") + "encoding='utf-8')")})
        == []
    )


def test_files_with_checksums_are_written_with_the_same_newlines_everywhere():
    writes = [
        (place, given)
        for place, name, _, given in calls()
        if place.startswith(tuple(path.name for path in (ROOT / "pocket").glob("*.py")))
        and name.endswith("write_text")
        and any(path.name == place.partition(":")[0] for path in (ROOT / "pocket").glob("*.py"))
    ]
    assert len(writes) >= 5
    assert [place for place, given in writes if "newline" not in given] == []
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()


def test_paths_are_joined_by_pathlib():
    found = [
        f"{place} {name}"
        for place, name, _, _ in calls()
        if name in ("os.path.join", "os.rename") or name.endswith(".rename")
    ]
    for place, name, node, _ in calls():
        if name in ("Path", "open", "PurePath"):
            pieces = [
                part
                for argument in node.args
                for part in ast.walk(argument)
                if isinstance(argument, ast.JoinedStr | ast.BinOp)
            ]
            found += [
                f"{place} {name}"
                for part in pieces
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and re.search(r"[/\\]", part.value)
            ]
    assert found == []


def test_what_windows_does_not_have_is_asked_for_first():
    found = []
    for path, tree in TREES.items():
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.attr in UNIX_ONLY.get(node.value.id, ())
                and f'hasattr({node.value.id}, "{node.attr}")' not in source
            ):
                found.append(f"{path.name}:{node.lineno} {node.value.id}.{node.attr}")
        top = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
        found += [
            f"{path.name} {name}" for name in top if name in ("resource", "fcntl", "pwd", "grp", "termios", "readline")
        ]
    assert found == []


def test_importing_a_module_starts_nothing():
    """A process that Windows spawns imports its parent's modules again."""
    harmless = (
        "warnings.filterwarnings",
        "settings.register_profile",
        "settings.load_profile",
        "AttentionInterface.register",
        "AttentionMaskInterface.register",
        "leave_out(",
    )
    definitions = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
    found = []
    for path, tree in TREES.items():
        for node in tree.body:
            text = ast.unparse(node)
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            guard = isinstance(node, ast.If) and text.startswith(("if __name__ == '__main__':", "if TYPE_CHECKING:"))
            if not (docstring or guard or isinstance(node, definitions) or text.startswith(harmless)):
                found.append(f"{path.name}:{node.lineno} {text[:50]}")
    assert found == []
    workers = [
        f"{place} {key}"
        for place, _, _, given in calls()
        for key in given
        if key in ("num_workers", "dataloader_num_workers", "num_proc", "nprocs")
    ]
    assert workers == [], "a notebook has no main guard: there every worker process would run it again"


def test_rows_and_settings_travel_to_a_spawned_process(tmp_path):
    (tmp_path / "data.csv").write_text("dialogue,summary\r\nHello,Hi\r\nalone\r\n", encoding="utf-8", newline="")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        rows, problems = pool.apply(read_rows, (tmp_path / "data.csv",))
    assert rows[0].values == {"dialogue": "Hello", "summary": "Hi"} and problems[0].line == 3
    settings = load_settings("pocket")
    assert pickle.loads(pickle.dumps(settings)) == settings


def illegal(name):
    """Whether Windows refuses a file of this name."""
    return (
        bool(re.search(r'[<>:"\\|?*\x00-\x1f]|[. ]$', name)) or name.partition(".")[0].lower() in RESERVED or not name
    )


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("lora-r8-q+v-lr0.004-n2500-s1.json", False),
        ("a:b", True),
        ("con.txt", True),
        ("x.", True),
        ("a?b", True),
        ("", True),
    ],
)
def test_what_is_illegal_is_known(name, wrong):
    assert illegal(name) is wrong


def test_files_of_the_kit_have_names_for_every_system():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    names = [name for name in listed.stdout.split("\0") if name] or [
        path.relative_to(ROOT).as_posix() for path in contents(ROOT)[0]
    ]
    assert len(names) > 100
    assert [name for name in names if any(map(illegal, PurePath(name).parts))] == []
    assert len({name.lower() for name in names}) == len(names), "two names that differ in upper and lower case alone"
    assert max(map(len, names)) < 120, "Windows allows 260 characters, and the kit lies in a folder of somebody's"


def test_names_that_are_made_while_running_are_legal(tmp_path):
    points = [point.name for point in (*finetuning_points(), *ppo_points())]
    assert len(points) > 20 and [name for name in points if illegal(f"{name}.json") or "/" in name] == []
    figure = nbformat.v4.new_output("display_data", {"image/png": "AAAA"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("draw()", outputs=[figure])])
    figures = [name for lab in find_notebooks(ROOT) for name in write_figures(notebook, tmp_path, lab.stem)]
    assert figures and [name for name in figures if illegal(name) or not (tmp_path / name).exists()] == []


def crlf(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return target


@pytest.mark.parametrize("lab", find_notebooks(ROOT), ids=lambda path: path.stem)
def test_a_notebook_with_windows_newlines_is_the_same_notebook(lab, tmp_path):
    copied = crlf(lab, tmp_path / "labs" / lab.name)
    original, notebook = (nbformat.read(path, as_version=4) for path in (lab, copied))
    assert notebook == original and b"\r\n" in copied.read_bytes()
    assert without_answers(notebook, lab.name) == without_answers(original, lab.name) > 0
    assert renew(copied, tmp_path, Address("learner/kit", "v9"))
    set_up = nbformat.read(copied, as_version=4).cells[find_set_up(notebook)].source
    assert "https://github.com/learner/kit@v9" in set_up


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_data_with_windows_newlines_is_the_same_data(tmp_path, suffix):
    rows = [
        {"dialogue": "#Person1#: Hi.\n#Person2#: Hello, you.", "summary": "A greeting — “short”"},
        {"dialogue": "b", "summary": "ü"},
    ]
    path = tmp_path / f"unix{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        else:
            writer = csv.DictWriter(
                file, ["dialogue", "summary"], delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(rows)
    found = [
        [{key: value.replace("\r\n", "\n") for key, value in row.values.items()} for row in read_rows(each)[0]]
        for each in (path, crlf(path, tmp_path / f"windows{suffix}"))
    ]
    assert found[0] == found[1] == rows


def test_lists_with_windows_newlines_and_notepads_mark_are_read(tmp_path):
    for name in ("requirements.txt", "constraints.txt"):
        assert doctor.listed(crlf(ROOT / name, tmp_path / name)) == doctor.listed(ROOT / name)
    (tmp_path / "data.csv").write_text("dialogue,summary\nHello,Hi\n", encoding="utf-8-sig")
    assert read_rows(tmp_path / "data.csv")[0][0].values == {"dialogue": "Hello", "summary": "Hi"}
    (tmp_path / "excel.csv").write_text("dialogue,summary\nHello,Grüße\n", encoding="cp1252")
    with pytest.raises(DataError, match="CSV UTF-8"):
        read_rows(tmp_path / "excel.csv")


def test_output_in_another_code_page_does_not_end_a_command():
    shown = "print('β → ✓')"
    ends = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
            capture_output=True,
            check=False,
        )
        for code in (shown, f"import kit; kit.print_anywhere(); {shown}")
    ]
    assert ends[0].returncode == 1 and b"UnicodeEncodeError" in ends[0].stderr, "without the remedy it does end"
    assert ends[1].returncode == 0 and ends[1].stdout.strip() == b"? ? ?"
    assert [ast.unparse(node.body[0]) for node in TREES[ROOT / "kit.py"].body if isinstance(node, ast.If)] == [
        "print_anywhere()"
    ]
