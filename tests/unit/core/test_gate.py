"""Batches side by side, suspects alone."""

import threading
from collections.abc import Callable

import pytest

from core.gate import Gate

PATIENCE_S = 10.0


class Batch:
    """A batch on a thread of its own, which stays inside the gate until it is let go."""

    def __init__(self, gate: Gate, *, suspect: bool) -> None:
        self.inside = threading.Event()
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(gate, suspect))
        self._thread.start()

    def _run(self, gate: Gate, suspect: bool) -> None:  # noqa: FBT001 - a thread's arguments are positional
        with gate.pass_through(suspect=suspect):
            self.inside.set()
            self._go.wait(PATIENCE_S)

    def end(self) -> None:
        self._go.set()
        self._thread.join(PATIENCE_S)


def waits(gate: Gate, *, suspect: bool) -> tuple[Batch, Callable[[], bool]]:
    """A batch that is waiting at the gate, and whether it has come in."""
    before = waiting_at(gate)
    batch = Batch(gate, suspect=suspect)
    while waiting_at(gate) == before and not batch.inside.is_set():
        batch.inside.wait(0.001)
    return batch, batch.inside.is_set


def waiting_at(gate: Gate) -> int:
    return len(gate._changed._waiters)  # type: ignore[attr-defined]


def test_ordinary_batches_run_side_by_side() -> None:
    gate = Gate()
    batches = [Batch(gate, suspect=False) for _ in range(3)]
    assert all(batch.inside.wait(PATIENCE_S) for batch in batches)
    for batch in batches:
        batch.end()


def test_a_suspect_waits_for_the_others_and_then_is_alone() -> None:
    gate = Gate()
    first = Batch(gate, suspect=False)
    assert first.inside.wait(PATIENCE_S)
    suspect, suspect_is_in = waits(gate, suspect=True)
    late, late_is_in = waits(gate, suspect=False)
    assert not suspect_is_in()
    assert not late_is_in()
    first.end()
    assert suspect.inside.wait(PATIENCE_S)
    assert not late_is_in()
    suspect.end()
    assert late.inside.wait(PATIENCE_S)
    late.end()


def test_two_suspects_are_never_inside_together() -> None:
    gate = Gate()
    first = Batch(gate, suspect=True)
    assert first.inside.wait(PATIENCE_S)
    second, second_is_in = waits(gate, suspect=True)
    assert not second_is_in()
    first.end()
    assert second.inside.wait(PATIENCE_S)
    second.end()


def test_a_batch_that_fails_leaves_the_gate_open() -> None:
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.pass_through(suspect=True):
        raise ZeroDivisionError
    after = Batch(gate, suspect=True)
    assert after.inside.wait(PATIENCE_S)
    after.end()
