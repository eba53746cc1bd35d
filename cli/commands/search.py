"""`setr search`: by picture, by words, or by both."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.client import ApiClient
from cli.commands.connection import print_json, with_client
from cli.commands.packing import media_type
from cli.commands.tables import messages, output, print_answer, state_markup
from cli.commands.waiting import resumable
from cli.transport import ClientError, Upload
from cli.wire import Job, Json

_POLL_S = 10.0


def _filter(text: str) -> Json:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f'not JSON ({error}); for example \'{{"price": {{"lte": 80}}}}\'') from error
    if not isinstance(parsed, dict):
        raise click.BadParameter('must be a JSON object such as \'{"category": "dress"}\'')
    return parsed


@dataclass(frozen=True, kw_only=True)
class Query:
    """The options of a search."""

    like: str | None
    reference_url: str | None
    text: str | None
    negative_text: str | None
    filter: Json | None
    top_k: int
    rerank: bool
    strategy: str | None
    explain: bool
    group_by: str | None
    collapse_duplicates: bool

    def body(self) -> Json:
        """The request's JSON; what was not asked for is left to the server."""
        wanted: Json = {
            "reference": self._reference(),
            "text": self.text,
            "negative_text": self.negative_text,
            "filter": self.filter,
            "top_k": self.top_k,
            "strategy": self.strategy,
            "rerank": None if self.rerank else False,
            "explain": self.explain or None,
            "group_by": self.group_by,
            "collapse_duplicates": self.collapse_duplicates or None,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _reference(self) -> Json | None:
        if self.reference_url:
            return {"url": self.reference_url}
        return {"external_id": self.like} if self.like else None


@click.command("search")
@click.option("--gallery", required=True, help="The gallery to search.")
@click.option("--image", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Reference picture.")
@click.option("--like", metavar="EXTERNAL_ID", help="Reference: an image of the gallery.")
@click.option("--reference-url", metavar="URL", help="Reference: a picture that the server fetches.")
@click.option("--text", help="What should be different, or what to find.")
@click.option("--negative-text", help="What must not be there.")
@click.option(
    "--filter", type=_filter, metavar="JSON", help='Attributes: \'{"category": "dress", "price": {"lte": 80}}\'.'
)
@click.option("--top-k", type=click.IntRange(1, 200), default=10, show_default=True, help="Number of results.")
@click.option("--rerank/--no-rerank", default=True, help="Let the judge re-order the shortlist (default: yes).")
@click.option("--strategy", help="How picture and text are composed, such as intersection (default: the server's).")
@click.option("--group-by", metavar="ATTRIBUTE", help="One result for each value of this attribute.")
@click.option("--collapse-duplicates", is_flag=True, help="Of pictures that look the same, only the best.")
@click.option("--explain", is_flag=True, help="Say what the query kept and dropped of the reference.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished job as JSON.")
@with_client
def search(*, client: ApiClient, gallery: str, image: Path | None, as_json: bool, **options: Any) -> None:
    """Search by a picture (--image, --like or --reference-url), by words (--text), or by both: "this one, but …"."""
    query = Query(**options)
    references = [given for given in (image, query.like, query.reference_url) if given]
    if len(references) > 1:
        raise click.UsageError("Give one of --image, --like and --reference-url.")
    if not (references or query.text):
        raise click.UsageError("Give a picture (--image, --like or --reference-url), a --text, or both.")
    upload = Upload(path=image, filename=image.name, media_type=media_type(image)) if image else None
    job = client.query(gallery, query.body(), reference_image=upload)
    with resumable(job["id"]), messages().status("searching"):
        job = client.wait_for_job(job["id"], poll_s=_POLL_S)
    if as_json:
        print_json(job)
    else:
        _print(job, explain=query.explain)
    if job["state"] != "succeeded":
        raise SystemExit(1)


def _print(job: Job, *, explain: bool) -> None:
    if job["result"] is None:
        error = job["error"]
        raise ClientError(f"The query {job['state']}: {error['detail']} ({error['code']})" if error else job["state"])
    print_answer(output(), job, explain=explain)
    if job["state"] != "succeeded":
        output().print(state_markup(job["state"]))
