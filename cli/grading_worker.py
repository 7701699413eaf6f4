"""The process in which handed-in functions are checked. `cli.grade` starts it, sends tasks, and reads a line for each.

Before any of a student's code runs, the process gives up what such code does not need: the network, other programs,
files outside its own folder, and memory beyond a limit. That stops accidents and careless copying; it is no prison for
somebody who attacks Python itself.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from helpers.exercises import all_checks, solves

NOT_ALLOWED = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "os.startfile",
    "os.kill",
    "ctypes.dlopen",
    "webbrowser.open",
    "winreg.",
    "urllib.Request",
)
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def forbid(folder: Path):
    """From now on this process may not reach the network, start programs, or change files outside `folder`."""
    home = os.path.realpath(folder)

    def outside(path):
        return isinstance(path, str | bytes | os.PathLike) and not os.path.realpath(os.fsdecode(path)).startswith(home)

    def guard(event, arguments):
        if event.startswith(NOT_ALLOWED):
            raise PermissionError(f"{event}: a handed-in function may use neither the network nor other programs")
        changed = (event.startswith(CHANGES) and outside(arguments[0])) or (
            event == "open" and len(arguments) > 2 and (arguments[2] or 0) & WRITING and outside(arguments[0])
        )
        if changed and os.fsdecode(arguments[0]) != os.devnull:
            raise PermissionError(f"{event} {arguments[0]}: a handed-in function may not change files")

    sys.addaudithook(guard)


def limit_memory(more: int):
    """Caps the process at so many bytes above what it holds now, where the system can do that (Linux)."""
    try:
        import resource

        held = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + more, held + more))
    except (ImportError, OSError, ValueError):
        return


def check(task) -> tuple[bool, str]:
    """Whether one task is solved, and the hint: its "source" defines "function"; or it holds a "record"."""
    if "record" in task:
        return solves(task["name"], task["record"])
    names: dict = {"__name__": "handed_in"}
    try:
        exec(compile(task["source"], task["name"], "exec"), names)
    except BaseException as error:  # any error is the student's, and the other exercises go on
        return False, f"its cell raised {type(error).__name__}: {error}"
    if task["function"] not in names:
        return False, f"{task['function']} is not defined"
    try:
        return solves(task["name"], names[task["function"]])
    except BaseException as error:
        return False, f"raised {type(error).__name__}: {error}"


def main():
    given = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing that a function prints is an answer
    all_checks()  # imports everything while that is still allowed
    limit_memory(given["memory"])
    forbid(Path(tempfile.gettempdir()))
    answers.write("ready\n")
    answers.flush()
    for task in given["tasks"]:
        solved, hint = check(task)
        answers.write(json.dumps({"name": task["name"], "solved": bool(solved), "hint": str(hint)[:500]}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
