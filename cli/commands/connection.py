"""Which server a command talks to, and how its failures look at the terminal."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import httpx

from cli.client import ApiClient
from cli.transport import ApiError, ClientError

CREDENTIALS = "client.json"
INTERRUPTED = 130
_SCHEMES = ("http://", "https://")


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--url`, `--api-key` and, as `client`, an ApiClient; its ClientErrors become one clean message.

    What is not given comes from SETR_URL and SETR_API_KEY, else from the file that `setr up` writes.
    """

    @click.option("--url", envvar="SETR_URL", show_envvar=True, help="Base URL of the server.")
    @click.option("--api-key", envvar="SETR_API_KEY", show_envvar=True, help="Your API key.")
    @click.option(
        "--data-dir",
        envvar="SETR_DATA_DIR",
        show_envvar=True,
        default=".setr",
        show_default=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Data folder of `setr up`: it holds URL and key of that server.",
    )
    @functools.wraps(command)
    def wrapper(*, url: str | None, api_key: str | None, data_dir: Path, **options: Any) -> None:
        try:
            transport = click.get_current_context().find_object(httpx.BaseTransport)  # tests bring their own
            with ApiClient(*credentials(url, api_key, data_dir=data_dir), transport=transport) as client:
                command(client=client, **options)
        except ClientError as error:
            fail(error)

    return wrapper


def credentials(url: str | None, api_key: str | None, *, data_dir: Path) -> tuple[str, str]:
    """URL and key. Raises ClientError when neither the arguments nor the data folder tell, or the file is damaged."""
    if url is not None and not url.startswith(_SCHEMES):
        raise ClientError(f"{url!r} is not a URL.", hint="It starts with http:// or https://.")
    if url and api_key:
        return url, api_key
    stored = _stored(data_dir / CREDENTIALS)
    if stored is None or (url and url.rstrip("/") != stored[0].rstrip("/")):
        missing = "API key" if url else "server"
        raise ClientError(
            f"No {missing} is known here.",
            hint="Start a server with `setr up`, or name one with --url and --api-key (SETR_URL, SETR_API_KEY).",
        )
    return url or stored[0], api_key or stored[1]


def _stored(path: Path) -> tuple[str, str] | None:
    try:
        values = json.loads(path.read_text())
        return str(values["url"]), str(values["api_key"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClientError(f"Cannot read {path}: {error.strerror}.", hint="Was it written by another user?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ClientError(f"{path} is damaged.", hint="The next `setr up` writes it anew.") from error


def fail(error: ClientError) -> NoReturn:
    """Print what went wrong and what to do, and exit with 1."""
    click.secho(f"Error: {error}", err=True, fg="red")
    if isinstance(error, ApiError):
        for each in error.errors:
            click.echo(f"  {each.get('pointer', '')}: {each.get('detail', '')}", err=True)
        if error.request_id:
            click.echo(f"  request {error.request_id}", err=True)
    if error.hint:
        click.echo(f"Hint: {error.hint}", err=True)
    raise SystemExit(1)


def print_json(value: Any) -> None:
    """Machine output on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
