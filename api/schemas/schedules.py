"""Bodies of schedules."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from api.schemas.common import NO_NUL, Body, CallbackUrl, Finite, Reply, Url
from api.schemas.imports import MANIFEST, Mode
from core.models import Schedule
from core.schedules import NewSchedule

MAX_URLS = 1000
"""Of a schedule, which keeps them in its row; longer lists are manifests."""


class ScheduleSourceIn(Body):
    """Where each run imports from: exactly one of these."""

    urls: list[Url] | None = Field(None, min_length=1, max_length=MAX_URLS, description="http(s) URLs of pictures.")
    manifest: Annotated[Url, Field(description=MANIFEST)] | None = Field(
        None, examples=["https://shop.example/catalog.csv"]
    )
    s3_prefix: Annotated[str, StringConstraints(min_length=6, max_length=1200, pattern=NO_NUL)] | None = Field(
        None, description="Objects of a bucket that the operator opened.", examples=["s3://catalog/summer-26/"]
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.to_use_case()) != 1:
            raise ValueError("give exactly one of urls, manifest and s3_prefix")
        return self

    def to_use_case(self) -> dict[str, Any]:
        """The one that is given, by its name."""
        return self.model_dump(exclude_none=True)


class ScheduleIn(Body):
    """What a gallery does by itself: an import at each tick, or a re-index where there is no source."""

    cron: Annotated[str, StringConstraints(min_length=9, max_length=200, pattern=NO_NUL)] = Field(
        description="Minute, hour, day of month, month, day of week.", examples=["0 3 * * *"]
    )
    timezone: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)] = Field(
        "UTC", description="A name of the IANA database.", examples=["Europe/Berlin"]
    )
    source: ScheduleSourceIn | None = Field(None, description="Where to import from; null: re-index.")
    mode: Mode = Field("upsert", description="`mirror` also removes the images that the source does not name.")
    max_delete_share: Finite | None = Field(
        None, ge=0, le=1, description="With `mirror`: the largest share of the gallery that a run may remove."
    )
    callback_url: CallbackUrl | None = None

    def to_use_case(self, gallery: str) -> NewSchedule:
        """What the use case takes."""
        return NewSchedule(
            gallery=gallery,
            cron=self.cron,
            timezone=self.timezone,
            source=None if self.source is None else self.source.to_use_case(),
            mode=self.mode,
            max_delete_share=self.max_delete_share,
            callback_url=self.callback_url,
        )


class SkippedOut(Reply):
    """A tick at which nothing was started."""

    tick: datetime
    reason: str


class ScheduleOut(Reply):
    """A gallery's schedule and what became of its ticks."""

    gallery: str
    cron: str
    timezone: str
    source: dict[str, Any] | None = Field(description="As it was set: urls, manifest or s3_prefix.")
    mode: Mode
    max_delete_share: float | None
    callback_url: str | None
    next_tick: datetime = Field(description="When the next job is made.")
    last_tick: datetime | None = Field(description="The latest tick that came, whether it made a job or was skipped.")
    last_job: UUID | None = Field(description="The latest job that a tick made.")
    last_skipped: SkippedOut | None = Field(description="The latest tick without a job, and why.")
    created_at: datetime
    updated_at: datetime


def schedule_out(schedule: Schedule) -> ScheduleOut:
    """A schedule as JSON."""
    skipped = schedule.last_skipped
    return ScheduleOut(
        gallery=schedule.gallery_name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        **schedule.params,
        next_tick=schedule.next_tick,
        last_tick=schedule.last_tick,
        last_job=schedule.last_job_id,
        last_skipped=None if skipped is None else SkippedOut(tick=skipped.tick, reason=skipped.reason),
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
    )
