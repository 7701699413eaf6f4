"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .agent import (
    ARITHMETIC as ARITHMETIC,
    Tool as Tool,
    Trace as Trace,
    action_schema as action_schema,
    action_text as action_text,
    calculator_tool as calculator_tool,
    phrases as phrases,
    quoted as quoted,
    run_agents as run_agents,
    take_step as take_step,
)
from .calculator import CalculatorError as CalculatorError, calculate as calculate
from .constrained import (
    generate_matching as generate_matching,
    quote_grammar as quote_grammar,
    schema_grammar as schema_grammar,
)
from .documents import (
    Chunk as Chunk,
    chunk_documents as chunk_documents,
    load_documents as load_documents,
    load_questions as load_questions,
    passages as passages,
    relevant_chunks as relevant_chunks,
    support as support,
)
from .facts import Fact as Fact, make_facts as make_facts, states as states
from .reasoner import (
    PRICES as PRICES,
    arithmetic_texts as arithmetic_texts,
    new_reasoner as new_reasoner,
    question as question,
    teach as teach,
    word_tokenizer as word_tokenizer,
    worked_examples as worked_examples,
)
from .reinforcement import quiet_options as quiet_options, reinforce as reinforce, watched_run as watched_run
from .retrieval import (
    best as best,
    bm25_scores as bm25_scores,
    fit_documents as fit_documents,
    places as places,
    recall_at as recall_at,
)
from .solutions import (
    check_solution as check_solution,
    majority as majority,
    pass_at_k as pass_at_k,
    solve as solve,
)
from .word_problems import (
    WAYS as WAYS,
    make_problems as make_problems,
    problem_prompt as problem_prompt,
    solved_value as solved_value,
)
