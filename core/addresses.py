"""Items that are addresses: URLs and `s3://` keys of manifests, lists of URLs, and all objects under an S3 prefix."""

from collections.abc import Iterator
from typing import BinaryIO

from core.archives import is_junk
from core.buckets import ImportPrefixes, S3Address, is_s3, parse_s3
from core.errors import ItemError
from core.items import Planned, PlannedItem, Remote, failed
from core.lease import still_moving
from core.lines import LineError, Lines
from core.manifests import external_id_problem
from core.models import BucketObject
from core.ports import SourceBuckets
from core.urls import parse_url, url_external_id

_SCHEMES = ("http://", "https://", "s3://")
_MAX_SOURCE = 1000


def is_address(image: str) -> bool:
    """Whether a manifest's `image` is to be fetched, rather than a path."""
    return image.lower().startswith(_SCHEMES)


def is_url_list_name(name: str) -> bool:
    """Whether an uploaded file of this name is a list of URLs."""
    return name.lower().endswith(".txt")


def check_address(address: str, prefixes: ImportPrefixes) -> None:
    """ItemError `bad_url`, `url_refused`, or `bucket_refused` where the tenant may not read."""
    if is_s3(address):
        prefixes.check(parse_s3(address))
    else:
        parse_url(address)


def remote(address: str, prefixes: ImportPrefixes) -> Remote:
    """Where to fetch from. ItemError as in `check_address`."""
    check_address(address, prefixes)
    return Remote(address)


def listed_items(stream: BinaryIO, prefixes: ImportPrefixes, *, comments: bool) -> Iterator[Planned]:
    """An item for each line of a list of addresses, but for empty ones and, if there are `comments`, those with `#`."""
    lines = Lines(stream)
    while True:
        lines.begin()
        try:
            line = next(lines, None)
        except LineError as error:
            yield failed("", f"line {lines.first_number}", "bad_url", f"The line {error}.")
            continue
        if line is None:
            return
        address = line.strip()
        if address and not (comments and address.startswith("#")):
            yield _listed(address, prefixes)


def _listed(address: str, prefixes: ImportPrefixes) -> Planned:
    external_id = ""
    try:
        external_id = parse_s3(address).key if is_s3(address) else url_external_id(address)
        return _item(external_id, address, remote(address, prefixes))
    except ItemError as error:
        return failed(external_id, address[:_MAX_SOURCE], error.item_code, error.detail)


def bucket_items(buckets: SourceBuckets, prefix: S3Address) -> Iterator[Planned]:
    """An item for each object under a prefix, page by page; what desktops leave behind is skipped.

    The external id is what follows the prefix's last slash in the key. InvalidInputError when it cannot be listed.
    """
    base = prefix.key.rpartition("/")[0]
    start = len(base) + 1 if base else 0
    for found in buckets.objects(prefix.bucket, prefix.key):
        still_moving()
        if not found.key.endswith("/") and not is_junk(found.key):
            yield _object_item(prefix.bucket, found, found.key[start:])


def _object_item(bucket: str, found: BucketObject, external_id: str) -> Planned:
    address = str(S3Address(bucket, found.key))
    try:
        parse_s3(address)
        return _item(external_id, address, Remote(address, found.etag))
    except ItemError as error:
        return failed(external_id, address[:_MAX_SOURCE], error.item_code, error.detail)


def _item(external_id: str, address: str, place: Remote) -> Planned:
    problem = external_id_problem(external_id)
    if problem:
        return failed("", address[:_MAX_SOURCE], "bad_external_id", f"{problem}, or name it in a manifest.")
    return PlannedItem(external_id, None, address[:_MAX_SOURCE], place)
