"""Schedules of galleries."""

from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.replies import json_reply
from api.runtime import context
from api.schemas.schedules import ScheduleIn, ScheduleOut, schedule_out
from core import schedules
from core.models import Scope

bp = APIBlueprint("schedules", __name__, tag="Schedules")


@bp.put("/galleries/<gallery>/schedule")
@protected(Scope.WRITE)
@bp.input(ScheduleIn)
@bp.output(ScheduleOut)
@bp.doc(responses={201: "The gallery's first schedule"})
def put_schedule(gallery: str, json_data: ScheduleIn) -> Response:
    """Set what the gallery does by itself; 201 when it had no schedule. One tick makes one job."""
    schedule, is_new = schedules.put(context(), principal(), json_data.to_use_case(gallery))
    return json_reply(schedule_out(schedule), status=HTTPStatus.CREATED if is_new else HTTPStatus.OK)


@bp.get("/galleries/<gallery>/schedule")
@protected(Scope.READ)
@bp.output(ScheduleOut)
def get_schedule(gallery: str) -> Response:
    """Get the gallery's schedule with its next tick, and what became of the last one."""
    return json_reply(schedule_out(schedules.get(context(), principal(), gallery)))


@bp.delete("/galleries/<gallery>/schedule")
@protected(Scope.WRITE)
@bp.doc(responses={204: "Deleted"})
def delete_schedule(gallery: str) -> Response:
    """End the schedule; a job that it made goes on."""
    schedules.remove(context(), principal(), gallery)
    return Response(status=HTTPStatus.NO_CONTENT)
