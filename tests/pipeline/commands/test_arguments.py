"""Every way that a command can end has its exit code, and only a defect shows a traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.commands.arguments import guarded
from pipeline.errors import DataError, Faults, Interrupted, RunError


def raising(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("is broken", where="a.nii", remedy="Mend it"), 2, "error: a.nii: is broken. Mend it."),
        (Faults([DataError("one"), DataError("two")]), 2, "2 errors."),
        (Interrupted("SIGTERM at step 3"), 3, "SIGTERM at step 3"),
        (KeyboardInterrupt(), 3, "interrupted"),
        (MemoryError(), 2, "out of memory"),
        (ZeroDivisionError("x"), 1, "defect"),
    ],
)
def test_exit_codes(error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(error), show_traceback=False) == code
    err = capsys.readouterr().err
    assert words in err
    assert ("Traceback" in err) == (code == 1)


def test_a_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(DataError("is broken")), show_traceback=True) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_finished_body() -> None:
    assert guarded(lambda: 0, show_traceback=False) == 0


@pytest.mark.parametrize(("error", "hinted"), [(DataError("no"), True), (RunError("disk full"), False)])
def test_a_hint_after_what_the_user_can_mend(
    error: Exception, hinted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(error), show_traceback=False, hint="bin/check tells all.") == 2
    assert capsys.readouterr().err.endswith("bin/check tells all.\n") is hinted
