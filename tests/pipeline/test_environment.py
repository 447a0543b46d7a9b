"""The environment that makes itself, on a fake checkout and with fake commands: nothing is downloaded here."""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline import environment
from pipeline.environment import HOPS, Environment, SetupError

ROOT = Path(__file__).resolve().parents[2]

SETUP_CFG = """
[metadata]
name = thing
[options]
install_requires =
    torch>=2.10
    numpy>=2.0
[options.extras_require]
test =
    pytest>=8.3
docs =
    sphinx>=7
"""
CONSTRAINTS = "# tested\nnumpy==2.4.0\ntorch==2.13.0\npytest==9.0\nsphinx==8.0\n"


class Entered(Exception):
    """The process was replaced by this command."""


class Machine:
    """A machine with a few interpreters, on which pip and venv do what they would, but in the air.

    Attributes
    ----------
    pythons : dict
        Path of an interpreter -> (version, has ensurepip, has pip); None for one that fails, as a shim may.
    commands : list
        What was run, without the questions that were put to interpreters.
    failing : dict
        A word of a command -> the output that it fails with, or the exception that it ends in.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pythons: dict[str, tuple[tuple[int, int], bool, bool] | None] = {"/usr/bin/python3": ((3, 11), True, True)}
        self.commands: list[list[str]] = []
        self.failing: dict[str, str | BaseException] = {}
        self.in_venv: dict[str, str] = {}

    def run(self, command: Sequence[str], folder: Path) -> tuple[int, str]:
        assert folder == self.root
        if "-c" in command[:2]:
            return self.answer(command[0])
        self.commands.append(list(command))
        for word, failure in self.failing.items():
            if word in command:
                if isinstance(failure, BaseException):
                    raise failure
                return 1, failure
        if "venv" in command:
            python = self.root / ".venv/bin/python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text("a Python")
            (self.root / ".venv/pyvenv.cfg").write_text("home = /usr/bin")
            self.pythons[str(python)] = ((3, 11), True, "--without-pip" not in command)
        elif "torch==2.13.0" in command:
            self.in_venv["torch"] = "2.13.0+cpu"
        elif "-e" in command:
            self.in_venv |= {"numpy": "2.4.0"}
            self.in_venv |= {"pytest": "9.0"} if "test" in command[command.index("-e") + 1] else {}
            self.in_venv |= {"sphinx": "8.0"} if "docs" in command[command.index("-e") + 1] else {}
        return 0, ""

    def answer(self, path: str) -> tuple[int, str]:
        known = self.pythons.get(path)
        if known is None:
            return 127, f"pyenv: {Path(path).name}: command not found"
        return 0, json.dumps([path, list(known[0]), known[1], known[2]])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "setup.cfg").write_text(SETUP_CFG)
    (tmp_path / "constraints.txt").write_text(CONSTRAINTS)
    machine = Machine(tmp_path)
    on_path = {f"python3.{minor}": f"/shims/python3.{minor}" for minor in range(9, 15)}
    monkeypatch.setattr("shutil.which", lambda name: on_path[name] if on_path[name] in machine.pythons else None)
    monkeypatch.setattr(sys, "argv", ["bin/check", "a.yaml"])
    return machine


def outside(machine: Machine, version: tuple[int, int] = (3, 11), **variables: str) -> Environment:
    """An interpreter of the system, that has nothing."""
    made = Environment(machine.root)
    made.run, made.variables = machine.run, variables
    made.interpreter, made.version, made.prefix = "/usr/bin/python3", version, "/usr"
    made.installed = {}.get  # type: ignore[assignment]
    made.replace = enter
    return made


def inside(machine: Machine, **variables: str) -> Environment:
    """The interpreter of .venv, with what the fake pip put there."""
    made = outside(machine, (3, 11), **variables)
    made.prefix, made.interpreter = str(machine.root / ".venv"), str(machine.root / ".venv/bin/python")
    made.installed = machine.in_venv.get
    return made


def enter(path: str, arguments: list[str]) -> None:
    assert path == arguments[0]
    raise Entered(*arguments)


def installs(machine: Machine) -> list[list[str]]:
    """What pip was asked for, without its options."""
    asked = [command[command.index("install") + 1 :] for command in machine.commands if "install" in command]
    return [[word for word in words if not word.startswith("--")] for words in asked]


def set_up(machine: Machine, *extras: str) -> None:
    with pytest.raises(Entered):
        outside(machine).ensure(extras)


def hand_made(machine: Machine) -> Path:
    """A .venv without a record: somebody made it; with a file that must survive."""
    machine.run(["python3", "-m", "venv", ".venv"], machine.root)
    machine.commands.clear()
    keep = machine.root / ".venv/keep.txt"
    keep.write_text("mine")
    return keep


def test_an_interpreter_that_has_everything_is_used(machine: Machine) -> None:
    here = outside(machine)
    here.installed = {"torch": "2.10", "numpy": "2.0.0"}.get
    here.ensure(())
    assert machine.commands == []
    assert not here.venv.exists()


def test_torch_is_installed_first_at_its_pin_then_the_rest(machine: Machine) -> None:
    with pytest.raises(Entered) as entered:
        outside(machine).ensure(("test",))
    python = str(machine.root / ".venv/bin/python")
    assert entered.value.args == (python, "bin/check", "a.yaml")
    assert machine.commands[0] == ["/usr/bin/python3", "-m", "venv", str(machine.root / ".venv")]
    assert installs(machine) == [
        ["torch==2.13.0", "-c", "constraints.txt"],
        ["-e", ".[test]", "-c", "constraints.txt"],
    ]
    assert all(command[0] == python for command in machine.commands[1:])
    inside(machine, **{HOPS: "1"}).ensure(("test",))  # and what was entered goes on


def test_what_will_happen_is_said_on_standard_error(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(machine)
    out, err = capsys.readouterr()
    assert out == ""
    for said in (
        "lacks torch>=2.10, numpy>=2.0",
        "minutes",
        "GB",
        "python3 -m venv .venv &&",
        "torch==2.13.0",
        "ready",
    ):
        assert said in err


def test_a_ready_environment_is_entered_without_installing(machine: Machine) -> None:
    set_up(machine, "test")
    machine.commands.clear()
    set_up(machine)
    set_up(machine, "test")
    assert machine.commands == []


def test_missing_extras_are_added_and_the_union_is_kept(machine: Machine) -> None:
    set_up(machine, "test")
    machine.commands.clear()
    set_up(machine, "docs")
    assert installs(machine)[-1][:2] == ["-e", ".[docs,test]"]
    assert not any("venv" in command for command in machine.commands)
    machine.commands.clear()
    set_up(machine, "test", "docs")
    assert machine.commands == []


@pytest.mark.parametrize("name", ["setup.cfg", "constraints.txt"])
def test_a_change_of_what_it_is_made_from_is_followed(machine: Machine, name: str) -> None:
    set_up(machine)
    machine.commands.clear()
    with (machine.root / name).open("a") as handle:
        handle.write("\n# changed\n")
    set_up(machine)
    assert len(installs(machine)) == 2


def test_another_python_under_the_same_environment_is_noticed(machine: Machine) -> None:
    set_up(machine)
    machine.commands.clear()
    python = machine.root / ".venv/bin/python"
    python.rename(machine.root / "python3.12")
    python.symlink_to(machine.root / "python3.12")
    set_up(machine)
    assert len(installs(machine)) == 2


def test_what_was_killed_midway_is_made_again_from_nothing(machine: Machine) -> None:
    machine.failing = {"torch==2.13.0": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        outside(machine).ensure(())
    half = machine.root / ".venv/lib/half/of.torch"
    half.parent.mkdir(parents=True)
    half.write_text("")
    machine.failing = {}
    machine.commands.clear()
    set_up(machine)
    assert not half.exists()
    assert "venv" in machine.commands[0]
    assert len(installs(machine)) == 2


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"ready"', "{}"])
def test_a_damaged_record_means_half_made(machine: Machine, text: str) -> None:
    set_up(machine)
    machine.commands.clear()
    (machine.root / ".venv/made.json").write_text(text)
    set_up(machine)
    assert len(installs(machine)) == 2


def test_a_package_that_was_taken_out_is_put_back(machine: Machine) -> None:
    set_up(machine)
    del machine.in_venv["numpy"]
    machine.commands.clear()
    with pytest.raises(Entered):
        inside(machine, **{HOPS: "1"}).ensure(())
    assert len(installs(machine)) == 2
    inside(machine, **{HOPS: "2"}).ensure(())
    machine.commands.clear()
    set_up(machine)
    assert machine.commands == []


def test_it_does_not_enter_for_ever(machine: Machine) -> None:
    set_up(machine)
    machine.in_venv.clear()
    here = inside(machine, **{HOPS: "2"})
    with pytest.raises(SetupError, match=r"still .* lacks torch.*Delete"):
        here.ensure(())


def test_the_count_of_entries_is_not_passed_on_to_programs_started_later(machine: Machine) -> None:
    set_up(machine)
    here = inside(machine, **{HOPS: "1"})
    here.ensure(())
    assert HOPS not in here.variables


def test_an_environment_made_by_hand_is_entered_as_it_is(machine: Machine) -> None:
    hand_made(machine)
    set_up(machine)
    assert machine.commands == []


def test_an_environment_made_by_hand_is_added_to_and_never_emptied(machine: Machine) -> None:
    keep = hand_made(machine)
    for _ in range(2):
        machine.in_venv.clear()
        with pytest.raises(Entered):
            inside(machine, **{HOPS: "1"}).ensure(())
        assert keep.exists()
    assert not any("venv" in command for command in machine.commands)
    assert len(installs(machine)) == 4


def test_an_environment_made_by_hand_that_does_not_work_is_left_alone(machine: Machine) -> None:
    keep = hand_made(machine)
    machine.pythons[str(machine.root / ".venv/bin/python")] = ((3, 9), True, True)
    with pytest.raises(SetupError, match="made by hand"):
        inside(machine).ensure(())
    assert keep.exists()
    assert machine.commands == []


def test_no_setup_keeps_to_the_interpreter_that_runs(machine: Machine) -> None:
    set_up(machine)
    machine.commands.clear()
    with pytest.raises(SetupError, match=r"lacks torch>=2\.10, numpy>=2\.0.*SLICEWISE_NO_SETUP=1"):
        outside(machine, SLICEWISE_NO_SETUP="1").ensure(())
    assert machine.commands == []


def test_an_old_python_makes_it_with_a_newer_one_that_runs(machine: Machine) -> None:
    machine.pythons["/shims/python3.11"] = None
    machine.pythons["/shims/python3.12"] = ((3, 12), True, True)
    with pytest.raises(Entered):
        outside(machine, version=(3, 8)).ensure(())
    assert machine.commands[0][0] == "/shims/python3.12"


def test_an_old_python_alone_says_which_one_is_needed(machine: Machine) -> None:
    machine.pythons = {"/usr/bin/python3": ((3, 8), True, True), "/shims/python3.12": None}
    with pytest.raises(SetupError) as raised:
        outside(machine, version=(3, 8)).ensure(())
    assert not (machine.root / ".venv/made.json").exists()
    for said in ("python3.11", "failing: /shims/python3.12", "apt install", "brew install", "python.org", "conda"):
        assert said in str(raised.value)


def test_a_python_newer_than_the_packages_is_only_the_last_choice(machine: Machine) -> None:
    machine.pythons = {"/usr/bin/python3": ((3, 15), True, True)}
    with pytest.raises(Entered):
        outside(machine, version=(3, 15)).ensure(())
    assert machine.commands[0][0] == "/usr/bin/python3"

    (machine.root / ".venv/made.json").write_text("")
    machine.pythons["/shims/python3.13"] = ((3, 13), True, True)
    machine.commands.clear()
    with pytest.raises(Entered):
        outside(machine, version=(3, 15)).ensure(())
    assert machine.commands[0][0] == "/shims/python3.13"


def test_without_ensurepip_the_pip_that_is_there_puts_one_into_the_environment(machine: Machine) -> None:
    machine.pythons = {"/usr/bin/python3": ((3, 11), False, True)}
    set_up(machine)
    assert "--without-pip" in machine.commands[0]
    assert machine.commands[1][:4] == ["/usr/bin/python3", "-m", "pip", "--python"]
    assert machine.commands[1][-1] == "pip"
    assert len(installs(machine)) == 3


def test_a_python_with_ensurepip_is_preferred(machine: Machine) -> None:
    machine.pythons = {"/usr/bin/python3": ((3, 11), False, True), "/shims/python3.13": ((3, 13), True, True)}
    set_up(machine)
    assert machine.commands[0][0] == "/shims/python3.13"


def test_without_venv_or_pip_it_names_the_package_to_install(machine: Machine) -> None:
    machine.pythons = {"/usr/bin/python3": ((3, 11), False, False)}
    with pytest.raises(SetupError, match="apt install python3-venv"):
        outside(machine).ensure(())


def test_a_failing_pip_is_quoted_and_the_next_try_begins_again(machine: Machine) -> None:
    output = "\n".join(f"line {number}" for number in range(40)) + "\nERROR: Temporary failure in name resolution"
    machine.failing = {"-e": output}
    with pytest.raises(SetupError, match="Check the network or pip's configuration") as raised:
        outside(machine).ensure(())
    assert "name resolution" in str(raised.value)
    assert "line 39" in str(raised.value)
    assert "line 20" not in str(raised.value)
    assert str(raised.value).endswith("Apple silicon.")  # what to do comes last, where it is seen
    machine.failing = {}
    set_up(machine)
    inside(machine).ensure(())


def test_a_missing_build_is_explained(machine: Machine) -> None:
    machine.failing = {"torch==2.13.0": "ERROR: No matching distribution found for torch==2.13.0"}
    with pytest.raises(SetupError, match="torch has builds for"):
        outside(machine).ensure(())


@pytest.mark.parametrize(
    "failure",
    [
        "ERROR: Could not install packages: [Errno 28] No space left on device",
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_full_disk_names_another_place(machine: Machine, failure: str | OSError) -> None:
    machine.failing = {"torch==2.13.0": failure}
    with pytest.raises(SetupError, match="No space left") as raised:
        outside(machine).ensure(())
    assert "another disk" in str(raised.value)


def test_a_checkout_that_cannot_be_written_names_another_place(machine: Machine) -> None:
    (machine.root / ".venv").write_text("in the way")  # permissions do not stop root, under whom tests may run
    with pytest.raises(SetupError, match=r"cannot make .*another disk"):
        outside(machine).ensure(())


def test_an_environment_that_does_not_start(machine: Machine) -> None:
    here = outside(machine)

    def refuse(path: str, arguments: list[str]) -> None:
        raise OSError(errno.ENOEXEC, "Exec format error")

    here.replace = refuse
    with pytest.raises(SetupError, match=r"does not start: .*Delete"):
        here.ensure(())


def test_other_systems_are_told_to_do_it_by_hand(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here = outside(machine)
    monkeypatch.setattr("pipeline.environment.os.name", "nt")
    with pytest.raises(SetupError, match="pip install -e"):
        here.ensure(())


@pytest.mark.parametrize(("failure", "code"), [(SetupError("no", "Do this"), 2), (KeyboardInterrupt(), 3)])
def test_a_failure_is_one_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: BaseException, code: int
) -> None:
    def fail(self: Environment, extras: Sequence[str]) -> None:
        raise failure

    monkeypatch.setattr(Environment, "ensure", fail)
    with pytest.raises(SystemExit) as raised:
        environment.ensure()
    assert raised.value.code == code
    assert capsys.readouterr().err.startswith("slicewise: ")


WAITING = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from pipeline.environment import Environment
with Environment(Path({checkout!r})).locked():
    print("locked", flush=True)
    time.sleep({seconds})
"""


def start(checkout: Path, seconds: float) -> subprocess.Popen[str]:
    code = WAITING.format(root=str(ROOT), checkout=str(checkout), seconds=seconds)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def test_two_commands_wait_for_each_other(machine: Machine) -> None:
    first = start(machine.root, seconds=0.5)
    assert first.stdout is not None
    assert first.stdout.readline() == "locked\n"
    begun = time.monotonic()
    second = start(machine.root, seconds=0)
    _, said = second.communicate(timeout=20)
    assert "waiting for it" in said
    assert time.monotonic() - begun > 0.25
    first.communicate(timeout=20)


def test_a_termination_ends_the_program_that_it_waits_for(machine: Machine) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path; from pipeline.environment import Environment, run\n"
        f"here = Environment(Path({str(machine.root)!r}))\n"
        "with here.locked():\n"
        "    run([sys.executable, '-c', 'import os, time, pathlib;"
        ' pathlib.Path("child").write_text(str(os.getpid())); time.sleep(60)\'], here.root)\n'
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    child = machine.root / "child"
    wait_until(lambda: child.exists() and child.read_text() != "")
    parent.terminate()
    _, err = parent.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    wait_until(lambda: not running(int(child.read_text())))


def test_the_next_command_waits_for_what_a_killed_one_left_running(machine: Machine) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path; from pipeline.environment import Environment, run\n"
        f"here = Environment(Path({str(machine.root)!r}))\n"
        "with here.locked():\n"
        "    run([sys.executable, '-c', 'import time, pathlib; pathlib.Path(\"begun\").touch(); time.sleep(0.5);"
        ' pathlib.Path("ended").touch()\'], here.root)\n'
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until((machine.root / "begun").exists)
    parent.kill()
    parent.wait()
    assert not (machine.root / "ended").exists()
    with outside(machine).locked():
        assert (machine.root / "ended").exists()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_run_gives_the_code_and_all_output(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); sys.stderr.write(os.environ['PIP_USER']); sys.exit(7)"
    assert environment.run([sys.executable, "-c", code], tmp_path) == (7, f"{tmp_path}\n0")
    assert environment.run([str(tmp_path / "none")], tmp_path)[0] == 127


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "pipeline/__init__.py",
        ROOT / "pipeline/environment.py",
        ROOT / "pipeline/requirements.py",
        *sorted((ROOT / "bin").iterdir()),
    ],
    ids=lambda path: path.name,
)
def test_an_old_python_can_read_it(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
    futures = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in futures


def test_it_needs_the_standard_library_only() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pipeline.environment"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)  # -S: without site-packages


def test_a_script_runs_from_anywhere_and_through_a_link(tmp_path: Path) -> None:
    checkout, elsewhere = tmp_path / "a checkout [1]", tmp_path / "elsewhere"
    for folder in ("bin", "pipeline/commands"):
        (checkout / folder).mkdir(parents=True)
    elsewhere.mkdir()
    for name in ("bin/check", "pipeline/environment.py", "pipeline/requirements.py"):
        (checkout / name).write_bytes((ROOT / name).read_bytes())
        (checkout / name).chmod(0o755)
    (checkout / "setup.cfg").write_text("[metadata]\nname = thing\n[options]\ninstall_requires =\n    pytest>=8\n")
    (checkout / "pipeline/commands/check.py").write_text(
        "import sys, pipeline.environment as e\n"
        "def main(argv=None):\n"
        "    print(e.__file__, sys.argv[1:], any(p.endswith('/bin') for p in sys.path))\n"
        "    return 2\n"
    )
    (elsewhere / "link").symlink_to(checkout / "bin/check")
    done = subprocess.run(
        [sys.executable, "link", "--help"], cwd=elsewhere, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == f"{checkout / 'pipeline/environment.py'} ['--help'] False\n"
