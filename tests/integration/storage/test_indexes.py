from dataclasses import replace

import numpy as np
import pytest

from core.errors import NotFoundError
from core.ids import new_id
from core.models import ConceptKind, Concepts, EncoderIdentity, Gallery, IndexState
from core.ports import UnitOfWorkFactory
from tests.integration.storage.builders import NOW, add_gallery, add_tenant, index

pytestmark = pytest.mark.integration

IDENTITY = EncoderIdentity("demo", "ViT", "ab" * 32, 3, "resize 48")


@pytest.fixture
def summer(uow_factory: UnitOfWorkFactory) -> Gallery:
    return add_gallery(uow_factory, add_tenant(uow_factory))


def test_a_generation_is_read_as_it_was_added(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    plain = index(summer, created_at=NOW)
    known = index(summer, created_at=NOW, identity=IDENTITY, mean_count=3)
    with uow_factory() as uow:
        uow.indexes.add(plain)
        uow.indexes.add(known)
        assert uow.indexes.get(plain.id) == plain
        assert uow.indexes.get(known.id) == known
        assert uow.indexes.get(new_id()) is None


def test_dropped_generations_are_not_live(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    made = [index(summer, state=state) for state in IndexState]
    with uow_factory() as uow:
        for each in made:
            uow.indexes.add(each)
        live = uow.indexes.live(summer.id)
        assert [each.id for each in live] == [each.id for each in made if each.state is not IndexState.DROPPED]
        uow.indexes.set_state(made[0].id, IndexState.DROPPED)
        assert [each.id for each in uow.indexes.live(summer.id)] == [each.id for each in live[1:]]
        assert uow.indexes.live(new_id()) == ()


def test_the_first_identity_holds(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    made = index(summer)
    other = replace(IDENTITY, weights_sha256="cd" * 32)
    with uow_factory() as uow:
        uow.indexes.add(made)
        assert uow.indexes.set_identity(made.id, IDENTITY) == IDENTITY
        assert uow.indexes.set_identity(made.id, other) == IDENTITY
        with pytest.raises(NotFoundError):
            uow.indexes.set_identity(new_id(), IDENTITY)


def test_the_mean_is_kept_exactly(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    made, mean = index(summer), np.array([0.1, -2.5, 1e-8], np.float32)
    with uow_factory() as uow:
        uow.indexes.add(made)
        uow.indexes.set_mean(made.id, mean, 42)
        found = uow.indexes.get(made.id)
    assert found is not None
    assert found.mean is not None
    assert found.mean_count == 42
    np.testing.assert_array_equal(found.mean, mean)


def test_concepts_are_replaced_and_kept_exactly(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    made = index(summer)
    vectors = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    kinds = (ConceptKind.PRODUCT, ConceptKind.SCENE, ConceptKind.PRODUCT)
    with uow_factory() as uow:
        uow.indexes.add(made)
        assert uow.concepts.load(made.id) is None
        uow.concepts.replace(made.id, Concepts(("old",), (ConceptKind.SCENE,), vectors[:1]))
        uow.concepts.replace(made.id, Concepts(("röd", "snow", "dress"), kinds, vectors))
        found = uow.concepts.load(made.id)
        assert found is not None
        assert (found.terms, found.kinds) == (("röd", "snow", "dress"), kinds)
        np.testing.assert_array_equal(found.vectors, vectors)
        uow.concepts.replace(made.id, Concepts((), (), vectors[:0]))
        assert uow.concepts.load(made.id) is None
