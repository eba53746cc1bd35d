"""The embedded S3 server: rclone serving a folder, on loopback only."""

from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from cli.local.binaries import rclone_program
from cli.local.child import Child


@dataclass(frozen=True, kw_only=True)
class S3:
    """An S3 API over `folder` (a subfolder is a bucket) on 127.0.0.1:`port`."""

    folder: Path
    port: int
    access_key: str
    secret_key: str
    env: Mapping[str, str]

    @property
    def endpoint(self) -> str:
        """host:port of the API, plain HTTP."""
        return f"127.0.0.1:{self.port}"

    def child(self) -> Child:
        """Make the folder and describe the server. Raises StartError when rclone is not installed."""
        program = rclone_program()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        # In the environment, as arguments are for all to see; the value is a CSV row, hence the quotes.
        keys = {"RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"'}
        return Child(
            name="s3",
            argv=(
                str(program),
                *("serve", "s3", str(self.folder)),
                *("--addr", self.endpoint),
                *("--config", ""),  # never the user's own remotes
                *("--buffer-size", "1M"),  # the default of 16 MB for each open object is for slow remotes
            ),
            env={**self.env, **keys},
            cwd=self.folder,
            ready=self._answers,
        )

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        return True  # any answer will do: we did not sign the request
