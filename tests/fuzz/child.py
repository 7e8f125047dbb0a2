"""The process that reads mutants, with little memory and nothing to lose: one line in, one line out."""

import resource
import sys
import warnings
from pathlib import Path

import numpy as np

from correlight.errors import CorrelightError
from correlight.exchange import read_file
from correlight.io import read
from tests.exchange.test_hostile import FILES
from tests.exchange.test_mutants import known, usable

MEMORY = 12 * 2**30  # bytes of address space; a reader may take 2 GiB, libraries and threads reserve the rest


def outcome(name: str, path: Path) -> str:
    """What reading a file led to: "read", "refused", or what should not have happened, after "fault: "."""
    try:
        if name.startswith("transform-"):
            form = FILES[path.name][1] if path.name in FILES else None
            content = read_file(path, form, known(path.name))
            return "read" if usable(content) else "fault: numbers that are not finite"
        image = read(path)
        block = np.asarray(image.levels[0][:, ..., :32, :32])
        return "read" if block.ndim == image.ndim + 1 else f"fault: a block of shape {block.shape}"
    except CorrelightError as error:
        said = str(error)
        return "refused" if "\n" not in said and len(said) < 1000 else f"fault: a long message, {said[:200]!r}"
    except Exception as error:
        return f"fault: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def main() -> None:
    """Read what standard input names, until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**26, 2**26))
    warnings.simplefilter("error")
    for line in sys.stdin:
        name, _, path = line.rstrip("\n").partition("\t")
        print(outcome(name, Path(path)), flush=True)


if __name__ == "__main__":
    main()
