"""The error family, and several faults as one."""

from __future__ import annotations

import pickle

import pytest

from pipeline import errors
from pipeline.errors import ChainError, ConfigError, DataError, Fault, Faults, ImageFileError, RunError, raise_all


@pytest.mark.parametrize("kind", [ConfigError, DataError, RunError, ChainError, ImageFileError, Faults])
def test_every_fault_of_the_user_is_of_one_family(kind: type[Exception]) -> None:
    assert issubclass(kind, Fault)


def test_an_interruption_is_no_fault() -> None:
    assert not issubclass(errors.Interrupted, Fault)


def test_exit_codes() -> None:
    codes = (errors.EXIT_DONE, errors.EXIT_DEFECT, errors.EXIT_USER, errors.EXIT_INTERRUPTED)
    assert codes == (0, 1, 2, 3)


def test_raise_all() -> None:
    one, other = ConfigError("a", where="x"), DataError("b", where="y")
    raise_all([])
    with pytest.raises(ConfigError) as single:
        raise_all(iter([one]))
    assert single.value is one
    with pytest.raises(Faults) as both:
        raise_all(fault for fault in (one, other))
    assert both.value.faults == (one, other)
    assert str(both.value) == "x: a.\ny: b."


def test_faults_within_faults_are_told_one_by_one() -> None:
    one, two, three = (ConfigError(name) for name in "abc")
    assert Faults([Faults([one, two]), three]).faults == (one, two, three)


def test_no_fault_is_no_faults() -> None:
    with pytest.raises(ValueError, match="no fault"):
        Faults([])


def test_a_place_for_all_that_have_none() -> None:
    placed = Faults([ConfigError("a"), ConfigError("b", where="y")]).at("x")
    assert [fault.where for fault in placed.faults] == ["x", "y"]


def test_pickling() -> None:
    faults = Faults([ConfigError("a", where="x"), DataError("b", remedy="c")])
    copy = pickle.loads(pickle.dumps(faults))
    assert str(copy) == str(faults)
    assert [type(fault) for fault in copy.faults] == [ConfigError, DataError]
