"""A result that knows its images: it saves, moves, draws and lists itself."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from correlight.errors import UsageError
from correlight.images.display import in_a_page
from correlight.images.fingerprint import fingerprint
from correlight.images.image import Image
from correlight.images.kernel import Order
from correlight.images.resample import output_grid
from correlight.images.resample import warp as warped
from correlight.landmarks.synthetic import landmarks_of
from correlight.landmarks.tables import LandmarkTable
from correlight.notebook.extras import needed
from correlight.output.apply.saved import Frames, in_frame
from correlight.output.asked import GridChoice, check_grid
from correlight.output.figure.overlay import Region, draw
from correlight.output.figure.slices import in_the_plane
from correlight.output.figure.write import must_be_writable
from correlight.output.figure.write import write as write_figure
from correlight.output.folder import overlay_of, result_folder, write_result
from correlight.output.landmarks import bead_names
from correlight.output.section import in_space, output_grid_in_space
from correlight.output.target import reserve_files
from correlight.registration.options import as_image
from correlight.registration.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ResultWithImages(Result):
    """What `correlight.register` returns: a `Result`, and what can be done with it and its two images.

    It keeps the two images, not copies of them: an array must stay as it was registered.

    Parameters
    ----------
    seen : tuple of int or None
        The fingerprints of the two images as they were registered (`correlight.images.fingerprint`).
    """

    seen: tuple[int | None, ...] = ()

    def save(
        self, folder: str | Path, *, grid: GridChoice = "fixed", composite: bool = False, overwrite: bool = False
    ) -> Path:
        """Write the same folder as the command line: record, transform, report, overlay and registered image.

        Parameters
        ----------
        folder : str or Path
            Written completely or not at all.
        grid : {"fixed", "moving", "none"} or float
            Pixels of the registered image, as a number in micrometres; "none" leaves it out.
        composite : bool
            Whether the fixed image and the registered channels are written as one image as well.
        overwrite : bool
            Whether an earlier result there is replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        UsageError
            If the folder exists and may not be replaced, the grid does not suit the images, or an array has changed
            since it was registered.
        ReadError
            If a file of the images has changed since it was read.
        WriteError
            If it cannot be written.
        """
        fixed, moving = self._both
        if not isinstance(folder, str | Path):
            raise UsageError(f"The name of a folder was expected; got {folder!r}.")
        check_grid(grid, "fixed", "moving", "none")
        with result_folder(folder, fixed, moving, overwrite=overwrite) as place:
            write_result(place, self, fixed, moving, grid=grid, composite=composite)
        return Path(folder)

    def warp(
        self, image: Image | ArrayLike | None = None, *, grid: GridChoice = "fixed", order: Order = "linear"
    ) -> Image:
        """An image of the moving microscope, on the pixels of the fixed image.

        Parameters
        ----------
        image : Image or array, optional
            Another image that lies where the moving one does, such as a further channel; the moving image without. One
            of as many pixels that states a size where the moving image states none, or the reverse, lies on its pixels.
        grid : {"fixed", "moving"} or float
            Pixels of the output, as a number in micrometres.
        order : {"linear", "nearest"}
            "nearest" keeps the values of labels.

        Returns
        -------
        Image
            Every channel in its own pixel type; valid where the moving image was really sampled.

        Raises
        ------
        UsageError
            If the result is refused, image and transform differ in dimension, the image states a pixel size where the
            moving image of another shape states none or the reverse, or an array has changed since it was registered.
        """
        if self.status == "refused":
            raise UsageError("The registration was refused, so nothing can be moved by it; see result.verdict.reasons.")
        check_grid(grid, "fixed", "moving")
        if order not in get_args(Order):
            raise UsageError(f"An order of interpolation is {' or '.join(get_args(Order))}; got {order!r}.")
        fixed, moving = self._both
        image = moving if image is None else self._beside(moving, image)
        transform = self.moving_from_fixed
        if transform.ndim == 3:
            fixed = in_space(fixed, transform, moving.grid.spacing[0], "fixed")
            image = in_space(image, transform, fixed.grid.spacing[0], "moving")
            onto = output_grid_in_space(fixed.grid, image.grid, transform, grid)
        else:
            onto = output_grid(fixed.grid, image.grid, transform, grid)  # type: ignore[arg-type]
        values, covered = warped(image, image.grid, transform, onto, order)
        source = {"moved_by": self.recipe, **{key: image.source[key] for key in ("path",) if key in image.source}}
        return Image((values,), onto, image.channels, image.rgb, covered, source=source)

    def to_landmarks(self, per_axis: int = 5) -> LandmarkTable:
        """Corresponding places on a lattice over what both images show, for programs that take landmarks only.

        Parameters
        ----------
        per_axis : int
            Places along each axis of the fixed image; those that the moving image does not show are left out.

        Raises
        ------
        UsageError
            If the result is refused, there are fewer than two, or the images have nothing in common.
        """
        if self.status == "refused":
            raise UsageError("The registration was refused, so it makes no landmarks; see result.verdict.reasons.")
        fixed, moving = self._pair
        return landmarks_of(self.moving_from_fixed, fixed.grid, moving.grid, per_axis)

    def overlay(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The overlay that a result folder holds, ``(Y, X, 3)``, at most 1600 pixels a side; of stacks a section."""
        return overlay_of(self, *self._both)

    def figure(
        self,
        file: str | Path,
        *,
        channels: str | Sequence[str] = (),
        colours: str | Sequence[str] = (),
        region: Region | None = None,
        longest: int | None = None,
        slice_number: int | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Draw the overlay for a publication, as ``correlight figure`` does, at the pixels of the fixed image.

        Parameters
        ----------
        file : str or Path
            Its ending says the format: .png, .tif, .pdf or .svg.
        channels, colours, region, longest
            As for `correlight.output.figure.overlay.draw`.
        slice_number : int, optional
            Of stacks, which slice of the fixed one, from 0; the one in the middle of what both show without.
        overwrite : bool
            Whether an earlier file is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        UsageError
            If the result was refused, an option does not suit the images, the file exists and may
            not be replaced, or an array has changed since it was registered.
        WriteError
            If it cannot be written.
        """
        if not isinstance(file, str | Path):
            raise UsageError(f"The name of a file was expected; got {file!r}.")
        must_be_writable(Path(file))
        *planes, between, _ = in_the_plane(*self._both, self.moving_from_fixed, slice_number)
        beads = None
        if self.pairs is not None and self.moving_from_fixed.ndim == 2:
            beads = (bead_names(len(self.pairs[0])), *self.pairs)
        shown: dict[str, Any] = {"channels": channels, "colours": colours, "region": region, "longest": longest}
        used = self.fixed.channel, self.moving.channel
        drawn = draw(planes[0], planes[1], between, used=used, status=self.status, landmarks=beads, **shown)
        with reserve_files(file, overwrite=overwrite) as folder:
            write_figure(folder / Path(file).name, drawn.picture, drawn.offset, drawn.marks, drawn.shape, drawn.grid)
        return Path(file)

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the overlay, with the verdict as its title, by Matplotlib.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where to draw; new ones without.

        Raises
        ------
        UsageError
            If Matplotlib is not installed, or these are no axes of it.
        """
        if axes is None:
            axes = needed("matplotlib.pyplot", "plots").subplots()[1]
        if not hasattr(axes, "imshow"):
            raise UsageError(f"Axes of Matplotlib were expected, as plt.subplots makes them; got {axes!r}.")
        axes.imshow(self.overlay())
        axes.set_axis_off()
        axes.set_title(f"{self.status}, confidence {self.confidence:.2f}", fontsize="medium")
        return axes

    def evidence_table(self) -> DataFrame:
        """One row per piece of evidence: name, value, limit, whether it favours the result, and the sentence.

        Raises
        ------
        UsageError
            If pandas is not installed.
        """
        rows = [one.to_json() for one in self.verdict.evidence]
        return needed("pandas", "tables").DataFrame(rows)

    def poses_table(self) -> DataFrame:
        """One row per distinct pose that the search found, best first.

        Raises
        ------
        UsageError
            If pandas is not installed.
        """
        rows = [pose.to_json() for pose in self.poses]
        return needed("pandas", "tables").DataFrame(rows)

    def _repr_html_(self) -> str:
        """A notebook shows the overlay with the verdict and its reasons."""
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in self.verdict.reasons)
        line = repr(replace(self, verdict=replace(self.verdict, reasons=())))
        try:
            return f"{in_a_page(self.overlay(), line)}<ul>{reasons}</ul>"
        except UsageError as error:
            # The images are not at hand, or were changed.
            return f"<div>{html.escape(line)}<br>{html.escape(str(error))}</div><ul>{reasons}</ul>"

    @property
    def _pair(self) -> tuple[Image, Image]:
        if self.images is None:
            raise UsageError("This result does not hold its images; register them again to go on from it.")
        return self.images

    @property
    def _both(self) -> tuple[Image, Image]:
        """The two images, whose pixels must be those that were registered."""
        for role, image, seen in zip(("fixed", "moving"), self._pair, self.seen, strict=False):
            if fingerprint(image) != seen:
                raise UsageError(
                    f"The array of the {role} image has changed since it was registered; register a copy of it "
                    "(array.copy()) before you work on with it."
                )
        return self._pair

    def _beside(self, moving: Image, given: Image | ArrayLike) -> Image:
        """Another image on the grid on which it lies where the moving image lies."""
        image = as_image("given", given, None)
        checksum = self.moving.sha256 if image.grid.shape == moving.grid.shape else None
        frames = Frames(self._pair[0].grid, moving.grid, None, checksum, self.status, moving_part=self.moving.part)
        return replace(image, grid=in_frame(image, frames, None, "moving"))
