import numpy as np

from retrieval.datasets.products import Split
from retrieval.train.batches import VOCABULARY, codes_of, picture_texts, value_texts
from retrieval.train.pictures import training_shots

SHOTS = training_shots(Split.TRAIN, count=60, seed=3)


def test_each_picture_fits_its_own_caption() -> None:
    batch = picture_texts(SHOTS, np.random.default_rng(0))
    matches = batch.matches(codes_of(SHOTS))

    assert matches[: len(SHOTS)].diagonal().all()
    assert matches.any(axis=1).all()
    assert not matches.all()


def test_there_is_one_text_for_each_value() -> None:
    batch = value_texts(np.random.default_rng(0))

    assert len(batch.texts) == sum(len(values) for values in VOCABULARY.values())
    assert ((batch.demands >= 0).sum(axis=1) == 1).all()


def test_codes_point_into_the_vocabulary() -> None:
    codes = codes_of(SHOTS)

    for column, (name, values) in enumerate(VOCABULARY.items()):
        for row, shot in enumerate(SHOTS):
            told = {**shot.product.attributes(), "scene": shot.scene}.get(name)
            assert told == (values[codes[row, column]] if codes[row, column] >= 0 else None)


def test_training_shots_are_repeatable_and_stay_in_their_split() -> None:
    train, dev = (training_shots(split, count=200, seed=3) for split in (Split.TRAIN, Split.DEV))

    assert training_shots(Split.TRAIN, count=60, seed=3) == SHOTS
    assert not {shot.product for shot in train} & {shot.product for shot in dev}
