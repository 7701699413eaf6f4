"""The commands: arguments, the environment's stamp, executing notebooks, pages, the doctor's table."""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.specifiers import SpecifierSet

from cli import doctor, run as running
from cli.pages import STATE, VIEW, index_page, still, write_figures, write_page
from helpers.evaluation.claims import CLAIMS_MIME

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


@pytest.mark.parametrize("file", ["kit.py", "cli/doctor.py", "helpers/__init__.py"])
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


CLAIM = [{"claim": "one < two <script>", "value": "1 & 2", "holds": True}]
SHOWN = f"""display({{'{CLAIMS_MIME}': {CLAIM!r}, 'text/plain': 'claims'}}, raw=True)
display({{'image/png': 'iVBORw0KGgo='}}, raw=True)"""
GOOD = ["import os, sys, helpers.data.prompts\nprint(os.environ['LAB_PROFILE'], os.getcwd(), sys.executable)", SHOWN]


def write_lab(folder, name, sources):
    """A notebook with a title, a formula, and one code cell a source."""
    folder.mkdir(exist_ok=True)
    text = new_markdown_cell("# A <i>small</i> lab\n\nWith $p_i = \\frac{1}{n}$.\n\n## 1 Start")
    nbformat.write(new_notebook(cells=[text, *map(new_code_cell, sources)]), folder / name)
    return folder / name


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two labs executed for real, the second with a failing cell: (exit status, output folder, lab folder)."""
    root = tmp_path_factory.mktemp("project")
    paths = [
        write_lab(root / "labs", "01_good.ipynb", GOOD),
        write_lab(root / "labs", "02_bad.ipynb", ["print('before')", "def f():\n    1 / 0\nf()", "print(2)"]),
        write_lab(root / "labs", "03_never.ipynb", ["1"]),
    ]
    patch = pytest.MonkeyPatch()
    patch.delenv("LAB_MODEL", raising=False)
    patch.delenv("LAB_DATA", raising=False)
    status = running.run_labs(paths, root / "build", "pocket")
    patch.undo()
    return status, root / "build", root / "labs"


def test_a_lab_is_executed_in_its_folder_with_this_python(built):
    _, out, folder = built
    cell = nbformat.read(out / "01_good.ipynb", as_version=4).cells[1]
    assert cell.outputs[0].text.split() == ["pocket", str(folder), sys.executable]


def test_a_failing_cell_stops_the_run_and_keeps_the_pages(built):
    status, out, _ = built
    assert status == 1
    assert sorted(path.name for path in out.glob("*.html")) == ["01_good.html", "02_bad.html", "index.html"]
    cells = nbformat.read(out / "02_bad.ipynb", as_version=4).cells
    assert cells[1].outputs[0].text == "before\n"
    assert cells[2].outputs[0].ename == "ZeroDivisionError" and not cells[3].outputs


def test_claims_and_figures_are_collected(built):
    results = json.loads((built[1] / running.MEMORY).read_text(encoding="utf-8"))
    good, bad = results
    assert good["claims"] == CLAIM and good["cells_run"] == 2 and good["status"] == "finished"
    assert bad["cells_run"] == 1 and bad["status"] == "cell 2 failed"
    assert good["figures"] == ["01_good-cell02-1.png"]
    assert (built[1] / "figures" / "01_good-cell02-1.png").read_bytes().startswith(b"\x89PNG")


def test_the_index_escapes_what_notebooks_say(built):
    index = (built[1] / "index.html").read_text(encoding="utf-8")
    assert "one &lt; two &lt;script&gt;" in index and "1 &amp; 2" in index and "✓ holds" in index
    assert "<script" not in index and "A &lt;i&gt;small&lt;/i&gt; lab" in index
    assert "torch" in index and "processor cores" in index


def test_pages_need_no_network(built):
    page = (built[1] / "01_good.html").read_text(encoding="utf-8")
    assert "<math" in page and "<mfrac>" in page
    assert "<script" not in page and 'src="http' not in page and "url(http" not in page


def test_a_failure_shows_source_and_error(tmp_path, capsys):
    path = write_lab(tmp_path, "04_bad.ipynb", ["x = 1\nx.missing"])
    assert running.run_lab(path, tmp_path, "pocket") == 1
    shown = capsys.readouterr()
    assert "cell 1 failed" in shown.err and "x.missing" in shown.err and "\x1b" not in shown.err
    assert "AttributeError: 'int' object has no attribute 'missing'" in shown.err
    assert "[  1/1] 1 Start | x = 1" in shown.out


def test_an_interruption_keeps_the_pages(tmp_path, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "execute", stop)
    path = write_lab(tmp_path, "01_long.ipynb", GOOD)
    assert running.run_lab(path, tmp_path, "pocket") == 130
    assert "interrupted in cell 1" in capsys.readouterr().err and (tmp_path / "index.html").exists()


def test_a_wrong_profile_is_an_error_before_anything_runs(tmp_path, capsys):
    assert running.run_labs([], tmp_path / "out", "huge") == 2
    assert "'huge'" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_widget_is_replaced_by_what_it_showed():
    figure = {"output_type": "display_data", "data": {"image/png": "AAAA"}, "metadata": {}}
    state = {
        "box": {
            "_model_name": "VBoxModel",
            "children": ["IPY_MODEL_slider", "IPY_MODEL_choice", "IPY_MODEL_out", "IPY_MODEL_mute"],
        },
        "mute": {"_model_name": "FloatSliderModel", "readout": False, "value": 0.12345},
        "slider": {"_model_name": "FloatSliderModel", "description": "top <p>", "value": 0.7},
        "choice": {"_model_name": "DropdownModel", "description": "how", "_options_labels": "ab", "index": 1},
        "out": {"_model_name": "OutputModel", "outputs": [figure]},
    }
    views = [new_output("display_data", {VIEW: {"model_id": name}}) for name in ("box", "closed")]
    cell = new_code_cell("show()", outputs=[*views, new_output("display_data", {})])
    notebook = new_notebook(cells=[cell])
    notebook.metadata.widgets = {
        "application/vnd.jupyter.widget-state+json": {
            "state": {name: {"state": model} for name, model in state.items()}
        }
    }
    shown = still(notebook)
    texts = [output.data.get("text/html") for output in shown.cells[0].outputs]
    assert texts == ["<div>top &lt;p&gt; <b>0.7</b></div>", "<div>how <b>b</b></div>", None]
    assert shown.cells[0].outputs[2].data["image/png"] == "AAAA"
    assert "widgets" in notebook.metadata and "widgets" not in shown.metadata, "the notebook itself must not change"


def test_a_widgets_picture_is_shown_and_written(tmp_path):
    widget = {
        "state": {"_model_name": "ImageModel", "format": "png"},
        "buffers": [{"path": ["value"], "encoding": "base64", "data": "AAAA"}],
    }
    cell = new_code_cell("show()", outputs=[new_output("display_data", {VIEW: {"model_id": "picture"}})])
    notebook = new_notebook(cells=[cell])
    notebook.metadata.widgets = {
        STATE: {"state": {"picture": widget, "empty": {"state": {"_model_name": "ImageModel"}}}}
    }
    assert [output.data for output in still(notebook).cells[0].outputs] == [{"image/png": "AAAA"}]
    assert (
        write_figures(notebook, tmp_path, "lab") == ["lab-cell01-1.png"]
        and (tmp_path / "lab-cell01-1.png").read_bytes() == b"\0\0\0"
    )
    cell.outputs[0].data[VIEW]["model_id"] = "empty"
    assert still(notebook).cells[0].outputs == []


def test_the_texts_of_a_progress_bar_stay_on_one_line():
    state = {
        "bar": {"_model_name": "HBoxModel", "children": ["IPY_MODEL_before", "IPY_MODEL_progress", "IPY_MODEL_after"]},
        "before": {"_model_name": "HTMLModel", "value": "generating: 100%"},
        "after": {"_model_name": "HTMLModel", "value": "8/8"},
        "progress": {"_model_name": "FloatProgressModel", "bar_style": "success", "value": 8.0},
    }
    cell = new_code_cell("show()", outputs=[new_output("display_data", {VIEW: {"model_id": "bar"}})])
    notebook = new_notebook(cells=[cell])
    notebook.metadata.widgets = {STATE: {"state": {name: {"state": model} for name, model in state.items()}}}
    (shown,) = still(notebook).cells[0].outputs
    assert shown.data["text/html"] == '<div style="display: flex"><div>generating: 100%</div><div>8/8</div></div>'


def test_a_formula_is_drawn_or_stays_as_text(tmp_path):
    text = "$\\left( x < 1$ and $$\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}$$"
    write_page(new_notebook(cells=[new_markdown_cell(text)]), tmp_path / "page.html", tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<code>\\left( x &lt; 1</code>" in page and page.count("<mtr>") == 2 and "<mi>&amp;</mi>" not in page


def test_an_empty_index_is_a_page():
    assert "No claims yet" in index_page([], {"Python": "3.12"})


def test_packages_against_what_was_tested():
    required = {"torch": ">=2.6,<3", "datasets": ">=4", "trl": ">=1"}
    tested = {"torch": "==2.13.0", "datasets": "==5.2.0", "trl": "==1.16.0", "numpy": "==2.4.6", "appnope": "==1.0.0"}
    rows = {
        row.name: row
        for row in doctor.package_rows(required, tested, {"torch": "2.13.0+cpu", "datasets": "4.9.0", "numpy": "2.4.6"})
    }
    assert not rows["torch"].remedy, "a local build is the tested version"
    assert rows["datasets"].remedy and "4.9.0 (tested with 5.2.0)" in rows["datasets"].found
    assert rows["trl"].remedy and rows["trl"].found.startswith("missing")
    assert rows["what these need"].found == "1 packages as tested"
    *_, others = doctor.package_rows(required, tested, {"numpy": "1.0"})
    assert others.remedy and "numpy 1.0 (tested with 2.4.6)" in others.found


@pytest.mark.parametrize("version, wrong", [((3, 10), True), ((3, 11), False), ((3, 13), False), ((3, 14), True)])
def test_the_python_row(version, wrong):
    assert bool(doctor.python_row(version).remedy) is wrong


def test_too_little_memory_or_disk_has_a_remedy():
    wrong = {row.name for row in doctor.room_rows(1e9, 1e8, ready=True) if row.remedy}
    assert wrong == {"memory", "free disk"}
    assert not [row for row in doctor.room_rows(8e9, 2e9, ready=True) if row.remedy]
    assert [row.name for row in doctor.room_rows(None, 2e9, ready=False) if row.remedy] == ["free disk"]


@pytest.mark.parametrize("state", ["missing", "interrupted"])
def test_the_doctor_works_without_a_set_up(state, capsys):
    assert doctor.report(ROOT, state) == 1
    shown = capsys.readouterr().out
    assert "WRONG  set-up" in shown and "-> python kit.py run" in shown and "to put right" in shown


def test_the_doctor_names_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "huge")
    (row,) = doctor.profile_rows(["1"])
    assert "'huge'" in row.remedy
    monkeypatch.setenv("LAB_PROFILE", "pocket")
    profile, minutes = doctor.profile_rows(["1"])
    assert profile.found == "pocket (by LAB_PROFILE)" and minutes.found == "about 2 minutes on two cores"


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
