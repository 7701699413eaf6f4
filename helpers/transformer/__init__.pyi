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
from .gpt import (
    Decoder as Decoder,
    as_llama as as_llama,
    optimizers as optimizers,
    write as write,
)
from .language_models import (
    BREAK as BREAK,
    DOMAINS as DOMAINS,
    RATE as RATE,
    ROWS as ROWS,
    WINDOW as WINDOW,
    Dialogues as Dialogues,
    Shape as Shape,
    batches as batches,
    byte_ids as byte_ids,
    byte_losses as byte_losses,
    fit as fit,
    one_thread as one_thread,
    rate_at as rate_at,
    train_decoder as train_decoder,
)
from .mixture_of_experts import (
    BYTE_KINDS as BYTE_KINDS,
    Routing as Routing,
    balance_loss as balance_loss,
    balance_penalty as balance_penalty,
    expert_counts as expert_counts,
    expert_mlp as expert_mlp,
    mixtures as mixtures,
    parameters_used as parameters_used,
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
    known_words as known_words,
    marked as marked,
    merge_order as merge_order,
    piece_scores as piece_scores,
    pieces_of as pieces_of,
    seen_words as seen_words,
    train_subwords as train_subwords,
    unigram_cut as unigram_cut,
    word_costs as word_costs,
)
