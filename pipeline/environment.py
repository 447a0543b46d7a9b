"""An environment that has what this project needs: the one that runs, else ``.venv`` here, made on first use.

Standard library only, and in the syntax of Python 3.6, so that an old interpreter gets a sentence, not a SyntaxError.

``.venv`` carries a record of how far this program got with it. No record means that somebody else made it: then it is
used and added to, but never emptied. ``SLICEWISE_NO_SETUP=1`` keeps to the interpreter that runs, whatever it lacks.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, MutableMapping, Optional, Sequence, Tuple

from pipeline.requirements import installed, lacking

__all__ = ["Environment", "SetupError", "ensure"]

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 14)  # a newer Python is tried when there is no other
NO_SETUP = "SLICEWISE_NO_SETUP"
HOPS = "SLICEWISE_ENTERED"  # how often this command has changed its interpreter; taken out again at once
EXIT_USER, EXIT_INTERRUPTED = 2, 3  # as in pipeline.errors, which an old Python cannot import

BY_HAND = "python3 -m venv {0} && {0}/bin/pip install -e '.[test]' -c constraints.txt"
ELSEWHERE = f"Make room or rights there, or use DIR/bin/python after, on another disk: {BY_HAND.format('DIR')}"
GET_PYTHON = (
    "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.11; conda: "
    "conda create -n slicewise python=3.11; others: python.org), and start this with it, as in: python3.11 "
)
GET_VENV = "Install it (Debian, Ubuntu: apt install python3-venv), or use a Python from python.org or conda"
RETRY = (
    "Check the network or pip's configuration, and run the same command again; where pip found no matching "
    "distribution: torch has builds for Python 3.11 to 3.14 on 64-bit Linux and on Apple silicon"
)
PROBE = """import importlib.util, json, sys
venv, ensurepip, pip = (importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip", "pip"))
print(json.dumps([sys.executable, list(sys.version_info[:2]), venv and ensurepip, venv and pip]))"""

Probed = Tuple[str, Tuple[int, ...], bool, bool]


class SetupError(Exception):
    """No environment, the last lines of the program that failed to make it, and what to do."""

    def __init__(self, what: str, remedy: str, output: str = "") -> None:
        quoted = "\n    ".join([f"{what}:"] + output.strip().splitlines()[-12:]) + "\n" if output else f"{what}. "
        super().__init__(f"{quoted}{remedy}.")


def ensure(extras: Tuple[str, ...] = ()) -> None:
    """Return when this interpreter has what the project needs; else go on in one that has it.

    Parameters
    ----------
    extras
        Extras of setup.cfg that are needed as well, such as ``("test",)``.

    Raises
    ------
    SystemExit
        2 when there can be no environment, after saying why; 3 when the set-up was interrupted.
    """
    try:
        Environment(ROOT).ensure(extras)
    except SetupError as fault:
        say(str(fault))
        raise SystemExit(EXIT_USER) from None
    except KeyboardInterrupt:
        say("interrupted; nothing half-made will be used, and the same command begins again.")
        raise SystemExit(EXIT_INTERRUPTED) from None


def say(line: str) -> None:
    """Write a line on standard error: standard output belongs to the command."""
    sys.stderr.write(f"slicewise: {line}\n")
    sys.stderr.flush()


def run(command: Sequence[str], folder: Path) -> Tuple[int, str]:
    """Run a command in ``folder``; its exit code, and all that it wrote. An interruption ends it too."""
    import subprocess

    variables = dict(os.environ, PIP_USER="0")  # a --user in the user's pip configuration cannot work inside .venv
    pipes: Dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    pipes.update(cwd=str(folder), env=variables, universal_newlines=True, errors="replace", start_new_session=True)
    pipes["close_fds"] = False  # it keeps the lock: when this program is killed, nobody gets in its way before it ends
    try:
        child = subprocess.Popen(command, **pipes)
    except OSError as error:
        return 127, str(error)
    try:
        output = child.communicate()[0]
    except BaseException:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()
        raise
    return child.returncode, output


class Environment:
    """The checkout at ``root``, the interpreter that runs, and the way from one to the other.

    Parameters
    ----------
    root
        The folder with setup.cfg and constraints.txt, where ``.venv`` is or will be.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.venv = root, root / ".venv"
        self.python, self.record, self.lock = (self.venv / name for name in ("bin/python", "made.json", "made.lock"))
        # What reaches outside; tests put their own here.
        self.run: Callable[[Sequence[str], Path], Tuple[int, str]] = run
        self.installed: Callable[[str], Optional[str]] = installed
        self.replace: Callable[[str, List[str]], Any] = os.execv
        self.variables: MutableMapping[str, str] = os.environ
        self.interpreter, self.version, self.prefix = sys.executable, sys.version_info[:2], sys.prefix

    def ensure(self, extras: Sequence[str]) -> None:
        """As the function :func:`ensure`, but raises SetupError."""
        hops = int(self.variables.pop(HOPS, "0"))
        missing = self.missing(extras)
        if not missing:
            return
        lacks = f"{self.interpreter} (Python {self.version[0]}.{self.version[1]}) lacks {', '.join(missing)}"
        if self.variables.get(NO_SETUP) == "1":
            raise SetupError(lacks, f"{NO_SETUP}=1 forbids to make an environment: activate one that has them")
        if os.name != "posix":
            raise SetupError(lacks, "On this system make an environment by hand, activate it, and: pip install -e .")
        if hops > 1:
            raise SetupError(f".venv was made, and still {lacks}", "Delete .venv and run this again")
        inside = os.path.realpath(self.prefix) == os.path.realpath(str(self.venv))
        if inside and self.ready(extras):
            self.note("adding", self.recorded()["extras"])  # it promised more than there is
        if not inside and self.python.exists() and not self.record.exists():
            return self.enter(hops)  # made by hand: it finds out by itself whether it lacks something
        if not self.ready(extras):
            with self.locked():
                if not self.ready(extras):  # another command may have made it while this one waited
                    say(f"{lacks}.")
                    self.make(extras)
        return self.enter(hops)

    def missing(self, extras: Sequence[str]) -> List[str]:
        """What this interpreter has not, or has too old."""
        if self.version < OLDEST:
            return [f"Python {OLDEST[0]}.{OLDEST[1]} or newer"]
        return lacking(self.root / "setup.cfg", extras, self.installed)

    def stamp(self, state: str) -> Dict[str, Any]:
        """What a record in this state has to say of the files that decide over .venv, and of its Python."""
        decisive = [(self.root / name).read_bytes() for name in ("setup.cfg", "constraints.txt")]
        made_from = hashlib.sha256(b"\0".join(decisive)).hexdigest()
        return {"state": state, "made_from": made_from, "interpreter": os.path.realpath(str(self.python))}

    def recorded(self) -> Dict[str, Any]:
        """What the record says; {} when there is none. One that cannot be read says that .venv is half-made."""
        try:
            return dict(json.loads(self.record.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            return {"state": "creating"}
        except OSError:
            return {}

    def note(self, state: str, extras: Sequence[str]) -> None:
        """Write the record, whole or not at all. States: creating, adding, ready."""
        part = self.record.with_suffix(".part")
        part.write_text(json.dumps(dict(self.stamp(state), extras=sorted(extras))), encoding="utf-8")
        os.replace(str(part), str(self.record))

    def ready(self, extras: Sequence[str]) -> bool:
        """Whether .venv is finished, for the files as they are now and these extras, and its Python is still there."""
        record = self.recorded()
        made_with = record.pop("extras", [])
        return record == self.stamp("ready") and set(extras) <= set(made_with) and self.python.exists()

    def enter(self, hops: int) -> None:
        """Go on with the same command in .venv; returns only in tests."""
        self.variables[HOPS] = str(hops + 1)
        try:
            self.replace(str(self.python), [str(self.python)] + sys.argv)
        except OSError as error:
            raise SetupError(f"{self.python} does not start: {error}", "Delete .venv and run this again") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time make .venv; a SIGTERM meanwhile ends it as Ctrl-C does."""
        import fcntl

        try:
            self.venv.mkdir(exist_ok=True)
            with self.lock.open("a") as handle:
                os.set_inheritable(handle.fileno(), True)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    say(f"another command is making {self.venv}; waiting for it.")
                    fcntl.flock(handle, fcntl.LOCK_EX)
                before = signal.signal(signal.SIGTERM, signal.default_int_handler)
                try:
                    yield
                finally:
                    signal.signal(signal.SIGTERM, before)
        except OSError as error:
            raise SetupError(f"cannot make {self.venv}: {error}", ELSEWHERE) from None

    def make(self, extras: Sequence[str]) -> None:
        """Make .venv, or add what it lacks; its record says ready only at the end."""
        record, started = self.recorded(), time.time()
        ours = bool(record) or not (self.venv / "pyvenv.cfg").exists()
        keep = record.get("state") != "creating" and self.works()
        if not ours and not keep:
            raise SetupError(f"{self.venv} was made by hand, and its Python or pip does not work", "Delete or mend it")
        extras = sorted(set(extras).union(record.get("extras", [])))
        python, has_ensurepip = ("", False) if keep else self.find_python()
        doing = "adding to" if keep else "making"
        say(f"{doing} {self.venv}, once: about 2 minutes and 1.5 GB (more where torch comes with CUDA).")
        say(f"  by hand it would be: {BY_HAND.format('.venv')}")
        if ours:
            self.note("adding" if keep else "creating", extras)
        if not keep:
            self.create(python, has_ensurepip)
        constraints = (self.root / "constraints.txt").read_text(encoding="utf-8")
        for torch in re.findall(r"^torch==\S+", constraints, re.MULTILINE):
            self.pip(f"{torch}, the largest part", torch)
        self.pip("the other packages", "-e", f".[{','.join(extras)}]" if extras else ".")
        if ours:
            self.note("ready", extras)
        say(f"ready after {time.time() - started:.0f} s.")

    def works(self) -> bool:
        """Whether .venv has a Python that runs, is new enough and has pip."""
        found = self.probe(str(self.python)) if self.python.exists() else None
        return found is not None and found[1] >= OLDEST and found[3]

    def create(self, python: str, has_ensurepip: bool) -> None:
        """Empty .venv, and put a Python with pip there."""
        import shutil

        for entry in set(self.venv.iterdir()) - {self.lock, self.record}:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(str(entry))
            else:
                entry.unlink()
        say(f"an empty environment, with {python} ...")
        self.step([python, "-m", "venv"] + ([] if has_ensurepip else ["--without-pip"]) + [str(self.venv)])
        if not has_ensurepip:  # Debian puts it into a package of its own, but pip can install itself elsewhere
            self.step([python, "-m", "pip", "--python", str(self.python), "install", "--quiet", "pip"])

    def find_python(self) -> Tuple[str, bool]:
        """A Python to make .venv with, new enough and one that really runs, and whether it has ensurepip."""
        import shutil

        names = [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
        paths = [path for path in map(shutil.which, names) if path]
        paths.insert(0 if OLDEST <= self.version <= NEWEST else len(paths), self.interpreter)
        probed = {path: self.probe(path) for path in paths}
        able = [found for found in probed.values() if found and found[1] >= OLDEST]
        for executable, _, ensurepip, pip in sorted(able, key=lambda found: not found[2]):
            if ensurepip or pip:
                return executable, ensurepip
        if able:
            raise SetupError(f"{able[0][0]} has no venv, or neither ensurepip nor pip", GET_VENV)
        failing = ", ".join(path for path, found in probed.items() if not found)
        what = f"none of {', '.join(names)} on PATH runs" + (f" (there, but failing: {failing})" if failing else "")
        raise SetupError(what, GET_PYTHON + " ".join(sys.argv))

    def probe(self, path: str) -> Optional[Probed]:
        """(executable, version, has ensurepip, has pip) of an interpreter; None when it does not run, as a shim may."""
        code, output = self.run([path, "-c", PROBE], self.root)
        try:
            executable, version, ensurepip, pip = json.loads(output.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return None
        return (executable, tuple(version), ensurepip, pip) if code == 0 else None

    def pip(self, what: str, *arguments: str) -> None:
        """Install something into .venv, at the pinned versions."""
        say(f"{what} ...")
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
        self.step([str(self.python), "-m", "pip", "install"] + quiet + list(arguments) + ["-c", "constraints.txt"])

    def step(self, command: Sequence[str]) -> None:
        """Run one command of the set-up."""
        code, output = self.run(command, self.root)
        if code == 0:
            return
        what = f"`{' '.join(command)}` failed"
        if re.search("No space left|quota exceeded", output, re.IGNORECASE):
            raise SetupError(f"the disk is full: {what}", ELSEWHERE, output)
        raise SetupError(what, RETRY, output)
