"""Hub: files of the model hub, fetched into a folder of this computer, compared with the hub's hashes, and their commit
told.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from helpers.hardware import hub_advice, hub_is_reachable

TRIES, PAUSE = 3, 1.0  # seconds before the second try; before the third one it is twice as long
PATIENCE = 5.0  # seconds; where nothing came for longer, the library has repeated its request itself
CUT = "Consistency check failed"  # so the library begins its error about a file of another size than was announced
PASSING = (408, 429, 500, 502, 503, 504)  # answers after which the same request may succeed
BLOCK = 1 << 20  # bytes
_told: set[str] = set()


class HubError(OSError):
    """Files that the hub did not give, or not whole; the message names the repository, what was found, and the
    remedy.
    """


class DamagedFile(HubError):
    """A file that is not the hub's, byte for byte."""


def fetch(name: str, revision: str | None, patterns: Sequence[str], setting: str, kind: str = "model") -> Path:
    """The folder with a repository's files, fetched as far as they are not stored here yet.

    New files are compared with the hashes that the hub gives. Faults that pass (too many requests, an overloaded hub, a
    cut connection) are tried `TRIES` times. Without a pinned revision, a warning says once which commit was fetched.

    Args:
        name: owner/name. revision: a commit or branch; None is the newest commit of the main branch.
        patterns: of files to fetch. setting: the setting that holds the revision, for messages.
        kind: "model" or "dataset".
    Raises:
        HubError: nobody answers and nothing is stored; no such repository or revision; a fault that did not pass; files
            that arrive damaged.
    """
    options = {"repo_id": name, "revision": revision, "repo_type": kind, "allow_patterns": list(patterns)}
    try:
        if not hub_is_reachable():  # asked here, because the library asks again and again for half a minute
            return Path(snapshot_download(**options, local_files_only=True))
        folder = _tried(lambda: _whole(options, name, kind))
    except RevisionNotFoundError as error:
        raise HubError(
            f"{name}: the hub has no revision {revision!r} of it (any more); set {setting} to a commit that its page "
            "on the hub lists, or to None for the newest"
        ) from error
    except (OSError, ValueError, HTTPError) as error:
        raise _explained(name, error) from error
    if revision is None:
        _tell_commit(name, folder.name, setting)
    return folder


def _tried(call: Callable[[], Path]) -> Path:
    """What `call` returns, after faults that pass."""
    for number in range(TRIES - 1):
        started = time.monotonic()
        try:
            return call()
        except (OSError, HTTPError) as error:
            if not _may_pass(error, time.monotonic() - started):
                raise
        time.sleep(PAUSE * 2**number)
    return call()


def _may_pass(error, seconds):
    cause = _cause(error)
    if isinstance(cause, HTTPError):  # an answer, or a connection that broke before there was one
        return _code(cause) in (None, *PASSING) and seconds < PATIENCE
    return isinstance(cause, DamagedFile) or CUT in str(cause)


def _cause(error):
    """The library wraps an answer of the hub into "not stored here"; the answer says more."""
    inner = error.__cause__
    return inner if isinstance(error, LocalEntryNotFoundError) and isinstance(inner, Exception) else error


def _code(error):
    response = getattr(error, "response", None)
    return None if response is None else response.status_code


def _whole(options, name, kind):
    """A snapshot whose new files have the hub's hashes; a file that has another one is deleted."""
    started = time.time()
    folder = Path(snapshot_download(**options))
    # Two seconds: some disks keep no finer time.
    fresh = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mtime >= started - 2]
    if fresh:
        asked = {"paths": _names(folder, fresh), "revision": folder.name, "repo_type": kind}
        _compare(folder, fresh, HfApi().get_paths_info(name, **asked))
    return folder


def _names(folder, paths):
    return [path.relative_to(folder).as_posix() for path in paths]


def _compare(folder, paths, entries):
    """Source: git's name of a file's content (SHA-1), or the SHA-256 of a large file, as the hub's API gives them."""
    expected = {entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id for entry in entries}
    damaged = []
    for path, name in zip(paths, _names(folder, paths)):
        if name in expected and content_hash(path, large=len(expected[name]) == 64) != expected[name]:
            damaged.append(name)
            path.resolve().unlink()  # else it would count as stored the next time
            path.unlink(missing_ok=True)
    if damaged:
        raise DamagedFile(", ".join(damaged))


def content_hash(path: Path, large: bool) -> str:
    """The hub's name of a file's content: SHA-256 for a large file, else git's SHA-1 of the content with its length."""
    found = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as source:
        while block := source.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def _tell_commit(name, commit, setting):
    if name in _told:
        return
    _told.add(name)
    warnings.warn(
        f"{name}: no revision is pinned, and today's files are those of commit {commit}. To get the same on another "
        f"day, set {setting} to this commit, in PROFILES of helpers/settings.py or by dataclasses.replace(settings, …)",
        stacklevel=3,
    )


def _explained(name, error):
    """A HubError with what was found and what to do, for whatever went wrong."""
    cause = _cause(error)
    code = _code(cause)
    if isinstance(cause, DamagedFile):
        what = (
            f"{cause} arrived damaged {TRIES} times: the content differs from the hub's hash. Nothing of it is kept; "
            "try another network, since a proxy or a mirror may change what it passes on"
        )
    elif isinstance(cause, GatedRepoError):
        what = "the hub gives it only after a consent: agree on its page, then log in with `hf auth login`"
    elif isinstance(cause, RepositoryNotFoundError):
        what = "the hub has nothing of this name, or keeps it private; correct the name, or log in with `hf auth login`"
    elif code == 429:
        what = (
            "the hub was asked too often from this network (429); wait some minutes, or log in with "
            "`hf auth login`, which raises the limit"
        )
    elif code in PASSING:
        what = f"the hub cannot answer at present ({code}); try again later"
    elif CUT in str(cause):
        what = f"a file arrived cut short {TRIES} times ({first_line(cause)}); try again, or from another network"
    elif "Timeout" in type(cause).__name__:
        what = (
            "the hub answers too slowly; run the cell again, which goes on where it ended, or allow more seconds: set "
            "HF_HUB_DOWNLOAD_TIMEOUT=60 and HF_HUB_ETAG_TIMEOUT=60 before Python starts"
        )
    else:
        advice = f"; {hub_advice()}" if hub_advice() else ""
        what = f"it cannot be fetched from the model hub, nor is it stored here already ({first_line(cause)}){advice}"
    return HubError(f"{name}: {what}")


def first_line(error: Exception) -> str:
    """What an error says first, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
