"""Doctor: what this computer and its set-up look like, what is wrong, and the remedy. Starts without any package."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

GB = 1e9
LEAST_MEMORY, LEAST_DISK, SETUP_DISK = 3 * GB, 0.5 * GB, 4 * GB
SET_UP = "python kit.py run does the set-up"
REINSTALL = "python kit.py run installs again after deleting the folder .venv"
BROKEN = (ImportError, OSError, RuntimeError, AttributeError)  # what a torch that does not start is known to raise
STATES = {
    "ready": ("complete", ""),
    "missing": ("not there yet, or its Python does not start", SET_UP),
    "interrupted": ("an installation was interrupted", SET_UP),
    "outdated": ("the requirements changed since, or the folder was moved", SET_UP),
}
# What a lab's run with the profile pocket costs, in 10⁹ operations: its seconds times `measured_rate` of the same
# computer; `calibrate` makes this table anew. Each number lies between those of two computers, of about 150 and of 345
# · 10⁹ operations a second. They differ by up to a factor of two and a half, since not all of a lab is products of
# matrices: the minutes are a first idea, not more.
COSTS = {
    "01_dialogue_summarization": 24_000,
    "02_full_vs_lora_finetuning": 62_000,
    "03_ppo_detoxification": 66_000,
    "applications": 41_000,
    "chat_model": 45_000,
    "constitutional_ai": 45_000,
    "distillation": 30_000,
    "gpt_from_scratch": 45_000,
    "human_feedback": 40_000,
    "inside_a_transformer": 5_600,
    "preference_optimization": 45_000,
    "pruning": 21_000,
    "quantization": 23_000,
    "reasoning_rl": 40_000,
    "scaling": 8_000,
    "your_own_data": 30_000,
}
# They load lab 2's fine-tuned model.
AFTER_LAB_2 = ("03_ppo_detoxification", "distillation", "preference_optimization", "pruning", "quantization")
# Products of float32 matrices (rows, inner, columns) in a step of pocket-t5: 8 dialogues of 160 tokens, and 8 summaries
# of 40.
PRODUCTS = ((1280, 192, 192), (1280, 192, 512), (1280, 512, 192), (320, 192, 5024))
SECONDS = 1.0  # that measuring takes


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


def place_rows(root: Path) -> Iterator[Row]:
    """Folders that must be writable, and other packages that are called like the kit's."""
    home = Path(os.path.expanduser("~"))
    writable = home.is_absolute() and os.access(home, os.W_OK)
    yield Row("home folder", str(home), "" if writable else "set HOME to a folder that you can write")
    runs = Path(os.environ.get("LAB_RUNS") or root / "labs" / "runs").absolute()
    there = next(place for place in (runs, *runs.parents) if os.path.exists(place))
    remedy = "" if os.access(there, os.W_OK) else "it cannot be written: set LAB_RUNS to a folder of yours"
    yield Row("kept trainings", str(runs), remedy)
    taken = [path for folder in ("labs", "labs/extras") for path in like_the_kits(root / folder)]
    places = [Path(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    others = [path for place in places if place.resolve() != root.resolve() for path in like_the_kits(place)]
    if taken:
        yield Row("packages", f"labs would take {taken[0]} for the kit's", f"rename {taken[0].name}, or move it away")
    elif others:
        yield Row("packages", f"the kit's own; with kit.py they go before {others[0]}, which PYTHONPATH names")


def like_the_kits(folder: Path) -> list[Path]:
    """Modules and packages in a folder that are called like one of the kit's."""
    found = []
    for name in ("helpers", "sweeps", "pocket"):
        found += [folder / name] if os.path.isfile(folder / name / "__init__.py") else []
        found += [folder / f"{name}.py"] if os.path.isfile(folder / f"{name}.py") else []
    return found


def hardware_rows() -> Iterator[Row]:
    """GPU, number format and hub, as the settings see them."""
    try:
        from helpers import hardware
    except BROKEN as error:
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
        way = f" through the proxy in {hardware.proxy_variable()}" if hardware.proxy_variable() else ""
        yield Row(
            "model hub",
            f"reachable{way}" if reachable else f"not reachable{way} (of the profiles, only pocket works)",
            hardware.proxy_fault(),
        )


def measured_rate() -> float:
    """Operations a second of this computer, in 10⁹: a multiplication and an addition in products of float32 matrices
    are two. Torch chooses the number of threads. The fastest round counts, so that other programs disturb least.
    """
    import torch

    pairs = [(torch.ones(rows, inner), torch.ones(inner, columns)) for rows, inner, columns in PRODUCTS]
    operations, fastest = sum(2 * rows * inner * columns for rows, inner, columns in PRODUCTS) / 1e9, 0.0
    end = time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end or not fastest:
        for left, right in pairs:
            left @ right
        fastest = max(fastest, operations / (time.perf_counter() - start))
    return fastest


def calibrate(results: Iterable[Mapping], rate: float) -> dict[str, int]:
    """`COSTS` anew, from runs on an idle computer:

        .venv/bin/python -c "import json; from cli.doctor import calibrate, measured_rate
        print(calibrate(json.load(open('build/results.json')), measured_rate()))"

    Args:
        results: as `cli.run` writes them; counted are finished runs with the profile pocket, in full size.
        rate: `measured_rate()` of the computer on which they ran.
    """
    return {
        result["name"]: round(result["seconds"] * rate)
        for result in results
        if (result["status"], result["profile"], result.get("size", "full")) == ("finished", "pocket", "full")
    }


def expected_time(lab: str, rate: float) -> str:
    """How long a lab takes with the profile pocket, in words.

    Args:
        lab: the notebook's name without its ending; rate: `measured_rate()` of the computer.
    """
    if lab not in COSTS:
        return "not measured"
    minutes = COSTS[lab] / rate / 60
    about = "1 minute" if round(minutes) == 1 else f"{minutes:.0f} minutes"
    return ("less than a minute" if minutes < 0.75 else f"about {about}") + (
        ", after lab 2" if lab in AFTER_LAB_2 else ""
    )


def profile_rows(labs: list[str]) -> Iterator[Row]:
    """The profile that a lab would choose here, and how long each lab takes with it on this computer.

    Args:
        labs: names of notebooks without their ending.
    """
    try:
        from helpers.settings import load_settings

        settings = load_settings()
    except BROKEN:  # which the row of torch says
        return
    except ValueError as error:
        yield Row("profile", "LAB_PROFILE, LAB_SIZE, LAB_MODEL or LAB_DATA is wrong", str(error))
        return
    chosen_by = "LAB_PROFILE" if os.environ.get("LAB_PROFILE") else "what suits this computer"
    yield Row("profile", f"{settings.profile} (by {chosen_by})")
    kind = [settings.profile] if settings.profile != "pocket" else []
    kind += [f"{settings.size} size"] if settings.size != "full" else []
    kind += [f"device {settings.device}"] if settings.device != "cpu" else []
    rate = measured_rate() if not kind else 0.0
    if rate:
        yield Row("speed", f"{rate:.0f} billion operations a second (products of float32 matrices)")
    for lab in labs:
        name = f"lab {int(lab[:2])}" if lab[:2].isdecimal() else lab
        found = expected_time(lab, rate) if rate else f"not measured with {', '.join(kind)}"
        yield Row(f"{name} takes", found)


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
    rows += place_rows(root)
    if state in ("ready", "outdated"):
        installed = {normal(found.metadata["Name"]): found.version for found in metadata.distributions()}
        rows += package_rows(listed(root / "requirements.txt"), listed(root / "constraints.txt"), installed)
        rows += hardware_rows()
        labs = [path for folder in ("labs", "labs/extras") for path in sorted((root / folder).glob("*.ipynb"))]
        rows += profile_rows([path.stem for path in labs])
    print(table(rows))
    return int(any(row.remedy for row in rows))
