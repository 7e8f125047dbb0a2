"""What the command line does with its arguments: a command, and one sentence for whatever goes wrong in it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import cyclopts
from cyclopts import App

from correlight import __version__
from correlight.cli.apply import apply
from correlight.cli.batch import batch
from correlight.cli.convert import convert
from correlight.cli.demo import demo
from correlight.cli.features import features
from correlight.cli.figure import figure
from correlight.cli.landmarks import landmarks
from correlight.cli.pair import pair
from correlight.cli.predict import predict
from correlight.cli.register import register
from correlight.cli.reproduce import reproduce
from correlight.cli.terminal import ACCEPTED, FAILED, MISUSED, printable
from correlight.cli.train import train
from correlight.output.failure import failure_of

# Words of messages that a user of the command line can act upon by an option, and that option.
_OPTIONS = {
    "as the predictor": "--predictor",
    "allow it to be overwritten": "--overwrite",
    "give a pixel size for the fixed image": "--fixed-spacing",
    "give a pixel size for the moving image": "--moving-spacing",
    "give none for the fixed image": "no --fixed-spacing",
    "give none for the moving image": "no --moving-spacing",
    "give the ratio of their pixel sizes": "--ratio",
    "have landmarks made of the transform": "--landmarks N",
    "choose a smaller pixel size to work at": "--at",
    "the source that it moves; give its name": "--name NAME",
}
app = App(
    name="correlight",
    version=__version__,
    help="Registers images of one specimen from different microscopes, and reports how reliable the result is.",
)
for command in (register, batch, reproduce, apply, convert, figure, landmarks, features, pair, train, predict, demo):
    app.command(command)


def _fail(sentence: str, code: int) -> int:
    print(printable(f"correlight: {' '.join(sentence.split())}"), file=sys.stderr)
    return code


def run(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say and return the exit code; lets nothing out but interruptions.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the name of the program; those of the process by default.
    """
    try:
        command, bound, _ = app.parse_args(
            sys.argv[1:] if argv is None else list(argv), print_error=False, exit_on_error=False
        )
        outcome = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else ACCEPTED
    except cyclopts.CycloptsError as error:
        one = re.sub(r"\.\s+([A-Z])", lambda start: f"; {start[1].lower()}", str(error)).rstrip(".?! ")
        # Which commands and options there are, the help says in full.
        one = re.sub(r"[?;.]\s*available commands: .*", "", one, flags=re.IGNORECASE)
        asked = next((name for name in error.command_chain or () if name in app), None)
        help_of = f"correlight {asked} --help" if asked else "correlight --help"
        return _fail(f"{one}; run '{help_of}' to see what is expected.", MISUSED)
    except Exception as error:
        failure = failure_of(error)
        if failure.kind == "internal" and os.environ.get("CORRELIGHT_DEBUG"):
            raise
        return _fail(_with_options(failure.sentence), MISUSED if failure.kind == "misuse" else FAILED)


def _with_options(sentence: str) -> str:
    """The sentence with the options that do what it says."""
    for words, option in _OPTIONS.items():
        sentence = sentence.replace(words, f"{words} ({option})")
    return sentence
