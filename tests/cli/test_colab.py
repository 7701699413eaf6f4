"""Colab: what is missing is installed and nothing else touched; a lab alone in an empty folder, in an environment with
newer packages, sets itself up.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import venv
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module, metadata
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from packaging.version import Version

from cli import colab, doctor
from cli.colab import FOR_LABS, SetUpError, install_missing, profile_line, report, versions, wanted
from cli.publish import Address, find_set_up, renew
from helpers import settings

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "labs" / "01_dialogue_summarization.ipynb"


def test_every_requirement_says_whether_notebooks_need_it():
    lines = [
        line
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    reasons = [line.partition("#")[2].strip() for line in lines]
    assert [
        reason
        for reason in reasons
        if not reason.startswith(("all labs:", "lab ", "labs ", "extras:", "no lab:", "kit.py"))
    ] == []
    for_labs = [line for line in lines if FOR_LABS.search(line)]
    assert all(not line.partition("# ")[2].startswith(("kit.py", "no lab")) for line in for_labs)
    assert {"torch", "numpy", "transformers", "peft", "trl", "rouge-score", "ipywidgets"} <= set(
        wanted(ROOT / "requirements.txt")
    )
    assert not {"jupyterlab", "ipykernel", "pytest", "setuptools", "lemminflect"} & set(
        wanted(ROOT / "requirements.txt")
    )


@pytest.mark.parametrize("look_up", ["importlib.metadata", "importlib_metadata"])
def test_of_two_versions_on_the_path_the_imported_one_counts(tmp_path, monkeypatch, look_up):
    import_module(look_up)  # the second takes the first one's place in this process
    for number, folder in enumerate(("first", "second")):
        place = tmp_path / folder / "probe-9.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Pro_be\nVersion: {number}\n", encoding="utf-8")
    (tmp_path / "first" / "cut.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second"), *sys.path])
    assert versions()["pro-be"] == "0"


@pytest.fixture
def pip(monkeypatch):
    """A computer with some packages; what pip is asked for is recorded, and the answers are taken from
    `pip.answers`.
    """

    class Calls(list):
        def __init__(self):
            super().__init__()
            self.answers = []

    calls = Calls()

    def run(command, **_):
        constraints = Path(command[command.index("-c") + 1]).read_text(encoding="utf-8").split()
        calls.append((command[command.index("-c") + 2 :], constraints))
        fault = calls.answers.pop(0) if calls.answers else ""
        return subprocess.CompletedProcess(command, bool(fault), fault)

    monkeypatch.setattr(colab.subprocess, "run", run)
    monkeypatch.setattr(
        colab,
        "versions",
        lambda: {
            "torch": "2.99.0+cu130",
            "numpy": "2.9.1",
            "transformers": "5.30",
            "pandas": "3.2",
            "ipython": "7.34",
            "odd": "2.22.1ubuntu1",
        },
    )
    answers = iter([{"ipython"}])  # once: with hundreds of packages each look takes a second
    monkeypatch.setattr(colab, "loaded", lambda: next(answers))
    return calls


NEEDED = {
    "torch": ">=2.6,<3",
    "numpy": ">=2.0,<3",
    "transformers": ">=5.23,<6",
    "ipython": ">=7.34,<10",
    "peft": ">=0.17,<1",
}


def test_all_that_is_there_is_pinned_and_the_rest_asked_for(pip):
    install_missing(NEEDED)
    ((requirements, pinned),) = pip
    assert requirements == ["transformers>=5.23,<6", "peft>=0.17,<1"]
    assert sorted(pinned) == ["ipython==7.34", "numpy==2.9.1", "pandas==3.2", "torch==2.99.0+cu130"], (
        "pip cannot read the odd version"
    )


def test_where_nothing_goes_with_what_is_there_only_torch_numpy_and_the_loaded_stay(pip):
    pip.answers = ["ERROR: ResolutionImpossible"]
    install_missing(NEEDED)
    assert len(pip) == 2 and pip[0][0] == pip[1][0]
    assert sorted(pip[1][1]) == ["ipython==7.34", "numpy==2.9.1", "torch==2.99.0+cu130"]


def test_an_installation_that_fails_gives_pips_reason_and_a_remedy(pip):
    pip.answers = ["ERROR: ResolutionImpossible", "ERROR: No matching distribution found for peft"]
    with pytest.raises(SetUpError, match=r"(?s)run the cell again .* No matching distribution found for peft"):
        install_missing(NEEDED)


def test_the_report_says_what_was_done_and_what_is_untested():
    before = {"torch": "3.1", "numpy": "2.9.1", "transformers": "5.1", "peft": "0.18"}
    after = {**before, "transformers": "5.30", "trl": "1.16.0"}
    needed = {"torch": ">=2.6,<3", "numpy": ">=2.0,<3", "transformers": ">=5.23,<6", "trl": ">=1.16,<2"}
    assert report(needed, before, after) == [
        "installed: trl 1.16.0",
        "exchanged: transformers 5.1 -> 5.30",
        "left as they are: torch 3.1, numpy 2.9.1",
        "outside of what the kit was tested with: torch 3.1 (tested: >=2.6,<3)",
    ]


@pytest.mark.parametrize(
    "gpu, hub, said",
    [
        (True, True, "GPU: Tesla T4, 16 GB. Profile: base (google/flan-t5-base on knkarthick/dialogsum)"),
        (True, False, "GPU: Tesla T4, 16 GB. Profile: pocket; LAB_PROFILE says so, or the model hub does not answer"),
        (False, True, "GPU: none. Profile: pocket; for FLAN-T5 choose Runtime > Change runtime type > GPU"),
    ],
)
def test_the_profile_is_chosen_and_said(monkeypatch, gpu, hub, said):
    monkeypatch.delenv("LAB_PROFILE", raising=False)
    monkeypatch.setattr(settings.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(settings, "hub_is_reachable", lambda: hub)
    monkeypatch.setattr(colab, "gpu", lambda: "Tesla T4, 16 GB" if gpu else "none")
    assert profile_line() == said


# The real thing: a fresh environment, a Colab-like kernel in it, real pip (from a folder of wheels, no network), a real
# git address.


def newer(name):
    """A version newer than the installed one, but not so new that the packages built on it refuse it."""
    major, minor, patch = Version(metadata.version(name)).release[:3]
    return f"{major}.{minor}.{patch + 1}{'+cu999' if name == 'torch' else ''}"


def write_wheel(folder, name, version, needs=()):
    """An installable package with one empty module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {need}\n" for need in needs),
    }
    digests = {
        path: urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode() for path, text in files.items()
    }
    files[f"{info}/RECORD"] = (
        "".join(f"{path},sha256={digest},{len(files[path])}\n" for path, digest in digests.items())
        + f"{info}/RECORD,,\n"
    )
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.fixture
def environment(tmp_path):
    """(python, site-packages) of a fresh environment that sees every installed package, some of them as newer, but
    neither the kit nor `kitprobe`.
    """
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (site / "installed.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("site-packages")), encoding="utf-8"
    )
    for name in ("torch", "numpy"):
        info = site / f"{name}-{newer(name)}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {newer(name)}\n", encoding="utf-8"
        )
        (info / "INSTALLER").write_text("colab\n", encoding="utf-8")
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), site


@pytest.fixture
def wheels(tmp_path):
    """What can be installed: traps too, newer numpy and torch, and a newer `kitprobe` that would need another numpy."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("torch", "numpy"):
        write_wheel(folder, name, "2.9999")
    write_wheel(folder, "kitprobe", "1.0", ["numpy>=2"])
    write_wheel(folder, "kitprobe", "1.1", ["numpy==2.9999"])
    return folder


@pytest.fixture
def published(tmp_path):
    """The kit as a git repository with a tag, at a local address; it needs a package more."""
    folder = tmp_path / "published"
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "runs", "results", "*.safetensors", "*.jsonl")
    for name in ("helpers", "pocket", "labs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    with (folder / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write("kitprobe>=1,<2    # all labs: not installed anywhere\n")
    renew(folder / "labs" / LAB.name, folder, Address("learner/kit", "v9"))
    for command in (
        "init --quiet",
        "add --all",
        "-c user.name=a -c user.email=a@example.org commit --quiet -m kit",
        "tag v9",
    ):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def hub():
    """A model hub that answers; gives its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


STARTUP = """import sys
import google.colab      # Colab's kernels have it from the start
import torch
there = torch.cuda.is_available
# Libraries would look for CUDA itself.
torch.cuda.is_available = lambda: there() or sys._getframe(1).f_globals["__name__"].startswith("helpers")
torch.cuda.get_device_name = lambda: "Tesla T4"
torch.cuda.get_device_properties = lambda _: type("Properties", (), {"total_memory": 16e9})
"""
LOOK = """import json, os, kitprobe, helpers
print("LOOK", json.dumps([profile.value, os.getcwd(), helpers.__file__]))"""


def run_in(python, notebook, folder, variables):
    """Executes a notebook in a folder, in a kernel of another Python."""

    class Kernel(AsyncKernelManager):
        @property
        def kernel_spec(self):
            return KernelSpec(
                argv=[str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                language="python",
                display_name="Colab",
            )

    client = NotebookClient(notebook, kernel_manager_class=Kernel, timeout=240, shutdown_kernel="immediate")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LAB_", "HF_", "PIP_", "GIT_", "PYTHON", "COV_"))
    }
    with client.setup_kernel(cwd=str(folder), env=kept | variables):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    return "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_lab_alone_in_an_empty_folder_sets_itself_up(environment, wheels, published, hub, tmp_path):
    python, site = environment
    alone, ipython = tmp_path / "content", tmp_path / "ipython"
    (ipython / "profile_default" / "startup").mkdir(parents=True)
    (ipython / "profile_default" / "startup" / "00-colab.py").write_text(STARTUP, encoding="utf-8")
    alone.mkdir()
    notebook = nbformat.read(published / "labs" / LAB.name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0] is notebook.cells[find_set_up(notebook)] and "profile_dropdown()" in code[2].source
    notebook.cells = [*code[:3], new_code_cell(LOOK)]

    said = run_in(
        python,
        notebook,
        alone,
        {
            "IPYTHONDIR": str(ipython),
            "HF_ENDPOINT": hub,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_CONFIG_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/learner/kit",
        },
    )

    assert "installed: kitprobe 1.0\n" in said, "1.1 would need another numpy"
    assert f"left as they are: torch {newer('torch')}, numpy {newer('numpy')}\n" in said and "exchanged" not in said
    assert "GPU: Tesla T4, 16 GB. Profile: base (google/flan-t5-base on " in said
    profile, folder, package = json.loads(said.partition("LOOK ")[2].splitlines()[0])
    assert profile == "base" and Path(folder).resolve() == (alone / "kit-v9" / "labs").resolve()
    assert Path(package).resolve() == (alone / "kit-v9" / "helpers" / "__init__.py").resolve()
    assert sorted(path.name for path in alone.iterdir()) == ["kit-v9"]
    assert sorted(path.name for path in site.glob("*.dist-info")) == sorted(
        ["kitprobe-1.0.dist-info", f"numpy-{newer('numpy')}.dist-info", f"torch-{newer('torch')}.dist-info"]
    )


INSTALL = """import sys
from cli import colab
needed = {"torch": ">=2.6,<3", "numpy": ">=2.0,<3", "transformers": ">=5.23,<6", "kitprobe": sys.argv[1]}
before = colab.versions()
try:
    colab.install_missing(needed)
    print("\\n".join(colab.report(needed, before, colab.versions())))
except colab.SetUpError as error:
    print("ERROR", error)"""


def test_what_is_out_of_bounds_is_exchanged_but_never_numpy(environment, wheels):
    python, site = environment
    (site / "transformers-5.1.0.dist-info").mkdir()
    (site / "transformers-5.1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: transformers\nVersion: 5.1.0\n", encoding="utf-8"
    )
    (site / "transformers-5.1.0.dist-info" / "RECORD").write_text(
        "transformers-5.1.0.dist-info/METADATA,,\n", encoding="utf-8"
    )
    write_wheel(wheels, "transformers", "5.999")
    variables = {
        "PYTHONPATH": str(ROOT),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "COV_"))}
    said = [
        subprocess.run(
            [python, "-c", INSTALL, bounds],
            env=kept | variables,
            cwd=wheels,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for bounds in (">=1.1,<2", ">=1,<2")
    ]
    assert (
        said[0].startswith("ERROR the packages of the labs cannot be installed here")
        and "kitprobe 1.1 depends on numpy==2.9999" in said[0]
    )
    assert said[1].splitlines() == [
        "installed: kitprobe 1.0",
        "exchanged: transformers 5.1.0 -> 5.999",
        f"left as they are: torch {newer('torch')}, numpy {newer('numpy')}",
    ]


def test_colab_starts_from_the_standard_library(tmp_path):
    code = (
        "import sys, cli.colab; print([name for name in ('torch', 'numpy', 'packaging', 'psutil') if name in "
        "sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "[]" and doctor.normal("Rouge_Score") == "rouge-score"
