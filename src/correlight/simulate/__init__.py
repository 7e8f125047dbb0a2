"""Specimens with known truth, and the images that an electron and a light microscope take of them."""

from __future__ import annotations

from correlight.simulate.instruments import Electron, Light
from correlight.simulate.pair import SimulatedPair, pair
from correlight.simulate.specimen import Specimen, specimen
from correlight.simulate.write import WrittenPair, write_pair

__all__ = ["Electron", "Light", "SimulatedPair", "Specimen", "WrittenPair", "pair", "specimen", "write_pair"]
