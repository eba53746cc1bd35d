"""The one parser of URLs that somebody else wrote."""

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import ItemError
from core.urls import WebUrl, parse_networks, parse_ports, parse_url, redirected, shown_url, url_external_id


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://shop.example", "http://shop.example/"),
        ("HTTPS://Shop.Example:443/A?b=c#fragment", "https://shop.example/A?b=c"),
        ("http://shop.example:8080/a b".replace(" ", "%20"), "http://shop.example:8080/a%20b"),
        ("http://bücher.example/ü?ä=ö", "http://xn--bcher-kva.example/%C3%BC?%C3%A4=%C3%B6"),
        ("http://[2001:DB8:0::1]:81/x", "http://[2001:db8::1]:81/x"),
        ("http://1.2.3.4/100%", "http://1.2.3.4/100%25"),
        ("http://a_b.example/%41", "http://a_b.example/%41"),
    ],
)
def test_urls_in_their_usual_form(text: str, shown: str) -> None:
    assert str(parse_url(text)) == shown
    assert str(parse_url(shown)) == shown


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_url"),
        ("http://", "bad_url"),
        ("#http://a/", "bad_url"),
        ("http:///path", "bad_url"),
        ("http://a/" + "x" * 5000, "bad_url"),
        ("http://a b/", "bad_url"),
        ("http://a/\n", "bad_url"),
        ("http://a\\@b/", "bad_url"),
        ("http://a:0/", "bad_url"),
        ("http://a:70000/", "bad_url"),
        ("http://a:b/", "bad_url"),
        ("http://[::1", "bad_url"),
        ("http://[fe80::1%25eth0]/", "bad_url"),
        ("http://a..b/", "bad_url"),
        ("http://-a/", "bad_url"),
        ("http://a%2fb/", "bad_url"),
        ("http://" + "a" * 64 + "/", "bad_url"),
        ("ftp://a/", "url_refused"),
        ("//a/b", "url_refused"),
        ("javascript:alert(1)", "url_refused"),
        ("http://u:p@a/", "url_refused"),
        ("http://@a/", "url_refused"),
    ],
)
def test_what_is_no_usable_url(text: str, code: str) -> None:
    with pytest.raises(ItemError) as caught:
        parse_url(text)
    assert caught.value.item_code == code


def parsed(text: str) -> WebUrl | ItemError:
    try:
        return parse_url(text)
    except ItemError as error:
        return error


@given(st.text(max_size=40) | st.text("htp:/.@[]%\\?#aZ0-_ \t:", max_size=40).map(lambda text: f"http://{text}"))
@example("http://a\N{FULLWIDTH FULL STOP}b/")
@example("http://\N{ADDRESSED TO THE SUBJECT}/")
def test_whatever_comes_is_a_url_or_an_item_error(text: str) -> None:
    url = parsed(text)
    if isinstance(url, ItemError):
        assert url.item_code in {"bad_url", "url_refused"}
        assert url.detail.isprintable()
        return
    again = urlsplit(str(url))
    assert (again.scheme, again.hostname, again.username) == (url.scheme, url.host, None)
    assert str(url).isascii()
    assert not set(str(url)) & set(" \t\r\n\\")
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("b.jpg", "http://a.example:81/x/b.jpg"),
        ("/b", "http://a.example:81/b"),
        ("//c.example/", "http://c.example/"),
        (" https://c.example/ ", "https://c.example/"),
        ("?q", "http://a.example:81/x/y?q"),
    ],
)
def test_redirects_are_relative_to_where_they_stand(location: str, target: str) -> None:
    assert str(redirected(parse_url("http://a.example:81/x/y"), location)) == target


@pytest.mark.parametrize(
    ("url", "external_id"),
    [
        ("https://cdn.example/p/1.jpg", "p/1.jpg"),
        ("http://other.example:8080/p/1.jpg#x", "p/1.jpg"),
        ("https://cdn.example/p/gr%C3%BCn.jpg", "p/grün.jpg"),
        ("https://cdn.example/p/grün.jpg", "p/grün.jpg"),
        ("https://cdn.example/image?id=7", "image?id=7"),
        ("https://cdn.example/", ""),
        ("https://cdn.example/a%0Ab", "a%0Ab"),
    ],
)
def test_the_external_id_of_a_url(url: str, external_id: str) -> None:
    assert url_external_id(url) == external_id


def test_shown_urls_keep_secrets() -> None:
    assert shown_url("https://user:pw@a.example/p?token=1#x") == "https://a.example/p"
    assert shown_url("no url\0") == "no url\N{REPLACEMENT CHARACTER}"


def test_ports() -> None:
    ports = parse_ports("80, 8000-8002,")
    assert [port for port in (79, 80, 81, 7999, 8000, 8002, 8003) if port in ports] == [80, 8000, 8002]
    assert 80 not in parse_ports("")


@pytest.mark.parametrize("text", ["http", "0", "65536", "90-80", "1-2-3", "-5"])
def test_what_are_no_ports(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_ports(text)


def test_networks() -> None:
    assert parse_networks("10.0.0.0/8, ::1") == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    with pytest.raises(ValueError, match="host bits"):
        parse_networks("10.0.0.1/8")
