"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .attention import (
    attention_maps as attention_maps,
    copied_shares as copied_shares,
    eager as eager,
    encoder_block as encoder_block,
    feed_forward as feed_forward,
    pieces as pieces,
    rms_norm as rms_norm,
    self_attention as self_attention,
    stage_shapes as stage_shapes,
)
from .families import FamilyModel as FamilyModel, sight as sight
from .language_models import (
    DOMAINS as DOMAINS,
    RATE as RATE,
    Dialogues as Dialogues,
    Shape as Shape,
    byte_losses as byte_losses,
    train_decoder as train_decoder,
)
from .objectives import (
    FAMILIES as FAMILIES,
    OBJECTIVES as OBJECTIVES,
    SENTINEL as SENTINEL,
    corrupted as corrupted,
    masked as masked,
    shifted as shifted,
)
from .positions import (
    ORDERS as ORDERS,
    bucket as bucket,
    learned_biases as learned_biases,
    permutation_gap as permutation_gap,
    reordered as reordered,
    sinusoids as sinusoids,
    without_positions as without_positions,
)
from .tokenizers import (
    KINDS as KINDS,
    bpe_cut as bpe_cut,
    cost_of_kinds as cost_of_kinds,
    marked as marked,
    merge_order as merge_order,
    piece_scores as piece_scores,
    pieces_of as pieces_of,
    seen_words as seen_words,
    train_subwords as train_subwords,
    unigram_cut as unigram_cut,
    word_costs as word_costs,
)
