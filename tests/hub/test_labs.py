"""Every lab under the profile `small`, from its first cell to its last, with what a local hub gives; quick size.

The model has FLAN-T5-small's window, number of tokens, kinds of layers and head apart, but two narrow layers, so that
a lab takes a minute. So it goes by another name (LAB_MODEL): under its own name the kit would refuse it. That the
profile's own model is loaded under its own name and commit is tested with a model of the real size, which is not
trained here. Nothing of what these runs measure means anything: the weights are untrained.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from cli.run import Failure, execute, new_result
from helpers.models.loading import PARAMETERS
from helpers.models.sizes import SHAPES
from helpers.settings import PROFILES
from tests.hub.local_hub import LocalHub, Repository
from tests.hub.repositories import (
    UNWANTED,
    WINDOW,
    write_chat_model,
    write_classifier,
    write_dialogsum,
    write_flan_t5,
    write_sentence_encoder,
)

pytestmark = pytest.mark.full
ROOT = Path(__file__).resolve().parent.parent.parent
SMALL, MODEL = PROFILES["small"], "lab/flan-t5-narrow"
LABS = sorted([*(ROOT / "labs").glob("[0-9]*.ipynb"), *(ROOT / "labs" / "extras").glob("*.ipynb")])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Files of all repositories, and the cache and runs of those who fetch them."""
    place = tmp_path_factory.mktemp("hub")
    write_flan_t5(place / "narrow")
    write_flan_t5(place / "small", SHAPES[SMALL["model"]])
    write_dialogsum(place / "dialogues")
    write_classifier(place / "judge")
    write_chat_model(place / "chat")
    write_sentence_encoder(place / "encoder")
    return place


@pytest.fixture(scope="module")
def hub(place):
    """What the profile small asks for, at the commits that it names."""
    repositories = [
        Repository(MODEL, place / "narrow"),
        Repository(SMALL["model"], place / "small", commit=SMALL["model_revision"]),
        Repository(SMALL["data"], place / "dialogues", "dataset", commit=SMALL["data_revision"]),
        Repository(SMALL["reward_model"], place / "judge", commit=SMALL["reward_revision"]),
        Repository("HuggingFaceTB/SmolLM2-135M-Instruct", place / "chat"),
        Repository("sentence-transformers/all-MiniLM-L6-v2", place / "encoder"),
    ]
    with LocalHub(repositories) as hub:
        yield hub


@pytest.fixture(scope="module")
def environment(hub, place):
    """What a learner with this hub has set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LAB_"))}
    asked = {"HF_ENDPOINT": hub.address, "HF_HOME": str(place / "home"), "PYTHONPATH": str(ROOT)}
    return kept | asked | {"LAB_PROFILE": "small", "LAB_SIZE": "quick", "LAB_RUNS": str(place / "runs")}


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_lab_runs_from_its_first_cell_to_its_last(path, environment, hub):
    notebook = nbformat.read(path, as_version=4)
    result = new_result(path, notebook, "small", "quick")
    try:
        execute(notebook, result, path.parent, environment | {"LAB_MODEL": MODEL})
    except Failure as failure:
        pytest.fail(str(failure))
    assert result["cells_run"] == result["cells"]
    asked = [request for _, request, _ in hub.requests]
    assert not [request for request in asked if request.rpartition("/")[2] in UNWANTED], "pickles were fetched"
    assert not [request for request in asked if "telemetry" in request], "a library reported to the hub"


def test_flan_t5_small_comes_at_its_own_size_name_and_commit(environment):
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.visitor"],
        input=json.dumps([["model", {}]]),
        capture_output=True,
        encoding="utf-8",
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [found] = json.loads(done.stdout.splitlines()[-1])
    expected = {"parameters": PARAMETERS[SMALL["model"]], "window": WINDOW, "written": 1}
    assert found["result"] == expected, found["error"]
    assert not found["warnings"], "its commit is pinned"
