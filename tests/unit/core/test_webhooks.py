"""Signing, and what follows from a receiver's answer."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.models import Delivery, DeliveryState
from core.webhooks import Answer, _after, signature

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PAUSES = (30.0, 300.0, 3600.0)


def pending(attempts: int = 0) -> Delivery:
    return Delivery(
        job_id=uuid4(),
        tenant_id=uuid4(),
        url="https://shop.example/hook",
        state=DeliveryState.PENDING,
        attempts=attempts,
        due_at=NOW,
        status=None,
        error=None,
        created_at=NOW,
        finished_at=None,
    )


def after(before: Delivery, answer: Answer) -> Delivery:
    return _after(before, answer, now=NOW, pauses_s=PAUSES)


def test_the_signature_is_that_of_the_specifications_example() -> None:
    """From the test vectors of Standard Webhooks' own libraries."""
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_2xx_is_the_end(status: int) -> None:
    done = after(pending(), Answer(status=status))
    assert (done.state, done.attempts, done.status, done.finished_at) == (DeliveryState.DELIVERED, 1, status, NOW)


@pytest.mark.parametrize("answer", [Answer(status=410, final=True), Answer(error="refused", final=True)])
def test_some_answers_are_final(answer: Answer) -> None:
    assert after(pending(), answer).state is DeliveryState.FAILED


def test_pauses_grow_and_the_last_try_is_the_last() -> None:
    delivery, pauses = pending(), []
    while delivery.state is DeliveryState.PENDING:
        delivery = after(delivery, Answer(status=500, error="500"))
        pauses.append((delivery.due_at - NOW).total_seconds())
    assert pauses[:3] == list(PAUSES)
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, len(PAUSES) + 1)


def test_not_having_been_tried_is_no_try() -> None:
    again = after(pending(2), Answer(error="busy", attempted=False))
    assert (again.state, again.attempts) == (DeliveryState.PENDING, 2)
    assert NOW < again.due_at < NOW + timedelta(minutes=1)


@given(
    attempts=st.integers(0, len(PAUSES)),
    status=st.none() | st.integers(100, 599),
    final=st.booleans(),
    wanted=st.none() | st.floats(0, 1e9),
)
def test_a_delivery_ends_or_is_due_again_within_the_longest_pause(
    *, attempts: int, status: int | None, final: bool, wanted: float | None
) -> None:
    told = after(pending(attempts), Answer(status=status, final=final, retry_after_s=wanted))
    if told.state is DeliveryState.PENDING:
        assert not final
        assert NOW + timedelta(seconds=PAUSES[attempts]) <= told.due_at <= NOW + timedelta(seconds=max(PAUSES))
    else:
        assert told.finished_at == NOW
        assert (told.state is DeliveryState.DELIVERED) == (status is not None and 200 <= status < 300)
