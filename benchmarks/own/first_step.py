"""bin/run_pipeline as it is typed, ended after its first training step."""

from __future__ import annotations

import os
import sys
from typing import Any

from pipeline.commands.run_pipeline import main

_STEP = "pipeline.training.step"


class _Watching:
    """Puts an end behind the first step, when its module is imported: not sooner, for the start is what is measured."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _STEP:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def executed(module: Any) -> None:
            execute(module)
            module.OptimizerStep.__call__ = _ended(module.OptimizerStep.__call__)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def _ended(call: Any) -> Any:
    def once(self: Any, *args: Any, **more: Any) -> None:
        float(call(self, *args, **more))  # waits for the device
        os._exit(0)

    return once


if __name__ == "__main__":
    sys.meta_path.insert(0, _Watching())
    main(sys.argv[1:])
    raise SystemExit("the run ended without a training step")
