"""What kind of process the API is."""

import subprocess
import sys
from pathlib import Path

from api.server import gunicorn_options
from core.settings import Settings

HEAVY = ("torch", "torchvision", "transformers", "open_clip", "peft", "PIL.JpegImagePlugin", "PIL.PngImagePlugin")
PROGRAM = f"""
import sys
import api.server
from api.app import create_app
from api.wiring import build_context
from core.settings import Settings
settings = Settings(database_url="postgresql://u:p@127.0.0.1:1/d", redis_url="redis://127.0.0.1:1/0",
                    s3_endpoint="127.0.0.1:1", s3_access_key="a", s3_secret_key="b")
create_app(build_context(settings)).test_client().get("/openapi.json")
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def test_the_api_imports_no_model_and_no_decoder_and_needs_no_service_to_start() -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_gunicorn_runs_one_process_of_threads_without_a_control_socket() -> None:
    options = gunicorn_options(Settings(api_threads=6, api_host="::1", api_port=8123))
    assert options["threads"] == 6
    assert options["bind"] == "[::1]:8123"
    assert options["control_socket_disable"] is True
    assert options["accesslog"] is None
