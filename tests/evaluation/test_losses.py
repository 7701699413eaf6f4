"""Losses of pairs: what is longer than the model's positions is named."""

import numpy as np
import pytest

from helpers.evaluation.losses import pair_losses
from tests.tiny_world import tiny_bart


@pytest.mark.parametrize("name, other", [("input_ids", "labels"), ("labels", "input_ids")])
def test_a_pair_longer_than_the_models_positions_is_named(tiny_tokenizer, name, other):
    model = tiny_bart(60)  # no multiple of 8, to which batches are padded elsewhere
    fits = {name: [5] * 59 + [1], other: [5, 1]}
    assert np.isfinite(pair_losses(model, tiny_tokenizer, [fits, fits])).all()
    with pytest.raises(ValueError, match=rf"pairs\[1\], {name}: 61 tokens, and this model has positions for 60; leave"):
        pair_losses(model, tiny_tokenizer, [fits, {name: [5] * 60 + [1], other: [5, 1]}])
