"""The doctor: what is wrong has a remedy; how long labs take is computed from this computer's speed."""

import sys
import time
from pathlib import Path

import pytest

from cli import doctor
from cli.student import find_notebooks
from helpers import hardware

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.fixture
def places(tmp_path, monkeypatch):
    """{name: row} of a kit in a folder of its own, made when it is called."""
    for folder in ("labs/extras", "home"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("LAB_RUNS", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return lambda: {row.name: row for row in doctor.place_rows(tmp_path)}


def test_folders_that_cannot_be_written_have_a_remedy(places, tmp_path, monkeypatch):
    assert not [row for row in places().values() if row.remedy]
    closed = {tmp_path / "labs"}
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: Path(path) not in closed)
    assert "set LAB_RUNS" in places()["kept trainings"].remedy
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "mine"))
    assert places()["kept trainings"] == ("kept trainings", str(tmp_path / "mine"), "")
    closed.add(tmp_path / "home")
    assert "set HOME" in places()["home folder"].remedy


def test_another_package_of_the_kits_name_is_named(places, tmp_path, monkeypatch):
    other = tmp_path / "other" / "helpers"
    other.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(other.parent))
    assert "packages" not in places(), "a folder without __init__.py does not go before the kit's"
    (other / "__init__.py").touch()
    assert str(other) in places()["packages"].found and not places()["packages"].remedy
    (tmp_path / "labs" / "helpers.py").touch()
    assert "helpers.py" in places()["packages"].found and places()["packages"].remedy.startswith("rename helpers.py")


@pytest.mark.parametrize(
    "address, fault",
    [
        ("http://proxy.corp:port", "HTTPS_PROXY: is no address"),
        ("http://", "HTTPS_PROXY: is no address"),
        ("proxy.corp:8080", ""),
        ("http://user:secret@proxy.corp:8080", ""),
    ],
)
def test_a_proxy_with_a_wrong_address_is_named(no_proxies, monkeypatch, address, fault):
    monkeypatch.setenv("HTTPS_PROXY", address)
    monkeypatch.setattr(hardware.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hardware, "_answers", lambda timeout: False)
    monkeypatch.setattr(hardware, "_silent_since", {})
    (row,) = [row for row in doctor.hardware_rows() if row.name == "model hub"]
    assert row.found.startswith("not reachable through the proxy in HTTPS_PROXY") and row.remedy.startswith(fault)
    assert bool(row.remedy) == bool(fault) and "secret" not in str(row)


def test_a_wrong_address_of_another_proxy_is_named_too(no_proxies, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.corp:port")
    monkeypatch.setattr(hardware.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hardware, "_answers", lambda timeout: True)
    monkeypatch.setattr(hardware, "_silent_since", {})
    (row,) = [row for row in doctor.hardware_rows() if row.name == "model hub"]
    assert row.found.startswith("not reachable (of") and row.remedy.startswith("HTTP_PROXY: is no address like")


@pytest.mark.parametrize("state", ["missing", "interrupted"])
def test_the_doctor_works_without_a_set_up(state, capsys):
    assert doctor.report(ROOT, state) == 1
    shown = capsys.readouterr().out
    assert "WRONG  set-up" in shown and "-> python kit.py run" in shown and "to put right" in shown


def test_the_doctor_names_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "huge")
    (row,) = doctor.profile_rows(["01_dialogue_summarization"])
    assert "'huge'" in row.remedy


@pytest.fixture
def pocket(monkeypatch):
    """A computer of 10 billion operations a second, with the profile pocket and no GPU."""
    monkeypatch.setenv("LAB_PROFILE", "pocket")
    monkeypatch.delenv("LAB_SIZE", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(doctor, "measured_rate", lambda: 10.0)
    monkeypatch.setattr(doctor, "COSTS", {"01_first": 4200, "pruning": 630, "scaling": 60, "03_ppo_detoxification": 90})


def test_minutes_are_those_of_this_computer(pocket, monkeypatch):
    labs = ["01_first", "03_ppo_detoxification", "pruning", "scaling", "new"]
    profile, speed, *times = doctor.profile_rows(labs)
    assert profile.found == "pocket (by LAB_PROFILE)" and speed.found.startswith("10 billion operations a second")
    assert [(row.name, row.found) for row in times] == [
        ("lab 1 takes", "about 7 minutes"),
        ("lab 3 takes", "less than a minute, after lab 2"),
        ("pruning takes", "about 1 minute, after lab 2"),
        ("scaling takes", "less than a minute"),
        ("new takes", "not measured"),
    ]
    monkeypatch.setattr(doctor, "measured_rate", lambda: 20.0)
    assert [row.found for row in doctor.profile_rows(["01_first"])][-1] == "about 4 minutes"


@pytest.mark.parametrize(
    "variable, value, words", [("LAB_PROFILE", "small", "with small"), ("LAB_SIZE", "quick", "with quick size")]
)
def test_what_was_not_measured_is_not_guessed(pocket, monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(doctor, "measured_rate", lambda: pytest.fail("there is nothing to measure for"))
    _, row = doctor.profile_rows(["01_first"])
    assert row.found == f"not measured {words}"


def test_measuring_the_speed_takes_two_seconds_at_most():
    start = time.perf_counter()
    rate = doctor.measured_rate()
    assert time.perf_counter() - start < 2.5 and 0.1 < rate < 100_000, "a second, and the start of torch's threads"


def test_costs_are_made_anew_from_a_run():
    run = {"name": "01_first", "status": "finished", "profile": "pocket", "seconds": 60.0, "size": "full"}
    others = [{"size": "quick"}, {"status": "cell 3 failed"}, {"profile": "base"}]
    results = [run, *({**run, "name": f"other {number}", **change} for number, change in enumerate(others))]
    costs = doctor.calibrate(results, 35.0)
    assert costs == {"01_first": 2100} and costs["01_first"] / 35.0 == run["seconds"]


def test_costs_are_those_of_labs_there_are():
    labs = {path.stem for path in find_notebooks(ROOT)}
    assert doctor.COSTS.keys() <= labs and set(doctor.AFTER_LAB_2) <= labs
    assert {lab for lab in labs if lab[:2].isdecimal()} <= doctor.COSTS.keys()


def test_a_torch_that_does_not_start_is_told_once(monkeypatch):
    for name in ("helpers.settings", "helpers.hardware", "helpers"):
        monkeypatch.setitem(sys.modules, name, None)
    (row,) = [*doctor.hardware_rows(), *doctor.profile_rows(["01_first"])]
    assert row.name == "torch" and row.found.startswith("does not start") and row.remedy
