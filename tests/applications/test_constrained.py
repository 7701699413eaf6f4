"""Constrained decoding: whatever the model, the text matches; quotations are verbatim; grammars that fail are named."""

import json

import pytest

from helpers.applications.agent import Tool, action_schema, read_action
from helpers.applications.constrained import generate_matching, quote_grammar, schema_grammar
from helpers.models.generation import GenerationError, generate
from tests.tiny_world import tiny_chat_tokenizer, tiny_llama

SOURCES = ['The bakery "Velmora" opens at 9:40.', "A ticket costs 17 pounds; <script>alert(1)</script> <b>ü</b>."]


@pytest.fixture(scope="module")
def tokenizer():
    texts = [*SOURCES, '{"thought": "x", "action": "search", "input": "y"}']
    return tiny_chat_tokenizer(texts, model_max_length=512)


@pytest.fixture(scope="module", params=[1, 2, 3])
def model(tokenizer, request):
    """A model that writes noise; as in models whose vocabulary is padded, it has more rows than there are tokens."""
    return tiny_llama(tokenizer, seed=request.param, spare=7)


def test_every_text_matches_its_own_grammar(model, tokenizer):
    kinds = {"anyOf": [{"const": "search"}, {"const": "calculate"}]}
    grammars = [schema_grammar(kinds), schema_grammar({"type": "integer", "minimum": 10, "maximum": 99})]
    found = generate_matching(model, tokenizer, ["a", "b c d"], grammars, max_new_tokens=20, show_progress=False)
    assert json.loads(found[0]) in ("search", "calculate") and 10 <= json.loads(found[1]) <= 99
    alone = [
        generate_matching(model, tokenizer, [prompt], [grammar], max_new_tokens=20, show_progress=False)[0]
        for prompt, grammar in zip(["a", "b c d"], grammars)
    ]
    assert alone == found
    free = generate(model, tokenizer, ["a"], max_new_tokens=20, show_progress=False)
    assert free != found[:1], "a model of noise writes no JSON by itself"


def test_a_prefix_that_is_cached_changes_no_text(model, tokenizer):
    prefix, prompts = "The bakery opens at 9:40.\n\n", ["Quote:", "What costs 17 pounds, then?", "Who?"]
    grammars = [schema_grammar({"type": "string", "pattern": "^[a-z]{12}$"})] * 3
    options = {"max_new_tokens": 20, "show_progress": False}
    whole = generate_matching(model, tokenizer, [prefix + prompt for prompt in prompts], grammars, **options)
    assert generate_matching(model, tokenizer, prompts, grammars, prefix=prefix, **options) == whole
    assert generate_matching(model, tokenizer, prompts, grammars, **options) != whole, "the prefix is read"


def test_an_action_by_the_schema_is_one_that_the_loop_reads(model, tokenizer):
    tools = {"search": Tool(str), "calculate": Tool(str, "[0-9]{1,3}")}
    grammar = schema_grammar(action_schema(tools))
    (text,) = generate_matching(model, tokenizer, ["Action:"], [grammar], max_new_tokens=200, show_progress=False)
    assert read_action(text, tools)[1] in ("search", "calculate", "finish")


def test_a_quotation_stands_in_the_source_that_it_names(model, tokenizer):
    prompts = ["Quote:", "What?", "Who?"]
    grammars = [quote_grammar(SOURCES)] * 3
    for text in generate_matching(model, tokenizer, prompts, grammars, max_new_tokens=60, show_progress=False):
        number, _, words = text.partition(" ")
        assert number in ("[1]", "[2]") and words[0] == '"'
        assert words[1:].removesuffix('"') in SOURCES[int(number[1]) - 1]


def test_what_cannot_be_followed_is_named(model, tokenizer):
    with pytest.raises(GenerationError, match="grammars: 1 for 2 prompts"):
        generate_matching(model, tokenizer, ["a", "b"], [quote_grammar(SOURCES)])
    with pytest.raises(GenerationError, match="sources: give at least one text"):
        quote_grammar([])
    with pytest.raises(GenerationError, match="sources: "):
        quote_grammar(["words", "…"])
    with pytest.raises(GenerationError, match="schema: no grammar can be made"):
        schema_grammar({"type": "no such type"})
    with pytest.raises(GenerationError, match="is empty"):
        generate_matching(model, tokenizer, [""], [quote_grammar(SOURCES)])
    with pytest.raises(GenerationError, match="window holds"):
        generate_matching(model, tokenizer, ["word " * 10_000], [quote_grammar(SOURCES)])
