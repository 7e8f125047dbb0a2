"""Training of the kinds ``analogies`` and ``dictionaries``, which need no PyTorch."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from correlight.errors import ReadError, UsageError
from correlight.predict.analogies import Analogy, Example
from correlight.predict.by_example import ARRAYS, Coupled, Quoting, Units, write_arrays
from correlight.predict.contrast import prepared
from correlight.predict.dictionaries import JointDictionary, Round, learned, sampled
from correlight.predict.facts import Contrast, Usual
from correlight.predict.kinds import Mapping
from correlight.predict.sparse_coding import Coding
from correlight.predict.training import Sample, Trained, TrainingPair, TrainingSettings, Workplace, parted
from correlight.predict.usual import PART, parts
from correlight.predict.usual import learned as usual_of

# Where a training of dictionaries keeps what it goes on from.
ROUND = "round.npz"
# As the publication has it; settings of a training may say otherwise.
ATOMS, SAMPLES = 900, 10_000
# Patches for every atom: a dictionary of as many atoms as patches learns them by heart.
_LEAST_PER_ATOM = 4
# Grey values in the folder of a model: half precision distinguishes more of them than instruments do.
_STORED = np.float16
_SHOWN = 4
Known = TypeVar("Known", float, int)


def train_analogies(pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace) -> Trained:
    """Keep registered pairs as examples; nothing is fitted.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        Registered.
    settings : TrainingSettings
        ``own`` may give ``side`` and ``kappa`` (see `correlight.predict.analogies.Analogy`).
    place : Workplace
        Receives the file of the model.

    Raises
    ------
    UsageError
        If there are too few pairs, or they are too small.
    """
    kept, held = parted(pairs)
    usual_side, usual_kappa = Analogy.side, Analogy.kappa
    analogy = Analogy(side=_own(settings, "side", usual_side), kappa=_own(settings, "kappa", usual_kappa))
    kept = [pair for pair in kept if min(pair.mask.shape) >= analogy.side and pair.mask.any()]
    if not kept or analogy.side % 2 == 0:
        raise UsageError(
            f"Surroundings of an odd number of pixels that fit into the pairs were expected; {analogy.side} pixels are "
            "not or do not; give larger pairs or another side."
        )
    units = _units(kept)
    arrays: dict[str, np.ndarray] = {}
    for number, (image, other, mask) in enumerate(_triples(kept, settings.contrast, units)):
        arrays |= {f"source{number}": image.astype(_STORED), f"target{number}": other.astype(_STORED)}
        arrays[f"mask{number}"] = mask
    write_arrays(place.folder, arrays)
    place.tell(f"{len(kept)} examples are kept; what is held out is being predicted", 0.5)
    mapping = Quoting(_triples(kept, settings.contrast, units), analogy, units)
    own = {"examples": len(kept), "side": analogy.side, "kappa": analogy.kappa}
    return _trained(mapping, held, pairs, settings, units, own)


def train_dictionaries(pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace) -> Trained:
    """Learn a dictionary of patch pairs, and from pairs that are held out how sure its predictions are.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        Registered.
    settings : TrainingSettings
        ``own`` may give ``atoms``, ``samples``, ``side``, ``step``, ``sparsity`` and ``weight`` (see
        `correlight.predict.sparse_coding.Coding`).
    place : Workplace
        Receives the file of the model.

    Raises
    ------
    UsageError
        If there are too few pairs, or too few patches that are valid throughout.
    """
    kept, held = parted(pairs)
    usual = Coding()
    coding = Coding(
        _own(settings, "side", usual.side),
        _own(settings, "step", usual.step),
        _own(settings, "sparsity", usual.sparsity),
        _own(settings, "weight", usual.weight),
    )
    atoms, count = _own(settings, "atoms", ATOMS), _own(settings, "samples", SAMPLES)
    if coding.step < 1 or coding.side < coding.step or coding.side % coding.step:
        raise UsageError(f"A step that divides the side of {coding.side} pixels was expected; got {coding.step}.")
    units = _units(kept)
    patches = sampled(
        _triples(kept, settings.contrast, units), coding.side, count, np.random.default_rng(settings.seed)
    )
    if len(patches) < _LEAST_PER_ATOM * atoms:
        raise UsageError(
            f"{_LEAST_PER_ATOM * atoms} patches were expected to learn {atoms} atoms from; the pairs hold "
            f"{len(patches)} at the pixel size of the model, so give more pairs, smaller pixels or fewer atoms."
        )
    dictionary = learned(
        patches,
        atoms,
        coding.sparsity,
        lambda _, done: place.tell(f"dictionary of {atoms} atoms: {done:.0%}", 0.9 * done),
        keep=partial(_keep, place.folder / ROUND),
        kept=_kept(place.folder / ROUND, (atoms, patches.shape[1]), (len(patches), atoms)),
    )
    made = JointDictionary(dictionary, coding, np.ones(6)).with_variances(_triples(held, settings.contrast, units))
    write_arrays(place.folder, {"atoms": dictionary, "variances": made.variances})
    own = {"side": coding.side, "step": coding.step, "sparsity": coding.sparsity, "weight": coding.weight}
    return _trained(Coupled(made, units), held, pairs, settings, units, own)


def _keep(path: Path, done: Round) -> None:
    """Write a round completely or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, number=done.number, dictionary=done.dictionary, codes=done.codes)
    os.replace(part, path)


def _kept(path: Path, dictionary: tuple[int, int], codes: tuple[int, int]) -> Round | None:
    """The round that an interrupted training ended with, if there is one."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            done = Round(int(stored["number"]), *(stored[name].astype(np.float32) for name in ("dictionary", "codes")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ReadError(
            f"{path} was expected to be a checkpoint of this training ({error}); remove its folder to begin anew."
        ) from error
    if done.dictionary.shape != dictionary or done.codes.shape != codes:
        raise ReadError(
            f"{path} was expected to hold {dictionary[0]} atoms of {dictionary[1]} numbers and {codes[0]} codes of "
            "these; remove its folder to begin anew."
        )
    return done


def _own(settings: TrainingSettings, name: str, usual: Known) -> Known:
    value = settings.own.get(name, usual)
    try:
        given = type(usual)(value)
    except ValueError as error:
        raise UsageError(f"The setting {name} was expected to be a number; got {value!r}.") from error
    if not np.isfinite(given) or given < 0:
        raise UsageError(f"The setting {name} was expected to be a positive number; got {value!r}.")
    return given


def _units(pairs: Sequence[TrainingPair]) -> Units:
    values = np.concatenate([pair.target[pair.mask] for pair in pairs])
    width = float(values.std()) if values.size else 0.0
    if width == 0:
        raise UsageError(
            "The targets to learn from have one value everywhere outside what is held out; give more pairs."
        )
    return Units(float(values.mean()), width)


def _triples(pairs: Sequence[TrainingPair], contrast: Contrast, units: Units) -> list[Example]:
    return [
        (
            prepared(pair.source, pair.mask, contrast),
            np.where(pair.mask, units.standardised(pair.target), np.float32(0)),
            pair.mask,
        )
        for pair in pairs
    ]


def _trained(
    mapping: Mapping,
    held: Sequence[TrainingPair],
    pairs: Sequence[TrainingPair],
    settings: TrainingSettings,
    units: Units,
    own: dict[str, float | int],
) -> Trained:
    """What both kinds hand over: what the model makes of what was held out, and what is usual."""
    samples, agree = [], []
    for pair in held[:_SHOWN]:
        made = mapping(prepared(pair.source, pair.mask, settings.contrast), pair.mask)
        samples.append(Sample(pair.name, pair.source, pair.target, np.clip(made, 0, 1)))
        both = made[pair.mask], pair.target[pair.mask]
        if min(np.ptp(one) for one in both) > 0:
            agree.append(float(np.corrcoef(*both)[0, 1]))
    remark = f"mean correlation of prediction and target in {len(agree)} held-out parts: {np.mean(agree or [0]):.3f}"
    return Trained(
        files=(ARRAYS,),
        usual=_usual(pairs, held, settings.contrast),
        settings={**own, "target_mean": units.mean, "target_width": units.width},
        samples=samples,
        remarks=(remark,),
    )


def _usual(pairs: Sequence[TrainingPair], held: Sequence[TrainingPair], contrast: Contrast) -> Usual:
    """What images to predict from look like: parts of those that are known, from several first pixels and turned."""

    def looked_at(some: Sequence[TrainingPair]) -> list[np.ndarray]:
        found = []
        for pair in some:
            values = prepared(pair.source, pair.mask, contrast)
            for turn in range(4):
                for first in range(0, PART, PART // 4):
                    region = np.s_[min(first, values.shape[0] // 4) :, min(first, values.shape[1] // 4) :]
                    turned = np.ascontiguousarray(np.rot90(values[region], turn))
                    found += parts(turned, np.ascontiguousarray(np.rot90(pair.mask[region], turn)))
        return found

    return usual_of(looked_at(pairs), looked_at(held) or looked_at(pairs))
