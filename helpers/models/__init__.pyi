"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .chat import (
    answer as answer,
    answer_logprobs as answer_logprobs,
    chat_prompt as chat_prompt,
    load_chat as load_chat,
    stream as stream,
)
from .generation import generate as generate
from .loading import (
    PARAMETERS as PARAMETERS,
    head_is_tied as head_is_tied,
    load_seq2seq as load_seq2seq,
    with_own_head as with_own_head,
)
from .packaged import PACKAGED as PACKAGED
from .sampling import greedy_decode as greedy_decode, token_distribution as token_distribution
from .sentences import load_sentence_encoder as load_sentence_encoder, sentence_vectors as sentence_vectors
from .sizes import (
    SHAPES as SHAPES,
    count_parameters as count_parameters,
    parameter_table as parameter_table,
    untrained as untrained,
)
