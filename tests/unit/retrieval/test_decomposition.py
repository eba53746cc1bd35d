import numpy as np
import pytest

from retrieval.decomposition import decompose

AXES = np.eye(3, dtype=np.float32)


def test_orthogonal_concepts_get_their_share_less_the_sparsity() -> None:
    target = np.array([0.6, 0.8, -0.3], np.float32)
    np.testing.assert_allclose(decompose(target, AXES, sparsity=0.1), [0.5, 0.7, 0.0], atol=1e-3)


def test_a_concept_that_another_explains_gets_nothing() -> None:
    concepts = np.array([[1, 0, 0], [0.8, 0.6, 0]], np.float32)
    weights = decompose(np.array([0.8, 0.6, 0], np.float32), concepts, sparsity=0.01)
    np.testing.assert_allclose(weights, [0.0, 0.99], atol=1e-3)


def test_weights_meet_the_conditions_of_the_optimum() -> None:
    rng = np.random.default_rng(5)
    concepts = rng.normal(size=(40, 16)).astype(np.float32)
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    target = rng.normal(size=16).astype(np.float32)
    weights = decompose(target / np.linalg.norm(target), concepts, sparsity=0.05)
    slope = concepts @ (weights @ concepts - target / np.linalg.norm(target)) + 0.05
    np.testing.assert_allclose(slope[weights > 0], 0, atol=5e-3)
    assert (slope[weights == 0] > -5e-3).all()
    assert 0 < (weights > 0).sum() < 16


@pytest.mark.parametrize("concepts", [np.zeros((0, 3), np.float32), np.zeros((2, 3), np.float32)])
def test_nothing_to_decompose_over(concepts: np.ndarray) -> None:
    np.testing.assert_array_equal(decompose(AXES[0], concepts, sparsity=0.1), np.zeros(len(concepts)))


def test_vocabulary_of_thousands_keeps_what_fits_best() -> None:
    rng = np.random.default_rng(1)
    concepts = rng.normal(size=(3000, 32)).astype(np.float32)
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    weights = decompose(concepts[1234], concepts, sparsity=0.2)
    assert weights.argmax() == 1234
    assert weights[1234] == pytest.approx(0.8, abs=0.05)
