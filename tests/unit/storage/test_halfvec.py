import struct

import numpy as np

from storage.halfvec import as_text, from_wire


def test_text_is_exact_in_half_precision() -> None:
    vector = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    text = as_text(vector)
    assert text.startswith("[")
    assert text.endswith("]")
    np.testing.assert_array_equal(
        np.array(text[1:-1].split(","), np.float64).astype(np.float16), vector.astype(np.float16)
    )


def test_the_wire_format_is_a_header_and_big_endian_halves() -> None:
    sent = [struct.pack(">HH3e", 3, 0, *row) for row in ((1.0, -0.5, 0.25), (0.0, 2.0, -3.0))]
    vectors = from_wire(sent)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[1.0, -0.5, 0.25], [0.0, 2.0, -3.0]])
