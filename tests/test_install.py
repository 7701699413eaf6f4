"""The kit as a package: a lab alone in an empty folder, in a fresh environment with other versions, sets itself up."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cli.publish import Address, find_set_up, renew

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "labs" / "01_dialogue_summarization.ipynb"
NEWER = ("torch", "numpy", "scikit-learn", "datasets", "matplotlib")


def required():
    """What the kit asks for when it is installed as a package."""
    code = (ROOT / "setup.py").read_text(encoding="utf-8").replace("from setuptools import setup", "setup = dict")
    names = {"__file__": str(ROOT / "setup.py")}
    exec(compile(code, "setup.py", "exec"), names)
    return {canonicalize_name(found.name): found for found in map(Requirement, names["required"](names["LISTED"]))}


def test_every_requirement_says_whether_notebooks_need_it():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    reasons = [line.partition("#")[2].strip() for line in lines if not line.startswith("#")]
    known = ("all labs:", "lab ", "labs ", "extras:", "no lab:", "kit.py")
    assert [reason for reason in reasons if not reason.startswith(known)] == []


def test_a_package_asks_for_what_notebooks_import_and_caps_nothing():
    found = required()
    assert {"torch", "numpy", "transformers", "peft", "trl", "rouge-score", "ipywidgets"} <= set(found)
    assert not {"jupyterlab", "ipykernel", "pytest", "setuptools", "lemminflect", "alt-profanity-check"} & set(found)
    assert [str(each) for each in found.values() if not re.fullmatch(r">=[\d.]+", str(each.specifier))] == []


def newer(name):
    """A version newer than the installed one: of datasets and matplotlib beyond the bounds of requirements.txt, of the
    others not so new that packages built on them refuse it.
    """
    major, minor, patch = (*Version(metadata.version(name)).release, 0, 0)[:3]
    if name in ("datasets", "matplotlib"):
        return f"{major + 1}.0"
    return f"{major}.{minor}.{patch + 1}{'+cu999' if name == 'torch' else ''}"


@pytest.fixture
def environment(tmp_path):
    """(python, site-packages) of a fresh environment that sees every installed package, some of them as newer, but not
    the kit.
    """
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    seen = [path for path in sys.path if path.endswith("site-packages")]
    (site / "seen.pth").write_text("\n".join(seen), encoding="utf-8")
    for name in NEWER:
        info = site / f"{name.replace('-', '_')}-{newer(name)}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {newer(name)}\n", encoding="utf-8"
        )
        (info / "INSTALLER").write_text("another\n", encoding="utf-8")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), site


@pytest.fixture
def published(tmp_path):
    """The kit as a git repository with a tag, at a local address."""
    folder = tmp_path / "published"
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "runs")
    for name in ("helpers", "pocket", "sweeps", "labs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("requirements.txt", "pyproject.toml", "setup.py", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    renew(folder / "labs" / LAB.name, folder, Address("learner/kit", "v9"))
    author = "-c user.name=a -c user.email=a@example.org"
    for command in ("init --quiet", "add --all", f"{author} commit --quiet -m kit", "tag v9"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def run_in(python, notebook, folder, variables):
    """Executes a notebook in a folder, in a kernel of another Python; returns what it printed."""

    class Kernel(AsyncKernelManager):
        @property
        def kernel_spec(self):
            command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, language="python", display_name="another Python")

    client = NotebookClient(notebook, kernel_manager_class=Kernel, timeout=900, shutdown_kernel="immediate")
    own = ("LAB_", "HF_", "PIP_", "GIT_", "PYTHON", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    with client.setup_kernel(cwd=str(folder), env=kept | variables):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs if output.output_type == "stream")


LOOK = """
import json, os
import helpers
from helpers.data import build_prompt, fitting_dialogues
from helpers.models import generate, load_seq2seq
from sweeps import load_results
from sweeps.ppo import COMMAND, FOLDER

settings = lab.settings()
tokenizer, model = load_seq2seq(settings)
prompt = build_prompt(fitting_dialogues(settings)["test"][0]["dialogue"])
(said,) = generate(model, tokenizer, [prompt], max_new_tokens=10)
kept = sorted(load_results(FOLDER, COMMAND))
print("LOOK", json.dumps([lab.profile.value, str(lab.runs), helpers.__file__, said, kept]))
"""


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_lab_alone_in_an_empty_folder_sets_itself_up(environment, published, tmp_path):
    python, site = environment
    alone = tmp_path / "content"
    alone.mkdir()
    notebook = nbformat.read(published / "labs" / LAB.name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0] is notebook.cells[find_set_up(notebook)] and code[1].source == "lab = start()"
    notebook.cells = [*code[:2], new_code_cell(LOOK)]
    before = sorted(path.name for path in site.iterdir())
    said = run_in(
        python,
        notebook,
        alone,
        {
            "LAB_PROFILE": "pocket",
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/learner/kit",
            # Everything else is there: no package may be fetched, and none exchanged.
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
    )
    profile, runs, package, text, kept = json.loads(re.search(r"^LOOK (.*)$", said, re.MULTILINE)[1])
    assert profile == "pocket" and text.strip() and "base" in kept
    assert Path(runs) == alone / "runs" and Path(package) == site / "helpers" / "__init__.py"
    new = {path.name for path in site.iterdir()} - set(before)
    assert {name for name in new if not name.startswith("__")} == {
        "helpers",
        "pocket",
        "sweeps",
        f"genai_lab_kit-{metadata.version('genai-lab-kit')}.dist-info",
    }, "nothing was installed but the kit, and no version exchanged"
