"""Colab: what the labs' set-up cell does there once the kit is fetched. Standard library only, because it installs the
rest.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from cli.doctor import gpu, listed, normal

KEPT = ("torch", "numpy")  # built for the GPU that is there, and for each other
FOR_LABS = re.compile(
    r"#\s*(all labs|labs? \d|extras)\b"
)  # how requirements.txt names the packages that notebooks import
STANDARD = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?")  # a version that pip can read


class SetUpError(RuntimeError):
    """Packages that cannot be installed; the message has pip's reason and the remedy."""


def wanted(requirements: Path) -> dict[str, str]:
    """{package: bounds} of what notebooks import; packages for kit.py alone are left out."""
    lines = [line for line in requirements.read_text(encoding="utf-8").splitlines() if FOR_LABS.search(line)]
    names = {normal(re.match(r"[\w.-]+", line)[0]) for line in lines}
    return {name: bounds for name, bounds in listed(requirements).items() if name in names}


def versions() -> dict[str, str]:
    """{package: version} of all that is installed; of two on the path, the one that is imported."""
    found = {}
    for package in metadata.distributions():
        try:
            name = package.metadata["Name"]
        except (
            FileNotFoundError
        ):  # so says importlib_metadata, which takes over this look-up wherever something imports it
            continue
        if name:  # an uninstallation that was cut short leaves nameless ones
            found.setdefault(normal(name), package.version)
    return found


def loaded() -> set[str]:
    """Packages of which this kernel has imported something: another version on the disk would not reach it."""
    owners = metadata.packages_distributions()
    return {
        normal(owner) for module in {name.partition(".")[0] for name in sys.modules} for owner in owners.get(module, ())
    }


def _pip(requirements: Iterable[str], pinned: Mapping[str, str]) -> str:
    """Installs; "" if that went well, else pip's last lines."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        lines = [f"{name}=={version}\n" for name, version in pinned.items() if STANDARD.fullmatch(version)]
        constraints.write_text("".join(lines), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "-c",
            str(constraints),
            *requirements,
        ]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False
        )
    return "\n".join(done.stdout.strip().splitlines()[-12:]) if done.returncode else ""  # the cause stands there


def install_missing(needed: Mapping[str, str]) -> None:
    """Installs what is missing, and touches nothing else if that is possible.

    Torch, numpy and whatever the kernel has loaded stay in any case. Of the others one is exchanged only if it is out
    of bounds, or where nothing that is missing goes with it.

    Args:
        needed: package -> bounds, as `wanted` gives them.
    Raises:
        SetUpError: pip finds no way, or no network.
    """
    there, fixed = versions(), {*KEPT, *loaded()}
    kept = {name: version for name, version in there.items() if name in fixed}
    requirements = [f"{name}{bounds}" for name, bounds in needed.items() if name not in kept]
    others = {name: version for name, version in there.items() if name not in needed}
    if _pip(requirements, others | kept) and (fault := _pip(requirements, kept)):
        raise SetUpError(
            "the packages of the labs cannot be installed here: run the cell again if the network was away, "
            "else open an older "
            f"runtime or run the kit on your own computer\n{fault}"
        )
    importlib.invalidate_caches()


def report(needed: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was installed, what was exchanged, what stayed, and what is out of the bounds that the kit was tested in: a
    line each.
    """
    from packaging.specifiers import SpecifierSet  # there by now: matplotlib needs it

    new = [f"{name} {after[name]}" for name in sorted(after.keys() - before.keys())]
    changed = [
        f"{name} {before[name]} -> {after[name]}"
        for name in sorted(after.keys() & before.keys())
        if after[name] != before[name]
    ]
    stayed = [f"{name} {after[name]}" for name in KEPT if before.get(name) == after[name]]
    strange = [
        f"{name} {after[name]} (tested: {bounds})"
        for name, bounds in needed.items()
        if not SpecifierSet(bounds).contains(after[name], prereleases=True)
    ]
    found = {
        "installed": new,
        "exchanged": changed,
        "left as they are": stayed,
        "outside of what the kit was tested with": strange,
    }
    return [f"{what}: {', '.join(names)}" for what, names in found.items() if names]


def profile_line() -> str:
    """Which profile the lab will choose, and why."""
    from helpers.settings import PROFILES, default_profile

    chosen, found = os.environ.get("LAB_PROFILE") or default_profile(), gpu()
    if chosen in PROFILES and chosen != "pocket":
        return f"GPU: {found}. Profile: {chosen} ({PROFILES[chosen]['model']} on {PROFILES[chosen]['data']})"
    why = (
        "for FLAN-T5 choose Runtime > Change runtime type > GPU"
        if found == "none"
        else "LAB_PROFILE says so, or the model hub does not answer"
    )
    return f"GPU: {found}. Profile: {chosen}; {why}"


def set_up(kit: Path):
    """Brings a Colab kernel to where the lab can begin, and says what was done."""
    kit, before, needed = Path(kit), versions(), wanted(Path(kit) / "requirements.txt")
    print("Looking for what is missing; this takes a minute the first time …", flush=True)
    install_missing(needed)
    print("\n".join([*report(needed, before, versions()), profile_line()]))
    if kit.resolve() not in (Path.cwd().resolve(), *Path.cwd().resolve().parents):
        os.chdir(kit / "labs")  # run again, the set-up cell finds the kit above this folder
