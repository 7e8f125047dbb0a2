"""How far a specimen was tilted against the beam, by the tags of scanning electron microscopes.

Stage tilt, tilt correction and scan rotation of FEI (Thermo) are stated in radians, those of Zeiss in degrees. With its
tilt correction on, an instrument scans fewer micrometres along y, so that the pixel sizes that it states hold on the
specimen; nothing remains to be done then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from correlight.images.tilt import Tilt
from correlight.io import calibration
from correlight.io.tiff_instruments import FEI, ZEISS
from correlight.io.tiff_stated import Described, mapping

# Degrees between the ion and the electron column of the instruments of FEI with two beams.
_BETWEEN_BEAMS = 52.0
# A smaller tilt shortens by less than half a percent.
_LEAST, _MOST = 5.0, 80.0
# A scan that is rotated by multiples of a quarter, to so many degrees, is foreshortened along an axis.
_STRAIGHT = 2.0


@dataclass(frozen=True, slots=True)
class _Slant:
    """Degrees of the specimen against the beam and of the scan, and whether the instrument corrected for the first."""

    degrees: float
    scan: float
    corrected: bool


def tilt_of(about: Described) -> tuple[Tilt | None, tuple[str, ...]]:
    """The tilt that an image was not corrected for, and what is worth saying of one.

    Parameters
    ----------
    about : Described
        Where to look.

    Returns
    -------
    Tilt or None
        None where none is stated, where it is small or was corrected for, or where neither axis is foreshortened alone.
    tuple of str
        Findings.
    """
    slant = _fei(about) or _zeiss(about)
    if slant is None or not _LEAST <= slant.degrees <= _MOST:
        return None, ()
    said = f"the specimen was tilted by {slant.degrees:.3g} degrees"
    if slant.corrected:
        return None, (f"{said}; the pixel sizes are corrected for it",)
    quarter = round(slant.scan / 90)
    if abs(slant.scan - 90 * quarter) > _STRAIGHT:
        return None, (
            f"{said} without tilt correction, and the scan rotated by {slant.scan:.3g}, so that the image is "
            "foreshortened in a direction between its axes; registration does not allow for that",
        )
    return Tilt(slant.degrees, quarter % 2), (
        f"{said} without tilt correction; registration allows for the foreshortening",
    )


def _fei(about: Described) -> _Slant | None:
    found = mapping(about, *FEI)
    name = _section(found, "Beam").get("Beam")
    beam = _section(found, name)
    stated = beam.get("StageTa", _section(found, "Stage").get("StageT"))
    degrees = math.degrees(calibration.number(stated))
    if not math.isfinite(degrees):
        return None
    tilt = abs(degrees - _BETWEEN_BEAMS) if name == "IBeam" else abs(degrees)
    scan = math.degrees(calibration.number(beam.get("ScanRotation", 0.0)))
    return _Slant(tilt, scan if math.isfinite(scan) else 0.0, _is_on(beam.get("TiltCorrectionIsOn")))


def _zeiss(about: Described) -> _Slant | None:
    """Entries are found by what they are called, which is what users see, in place of their codes."""
    stated = {
        value[0]: value[1] for value in mapping(about, ZEISS).values() if isinstance(value, tuple) and len(value) > 1
    }
    degrees = calibration.number(stated.get("Stage at T"))
    if not math.isfinite(degrees):
        return None
    scan = calibration.number(stated.get("Scan Rotation", 0.0))
    rotated = math.isfinite(scan) and _is_on(stated.get("Scan Rot", "On"))
    return _Slant(abs(degrees), scan if rotated else 0.0, _is_on(stated.get("Tilt Corrn.")))


def _section(found: Mapping[str, Any], name: Any) -> Mapping[str, Any]:
    section = found.get(name)
    return section if isinstance(section, Mapping) else {}


def _is_on(value: Any) -> bool:
    """Whether a switch is on, in the words of these files; tifffile turns some of them into truth values."""
    return value is True or str(value).strip().lower() in ("yes", "on", "true", "1")
