"""kit.py: its arguments, the environment's stamp, what is installed."""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.specifiers import SpecifierSet

from cli import doctor

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def kit():
    """kit.py as a module, without running it."""
    spec = importlib.util.spec_from_file_location("kit", ROOT / "kit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def labs(tmp_path):
    """A project with three labs, one of them an extra."""
    (tmp_path / "labs" / "extras").mkdir(parents=True)
    for name in ("02_later.ipynb", "01_first.ipynb", "extras/rag.ipynb", "notes.ipynb"):
        (tmp_path / "labs" / name).write_text("{}", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("file", ["kit.py", "cli/__init__.py", "cli/doctor.py"])
def test_what_runs_before_the_set_up_imports_the_standard_library_only(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_arguments_of_run(kit):
    options = kit.parse(["run", "1", "rag", "--profile", "small", "--out", "pages"])
    assert (options.labs, options.profile, options.out) == (["1", "rag"], "small", Path("pages"))
    assert kit.parse(["run"]).out == ROOT / "build"


def test_everything_after_test_belongs_to_pytest(kit):
    assert kit.parse(["test", "-k", "run", "--help"]).pytest == ["-k", "run", "--help"]


def test_open_starts_jupyterlab_for_this_computer_alone_with_the_kits_settings(kit, monkeypatch):
    import jupyterlab.labapp

    seen = []
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "mine")
    monkeypatch.setattr(jupyterlab.labapp, "main", seen.extend)
    options = kit.parse(["open", "1"])
    options.notebooks = kit.choose_labs([options.lab], kit.find_labs())
    kit.perform(options)
    assert "--ServerApp.ip=127.0.0.1" in seen and f"--ServerApp.root_dir={ROOT}" in seen
    assert not [option for option in seen if "token" in option.lower() or "password" in option.lower()], (
        "the server makes a token of its own"
    )
    folder, others = kit.os.environ["JUPYTER_CONFIG_PATH"].split(kit.os.pathsep)
    settings = json.loads((Path(folder) / "labconfig" / "default_setting_overrides.json").read_text(encoding="utf-8"))
    assert others == "mine" and settings["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}


def test_student_and_publish_reach_their_modules(kit, monkeypatch, tmp_path):
    from cli import publish as publishing, student as handout

    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setattr(handout, "hand_out", lambda *arguments: arguments)
    monkeypatch.setattr(publishing, "publish", lambda *arguments: arguments)
    monkeypatch.chdir(tmp_path)
    assert kit.perform(kit.parse(["student", "course/handout"])) == (ROOT, tmp_path.resolve() / "course" / "handout")
    labs = list(kit.find_labs().values())
    assert kit.perform(kit.parse(["publish", "learner/kit", "--tag", "v2"])) == (ROOT, labs, "learner/kit", "v2")
    assert kit.perform(kit.parse(["publish"])) == (ROOT, labs, None, None)


def test_site_reaches_its_module(kit, monkeypatch, tmp_path):
    import cli.site

    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setattr(cli.site, "site", lambda *arguments: arguments)
    monkeypatch.chdir(tmp_path)
    assert kit.perform(kit.parse(["site"])) == (ROOT, ROOT / "build", ROOT / "build" / "site", False)
    here = tmp_path.resolve()
    assert kit.perform(kit.parse(["site", "--from", "run", "--out", "pages", "--pictures"])) == (
        ROOT,
        here / "run",
        here / "pages",
        True,
    )


def test_a_wrong_command_is_refused(kit):
    with pytest.raises(SystemExit) as stopped:
        kit.parse(["runn"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    "names, files",
    [
        ([], ["01_first.ipynb", "02_later.ipynb"]),
        (["2", "1"], ["02_later.ipynb", "01_first.ipynb"]),
        (["01", "1"], ["01_first.ipynb"]),
        (["rag"], ["rag.ipynb"]),
        (["extras", "rag"], ["rag.ipynb"]),
        (["02_later"], ["02_later.ipynb"]),
    ],
)
def test_labs_by_number_and_name(kit, labs, names, files):
    assert [path.name for path in kit.choose_labs(names, kit.find_labs(labs))] == files


def test_an_unknown_lab_is_named_with_the_choices(kit, labs):
    with pytest.raises(kit.KitError, match=r"lab: '7' is not one of 1 \(01_first.ipynb\), 2 .*, rag \(rag.ipynb\)"):
        kit.choose_labs(["7"], kit.find_labs(labs))
    with pytest.raises(kit.KitError, match="no notebook"):
        kit.choose_labs([], {})


def test_benchmarks_by_name(kit, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    for name in ("speed", "memory", "_shared"):
        (tmp_path / "benchmarks" / f"{name}.py").write_text("", encoding="utf-8")
    assert [path.stem for path in kit.choose_benchmarks([], tmp_path)] == ["memory", "speed"]
    assert [path.stem for path in kit.choose_benchmarks(["speed.py"], tmp_path)] == ["speed"]
    with pytest.raises(kit.KitError, match="'sped' is not one of memory, speed"):
        kit.choose_benchmarks(["sped"], tmp_path)


@pytest.fixture
def environment(kit, tmp_path, monkeypatch):
    """An environment whose commands are recorded, not run; `status` is what they return, or raise."""
    for name in kit.LISTS:
        (tmp_path / name).write_text(name, encoding="utf-8")
    fake = kit.Environment(tmp_path)
    fake.commands, fake.status = [], 0

    def run(command, **options):
        fake.commands.append(" ".join(command))
        if isinstance(fake.status, type):
            raise fake.status
        return SimpleNamespace(returncode=fake.status)

    monkeypatch.setattr(kit.subprocess, "run", run)
    monkeypatch.setattr(fake, "version", lambda: "3.12" if fake.folder.exists() else None)
    return fake


def test_set_up_happens_once_and_again_when_requirements_change(environment):
    assert environment.state() == "missing"
    environment.prepare()
    made, packages, project = environment.commands
    assert "-m venv" in made and "-r requirements.txt -c constraints.txt" in packages
    assert "--no-deps" in project and project.endswith("-e .")
    assert environment.state() == "ready"
    environment.prepare()
    assert len(environment.commands) == 3, "a second set-up ran something"
    (environment.root / "constraints.txt").write_text("other", encoding="utf-8")
    assert environment.state() == "outdated"
    environment.prepare()
    assert len(environment.commands) == 5 and environment.state() == "ready"


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "pyproject.toml"])
def test_the_stamp_covers_every_list_and_the_version(environment, name):
    before = environment.fingerprint("3.12")
    assert before != environment.fingerprint("3.13")
    (environment.root / name).write_text("changed", encoding="utf-8")
    assert environment.fingerprint("3.12") != before


def test_an_interrupted_installation_is_noticed_and_made_anew(environment):
    environment.status = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        environment.prepare()
    assert environment.state() == "interrupted"
    (environment.folder / "half-a-package").write_text("", encoding="utf-8")
    environment.status = 0
    environment.prepare()
    assert environment.state() == "ready" and not (environment.folder / "half-a-package").exists()


def test_a_failed_installation_says_what_to_do(kit, environment):
    environment.status = 1
    with pytest.raises(kit.KitError, match="python3-venv"):
        environment.prepare()
    assert environment.state() == "interrupted"


def test_an_unsuitable_python_looks_for_another(kit, monkeypatch):
    monkeypatch.setattr(kit.sys, "version_info", (3, 14, 0))
    monkeypatch.setattr(kit.shutil, "which", lambda name: f"/there/{name}" if name != "python3.11" else None)
    starts = {"/there/python3.12": 0}
    monkeypatch.setattr(
        kit.subprocess, "run", lambda command, **_: SimpleNamespace(returncode=starts.get(command[0], 127))
    )
    assert kit.find_python() == "/there/python3.12", "python3.13 is on the path but does not start"
    starts.clear()
    with pytest.raises(kit.KitError, match="3.11, 3.12 or 3.13"):
        kit.find_python()


def test_every_requirement_is_bounded_explained_and_pinned_within_its_bounds():
    lines = [
        line
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert all("#" in line and "<" in line.split("#")[0] for line in lines)
    tested = doctor.listed(ROOT / "constraints.txt")
    for name, bounds in doctor.listed(ROOT / "requirements.txt").items():
        assert tested[name].removeprefix("==") in SpecifierSet(bounds), name
    assert tested["torch"] == "==2.13.0"
    assert all(version.startswith("==") and "+" not in version for version in tested.values())
