"""Human documentation: Swagger UI, served from the installed package; nothing is loaded from elsewhere."""

from importlib import resources
from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, redirect, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as BaseResponse

bp = APIBlueprint("docs", __name__, enable_openapi=False)

OURS = Path(__file__).resolve().parent.parent / "docs_ui"
SWAGGER_UI = Path(str(resources.files("flask_swagger_ui"))) / "dist"
ASSETS = {
    "init.js": OURS,
    "swagger-ui.css": SWAGGER_UI,
    "swagger-ui-bundle.js": SWAGGER_UI,
    "favicon-32x32.png": SWAGGER_UI,
}
# Swagger UI styles its elements inline and draws its icons from data: URLs; everything else is this host's.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@bp.get("/")
def root() -> BaseResponse:
    """Send people to the documentation."""
    return redirect("/docs")


@bp.get("/docs")
def index() -> Response:
    """The page."""
    page = send_from_directory(OURS, "index.html")
    page.headers["Content-Security-Policy"] = POLICY
    return page


@bp.get("/docs/<name>")
def asset(name: str) -> Response:
    """A script, a style sheet or the icon."""
    if name not in ASSETS:
        raise NotFound
    return send_from_directory(ASSETS[name], name, max_age=3600)
