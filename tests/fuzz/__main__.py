"""python -m tests.fuzz TARGET [options of libFuzzer] [FOLDER]: drives a target with Atheris until it fails."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

if __name__ == "__main__":
    # What peers do wrong is logged, and here they do nothing else.
    logging.disable()
    with atheris.instrument_imports(include=["framepair"]):
        from tests.fuzz.targets import TARGETS
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    folders = [Path(option) for option in options if not option.startswith("-")]
    for number, seed in enumerate(target.seeds if folders else ()):
        (folders[0] / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], f"-max_len={target.max_bytes}", *options], target.run)
    atheris.Fuzz()
