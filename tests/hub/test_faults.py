"""What a learner gets from a hub that is out of order: a result after another try, or an error with its remedy."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.local_hub import CHANGED, CUT, SHORT, SLOW, STATUS, Fault, LocalHub, Repository
from tests.hub.repositories import (
    SMALLER,
    UNWANTED,
    write_chat_model,
    write_classifier,
    write_dialogsum,
    write_flan_t5,
    write_pickles_only,
    write_sentence_encoder,
)

ROOT = Path(__file__).resolve().parent.parent.parent
# These tests look at files on their way: a small vocabulary is read sooner.
ONE_LAYER, PIECES = SMALLER | {"d_model": 16, "num_layers": 1, "num_decoder_layers": 1, "vocab_size": 7600}, 7400
CHAT, ENCODER = "HuggingFaceTB/SmolLM2-135M-Instruct", "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
# Faults by the name of the repository that has them: {name: faults}.
MODELS = {
    "whole": [],
    "again": [],
    "cut-once": [Fault(CUT, WEIGHTS, times=1)],
    "cut-short": [Fault(SHORT, WEIGHTS)],
    "changed-once": [Fault(CHANGED, WEIGHTS, times=1)],
    "changed-config": [Fault(CHANGED, "config.json", times=1)],
    "changed": [Fault(CHANGED, WEIGHTS)],
    "too-many": [Fault(STATUS, "/api/models/", code=429)],
    "too-many-once": [Fault(STATUS, "/api/models/", times=1, code=429)],
    "busy-once": [Fault(STATUS, "/api/models/", times=1)],
    "busy-file": [Fault(STATUS, WEIGHTS, times=2)],
    "busy": [Fault(STATUS, "/revision/")],
    "slow": [Fault(SLOW, "config.json", seconds=0.3)],
    "too-slow": [Fault(SLOW, "config.json", seconds=2.0)],
}
DATA = {
    "dialogues": [],
    "dialogues-busy-once": [Fault(STATUS, "/api/datasets/", times=1)],
    "dialogues-changed-once": [Fault(CHANGED, "test.csv", times=1)],
    "dialogues-changed": [Fault(CHANGED, "test.csv")],
}
GONE = "0" * 40
# name -> (what is loaded, settings[, whether the network is there])
VISITS = {
    **{name: ("model", {"model": f"lab/{name}"}) for name in MODELS if name != "too-slow"},
    "whole, once more": ("model", {"model": "lab/whole"}),
    "offline, stored": ("model", {"model": "lab/whole"}, False),
    "offline, new": ("model", {"model": "lab/never-fetched"}, False),
    "no such model": ("model", {"model": "lab/nothing-here"}),
    "model's revision gone": ("model", {"model": "lab/again", "model_revision": GONE}),
    "model in pickles": ("model", {"model": "lab/pickles"}),
    **{name: ("data", {"data": f"lab/{name}"}) for name in DATA},
    "data offline, stored": ("data", {"data": "lab/dialogues"}, False),
    "no such data": ("data", {"data": "lab/nothing-here"}),
    "data's revision gone": ("data", {"data": "lab/dialogues", "data_revision": GONE}),
    "judge": ("reward_model", {}),
    "judge's revision gone": ("reward_model", {"reward_revision": GONE}),
    "judge in pickles": ("reward_model", {"reward_model": "lab/pickles"}),
    "chat model": ("any", {"model": CHAT}),
    "encoder": ("any", {"model": ENCODER}),
}
MODEL, DIALOGUES = {"window": 512, "written": 1}, {"train": [20, 1], "validation": [6, 1], "test": [6, 3]}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub with all repositories."""
    place = tmp_path_factory.mktemp("hub")
    write_flan_t5(place / "flan", ONE_LAYER, PIECES)
    write_dialogsum(place / "dialogues", 20, 6, 6)
    write_classifier(place / "judge")
    write_pickles_only(place / "pickles")
    write_chat_model(place / "chat")
    write_sentence_encoder(place / "encoder")
    repositories = [
        *(Repository(f"lab/{name}", place / "flan", faults=faults) for name, faults in MODELS.items()),
        *(Repository(f"lab/{name}", place / "dialogues", "dataset", faults=faults) for name, faults in DATA.items()),
        Repository("facebook/roberta-hate-speech-dynabench-r4-target", place / "judge"),
        Repository("lab/pickles", place / "pickles"),
        Repository(CHAT, place / "chat"),
        Repository(ENCODER, place / "encoder"),
    ]
    with LocalHub(repositories) as hub:
        yield hub


def make_visits(hub, visits, home, **patience):
    """{visit: what a learner got}; one process makes all visits, because its imports take seconds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LAB_"))}
    asked = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.visitor"],
        input=json.dumps(list(visits.values())),
        capture_output=True,
        encoding="utf-8",
        env=kept | asked | patience,
        cwd=ROOT,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(visits, json.loads(done.stdout.splitlines()[-1])))


@pytest.fixture(scope="module")
def visited(hub, tmp_path_factory):
    """(hub, {visit: what a learner got})."""
    return hub, make_visits(hub, VISITS, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize(
    "name", ["whole", "cut-once", "changed-once", "changed-config", "too-many-once", "busy-once", "busy-file", "slow"]
)
def test_a_model_comes_whole_or_after_another_try(visited, name):
    found = visited[1][name]
    assert not found["error"] and found["result"].items() >= MODEL.items()
    assert found["result"]["parameters"] == visited[1]["whole"]["result"]["parameters"]


@pytest.mark.parametrize("name", ["dialogues", "dialogues-busy-once", "dialogues-changed-once", "data offline, stored"])
def test_dialogues_come_with_three_references_for_each_of_the_test(visited, name):
    assert not visited[1][name]["error"] and visited[1][name]["result"] == DIALOGUES


@pytest.mark.parametrize(
    "name, kind, said",
    [
        ("cut-short", "ModelError", "lab/cut-short: .*arrived cut short 3 times.*another network"),
        ("changed", "ModelError", "lab/changed: model.safetensors arrived damaged 3 times.*another network"),
        ("too-many", "ModelError", "lab/too-many: .*asked too often.*429.*wait some minutes"),
        ("busy", "ModelError", "lab/busy: .*cannot answer at present.*503.*try again later"),
        ("offline, new", "ModelError", "lab/never-fetched: .*cannot be fetched.*nor is it stored.*profile pocket"),
        ("no such model", "ModelError", "lab/nothing-here: .*nothing of this name.*correct the name"),
        ("model's revision gone", "ModelError", f"lab/again: .*no revision '{GONE}'.*set model_revision"),
        ("model in pickles", "ModelError", "lab/pickles: .*no safetensors file.*Pickles.*not read"),
        ("dialogues-changed", "DataError", "lab/dialogues-changed: test.csv arrived damaged"),
        ("no such data", "DataError", "profile pocket, or set LAB_DATA.*lab/nothing-here: .*nothing of this name"),
        ("data's revision gone", "DataError", f"lab/dialogues: .*no revision '{GONE}'.*set data_revision"),
        ("judge's revision gone", "RewardError", f"reward_model: .*no revision '{GONE}'.*set reward_revision"),
        ("judge in pickles", "RewardError", "no safetensors file; pickles are not read.*refs/pr/NUMBER"),
    ],
)
def test_what_does_not_pass_is_an_error_with_a_remedy(visited, name, kind, said):
    found = visited[1][name]
    assert found["kind"] == kind and re.search(said, found["error"], re.DOTALL), found["error"]
    assert found["seconds"] < 20, "a learner waits too long for this message"


@pytest.mark.full  # the libraries wait and ask again, for a quarter of a minute
def test_a_hub_that_is_too_slow_is_an_error_with_a_remedy(hub, tmp_path):
    visits = {"too-slow": ("model", {"model": "lab/too-slow"})}
    found = make_visits(hub, visits, tmp_path, HF_HUB_ETAG_TIMEOUT="1", HF_HUB_DOWNLOAD_TIMEOUT="1")["too-slow"]
    assert re.search("lab/too-slow: .*too slowly.*HF_HUB_DOWNLOAD_TIMEOUT", found["error"]) and found["seconds"] < 30


def test_the_newest_commit_is_told_once(visited):
    hub, found = visited
    for name, setting, kind in (("whole", "model", "model"), ("dialogues", "data", "dataset")):
        commit = hub.repositories[kind, f"lab/{name}"].commit
        [said] = found[name]["warnings"]
        assert f"lab/{name}: no revision is pinned" in said and commit in said and f"set {setting}_revision" in said
    [said] = found["judge"]["warnings"]
    assert "set reward_revision" in said
    assert not found["whole, once more"]["warnings"] and not found["offline, stored"]["warnings"]


def test_what_is_stored_is_used_without_a_network(visited):
    assert visited[1]["offline, stored"]["result"] == visited[1]["whole"]["result"]


def test_damaged_files_are_not_kept(visited):
    fetched = [path for method, path, _ in visited[0].asked("lab/changed/resolve") if method == "GET"]
    assert len([path for path in fetched if WEIGHTS in path]) == 3, "a kept file is not fetched again"


def test_no_weights_in_pickles_are_asked_for(visited):
    assert not [path for _, path, _ in visited[0].requests if path.rpartition("/")[2] in UNWANTED]


def test_the_judge_reads_texts_beyond_its_window(visited):
    found = visited[1]["judge"]
    assert not found["error"] and found["result"]["label"] == 0 and len(found["result"]["scores"]) == 2


def test_models_of_other_kinds_come_too(visited):
    chat, encoder = (visited[1][name]["result"] for name in ("chat model", "encoder"))
    assert chat["type"] == "llama" and chat["template"] == "<|im_start|>user\nHello.<|im_end|>\n"
    assert encoder["type"] == "bert" and encoder["width"] == 48
