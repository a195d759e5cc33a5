#!/usr/bin/env python3
"""The front door: makes the environment that Patchbay runs in, then runs it there.

    python3 webui.py                 set up what is missing and open the studio
    python3 webui.py test            the same for the project's tests
    python3 webui.py COMMAND …       any other command; --help lists them

Its own options, before the command:
    --no-venv                        use the Python that runs this, as it is
    --torch cpu|cuda|rocm|NAME       which build of PyTorch (NAME: any that uv's --torch-backend takes; default: pip's)
    --xformers                       install xformers too

The standard library is all it needs. What is installed stands in pyproject.toml; it is installed again only when that
changes. An interrupted set-up goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "patchbay.json"
LOCK = ROOT / ".venv.lock"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
TAIL_LINES = 25
LOG_SECONDS = 20


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """What the environment has to hold: the build of PyTorch, the extras, and what they come to."""

    torch: str
    extras: tuple[str, ...]
    requirements: tuple[str, ...]
    python: str

    @property
    def digest(self) -> str:
        """Changes when anything that is installed would."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Set up, then run the command; returns its exit status (on POSIX it takes this process's place instead)."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        version = ".".join(map(str, sys.version_info[:3]))
        return _fail(f"Patchbay runs on Python 3.11, 3.12 or 3.13, and this is {version}: try python3.12 webui.py")
    options, rest = _own_options(arguments)
    if "error" in options:
        return _fail(options["error"], 2)
    if "no_venv" in options:
        return _run(Path(sys.executable), rest) if _complete(rest) else 1
    extras = {"xformers"} if "xformers" in options else set()
    if rest[:1] == ["test"]:
        extras.add("test")
    try:
        _prepare(options.get("torch"), extras)
    except SetupError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("Interrupted; the next start goes on from here.", 130)
    return _run(PYTHON, rest)


def _own_options(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The front door's options, which stand before the command, and everything else."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest[0].partition("=")
        if name in ("--no-venv", "--xformers") and not equals:
            options[name[2:].replace("-", "_")] = "yes"
        elif name == "--torch":
            if not equals:
                rest.pop(0)
                value = rest[0] if rest else ""
            if not re.fullmatch(r"[a-z0-9.]+", value):
                return {"error": "--torch needs the name of a build: cpu, cuda or rocm."}, rest
            options["torch"] = value
        else:
            break
        rest.pop(0)
    if "no_venv" in options and len(options) > 1:
        return {"error": "--no-venv installs nothing: it cannot stand with --torch or --xformers."}, rest
    return options, rest


def _prepare(torch: str | None, extras: set[str]) -> None:
    """Make `.venv` hold what is wanted; a build or an extra that was once asked for stays."""
    kept = _stamp()
    if _ready(kept, _wanted(kept, torch, extras)):
        return
    with _locked():
        kept = _stamp()  # Another start may have done it while this one waited.
        wanted = _wanted(kept, torch, extras)
        if not _ready(kept, wanted):
            _install(wanted, kept)


def _wanted(kept: dict[str, object], torch: str | None, extras: set[str]) -> Wanted:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    before = kept.get("extras")
    names = sorted(extras | ({str(name) for name in before} if isinstance(before, list) else set()))
    lists = [project["dependencies"], *(project["optional-dependencies"].get(name, []) for name in names)]
    return Wanted(
        torch=torch or str(kept.get("torch") or "default"),
        extras=tuple(names),
        requirements=tuple(requirement for each in lists for requirement in each),
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
    )


def _stamp() -> dict[str, object]:
    """What the environment was last made to hold; empty where that is not known."""
    try:
        kept = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _ready(kept: dict[str, object], wanted: Wanted) -> bool:
    return PYTHON.exists() and kept.get("digest") == wanted.digest


def _install(wanted: Wanted, kept: dict[str, object]) -> None:
    """Make the environment where it is missing or of another kind, and install into it."""
    print(f"Setting up {VENV} (Python {wanted.python}; some minutes, once: PyTorch is large)", flush=True)
    differs = kept and (kept.get("python"), kept.get("torch")) != (wanted.python, wanted.torch)
    fresh = bool(differs) or not PYTHON.exists()
    if fresh:
        _new_environment()
    started = time.monotonic()
    _note(wanted, interrupted=True)
    try:
        _install_packages(wanted)
    except SetupError:
        if fresh or not kept.get("interrupted", True):
            _note(wanted)
            raise
        print("What an interrupted set-up left cannot be completed; beginning again", flush=True)
        _new_environment()
        _note(wanted)
        _install_packages(wanted)
    _note(wanted, digest=wanted.digest)
    print(f"Set up in {time.monotonic() - started:.0f} s", flush=True)


def _note(wanted: Wanted, *, digest: str = "", interrupted: bool = False) -> None:
    """Write the stamp: what was asked for, its digest once it is there, and whether an installation is under way."""
    partial = STAMP.with_suffix(".tmp")
    partial.write_text(json.dumps({**asdict(wanted), "digest": digest, "interrupted": interrupted}), encoding="utf-8")
    partial.replace(STAMP)


def _new_environment() -> None:
    if VENV.exists():
        shutil.rmtree(VENV)
    hint = "On Debian and Ubuntu: apt install python3-venv. Or use --no-venv."
    _watched([sys.executable, "-m", "venv", str(VENV)], "Making the environment", hint)


def _install_packages(wanted: Wanted) -> None:
    hint = "Is there a network, and room on the disk? The next start goes on from here."
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", "--no-input"]
    if wanted.torch != "default":
        _watched([*pip, "uv"], "Installing uv, which knows where each build of PyTorch lies", hint)
        backend = "auto" if wanted.torch in ("cuda", "rocm") else wanted.torch
        torch = [requirement for requirement in wanted.requirements if re.match(r"torch\b(?!-)", requirement)]
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON), "--torch-backend", backend]
        _watched([*uv, *torch], f"Installing PyTorch ({wanted.torch})", hint)
        _check_build(wanted.torch)
    _watched([*pip, *wanted.requirements], f"Installing {len(wanted.requirements)} packages and what they need", hint)


def _check_build(torch: str) -> None:
    """`cuda` and `rocm` let uv choose by the driver it finds; where it finds none it takes the CPU's build."""
    wanted = {"cuda": "cuda", "rocm": "hip"}.get(torch)
    code = f"import sys, torch; sys.exit(not torch.version.{wanted})"
    if wanted and subprocess.run([str(PYTHON), "-c", code], check=False).returncode:
        raise SetupError(
            f"No driver for {torch} was found here, so PyTorch's CPU build was chosen. "
            "Install the driver, or name a build yourself (--torch cu130, --torch rocm7.2, …)."
        )


def _watched(command: Sequence[str], title: str, hint: str) -> None:
    """Run `command`, telling in one line what it is at; when it fails, show the end of what it said."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    show = _Status()
    print(title, flush=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as process:
        for line in process.stdout or ():
            tail.append(line.rstrip())
            if said := re.match(r"\s*(Collecting|Downloading|Installing|Building|Prepared|Resolved) .*", line):
                show(said[0].strip())
    show("")
    if process.returncode:
        raise SetupError("\n".join([*tail, f"{title} failed. {hint}"]))


class _Status:
    """The line that says what pip is at: always the same one on a terminal, a new one now and then in a log."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        if sys.stdout.isatty():
            print(f"\r{text[:width]:<{width}}\r", end="", flush=True)
        elif text and time.monotonic() - self._said > LOG_SECONDS:
            self._said = time.monotonic()
            print(f"  {text}", flush=True)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Hold the set-up lock; the system lets go of it even when this process is killed."""
    with LOCK.open("a+b") as file:
        if not _try_lock(file.fileno()):
            print("Another start is setting up; waiting for it", flush=True)
            while not _try_lock(file.fileno()):
                time.sleep(0.5)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _complete(rest: Sequence[str]) -> bool:
    """Whether this Python has the packages that the command needs; says which it lacks."""
    wanted = _wanted({}, None, {"test"} if rest[:1] == ["test"] else set()).requirements
    installed = {distribution.name.lower().replace("_", "-") for distribution in importlib.metadata.distributions()}
    named = [re.split(r"[\[<>=!~ ;]", requirement)[0] for requirement in wanted]
    missing = [name for name in named if name.lower().replace("_", "-") not in installed]
    if missing:
        _fail(f"This Python lacks {', '.join(missing)}. Install them, or leave out --no-venv.")
    return not missing


def _run(python: Path, rest: Sequence[str]) -> int:
    """Run `app` with this checkout on its path and the caller's folder as its own, so that relative paths work."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # -P keeps an `app` folder of the caller's from being taken for ours.
    command = [str(python), "-P", "-m", "app", *rest]
    if os.name != "nt":
        sys.stdout.flush()
        os.execve(command[0], command, environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The console sends it to the app too, which stops by itself.
    return subprocess.run(command, env=environment, check=False).returncode


def _fail(message: str, status: int = 1) -> int:
    print(message, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
