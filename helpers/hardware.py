"""Hardware: what this machine offers to a model (devices, number formats, memory, a way to the hub); decides nothing
else.
"""

from __future__ import annotations

import ctypes
import gc
import http.client
import os
import platform
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import torch
from huggingface_hub import constants as hub

hub.HF_HUB_DISABLE_TELEMETRY = True  # else trl reports to the hub which trainer a learner starts
PROXIES = ("https_proxy", "all_proxy", "http_proxy")  # in any case: on Windows names have none
REMEMBERED = 60.0  # seconds: as long a hub that did not answer is not asked again, since each question is a wait
_silent_since: dict[str, float] = {}


def available_devices() -> tuple[str, ...]:
    """The kinds of device that torch can use here, the fastest first."""
    gpu = ("cuda",) if torch.cuda.is_available() else ()
    return (*gpu, "cpu", *(("mps",) if torch.backends.mps.is_available() else ()))


def machine(device: str) -> str:
    """What computes, in words."""
    return (
        torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )


def hub_is_reachable(timeout: float = 3.0) -> bool:
    """Whether the model hub answers within `timeout` seconds; never asks if HF_HUB_OFFLINE is set, nor if the address
    of a proxy is none: libraries stop at that.
    """
    if hub.HF_HUB_OFFLINE or proxy_fault():
        return False
    if time.monotonic() - _silent_since.get(hub.ENDPOINT, -REMEMBERED) < REMEMBERED:
        return False
    answers: list[bool] = []
    # A name that nobody resolves, or several addresses, take longer than the timeout of a connection.
    asking = threading.Thread(target=lambda: answers.append(_answers(timeout)), daemon=True)
    asking.start()
    asking.join(timeout)
    if not any(answers):
        _silent_since[hub.ENDPOINT] = time.monotonic()
    return any(answers)


def _answers(timeout):
    proxies = urllib.request.getproxies()  # urllib itself does not know "all"
    everywhere = {scheme: proxies["all"] for scheme in ("http", "https") if "all" in proxies}
    ask = urllib.request.build_opener(urllib.request.ProxyHandler(everywhere | proxies)).open
    try:
        ask(urllib.request.Request(hub.ENDPOINT, method="HEAD"), timeout=timeout).close()
    except urllib.error.HTTPError as answer:
        return answer.code != 407  # an answer, even if an unfriendly one; but for a proxy that wants a password
    except (OSError, ValueError, http.client.HTTPException):  # the last: a proxy whose address or answer is none
        return False
    return True


def _proxies():
    """{variable: address} of the proxies that libraries take from the environment, in the order in which they count.

    A variable is called as it stands in the environment: Windows has capital letters alone.
    """
    found = urllib.request.getproxies_environment()  # {"https": address, …}: what libraries read too
    if "*" in [host.strip() for host in found.get("no", "").split(",")]:
        return {}
    addresses = {name: found.get(name.removesuffix("_proxy")) for name in PROXIES}
    return {_as_it_stands(name, address): address for name, address in addresses.items() if address}


def _as_it_stands(name, address):
    """The variable of this name, in any case, that holds the address; in small letters where there are several."""
    names = sorted(os.environ, reverse=True)  # small letters first
    return next(each for each in names if each.lower() == name and os.environ[each] == address)


def proxy_variable() -> str:
    """The environment variable that names the proxy on the way to the hub; "" if there is none."""
    suited = (f"{urlsplit(hub.ENDPOINT).scheme}_proxy", "all_proxy")
    return next((name for name in _proxies() if name.lower() in suited), "")


def proxy_fault() -> str:
    """What is wrong with the address of a proxy, on the way to the hub or not; "" if nothing is."""
    return next(filter(None, (_address_fault(name, address) for name, address in _proxies().items())), "")


def _address_fault(name, address):
    kind = ""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        whole = bool(parts.hostname) and (parts.port is None or parts.port > 0) and address.isprintable()
        if whole and parts.scheme not in ("http", "https"):  # the kit comes without a package for SOCKS
            kind, whole = f" (a proxy of kind {parts.scheme!r})", False
    except ValueError:  # a port that is no number
        whole = False
    if address != address.strip(" "):  # which `set HTTPS_PROXY= http://…` makes on Windows
        kind, whole = " (a blank before or after the address)", False
    return "" if whole else f"{name}{kind}: is no address like http://proxy.example.org:8080; correct or unset it"


def hub_advice() -> str:
    """What to look at where the hub does not answer, beside the network."""
    return proxy_fault() or (f"is the proxy in {proxy_variable()} right?" if proxy_variable() else "")


@contextmanager
def without_hub() -> Iterator[None]:
    """Inside, libraries take what was fetched earlier, and do not ask the hub again and again."""
    from datasets import config as data_sets  # here, because it takes a second

    kept = hub.HF_HUB_OFFLINE, data_sets.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = data_sets.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, data_sets.HF_HUB_OFFLINE = kept


def choose_dtype(device: str) -> tuple[str, str]:
    """(dtype, reason) for models that gain from half the bytes: bfloat16 where the hardware computes in it.

    Never float16: T5's feed-forward activations exceed its largest number, 65,504.
    """
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU computes in bfloat16: half the memory, and float32's range"
        return "float32", "this GPU has no bfloat16, and float16 overflows inside T5"
    # A processor without these instructions still runs bfloat16, by emulation and many times slower than float32.
    if device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return "bfloat16", "this processor has bfloat16 instructions: half the memory, and float32's range"
    return "float32", "this device has no fast bfloat16, and float16 overflows inside T5"


def release_freed_memory() -> bool:
    """Hands freed memory that the C library keeps back to the system, so that what is held next can be seen to grow.

    Returns:
        whether the library could (glibc's malloc_trim); others keep less in the first place.
    """
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL("libc.so.6").malloc_trim(0))
    except (OSError, AttributeError):
        return False


def resident_bytes(make, device: str = "cpu") -> int:
    """Memory that what `make` returns takes, as the system sees it while it is held; what was needed only on the way
    does not count.

    On a GPU torch's own count; elsewhere the process's resident memory, exact where freed memory can be handed back
    (`release_freed_memory`). It is made twice: what is loaded at the first use of an operation stays, and belongs to
    nobody.
    """
    make()

    def count():
        gc.collect()
        release_freed_memory()
        return torch.cuda.memory_allocated() if device == "cuda" else psutil.Process().memory_info().rss

    before = count()
    held = make()
    found = count() - before
    del held
    return found


class PeakMemory:
    """Measures, inside `with`, the most memory held above what was held at its start; afterwards `peak` has it in
    bytes.

    On a GPU torch's own count; elsewhere the process's resident memory, looked at every 20 ms.
    """

    def __init__(self, device: str):
        self.device, self.peak = device, 0

    def __enter__(self):
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.start = torch.cuda.memory_allocated()
            return self
        self.process, self.done = psutil.Process(), threading.Event()
        self.start = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def _look(self):
        while not self.done.wait(0.02):
            self._compare()

    def _compare(self):
        self.peak = max(self.peak, self.process.memory_info().rss - self.start)

    def so_far(self) -> int:
        """The peak up to now, in bytes; inside `with`."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() - self.start
        self._compare()
        return self.peak

    def __exit__(self, *_):
        self.peak = self.so_far()  # what is held at the end counts, however short the way there was
        if self.device == "cuda":
            return
        self.done.set()
        self.thread.join()
