"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .generation import generate as generate
from .loading import (
    PARAMETERS as PARAMETERS,
    head_is_tied as head_is_tied,
    load_seq2seq as load_seq2seq,
    with_own_head as with_own_head,
)
from .sampling import greedy_decode as greedy_decode, token_distribution as token_distribution
from .sizes import (
    SHAPES as SHAPES,
    count_parameters as count_parameters,
    parameter_table as parameter_table,
    untrained as untrained,
)
