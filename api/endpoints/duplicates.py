"""Near-duplicates of a gallery."""

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.paging import page_key, page_token
from api.replies import json_reply
from api.runtime import context
from api.schemas.duplicates import DuplicatePage, DuplicatesQuery, group_out
from core import duplicates
from core.models import Scope

bp = APIBlueprint("duplicates", __name__, tag="Images")


@bp.get("/galleries/<gallery>/duplicates")
@protected(Scope.READ)
@bp.input(DuplicatesQuery, location="query")
@bp.output(DuplicatePage)
def list_duplicates(gallery: str, query_data: DuplicatesQuery) -> Response:
    """List groups of images that look the same: rescaled, recompressed, or the same file under two ids.

    Crops, mirrored pictures and other photos of the same product are not found; another colour is another product.
    """
    filters = {"gallery": gallery, "distance": query_data.distance}
    query = duplicates.DuplicateQuery(
        size=query_data.page_size,
        after=page_key(query_data.page_token, filters),
        distance=query_data.distance,
    )
    page = duplicates.find(context(), principal(), gallery, query)
    items = [group_out(group) for group in page.items]
    return json_reply(DuplicatePage(items=items, next_page_token=page_token(page.next_key, filters)))
