"""A fault tells where, what and what to do, and survives the way out of a worker process."""

from __future__ import annotations

import pickle

import pytest

from transforms.faults import ChainError, Fault, ImageFileError


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("it is bad"), "it is bad."),
        (Fault("it is bad", where="a.yaml:3: seed"), "a.yaml:3: seed: it is bad."),
        (Fault("it is bad", remedy="Make it good"), "it is bad. Make it good."),
        (Fault("it is bad", where="x", remedy="Make it good"), "x: it is bad. Make it good."),
        (Fault("the library said: no.", remedy="Ask it why?"), "the library said: no. Ask it why?"),
        (Fault("values 1, 2, ... \n"), "values 1, 2, ..."),
    ],
)
def test_text(fault: Fault, text: str) -> None:
    assert str(fault) == text


def test_a_place_is_put_on_once() -> None:
    fault = ImageFileError("bad", remedy="Mend it").at("a.nii")
    assert (type(fault), fault.what, fault.where, fault.remedy) == (ImageFileError, "bad", "a.nii", "Mend it")
    assert fault.at("b.nii") is fault


@pytest.mark.parametrize("kind", [Fault, ImageFileError, ChainError])
def test_pickling(kind: type[Fault]) -> None:
    fault = kind("bad", where="here", remedy="Mend it")
    copy = pickle.loads(pickle.dumps(fault))
    assert type(copy) is kind
    assert (copy.what, copy.where, copy.remedy, str(copy)) == (fault.what, fault.where, fault.remedy, str(fault))
