"""Searches by what images show: features, mutual information over intensity levels, patches that vote for a shift."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from correlight.intensity import planes, volumes
from correlight.intensity.planes import PlaneCandidate
from correlight.intensity.volumes import VolumeCandidate
from correlight.methods.protocols import DIMENSIONS, Dimension, MethodSettings, Option, Serves
from correlight.methods.task import Candidate, Task
from correlight.search.correlate import ByFeatures, MakeEngine
from correlight.search.information import MutualInformationEngine
from correlight.search.stretch import StretchedPose


class PoseSettings(MethodSettings):
    """Settings of a search for any pose.

    Parameters
    ----------
    scale : tuple of float
        Least and greatest moving pixels per fixed pixel where a pixel size is unknown; stacks always state theirs.
    calibrated_tolerance : float
        By how much the scale may differ from what both files claim.
    least_overlap : float
        Least common area as a fraction of the smaller field.
    hypotheses : int
        How many poses are refined a little before the best of them is chosen.
    orientations : {"about z", "all"}
        Of volumes: whether the two z axes point roughly along one line, or any of the three axes may lie along z.
    """

    scale: tuple[float, float] = (0.25, 4.0)
    calibrated_tolerance: float = Field(default=0.15, gt=0, lt=1)
    least_overlap: float = Field(default=0.35, gt=0, lt=1)
    hypotheses: int = Field(default=8, ge=1)
    orientations: Literal["about z", "all"] = "about z"

    @model_validator(mode="after")
    def _without_effect(self) -> PoseSettings:
        idle = {"scale", "hypotheses"} & self.model_fields_set
        if self.orientations == "all" and idle:
            raise ValueError(f"{' and '.join(sorted(idle))} count for flat images, which orientations = 'all' excludes")
        return self


class _PoseSearch:
    """Every rotation, mirror, scale and shift; of stacks, in projections, then every depth, direction of z and tilt."""

    Settings: ClassVar[type[MethodSettings]] = PoseSettings
    gives: ClassVar[tuple[type[Candidate], ...]] = (PlaneCandidate, VolumeCandidate)
    uses_appearance: ClassVar[bool]

    def __init__(self, settings: PoseSettings) -> None:
        self._settings = settings
        self.scale = settings.scale
        self.calibrated_tolerance, self.least_overlap = settings.calibrated_tolerance, settings.least_overlap
        self._known: MakeEngine | None = None

    def serves(self, dimension: Dimension) -> Serves:
        """All images; the list of poses has ranks."""
        served = DIMENSIONS if self._settings.orientations == "about z" else DIMENSIONS[1:]
        options: set[Option] = {"rotation", "scale", "mirror", "start", "pose"}
        return Serves(
            dimensions=frozenset(served),
            options=options | {"stretch"} if dimension == "2-D" else options,
            # In the plane, features also choose among several hypotheses.
            appearance=self.uses_appearance or dimension == "2-D",
            less_overlap=dimension == "2-D",
        )

    def _engine(self, task: Task) -> MakeEngine:
        raise NotImplementedError

    def find(self, task: Task) -> Candidate:
        """The candidate whose best pose stands out most."""
        if self._known is None:
            # One engine for all readings of the files: engines keep what they computed of a plane.
            self._known = self._engine(task)
        engine = self._known
        if task.pair.ndim == 2:
            return planes.find(task, engine, self._settings.hypotheses)
        return volumes.find(task, volumes.by_projections(task, engine), self._settings.orientations == "all")

    def stretch(self, task: Task, candidate: Candidate, within: tuple[float, float]) -> StretchedPose | None:
        """The likeliest stretch of two images in the plane."""
        assert isinstance(candidate, PlaneCandidate)
        return planes.likeliest_stretch(task, candidate, within)


class FeatureSearch(_PoseSearch):
    """By the correlation of features."""

    uses_appearance = True

    def _engine(self, task: Task) -> MakeEngine:
        appearance = task.pair.compared_by
        return ByFeatures(appearance.search, appearance.stride)


class MutualInformationSearch(_PoseSearch):
    """By mutual information over intensity levels at every shift."""

    uses_appearance = False

    def _engine(self, task: Task) -> MakeEngine:
        return MutualInformationEngine


class PatchSettings(MethodSettings):
    """Settings of the search by patches.

    Parameters
    ----------
    least_overlap : float
        Least common volume as a fraction of the smaller one.
    """

    least_overlap: float = Field(default=0.2, gt=0, lt=1)


class PatchSearch:
    """Of volumes with small rotation: patches after the Laplacian of Gaussian vote for the shift in the plane."""

    Settings: ClassVar[type[MethodSettings]] = PatchSettings
    gives: ClassVar[tuple[type[Candidate], ...]] = (VolumeCandidate,)
    # Stacks state their voxel sizes, and patches are compared at the middle of the range of scales.
    scale, calibrated_tolerance = (1.0, 1.0), 0.15

    def __init__(self, settings: PatchSettings) -> None:
        self.least_overlap = settings.least_overlap

    def serves(self, dimension: Dimension) -> Serves:
        """Stacks only, and no rotation but that of a start."""
        return Serves(dimensions=frozenset(DIMENSIONS[1:]), options={"scale", "start", "pose"})

    def find(self, task: Task) -> Candidate:
        """The candidate whose best pose stands out most."""
        return volumes.find(task, volumes.by_patches(task), every_axis=False, only_shifts=True)
