"""The check of a new generation before it answers, and the switch to it. See docs/adr/0021."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from uuid import UUID

import numpy as np

from core.context import Context
from core.embedder import Embedder
from core.errors import IndexCheckError
from core.generations import Activation, check_identity, drop, find_gallery, result, round_unit, switch
from core.lease import still_moving
from core.models import ClaimedUnit, Gallery, Index, IndexState, ItemOutcome, Job, Outcome, Queue
from core.ports import Composer, Encoder, EncoderRegistry, UnitOfWork
from core.reindexing import find_index
from core.space import prepare

NEIGHBOURS = 50
TIE = 1e-6
"""Scores closer than this are equal: which of such images is found says nothing."""
SAME_FROM = 0.999
"""Cosine from which on two vectors count as the same.

Half precision changes the seventh digit, bfloat16 on another processor the fourth, other weights the first.
"""


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What the check found.

    `recall` in 0..1 over `queries`, and the least cosine of `embedded` pictures to their stored vectors, 1 without any.
    """

    vectors: int
    queries: int
    recall: float
    embedded: int
    least_similarity: float


@dataclass(frozen=True, slots=True)
class VerifyHandler:
    """Runs `verify` units."""

    ctx: Context
    encoders: EncoderRegistry
    embedder: Embedder
    composer: Composer

    def open(self, unit: ClaimedUnit, job: Job) -> "_Verification":
        """Load the encoder. EncoderMismatchError when the generation was made with other weights."""
        del unit
        with self.ctx.uow() as uow:
            gallery, index = find_gallery(uow, job), find_index(uow, job)
        encoder = self.encoders.get(index.encoder)
        check_identity(index, encoder)
        return _Verification(self, job, gallery, index, encoder)


@dataclass(frozen=True, slots=True)
class _Verification:
    handler: VerifyHandler
    job: Job
    gallery: Gallery
    index: Index
    encoder: Encoder
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Verdict":
        """Check, and put the generation's mean and concepts in place. IndexCheckError says what is wrong."""
        del start, stop
        vectors = self._reconcile()
        with self.handler.ctx.uow() as uow:
            sample = uow.vectors.sample(self.index.id, size=self.handler.ctx.settings.self_check_sample)
        recall = self._recall(sample)
        embedded, least = self._similarity(sample)
        prepare(self.handler.ctx, self.handler.composer, self.gallery, self.index, self.encoder)
        return _Verdict(self, SelfCheck(vectors, len(sample), recall, embedded, least))

    def _reconcile(self) -> int:
        with self.handler.ctx.uow() as uow:
            census = uow.vectors.census(self.index.id)
        if census.missing or census.surplus:
            raise IndexCheckError(
                f"The index lacks the vectors of {census.missing} images and has {census.surplus} of none. That should"
                " not happen: delete it, re-index, and report it to the operator."
            )
        return census.vectors

    def _recall(self, sample: Sequence[UUID]) -> float:
        """Mean share of the exact neighbours of stored vectors that the index finds too."""
        ctx, shares = self.handler.ctx, []
        for image_id in sample:
            with ctx.uow() as uow:
                probe = uow.vectors.fetch(self.index.id, [image_id]).get(image_id)
                if probe is None:
                    continue  # deleted meanwhile
                exact, found = (
                    uow.vectors.search(self.index.id, probe, limit=NEIGHBOURS, where=None, exact=way)
                    for way in (True, False)
                )
            if exact:
                near = sum(hit.score >= exact[-1].score - TIE for hit in found)
                shares.append(min(1.0, near / len(exact)))
            still_moving()
        recall = float(np.mean(shares)) if shares else 1.0
        if recall < ctx.settings.self_check_recall:
            raise IndexCheckError(
                f"The index finds {recall:.3f} of what an exact search finds, less than"
                f" {ctx.settings.self_check_recall:g}. Raise SETR_HNSW_EF_SEARCH, or lower SETR_SELF_CHECK_RECALL."
            )
        return recall

    def _similarity(self, sample: Sequence[UUID]) -> tuple[int, float]:
        """How many pictures were embedded anew, and the least cosine to their stored vectors."""
        ctx, least, count = self.handler.ctx, 1.0, 0
        batch = ctx.settings.embed_batch
        for part in (sample[start : start + batch] for start in range(0, len(sample), batch)):
            with ctx.uow() as uow:
                uow.indexes.hold(self.gallery.id)
                contents = uow.images.lock_contents(
                    self.gallery.id, part
                )  # so that contents and vectors belong together
                stored = uow.vectors.fetch(self.index.id, list(contents))
            ids = list(stored)
            anew = self.handler.embedder.embed(self.job.tenant_id, [contents[i] for i in ids], [self.encoder])
            for row, image_id in enumerate(ids):
                if row not in anew.errors:  # the picture was replaced and collected meanwhile
                    similarity = float(np.nan_to_num(anew.vectors[0][row], nan=-1.0) @ stored[image_id])
                    least = min(least, similarity)
                    count += 1
            still_moving()
        if least < SAME_FROM:
            self._give_up()
            raise IndexCheckError(
                f"A picture that was embedded again gave another vector (cosine {least:.4f}): the embed workers do not"
                " agree. Give all of them the same weights and library versions, and re-index: that begins anew."
            )
        return count, least

    def _give_up(self) -> None:
        """Drop a half-made generation whose vectors differ: continued, it would keep those that are wrong."""
        with self.handler.ctx.uow() as uow:
            uow.indexes.hold(self.gallery.id, alone=True)
            index = uow.indexes.get(self.index.id)
            if index is not None and index.state is IndexState.BUILDING:
                drop(uow, index)
            uow.commit()

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """An index that cannot be checked does not answer."""
        return None


@dataclass(frozen=True, slots=True)
class _Verdict:
    run: _Verification
    check: SelfCheck

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """The generation is ready, and answers if that was asked for; or another round, when it is owed something."""
        run = self.run
        uow.indexes.hold(run.gallery.id, alone=True)
        index = find_index(uow, run.job)
        if uow.pending.count(index.id):
            uow.units.add([round_unit(run.job, 2)])
            return ()
        if index.state is IndexState.BUILDING:
            uow.indexes.set_state(index.id, IndexState.READY)
            index = replace(index, state=IndexState.READY)
        if run.job.params["activate"] == Activation.WHEN_READY and index.state is not IndexState.ACTIVE:
            switch(uow, find_gallery(uow, run.job), index)
            index = replace(index, state=IndexState.ACTIVE)
        uow.jobs.set_result(run.job.id, result(index, self_check=asdict(self.check)))
        self._settle(uow)
        return ()

    def _settle(self, uow: UnitOfWork) -> None:
        """Planned images that were deleted before their turn."""
        job = uow.jobs.lock(self.run.job.id)
        if job is not None and job.counters.pending:
            uow.jobs.count(job.id, {Outcome.DELETED: job.counters.pending})

    def rings(self) -> Sequence[Queue]:
        """In case of another round."""
        return (Queue.MAINTENANCE,)
