"""How threads wait is set where the user has not said it."""

from __future__ import annotations

import os

import pytest

from pipeline.threads import wait_briefly


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_the_user_s_word_holds(given: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(given))
    wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
    assert given.items() <= os.environ.items()
