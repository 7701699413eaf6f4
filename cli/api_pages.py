"""Pages of the API for the site: modules, functions and classes with their docstrings, read without importing them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

PACKAGES = ("helpers", "sweeps")  # whose docstrings become pages, one a folder
# Parts of a docstring that have a heading, and how a page names them.
PARTS = {"Args": "Arguments", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises", "Source": "Source"}


class ApiError(ValueError):
    """A file that Python cannot read; the message names it."""


def write_api(root: Path, folder: Path) -> list[str]:
    """Writes a page for each folder of `PACKAGES`, made of its docstrings; nothing is imported for it.

    Returns: the pages' places.
    Raises:
        ApiError: a file that Python cannot read.
    """
    (folder / "api").mkdir(exist_ok=True)
    places = []
    for start in (found for name in PACKAGES for found in sorted((root / name).rglob("__init__.py"))):
        name = ".".join(start.parent.relative_to(root).parts)
        modules = [path for path in sorted(start.parent.glob("*.py")) if path != start]
        parts = [f"# {name}", prose(read_code(start)), labs_import(start.with_suffix(".pyi"), name)]
        parts += [module_page(path, f"{name}.{path.stem}") for path in modules]
        places.append(f"api/{name}.md")
        (folder / places[-1]).write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    return places


def read_code(path: Path) -> ast.Module:
    """A file's syntax tree.

    Raises:
        ApiError: it is not Python.
    """
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ApiError(f"{path}: is not Python ({error}); correct it, or take it away") from None


def labs_import(stub: Path, package: str) -> str:
    """A sentence with the names that labs import from a folder itself; "" for one without such names."""
    imports = [node for node in read_code(stub).body if isinstance(node, ast.ImportFrom)] if stub.exists() else []
    names = [
        f"{{py:obj}}`{each.name} <{package}.{node.module}.{each.name}>`" for node in imports for each in node.names
    ]
    return f"Labs import from `{package}`: {', '.join(names)}." if names else ""


def module_page(path: Path, name: str) -> str:
    """A module's part of a page: its docstring, its public functions and classes."""
    tree = read_code(path)
    name_types_fully(tree, name)
    parts = [f"## {name}", f"```{{py:module}} {name}\n```", prose(tree), *members(tree, "`````")]
    return "\n\n".join(filter(None, parts))


def name_types_fully(tree: ast.Module, module: str):
    """Makes the kit's own types in annotations name their modules, so that each links to the right one of that name."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {
        each.asname or each.name: f"{node.module}.{each.name}"
        for node in imports
        if (node.module or "").partition(".")[0] in PACKAGES
        for each in node.names
    } | {node.name: f"{module}.{node.name}" for node in tree.body if isinstance(node, ast.ClassDef)}
    annotations = [getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns")]
    for inner in (inner for found in filter(None, annotations) for inner in ast.walk(found)):
        if isinstance(inner, ast.Name):
            inner.id = names.get(inner.id, inner.id)


def members(tree, fence: str) -> list[str]:
    """What stands in a module or class and has a public name, as directives of Sphinx' domain for Python."""
    found = {}
    for node in tree.body:
        is_class, in_class = isinstance(node, ast.ClassDef), isinstance(tree, ast.ClassDef)
        if not (is_class or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)) or node.name.startswith("_"):
            continue
        marks = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
        kind = "class" if is_class else "function" if not in_class else "property" if "property" in marks else "method"
        options = [f":{mark}:" for mark in ("classmethod", "staticmethod") if mark in marks]
        inside = members(node, fence[1:]) if is_class else []
        head = f"{fence}{{py:{kind}}} {node.name}{signature(node, in_class and 'staticmethod' not in marks, kind)}"
        found.setdefault(
            node.name, "\n\n".join(filter(None, ["\n".join([head, *options]), prose(node), *inside, fence]))
        )
    return list(found.values())


def signature(node, bound: bool, kind: str) -> str:
    """Arguments and result as they stand in the code; `bound` leaves the first argument out.

    A class has those of its `__init__`; one without has its fields, as data classes and named tuples do.
    """
    if kind == "property":
        return f"\n:type: {ast.unparse(node.returns)}" if node.returns else ""
    if kind == "class":
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                return signature(inner, True, "method")
        fields = [ast.unparse(inner) for inner in node.body if isinstance(inner, ast.AnnAssign)]
        return f"({', '.join(fields)})" if fields else ""
    if bound:
        (node.args.posonlyargs or node.args.args)[:1] = []
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returned}"


def prose(node) -> str:
    """The docstring of a module, class or function as Markdown: paragraphs, code, and its parts with their entries."""
    blocks, part = [], ""  # a block: what comes before its words, and these
    for block in re.split(r"\n\s*\n", inspect.cleandoc(ast.get_docstring(node) or "")):
        lines = block.splitlines()
        if lines and not part and all(line.startswith("    ") for line in lines):
            blocks.append((f"```python\n{textwrap.dedent(block)}\n```", ""))
            continue
        part = ""
        for line in lines:
            if head := re.fullmatch(rf"({'|'.join(PARTS)}):\s*(.*)", line):
                part = head[1]
                blocks.append((f"**{PARTS[part]}:** ", head[2]))
            elif part and (entry := re.match(r" {4}(\w[\w*, ]*):\s+(.*)", line)):
                blocks.append((f"- `{entry[1]}`: ", entry[2]))
            elif line.startswith("- "):
                blocks.append(("- ", line[2:]))
            elif line is lines[0]:
                blocks.append(("", line))
            else:
                blocks[-1] = blocks[-1][0], f"{blocks[-1][1]} {line.strip()}"
    return "\n\n".join(f"{mark}{words(text.strip())}".rstrip() for mark, text in blocks)


def words(text: str) -> str:
    """Text that means in Markdown what it is: what stands between backticks is code, and a link where it names the
    kit's own; what stands between asterisks is a title.
    """
    pieces = re.split(r"(`[^`]+`|(?<![\w*])\*\w[^*`]*\*(?![\w*]))", text)
    for number, piece in enumerate(pieces):
        plain = piece[1:-1] if number % 2 else piece
        escaped = re.sub(r"([\\`*_\[\]<>$#|~{}&])", r"\\\1", plain)
        if number % 2 and piece.startswith("`"):
            own = re.fullmatch(rf"({'|'.join(PACKAGES)})\.[\w.]+", plain)
            pieces[number] = f"{{py:obj}}{piece}" if own else piece
        else:
            pieces[number] = f"*{escaped}*" if number % 2 else escaped
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", "".join(pieces))  # a paragraph is no list
