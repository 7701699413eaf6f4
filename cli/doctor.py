"""Doctor: what this computer and its set-up look like, what is wrong, and the remedy. Starts without any package."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

GB = 1e9
LEAST_MEMORY, LEAST_DISK, SETUP_DISK = 3 * GB, 0.5 * GB, 4 * GB
SET_UP = "python kit.py run does the set-up"
REINSTALL = "python kit.py run installs again after deleting the folder .venv"
STATES = {
    "ready": ("complete", ""),
    "missing": ("not there yet, or its Python does not start", SET_UP),
    "interrupted": ("an installation was interrupted", SET_UP),
    "outdated": ("the requirements changed since, or the folder was moved", SET_UP),
}
# How long a lab takes, by profile; measured, so a profile without an entry has not been.
EXPECTED = {
    "1": {"pocket": "about 2 minutes on two cores"},
    "2": {"pocket": "about 6 minutes on two cores"},
    "3": {"pocket": "about 7 minutes on two cores"},
    "human_feedback": {"pocket": "under 3 minutes on two cores"},
    "distillation": {"pocket": "little more than a minute on two cores after lab 2"},
    "pruning": {"pocket": "about a minute and a half on two cores after lab 2"},
    "quantization": {"pocket": "about 2 minutes on two cores after lab 2"},
    "inside_a_transformer": {"pocket": "about a minute on two cores"},
    "scaling": {"pocket": "about a minute on two cores"},
    "applications": {"pocket": "about a minute on two cores"},
    "constitutional_ai": {"pocket": "about 2 minutes on two cores"},
}


class Row(NamedTuple):
    """One line of the table; a remedy means that something is wrong."""

    name: str
    found: str
    remedy: str = ""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float | None:
    """Memory in bytes, within a container's limit; None where it cannot be told without packages."""
    try:
        import psutil

        total = float(psutil.virtual_memory().total)
    except ImportError:
        if not hasattr(os, "sysconf"):
            return None
        total = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text(encoding="utf-8").strip() if limit.is_file() else "max"
    return min(total, float(allowed)) if allowed.isdigit() else total


def gpu() -> str:
    """Name of the accelerator that torch sees, or "none"."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / GB:.0f} GB"
    return "Apple GPU (mps)" if torch.backends.mps.is_available() else "none"


def driver_sees_gpu() -> bool:
    """Whether NVIDIA's own tool is installed and lists a GPU."""
    tool = shutil.which("nvidia-smi")
    return bool(tool) and not subprocess.run([tool, "-L"], capture_output=True, check=False).returncode


def machine_facts() -> dict[str, str]:
    """The facts that a measured time cannot be read without."""
    size = memory()
    return {
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor cores": str(cores()),
        "memory": f"{size / GB:.1f} GB" if size else "unknown",
        "GPU": gpu(),
    }


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(path: Path) -> dict[str, str]:
    """{package: rest of its line} of a requirements or constraints file, comments left out."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [re.match(r"([\w.-]+)\s*(.*)", line).groups() for line in lines if line]
    return {normal(name): rest for name, rest in pairs}


def package_rows(required: Mapping[str, str], tested: Mapping[str, str], installed: Mapping[str, str]) -> Iterator[Row]:
    """One row for each required package, and one for all that they need in turn.

    Args:
        required, tested: as `listed` gives them for requirements.txt and constraints.txt ("==2.13.0").
        installed: {package: version}; a local part ("+cpu") does not count.
    """
    for name, bounds in required.items():
        wanted, found = tested.get(name, "").removeprefix("=="), installed.get(name)
        if found is None:
            yield Row(name, f"missing (wanted {wanted or bounds})", REINSTALL)
        elif wanted and found.split("+")[0] != wanted:
            yield Row(name, f"{found} (tested with {wanted})", REINSTALL)
        else:
            yield Row(name, found)
    others = [name for name in tested if name not in required and name in installed]
    differ = [
        f"{name} {installed[name]} (tested with {tested[name].removeprefix('==')})"
        for name in others
        if installed[name].split("+")[0] != tested[name].removeprefix("==")
    ]
    yield Row("what these need", "; ".join(differ) or f"{len(others)} packages as tested", REINSTALL if differ else "")


def python_row(version: tuple[int, int]) -> Row:
    """Python's version against what was tested."""
    fits = (3, 11) <= version <= (3, 13)
    return Row(
        "Python",
        f"{platform.python_version()}, {sys.executable}",
        "" if fits else "install Python 3.11, 3.12 or 3.13, and start kit.py with it",
    )


def room_rows(size: float | None, free: float, ready: bool) -> Iterator[Row]:
    """Cores, memory and disk; `size` and `free` in bytes."""
    yield Row("processor cores", str(cores()))
    small = size is not None and size < LEAST_MEMORY
    yield Row(
        "memory",
        f"{size / GB:.1f} GB" if size else "unknown until the set-up is done",
        f"the labs need {LEAST_MEMORY / GB:.0f} GB: a larger computer, or Colab" if small else "",
    )
    needed = LEAST_DISK if ready else SETUP_DISK
    yield Row("free disk", f"{free / GB:.1f} GB", f"free {needed / GB:.1f} GB on this disk" if free < needed else "")


def hardware_rows() -> Iterator[Row]:
    """GPU, number format and hub, as the settings see them."""
    try:
        from helpers import hardware
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # what a broken torch is known to raise
        yield Row("torch", f"does not start: {type(error).__name__}: {error}", REINSTALL)
        return
    found, device = gpu(), hardware.available_devices()[0]
    unseen = found == "none" and driver_sees_gpu()
    yield Row(
        "GPU",
        found,
        "torch does not see this computer's NVIDIA GPU: update its driver, or install a torch built for it"
        if unseen
        else "",
    )
    yield Row("number format", ": ".join(hardware.choose_dtype(device)))
    if hardware.hub.HF_HUB_OFFLINE:
        yield Row("model hub", "not looked at: HF_HUB_OFFLINE is set")
    else:
        reachable = hardware.hub_is_reachable()
        yield Row("model hub", "reachable" if reachable else "not reachable (of the profiles, only pocket works)")


def profile_rows(labs: list[str]) -> Iterator[Row]:
    """The profile that a lab would choose here, and how long each lab takes with it."""
    try:
        from helpers.settings import load_settings

        profile = load_settings().profile
    except ValueError as error:
        yield Row("profile", "LAB_PROFILE, LAB_MODEL or LAB_DATA is wrong", str(error))
        return
    chosen_by = "LAB_PROFILE" if os.environ.get("LAB_PROFILE") else "what suits this computer"
    yield Row("profile", f"{profile} (by {chosen_by})")
    for lab in labs:
        yield Row(f"lab {lab} takes", EXPECTED.get(lab, {}).get(profile, f"not measured with {profile}"))


def table(rows: list[Row]) -> str:
    """The rows as text, one line each; what is wrong is marked, with its remedy on the next line."""
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{'WRONG' if row.remedy else '  ok '}  {row.name:{width}}  {row.found}")
        if row.remedy:
            lines.append(f"{'':{7 + width}}  -> {row.remedy}")
    wrong = sum(bool(row.remedy) for row in rows)
    return "\n".join([*lines, "", f"{wrong} to put right" if wrong else "nothing is wrong"])


def report(root: Path, state: str) -> int:
    """Prints the table; `state` is that of kit.py's environment. Returns 1 if anything is wrong, else 0."""
    rows = [python_row(sys.version_info[:2]), Row("set-up", *STATES[state])]
    rows += room_rows(memory(), shutil.disk_usage(root).free, state == "ready")
    if state in ("ready", "outdated"):
        installed = {normal(found.metadata["Name"]): found.version for found in metadata.distributions()}
        rows += package_rows(listed(root / "requirements.txt"), listed(root / "constraints.txt"), installed)
        rows += hardware_rows()
        rows += profile_rows([str(int(path.name[:2])) for path in sorted((root / "labs").glob("[0-9][0-9]_*.ipynb"))])
    print(table(rows))
    return int(any(row.remedy for row in rows))
