"""Near-duplicates: groups of images of a gallery that look the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from core import galleries
from core.context import Context
from core.errors import InvalidInputError
from core.looks import alike
from core.models import Image, Page, Principal
from core.ports import Fingerprints

MAX_DISTANCE = 8
"""More finds strangers, and takes long: about 3 s of computing for 50 000 images, against 0.1 s at 4."""

MAX_SHOWN = 100
_BITS = 64

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A member of a group: how many of 64 bits its looks differ from the first member's, and whether its bytes do."""

    image: Image
    distance: int
    identical: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Images that look the same, the oldest first; at most MAX_SHOWN of `size`."""

    size: int
    images: tuple[Duplicate, ...]


@dataclass(frozen=True, slots=True)
class DuplicateQuery:
    """Which groups to list. `distance` None = the operator's."""

    size: int
    after: str | None = None
    distance: int | None = None


def find(ctx: Context, principal: Principal, gallery_name: str, query: DuplicateQuery) -> Page[Group]:
    """Groups by their oldest image: stable under new images. InvalidInputError when the gallery is too large.

    Two images are neighbours when their hashes differ in at most `distance` bits and their mean colours are close; a
    group is what neighbours of neighbours connect. All hashes are read and compared for each page.
    """
    distance = ctx.settings.duplicate_distance if query.distance is None else query.distance
    most = ctx.settings.duplicates_max_images
    with ctx.uow() as uow:
        gallery = galleries.find(uow, principal, gallery_name)
        if gallery.image_count > most:
            raise InvalidInputError(
                f"The gallery has {gallery.image_count} images; duplicates are looked for among at most {most}. "
                "Ask the operator to raise SETR_DUPLICATES_MAX_IMAGES."
            )
        prints = uow.images.fingerprints(gallery.id)
        groups = _groups(label(prints.phashes, prints.tints, distance=distance), prints, after=query.after)
        shown = groups[: query.size]
        images = uow.images.many([prints.ids[row] for rows in shown for row in rows[:MAX_SHOWN]])
    found = tuple(_group(rows, prints, images) for rows in shown)
    return Page(items=found, next_key=str(prints.ids[shown[-1][0]]) if len(groups) > query.size else None)


def _groups(labels: Labels, prints: Fingerprints, *, after: str | None) -> list[NDArray[np.int64]]:
    """Rows of each group of two or more, in order of their first rows; `after` is the id of the last one seen."""
    ordered = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[ordered], prepend=-1))
    groups = [rows for rows in np.split(ordered, starts[1:]) if len(rows) > 1]
    if after is None:
        return groups
    try:
        seen = UUID(after)
    except ValueError as error:
        raise InvalidInputError("The page token is not valid; start again from the first page.") from error
    return [rows for rows in groups if prints.ids[rows[0]] > seen]


def _group(rows: NDArray[np.int64], prints: Fingerprints, images: dict[UUID, Image]) -> Group:
    phashes = prints.phashes[rows].view(np.uint64)
    apart = np.bitwise_count(phashes ^ phashes[0])
    there = [(images.get(prints.ids[row]), int(far)) for row, far in zip(rows, apart, strict=True)]
    shown = [(image, far) for image, far in there if image is not None]
    first = shown[0][0].blob.sha256 if shown else ""
    return Group(len(rows), tuple(Duplicate(image, far, image.blob.sha256 == first) for image, far in shown))


def label(phashes: NDArray[np.int64], tints: NDArray[np.int64], *, distance: int) -> Labels:
    """For each row [n] the first row of its group; a row alone is its own group."""
    if len(phashes) == 0:
        return np.zeros(0, np.int64)
    looks = np.stack([phashes, tints], axis=1)
    _, first, inverse = np.unique(looks, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # distinct looks by their first row, so that the smallest label is the oldest image
    nodes = np.argsort(order)[inverse.ravel()]
    rows = first[order]
    labels = _groups_of_looks(phashes[rows], tints[rows], distance)
    return np.asarray(rows[labels][nodes], np.int64)


def _groups_of_looks(phashes: NDArray[np.int64], tints: NDArray[np.int64], distance: int) -> Labels:
    """For each of distinct looks the first one of its group.

    Hashes that differ in at most d bits agree in one of d + 1 bands at least, so only those that share a band are
    compared (pigeonhole principle), and of these only what is not of one group already: pictures of plain areas may
    all have one hash, and then there are as many neighbours as pairs.
    """
    unsigned, labels = phashes.view(np.uint64), np.arange(len(phashes))
    for start, stop in pairwise(np.linspace(0, _BITS, distance + 2).astype(int)):
        band = unsigned >> np.uint64(start) & np.uint64((1 << int(stop - start)) - 1)
        for pairs in _sharing(band):
            one, other = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]].T
            near = alike(phashes[one], tints[one], phashes[other], tints[other], distance=distance)
            if near.any():
                labels = _joined(labels, one[near], other[near])
    return labels


def _sharing(band: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """All pairs [m, 2] with equal values, a shift of the sorted values at a time: never more than n at once."""
    ordered = np.argsort(band, kind="stable")
    values = band[ordered]
    left = np.arange(len(values))
    for shift in range(1, len(values)):
        left = left[left + shift < len(values)]
        left = left[values[left] == values[left + shift]]
        if len(left) == 0:
            return
        yield np.stack([ordered[left], ordered[left + shift]], axis=1)


def _joined(labels: Labels, one: NDArray[np.int64], other: NDArray[np.int64]) -> Labels:
    """The labels once these pairs are neighbours: the smaller one of each wins until none changes."""
    left, right, joined = labels[one], labels[other], np.arange(len(labels))
    while True:
        smaller = np.minimum(joined[left], joined[right])
        after = joined.copy()
        np.minimum.at(after, left, smaller)
        np.minimum.at(after, right, smaller)
        after = after[after]
        if np.array_equal(after, joined):
            return np.asarray(joined[labels], np.int64)
        joined = after
