"""The structure of the code: imports between folders run one way, no circle of files, and folders stay small."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the bottom to the top: a folder imports from itself and from those above it in this list.
ROOMS = (
    "pocket.scenarios",
    "helpers",
    "helpers.models",
    "helpers.data",
    "helpers.evaluation",
    "helpers.transformer",
    "helpers.compression",
    "helpers.training",
    "helpers.alignment",
    "helpers.applications",
    "helpers.visualization",
    "helpers.exercises",
    "sweeps",
    "cli",
    "pocket",
    "benchmarks",
)
# What a folder leaves alone although it stands higher up.
NEVER = {
    "helpers.applications": {"helpers.compression", "helpers.training", "helpers.alignment"},
    "helpers.exercises": {"helpers.visualization"},
    "sweeps": {"helpers.visualization", "helpers.exercises"},
    "cli": set(ROOMS[2:3]) | set(ROOMS[4:13]) - {"helpers.evaluation", "helpers.exercises"},
}
FILES = [
    path for top in ("helpers", "sweeps", "cli", "pocket", "benchmarks") for path in sorted((ROOT / top).rglob("*.py"))
]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def room_of(module):
    """The folder of a module; a package's own `__init__` belongs to the package."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def imports_of(path):
    """The kit's modules that a file imports, inside functions too; a package is named where a name of its own is
    taken.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= parts & set(MODULES) or {node.module}
    return found & set(MODULES)


IMPORTS = {module: imports_of(path) for module, path in MODULES.items()}


def circle(graph):
    """The modules of one circle of imports, or None."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        path.append(module)
        found = next(filter(None, map(visit, sorted(graph[module]))), None)
        done.add(path.pop())
        return found

    return next(filter(None, map(visit, sorted(graph))), None)


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_circle_of_files():
    assert circle(IMPORTS) is None


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    room = room_of(module)
    for other in IMPORTS[module]:
        target = room_of(other)
        assert ROOMS.index(target) <= ROOMS.index(room), f"{module} imports {other}, which stands above it"
        assert target not in NEVER.get(room, ()), f"{module} imports {other}, which {room} leaves alone"


def test_folders_are_few_and_small():
    folders = [path for path in (ROOT / "helpers").iterdir() if path.is_dir() and list(path.glob("*.py"))]
    assert len(folders) <= 10
    notebooks = {path.stem.lstrip("0123456789_") for path in (ROOT / "labs").rglob("*.ipynb")}
    for folder in (ROOT / "helpers", ROOT / "sweeps", ROOT / "cli", *folders):
        modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        if folder.name == "exercises":  # one module a notebook
            modules -= notebooks
        assert len(modules) <= 15, folder


def test_every_folder_and_module_says_its_job_in_its_first_line():
    for module, path in MODULES.items():
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert said and len(said.splitlines()[0]) > 15, module


def test_no_check_is_left_out_by_pythonoptimize():
    """PYTHONOPTIMIZE=1 leaves out every `assert`, of cells too: checks raise instead."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "kit.py", *FILES)}
    for path in sorted((ROOT / "labs").rglob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells if "runs" not in path.parts else []
        sources |= {(path, number): cell.source for number, cell in enumerate(cells) if cell.cell_type == "code"}
    assert [
        place
        for place, source in sources.items()
        if "assert" in source
        for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "pass", source, flags=re.MULTILINE)))
        if isinstance(node, ast.Assert)
    ] == []


def test_tests_mirror_the_folders():
    """tests/<folder>/test_<module>.py; tests of the kit as a whole stand in tests/ itself."""
    for path in sorted((ROOT / "tests").glob("*/test_*.py")):
        folder, name = path.parent.name, path.stem.removeprefix("test_")
        if folder in ("browser", "hub"):
            continue
        tops = [ROOT / "helpers" / folder, ROOT / folder]
        places = [
            place for top in tops for place in (top / f"{name}.py", top / name, top / "__init__.py") if place.exists()
        ]
        assert places, f"{path.relative_to(ROOT)}: neither helpers/{folder} nor {folder} holds {name}.py"
