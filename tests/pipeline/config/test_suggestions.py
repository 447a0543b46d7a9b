"""The nearest name, or what there is to choose from."""

from __future__ import annotations

import pytest

from pipeline.config.suggestions import nearest, suggestion


@pytest.mark.parametrize(
    ("name", "known", "wanted"),
    [
        ("Resize", ["Resized", "Rotated"], "Resized"),
        ("resized", ["Resized", "Rotated"], "Resized"),
        ("epoch", ["epochs", "seed"], "epochs"),
        ("batchsize", ["batch_size", "budget"], "batch_size"),
        ("xyz", ["epochs", "seed"], None),
        ("", ["epochs"], None),
        ("epochs", [], None),
    ],
)
def test_nearest(name: str, known: list[str], wanted: str | None) -> None:
    assert nearest(name, known) == wanted


def test_suggestion() -> None:
    assert suggestion("epoch", ["seed", "epochs"]) == "The nearest known name is 'epochs'"
    assert suggestion("xyz", ["seed", "epochs"]) == "Known here: epochs, seed"
    assert (
        suggestion("xyz", [f"name{number:02}" for number in range(20)], limit=2)
        == "Known here: name00, name01 and 18 more"
    )
