"""URLs that somebody else wrote: one strict parser, so that what is checked is what is asked for."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

from core.errors import FieldError, InvalidInputError, ItemError

MAX_URL = 4096
HTTP_PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_MAX_HOST = 253
_MAX_PORT = 65535
_KEPT_IN_PATH = "/%:;=@!$&'()*+,~-._"
_KEPT_IN_QUERY = _KEPT_IN_PATH + "?[]"
_BARE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class WebUrl:
    """A URL taken apart. `host` is ASCII, without brackets; `target` is path and query as they go over the wire."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTP_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> WebUrl:
    """An http or https URL. ItemError `bad_url` when it is none, `url_refused` for another scheme or a password."""
    if not 0 < len(text) <= MAX_URL or not text.isprintable() or " " in text or "\\" in text:
        raise _bad(text, f"use at most {MAX_URL} characters, without spaces or backslashes")
    if text.startswith("#"):
        raise _bad(text, "nothing stands before its `#`")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _bad(text, "its host or port cannot be read") from error
    if parts.scheme not in HTTP_PORTS:
        raise ItemError("url_refused", f"{shown_url(text)!r} is not fetched: use an http:// or https:// URL.")
    if "@" in parts.netloc:
        raise ItemError(
            "url_refused", "URLs with a user name or password are not fetched: use a presigned URL instead."
        )
    if port == 0:
        raise _bad(text, "its port is 0")
    target = _quoted(parts.path or "/", _KEPT_IN_PATH) + (
        f"?{_quoted(parts.query, _KEPT_IN_QUERY)}" * bool(parts.query)
    )
    return WebUrl(parts.scheme, _host(text, parts.hostname or ""), port or HTTP_PORTS[parts.scheme], target)


def checked_url(text: str, *, pointer: str) -> str:
    """The URL itself when it may be called later; InvalidInputError, about the field at `pointer`, when it never could.

    Which addresses it leads to is checked when it is called: that may change until then.
    """
    try:
        parse_url(text)
    except ItemError as error:
        problem = "must be an http:// or https:// URL without a user name or password"
        raise InvalidInputError(error.detail, errors=(FieldError(pointer, problem),)) from error
    return text


def redirected(base: WebUrl, location: str) -> WebUrl:
    """Where a redirect leads; ItemErrors as for `parse_url`."""
    try:
        target = urljoin(str(base), location.strip())
    except ValueError as error:
        raise _bad(location, "the redirect to it cannot be read") from error
    return parse_url(target)


def url_external_id(text: str) -> str:
    """The external id of a URL that comes without one: its path as people read it, and its query.

    Host and scheme are left out, so that a catalog may move to another server and keep its ids. May be empty or too
    long for an id. ItemErrors as for `parse_url`.
    """
    url = parse_url(text)
    path, mark, query = url.target.partition("?")
    readable = unquote(path).lstrip("/")
    return (readable if readable.isprintable() else path.lstrip("/")) + mark + query


def shown_url(text: str) -> str:
    """A URL fit for messages and logs: short, printable, and without what may be a secret in its query or login."""
    start = text.partition("?")[0].partition("#")[0]
    scheme, separator, rest = start.partition("://")
    authority, slash, path = rest.partition("/")
    clean = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in clean[:200])


def _host(text: str, host: str) -> str:
    if ":" in host:
        if "%" in host:
            raise _bad(text, "its address belongs to one machine's own network")
        try:
            return ipaddress.IPv6Address(host).compressed
        except ValueError as error:
            raise _bad(text, "its IPv6 address cannot be read") from error
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise _bad(text, "its host name cannot be read") from error
    if len(ascii_host) > _MAX_HOST or not _HOST.fullmatch(ascii_host):
        return _no_host(text)
    return ascii_host


def _no_host(text: str) -> str:
    raise _bad(text, "it names no usable host")


def _quoted(part: str, kept: str) -> str:
    """Percent-encode what may not stand there; what is encoded already stays, a lone percent sign becomes %25."""
    return quote(_BARE.sub("%25", part), safe=kept)


def _bad(text: str, reason: str) -> ItemError:
    return ItemError("bad_url", f"{shown_url(text)!r} is not a usable URL: {reason}.")


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports that may be asked: inclusive ranges."""

    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, port: int) -> bool:
        return any(first <= port <= last for first, last in self.ranges)


def parse_ports(text: str) -> Ports:
    """`80,443,8000-8999`. ValueError for anything else."""
    ranges = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        pair = int(first), int(last or first)
        if not 1 <= pair[0] <= pair[1] <= _MAX_PORT:
            raise ValueError(f"{part} is no range of ports")
        ranges.append(pair)
    return Ports(tuple(ranges))


def parse_networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """`10.1.0.0/16, fd00::/8`. ValueError for anything else."""
    return tuple(ipaddress.ip_network(part) for part in filter(None, (part.strip() for part in text.split(","))))
