"""What a picture looks like in 64 bits and a colour, for finding near-duplicates.

The perceptual hash is pHash: signs of the lowest frequencies of the luminance against their median (C. Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). It survives scaling and recompression and
knows no colour, so the mean colour goes with it: the same cut in red and in blue are two products.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as Picture
from PIL.Image import Resampling

MAX_TINT = 12
"""How far mean colours may be apart in each channel, of 255: more than recompression does, less than another colour."""

_SIDE = 32
_KEPT = 8
_MARGIN = 0.01
_NOISE = 64.0  # coefficients of a plain area: a sum over 1024 pixels, each off by a fraction of a level
_STEPS = np.arange(_SIDE)
_COSINES = np.cos(np.pi * (2 * _STEPS[None, :] + 1) * _STEPS[:_KEPT, None] / (2 * _SIDE))


@dataclass(frozen=True, slots=True)
class Looks:
    """`phash`: 64 bits, as a signed integer; `tint`: the mean colour as 0xRRGGBB."""

    phash: int
    tint: int


def looks(picture: Picture) -> Looks:
    """Of an RGB picture of any size; a small one is as good as a large one."""
    grey = np.asarray(picture.convert("L").resize((_SIDE, _SIDE), Resampling.BOX), np.float64)
    lowest = (_COSINES @ grey @ _COSINES.T).ravel()
    waves = lowest[1:]  # the first coefficient is the brightness
    # Symmetric pictures have many coefficients near the median; without a margin noise would decide their bits.
    margin = max(_MARGIN * np.abs(waves).max(), _NOISE)
    bits: NDArray[np.bool_] = lowest > np.median(waves) + margin
    red, green, blue = (int(value) for value in np.asarray(picture.resize((1, 1), Resampling.BOX)).ravel())
    return Looks(int(np.packbits(bits).view(">i8")[0]), red << 16 | green << 8 | blue)


def alike(
    phashes: NDArray[np.int64],
    tints: NDArray[np.int64],
    other_phashes: NDArray[np.int64],
    other_tints: NDArray[np.int64],
    *,
    distance: int,
) -> NDArray[np.bool_]:
    """Which of the pictures [n] look like the others, [n] or a single one [1], at the same place."""
    near = np.bitwise_count((phashes ^ other_phashes).view(np.uint64)) <= distance
    for shift in (16, 8, 0):
        near &= np.abs((tints >> shift & 255) - (other_tints >> shift & 255)) <= MAX_TINT
    return near
