"""Evidence and verdict: what favours and contradicts a result, and whether it is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Status = Literal["refused", "doubtful", "accepted"]
# From bad to good.
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece of evidence for or against a result.

    Parameters
    ----------
    name : str
        Short title, for a table.
    value : float
        The number measured.
    limit : float
        What it is compared with.
    favours : bool
        Whether it favours the result.
    sentence : str
        The finding in words, with the number in it.
    """

    name: str
    value: float
    limit: float
    favours: bool
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """The evidence as it stands in ``result.json``."""
        return {
            "name": self.name,
            "value": self.value if np.isfinite(self.value) else None,
            "limit": self.limit if np.isfinite(self.limit) else None,
            "favours": self.favours,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a result is accepted, and why.

    Parameters
    ----------
    status : {"accepted", "doubtful", "refused"}
        The answer.
    confidence : float
        Between 0 and 1.
    reasons : tuple of str
        Sentences that say why.
    evidence : tuple of Evidence
        Everything that was weighed.
    """

    status: Status
    confidence: float
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()

    def __bool__(self) -> bool:
        """Whether the result is accepted."""
        return self.status == "accepted"


def measured(
    name: str, value: float, limit: float, good: str, bad: str | None = None, *, below: bool = False
) -> Evidence:
    """One piece of evidence from a number that ought to be above a limit, or below it.

    Parameters
    ----------
    name, value, limit
        As for `Evidence`.
    good, bad : str
        The sentence where the number favours the result, and where it does not; the same without ``bad``.
    below : bool
        Whether small values are good.
    """
    favours = bool(value <= limit if below else value >= limit)
    return Evidence(name, value, limit, favours, good if favours or bad is None else bad)


def verdict_of(evidence: Sequence[Evidence], confidence: float, status: Status, first: Sequence[str] = ()) -> Verdict:
    """A verdict whose reasons are the sentences of its evidence.

    What is accepted gives its three strongest reasons and its weak sides; what is not accepted gives only what is
    against it. Where nothing is, all of it together was too weak: then that is said, and what is nearest to its limit.

    Parameters
    ----------
    evidence : sequence of Evidence
        Strongest first; entries that were not measured (NaN) give no reason.
    confidence : float
        Between 0 and 1.
    status : {"accepted", "doubtful", "refused"}
        The answer.
    first : sequence of str
        Reasons to be said before all others.
    """
    against = tuple(one.sentence for one in evidence if not one.favours)
    support = tuple(one.sentence for one in evidence if one.favours)
    reasons = (*support[:3], *against) if status == "accepted" else against
    if status != "accepted" and not against and not first:
        said = f"Nothing speaks against this result, but what speaks for it is too weak (confidence {confidence:.2f})."
        weakest = sorted((one for one in evidence if np.isfinite(one.value)), key=_to_spare)[:2]
        reasons = (said, *(one.sentence for one in weakest))
    return Verdict(status, confidence, (*first, *reasons), tuple(evidence))


def _to_spare(one: Evidence) -> float:
    """How far beyond its limit a finding is that favours a result, as a factor."""
    small, large = sorted((abs(one.value), abs(one.limit)))
    return large / small if small > 0 else np.inf


def more_cautious(one: Verdict, other: Verdict, agreement: Evidence, most: float) -> Verdict:
    """Of two opinions about one transform the more cautious one, with the evidence of both.

    Parameters
    ----------
    one, other : Verdict
        Two independent opinions.
    agreement : Evidence
        Whether they are about the same transform; where they are not, nothing is accepted.
    most : float
        No confidence above this.
    """
    own: Status = "accepted" if agreement.favours else "doubtful"
    status = min(one.status, other.status, own, key=STATUSES.index)
    reasons = [reason for verdict in (one, other) if verdict.status == status for reason in verdict.reasons]
    evidence = (*one.evidence, *other.evidence, agreement)
    return Verdict(status, min(one.confidence, other.confidence, most), (*reasons, agreement.sentence), evidence)
