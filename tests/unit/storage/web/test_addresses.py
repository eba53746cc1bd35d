"""Which addresses a connection may go to."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ItemError, TemporaryItemError
from core.urls import parse_networks
from storage.web.addresses import AddressRules

REFUSED = [
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.8.8.8",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "2001::1",
    "2002:a00:1::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


def rules(*addresses: str, networks: str = "") -> AddressRules:
    def resolver(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("shop.example", 80)
        return addresses

    return AddressRules(parse_networks(networks), resolver)


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(ItemError) as caught:
        rules(address).reachable("shop.example", 80)
    assert caught.value.item_code == "url_refused"
    assert address not in caught.value.detail


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert len(rules(address).reachable("shop.example", 80)) == 1


def test_of_several_addresses_only_public_ones_are_left() -> None:
    assert rules("10.0.0.1", "1.1.1.1", "1.1.1.1").reachable("shop.example", 80) == ("1.1.1.1",)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::9"])
def test_the_operator_may_allow_networks(address: str) -> None:
    assert rules(address, networks="10.1.0.0/16, fd00::/8").reachable("shop.example", 80)


def test_a_network_next_to_an_allowed_one_stays_refused() -> None:
    with pytest.raises(ItemError, match="no public address"):
        rules("10.2.0.1", networks="10.1.0.0/16").reachable("shop.example", 80)


def test_a_host_without_an_address_may_have_one_later() -> None:
    def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError(host, port)

    with pytest.raises(TemporaryItemError) as caught:
        AddressRules(resolver=nowhere).reachable("shop.example", 80)
    assert caught.value.item_code == "url_unavailable"


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_disguise(address: ipaddress.IPv4Address) -> None:
    public = AddressRules().allows(address)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        disguised = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address))
        assert AddressRules().allows(disguised) <= public
