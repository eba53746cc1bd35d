"""Which `s3://` addresses a tenant may import from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.buckets import S3Address, import_prefixes, parse_s3
from core.errors import ItemError
from core.settings import Settings

LISTED = {"shop": ["s3://catalog/shop", "s3://whole"], "*": ["s3://shared/public/"], "other": ["s3://others/"]}


def allowed(text: str, *, tenant: str = "shop", bucket: str = "setr") -> bool:
    prefixes = import_prefixes(Settings(import_prefixes=LISTED, s3_bucket=bucket), tenant)
    try:
        prefixes.check(parse_s3(text))
    except ItemError as error:
        return error.item_code not in {"bucket_refused", "bad_url"}
    return True


@pytest.mark.parametrize(
    "text", ["s3://catalog/shop/1.jpg", "S3://whole/x/y", "s3://whole/", "s3://shared/public/1.jpg"]
)
def test_what_the_operator_listed(text: str) -> None:
    assert allowed(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://catalog/shop-secrets/1.jpg",
        "s3://catalog/shop",
        "s3://catalog/",
        "s3://catalog/shop/../x",
        "s3://catalog/./shop/x",
        "s3://shared/private/1.jpg",
        "s3://others/1.jpg",
        "s3://Whole/x",
        "s3:///shop/",
        "s3://wh ole/x",
        "s3://whole/a\nb",
        "s3://whole/" + "ü" * 600,
        "https://whole/x",
    ],
)
def test_what_nobody_listed(text: str) -> None:
    assert not allowed(text)


def test_another_tenant_has_its_own_list() -> None:
    assert allowed("s3://others/1.jpg", tenant="other")
    assert not allowed("s3://whole/1.jpg", tenant="other")
    assert not allowed("s3://whole/1.jpg", tenant="*")


def test_the_own_bucket_is_never_open() -> None:
    assert not allowed("s3://whole/tenants/x", bucket="whole")


@given(st.text(max_size=30))
def test_keys_are_taken_literally_or_refused(key: str) -> None:
    try:
        address = parse_s3(f"s3://whole/{key}")
    except ItemError as error:
        assert error.item_code == "bad_url"  # noqa: PT017 - either outcome is right
    else:
        assert address == S3Address("whole", key)
        assert ".." not in address.key.split("/")
