"""What the catalog reads from source text is what the imported classes say of themselves."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import monai.transforms
import pytest

from transforms.catalog import (
    MONAI_TRANSFORMS,
    OWN_TRANSFORMS,
    REFUSED_PARAMETERS,
    Signature,
    class_signature,
    package_signature,
    transform_names,
    transform_signature,
)

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def imported(name: str) -> Any:
    home = f"transforms.{OWN_TRANSFORMS[name]}" if name in OWN_TRANSFORMS else "monai.transforms"
    return getattr(import_module(home), name)


@pytest.mark.parametrize("name", sorted(transform_names()))
def test_names_and_parameters_are_those_of_the_classes(name: str) -> None:
    signature = inspect.signature(imported(name)).parameters.values()
    named = {parameter.name: parameter for parameter in signature if parameter.kind in NAMED}
    known, told = transform_signature(name)
    assert known is not None, "a misspelt parameter would pass"
    beyond = known - named.keys()
    assert named.keys() <= known
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature)
    assert not beyond or takes_any
    required = {key for key, parameter in named.items() if parameter.default is parameter.empty}
    assert told == (frozenset() if name == "SelectItemsd" else required)


@pytest.mark.parametrize("name", sorted(MONAI_TRANSFORMS))
def test_monai_s_are_dictionary_transforms(name: str) -> None:
    assert issubclass(imported(name), monai.transforms.MapTransform)


def test_what_could_run_code_or_write_files_is_not_allowed() -> None:
    for name in ("Lambdad", "RandLambdad", "TorchVisiond", "TorchIOd", "SaveImaged", "ImageFilterd", "Compose", "eval"):
        assert name not in transform_names()
    for name in transform_names():
        unsafe = {"func", "callback", "writer", "output_dir", "module", "transform"} & (
            transform_signature(name).names or set()
        )
        assert unsafe == set(), name
    assert set(REFUSED_PARAMETERS["LoadImaged"]) == {"reader", "prune_meta_pattern", "prune_meta_sep"}


def test_padding_takes_the_words_of_padding() -> None:
    known = transform_signature("ResizeWithPadOrCropd").names or frozenset()
    assert {"keys", "spatial_size", "mode", "value"} <= known
    assert "spatial_sise" not in known


def test_a_class_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        '"""class Other: pass"""\n'
        "import nothing_that_exists\n\n"
        "class First:\n    def __init__(self):\n        pass\n\n"
        "@decorated\n"
        "class Second(\n    First,\n):\n"
        '    """With\n\n    words: of its own.\n    """\n\n'
        "    def __init__(self, a, /, b, c=1, *args, d, e=2, **rest):\n        raise SystemExit\n\n"
        "class Third(Second):\n    pass\n"
        "CONSTANT = 1\n"
    )
    assert class_signature(path, "First") == Signature(frozenset())
    assert class_signature(path, "Second") == Signature(None, frozenset("abd")), "it takes any keyword"
    assert class_signature(path, "Second", frozenset({"f"})) == Signature(frozenset("abcdef"), frozenset("abd"))
    assert class_signature(path, "Second", frozenset()) == Signature(frozenset("abcde"), frozenset("abd"))
    assert class_signature(path, "Third") == Signature(), "its constructor is another's"
    assert class_signature(path, "Fourth") == Signature()


def test_what_is_not_installed_is_not_known() -> None:
    assert package_signature("no_such_package_at_all", "transforms", "Flipd") == Signature()
    assert package_signature("monai", "transforms", "NoSuchTransformd") == Signature()
