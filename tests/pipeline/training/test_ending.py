"""Processes that end: one speaks, all have its exit code. Here they are threads that share a store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import torch.distributed as dist

from pipeline.errors import ConfigError, Elsewhere, Interrupted, RunError
from pipeline.training import ending
from pipeline.training.ending import Ending, exit_code, is_lost_process

LOST = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")
UNUSED = RuntimeError("Expected to have finished reduction in the prior iteration before starting a new one.")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_FIRST_SPEAKS_S", 0.3)
    monkeypatch.setattr(ending, "_LINGER_S", 1.0)


def ends(errors: list[BaseException | None]) -> list[BaseException | None]:
    """What each process ends in, when these are raised in them at the same time; None for one that goes through."""
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=5))
    found: list[BaseException | None] = [None] * len(errors)
    together = threading.Barrier(len(errors))

    def process(rank: int) -> None:
        try:
            with Ending(store, rank, len(errors)).told_once():
                together.wait()
                error = errors[rank]
                if error is not None:
                    raise error
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(len(errors))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_what_all_find_wrong_the_first_tells() -> None:
    faults = [ConfigError("wrong") for _ in range(3)]
    found = ends(list(faults))
    assert found[0] is faults[0]
    assert [type(one) for one in found[1:]] == [Elsewhere, Elsewhere]
    assert [one.code for one in found[1:] if isinstance(one, Elsewhere)] == [2, 2]


@pytest.mark.parametrize(
    ("error", "code"), [(RunError("full"), 2), (Interrupted("SIGTERM"), 3), (KeyboardInterrupt(), 3), (ValueError(), 1)]
)
def test_a_fault_of_another_process_is_told_by_it(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    store = dist.HashStore()
    assert ending.exit_code(error) == code
    with pytest.raises(type(error)), Ending(store, 1, 2).told_once():
        raise error
    assert capsys.readouterr().err == "process 1 of 2, counted from 0:\n"
    with pytest.raises(Elsewhere) as end, Ending(store, 0, 2).told_once():
        raise LOST
    assert end.value.code == code
    assert capsys.readouterr().err == ""


def test_one_that_is_gone_without_a_word_is_told_once() -> None:
    found = ends([LOST, LOST])
    assert isinstance(found[0], RunError) and "without a word" in str(found[0])
    assert isinstance(found[1], Elsewhere)


def test_a_network_with_unused_weights_is_refused() -> None:
    (found,) = ends([UNUSED])
    assert isinstance(found, ConfigError) and found.where == "network"


def test_where_all_goes_well_nothing_is_said() -> None:
    assert ends([None, None]) == [None, None]


def test_a_store_that_is_gone_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Callable[..., None]:
            raise dist.DistNetworkError("broken")

    with pytest.raises(RunError, match="without a word"), Ending(Gone(), 1, 2).told_once():
        raise LOST


def test_a_lost_process_is_told_from_other_errors() -> None:
    assert is_lost_process(LOST)
    assert is_lost_process(dist.DistNetworkError("broken"))
    assert not is_lost_process(RuntimeError("shapes cannot be multiplied"))
    assert not is_lost_process(ValueError("Connection closed by peer"))
    assert (exit_code(LOST), exit_code(RuntimeError("shapes")), exit_code(MemoryError())) == (2, 1, 2)
