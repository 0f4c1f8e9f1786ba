"""What a child opens, starts and connects to, noted by an audit hook."""

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

OPENED = ("open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link")
STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class")

_WATCHING: list[bool] = []


def watch(folder: Path, outside: list[str], started: list[str] | None) -> None:
    """Note what is opened for writing outside, and what is started."""
    allowed = tuple(f"{folder / name}{os.sep}" for name in ("work", "tmp"))
    secret = str(folder / "outside") + os.sep
    _WATCHING.append(True)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not _WATCHING:
            return
        if event in OPENED:
            path = arguments[0]
            if isinstance(path, int) or path is None:
                return
            writes = event != "open" or bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
            follows = event == "open" and not (arguments[2] or 0) & os.O_NOFOLLOW
            whole = os.path.realpath(os.fsdecode(path)) if follows else _parent(path)
            if whole.startswith(secret):
                outside.append(f"{event} {os.fsdecode(path)}")
            elif writes and not (whole + os.sep).startswith(allowed) and not _cache(whole):
                outside.append(f"{event} {whole}")
        elif event == "socket.connect" and started is not None:
            outside.append(f"connect {arguments[1]!r}")
        elif started is not None and event in STARTED:
            if _own(event, arguments) or (event == "pickle.find_class" and _kernels(allowed)):
                return
            started.append(f"{event} {str(arguments[:2])[:100]}")

    sys.addaudithook(hook)


def unwatch() -> None:
    """Note nothing more: an audit hook cannot be taken away."""
    _WATCHING.clear()


def _own(event: str, arguments: Any) -> bool:
    """Whether a process is one of lacewing's modules, started as the viewer starts them."""
    ours = [sys.executable, "-m", "lacewing.viewer.sample"]
    return event == "subprocess.Popen" and list(arguments[1][:3]) == ours


def _kernels(reached: tuple[str, ...]) -> bool:
    """Whether what is unpickled is a kernel that numba compiled and kept.

    numba keeps machine code beside the source, or where the user's NUMBA_CACHE_DIR says, in pickles
    that name its own classes. Whoever can write there can write the source itself, or the user's
    environment: no file that is opened, copied or downloaded comes there. So that reading is no
    fault, as reading a .pyc is none; but in a folder of the case it would be one.
    """
    caching = sys.modules.get("numba.core.caching")
    frame: FrameType | None = sys._getframe(2)
    while caching is not None and frame is not None:
        file = caching.IndexDataCacheFile
        if frame.f_code in (file._load_index.__code__, file._load_data.__code__):
            place = os.path.realpath(frame.f_locals["self"]._cache_path) + os.sep
            return not place.startswith(reached)
        if not frame.f_globals.get("__name__", "").startswith(("numba.", "cloudpickle")):
            return False  # somebody else's pickle, perhaps in the midst of one of numba's
        frame = frame.f_back
    return False


def _parent(path: Any) -> str:
    """A path whose last part may be a link itself."""
    head, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    return os.path.join(os.path.realpath(head), name)


def _cache(path: str) -> bool:
    return path.startswith(("/dev/", "/proc/")) or "__pycache__" in path or "/.cache/" in path
