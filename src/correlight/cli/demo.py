"""``correlight demo``: a specimen whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from correlight.cli.options import Output, Overwrite, Whole
from correlight.cli.terminal import ACCEPTED, UNSURE, progress_bar, tell
from correlight.errors import UsageError
from correlight.output.from_files import opened

if TYPE_CHECKING:
    from correlight.images.image import Image


def demo(
    *,
    output: Output = Path("correlight-demo"),
    kind: Literal["cell", "grains", "tissue", "fibres", "neuropil", "plant"] = "cell",
    seed: Whole = 1,
    overwrite: Overwrite = False,
) -> int:
    """Simulate a specimen under two microscopes, register the files, and compare with the known truth.

    Parameters
    ----------
    kind
        What to simulate: a cell section, metal grains, an organ, bundles of fibres, neuropil, or a plant.
    seed
        Another number is another specimen.
    """
    if seed < 0:
        raise UsageError(f"A seed is a whole number from 0; got {seed}.")

    import numpy as np

    from correlight.output.folder import write_result
    from correlight.output.target import reserve
    from correlight.registration.register import register as run
    from correlight.simulate import pair
    from correlight.simulate.write import write_pair

    with reserve(output, overwrite=overwrite) as folder, progress_bar() as progress:
        progress("simulate", 0.0)
        truth = pair(kind, seed)
        files = write_pair(folder, truth)
        progress("simulate", 1.0)
        fixed_image, moving_image = (_settled(opened(path), output) for path in (files.fixed, files.moving))
        result = run(fixed_image, moving_image, seed=seed, progress=progress)
        (folder / "result").mkdir()
        write_result(folder / "result", result, fixed_image, moving_image)
    points = fixed_image.grid.lattice(10)
    apart = np.linalg.norm(result.moving_from_fixed(points) - truth.moving_from_fixed(points), axis=1)
    mean, most = (float(value) / truth.moving_from_fixed.scale for value in (apart.mean(), apart.max()))
    tell(result, output / "result")
    pixel = fixed_image.grid.spacing[1]
    print(
        f"Error against the known truth, in the fixed image: mean {mean:.3g} µm ({mean / pixel:.2g} pixels), "
        f"largest {most:.3g} µm ({most / pixel:.2g} pixels)."
    )
    return ACCEPTED if result else UNSURE


def _settled(image: Image, folder: Path) -> Image:
    """The same image, remembering the folder that its files will lie in rather than the provisional one."""
    files = tuple(replace(entry, path=str(folder / Path(entry.path).name)) for entry in image.source["files"])
    return replace(
        image, source={**image.source, "path": str(folder / Path(image.source["path"]).name), "files": files}
    )
