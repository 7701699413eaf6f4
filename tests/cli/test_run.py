"""Running: labs are executed in kernels of this Python; results, pages and figures are kept, also of a failed run."""

import io
import json
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cli import run as running
from helpers.evaluation.claims import CLAIMS_MIME

CLAIM = [{"claim": "one < two <script>", "value": "1 & 2", "holds": True}]
SHOWN = f"""display({{'{CLAIMS_MIME}': {CLAIM!r}, 'text/plain': 'claims'}}, raw=True)
display({{'image/png': 'iVBORw0KGgo='}}, raw=True)"""
DRAWN = """import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(2, 1))
axes.plot([1, 2, 3], [4, 2, 1])
axes.set(xlabel="step", ylabel="loss in nats", title='falls "fast" <b>')
plt.close(figure)
figure"""
GOOD = [
    "import os, sys, helpers.data.prompts\nprint(os.environ['LAB_PROFILE'], os.getcwd(), sys.executable)",
    SHOWN,
    DRAWN,
]


def write_lab(folder, name, sources):
    """A notebook with a title, a formula, and one code cell a source."""
    folder.mkdir(exist_ok=True)
    text = new_markdown_cell("# A <i>small</i> lab\n\nWith $p_i = \\frac{1}{n}$.\n\n## 1 Start")
    end = new_markdown_cell("## Summary\n- It went well. All of it.\n- And more.")
    nbformat.write(new_notebook(cells=[text, *map(new_code_cell, sources), end]), folder / name)
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
    assert good["claims"] == CLAIM and good["cells_run"] == 3 and good["status"] == "finished"
    assert bad["cells_run"] == 1 and bad["status"] == "cell 2 failed"
    assert good["figures"] == ["01_good-cell02-1.png", "01_good-cell03-1.png"]
    assert (built[1] / "figures" / "01_good-cell02-1.png").read_bytes().startswith(b"\x89PNG")


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


@pytest.mark.parametrize("place", ["out", "out/figures"])
def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(tmp_path, monkeypatch, capsys, place):
    def refuse(dir):
        if dir == tmp_path / place:
            raise PermissionError(13, "Permission denied")
        return io.BytesIO()

    monkeypatch.setattr(running.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(running, "run_lab", lambda *_: pytest.fail("a lab ran"))
    assert running.run_labs([tmp_path / "01_a.ipynb"], tmp_path / "out", "pocket") == 2
    assert "out: cannot be written (Permission denied); choose a folder with --out" in capsys.readouterr().err


def test_a_figure_says_what_it_shows_in_the_notebook_the_page_and_the_index(built):
    text = 'Line chart “falls "fast" <b>”. Horizontal axis: step, 1 to 3. Vertical axis: loss in nats, 1 to 4.'
    assert (
        nbformat.read(built[1] / "01_good.ipynb", as_version=4).cells[3].outputs[0].metadata["image/png"]["alt"] == text
    )
    given = json.loads((built[1] / running.MEMORY).read_text(encoding="utf-8"))[0]["alt_texts"]
    assert given == {"01_good-cell02-1.png": "Figure of section “1 Start”", "01_good-cell03-1.png": text}
    for name in ("01_good.html", "index.html"):
        shown = BeautifulSoup((built[1] / name).read_text(encoding="utf-8"), "html.parser").find_all("img")
        assert [image.get("alt") for image in shown] == list(given.values()), name


def test_the_index_leads_to_page_notebook_and_lab(built):
    index = BeautifulSoup((built[1] / "index.html").read_text(encoding="utf-8"), "html.parser")
    links = [link["href"] for link in index.find(id="01_good").find_all("a")]
    assert [link for link in links if not (built[1] / link).exists()] == []
    assert {"01_good.html", "01_good.ipynb", "../labs/01_good.ipynb"} < set(links)
    assert "python kit.py open 1" in index.get_text()


def test_what_a_lab_showed_is_said_of_finished_runs_alone(built):
    good, bad = json.loads((built[1] / running.MEMORY).read_text(encoding="utf-8"))
    assert good["shown"] == "It went well." and bad["shown"] == ""
    assert "It went well." in (built[1] / "index.html").read_text(encoding="utf-8")


def test_the_index_escapes_what_notebooks_say(built):
    index = (built[1] / "index.html").read_text(encoding="utf-8")
    assert "one &lt; two &lt;script&gt;" in index and "1 &amp; 2" in index and "✓ holds" in index
    assert "<script" not in index and "A &lt;i&gt;small&lt;/i&gt; lab" in index
    assert "torch" in index and "processor cores" in index


def test_pages_need_no_network(built):
    page = (built[1] / "01_good.html").read_text(encoding="utf-8")
    assert "<math" in page and "<mfrac>" in page
    assert "<script" not in page and 'src="http' not in page and "url(http" not in page
