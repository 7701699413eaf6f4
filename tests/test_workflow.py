"""The workflow of CI: it checks what the README promises, on the systems and versions that it names."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
JOBS = WORKFLOW["jobs"]


def commands(job):
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def test_every_supported_python_on_every_system():
    matrix = JOBS["test"]["strategy"]["matrix"]
    supported = SpecifierSet(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    )
    assert matrix["python"] == [f"3.{minor}" for minor in range(8, 30) if f"3.{minor}" in supported]
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert commands("test") == ["python kit.py test"] and not JOBS["test"]["strategy"]["fail-fast"]


def test_ruff_is_the_one_that_contributors_are_told_to_use():
    install, *checks = commands("lint")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.search(r'"(ruff==[^"]+)"', install)[1] in contributing
    assert checks == ["ruff check .", "ruff format --check ."]


def test_every_week_all_is_run_in_full_size_on_every_system():
    assert commands("full") == ["python kit.py test --full"] and JOBS["full"]["timeout-minutes"] >= 180
    assert JOBS["full"]["strategy"]["matrix"]["os"] == JOBS["test"]["strategy"]["matrix"]["os"]


def test_newest_lowest_and_known_holes_are_looked_at_every_week():
    weekly = {name for name, job in JOBS.items() if "schedule" in str(job.get("if"))}
    assert weekly == {"full", "newest", "lowest", "audit", "hub"} and WORKFLOW[True]["schedule"], (
        "YAML reads the key `on` as true"
    )
    assert any("--upgrade-strategy eager -r requirements.txt" in command for command in commands("newest"))
    assert any("--resolution lowest-direct -r requirements.txt" in command for command in commands("lowest"))
    assert all("constraints" not in command for name in ("newest", "lowest") for command in commands(name))
    assert all(
        "python -m pytest -q" in commands(name)
        and JOBS[name]["env"] == {"LAB_PROFILE": "pocket", "KIT_TEST_SIZE": "quick"}
        for name in ("newest", "lowest")
    )
    assert commands("hub") == ["python kit.py test -q tests/hub"] and JOBS["hub"]["env"] == {"KIT_HUB_TESTS": "1"}
    audit = commands("audit")[-1]
    assert audit.startswith("pip-audit ") and "--strict" in audit and audit.endswith("-r constraints.txt")


def test_the_workflow_may_only_read():
    assert WORKFLOW["permissions"] == {"contents": "read"} and not any(
        "permissions" in job or "secrets" in str(job) for job in JOBS.values()
    )
