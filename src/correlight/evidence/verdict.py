"""Evidence and verdict: what speaks for and against a result, and whether to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Status = Literal["accepted", "doubtful", "refused"]


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
        Whether it speaks for the result.
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
    """Whether a result may be trusted, and why.

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
