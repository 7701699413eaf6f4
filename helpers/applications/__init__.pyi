"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .agent import (
    Trace as Trace,
    calculator_tool as calculator_tool,
    quoted as quoted,
    run_agents as run_agents,
    take_step as take_step,
)
from .calculator import CalculatorError as CalculatorError, calculate as calculate
from .catalogue import (
    KINDS as KINDS,
    LOW_PRICES as LOW_PRICES,
    changed as changed,
    closed_prompt as closed_prompt,
    draw_names as draw_names,
    make_catalogue as make_catalogue,
    make_errands as make_errands,
    open_prompt as open_prompt,
    questions_about as questions_about,
    reading_pairs as reading_pairs,
    sheets as sheets,
    step_pairs as step_pairs,
)
from .retrieval import (
    VectorStore as VectorStore,
    best as best,
    bm25_scores as bm25_scores,
    encoder_vectors as encoder_vectors,
    fit_documents as fit_documents,
    places as places,
    recall_at as recall_at,
    search_tool as search_tool,
    tfidf_scores as tfidf_scores,
)
from .symbols import (
    similarities as similarities,
    symbol_ids as symbol_ids,
    twins as twins,
    with_fresh_vectors as with_fresh_vectors,
)
from .word_problems import WAYS as WAYS, make_problems as make_problems, solved_value as solved_value
