"""Distributed training: two processes take the step of one; each holds its share; known mistakes are seen in the
gradient.
"""

import copy

import pytest

from helpers.data.pairs import Collator, encode_pairs
from helpers.models.sizes import count_parameters
from helpers.training.distributed import ALONE, FAULTS, WAYS, Job, own_rows, train_steps, train_together
from helpers.training.memory import expected


@pytest.fixture(scope="module")
def batches(tiny_tokenizer, dialogues, summaries):
    """Two batches of four rows with unequal numbers of labels."""
    pairs, collate = encode_pairs(dialogues, summaries, tiny_tokenizer, 128, 64), Collator(tiny_tokenizer.pad_token_id)
    return [collate([pairs[row] for row in rows]) for rows in ((0, 1, 2, 3), (4, 5, 2, 1))]


@pytest.fixture(scope="module")
def one(tiny_model, batches):
    """What one process does with the whole batches."""
    return train_steps(copy.deepcopy(tiny_model), batches, Job(ALONE))


@pytest.fixture(scope="module")
def found(tiny_model, batches):
    """What two do, in every way and with every mistake; they start once."""
    return train_together(tiny_model, batches, [*(Job(way) for way in WAYS), *(Job("ddp", fault) for fault in FAULTS)])


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_take_the_steps_of_one(found, one, way):
    for report in found[Job(way)]:
        assert report.losses == pytest.approx(one.losses, rel=1e-4) and report.gradient == pytest.approx(
            one.gradient, rel=1e-4
        )
    assert [report.rows for report in found[Job(way)]] == [[0, 2], [1, 3]]


def test_ddp_holds_everything_and_sends_the_gradient(found, one, tiny_model):
    first, second = found[Job("ddp")]
    assert first.digest == second.digest and first.held == second.held == one.held == expected(
        count_parameters(tiny_model).total
    )
    assert first.sent == first.held.gradients


def test_zero_shares_the_states_and_fsdp_everything(found, one):
    zero, fsdp = found[Job("zero-1")], found[Job("fsdp")]
    assert (
        sum(report.held.optimizer for report in zero) == one.held.optimizer and zero[0].held.weights == one.held.weights
    )
    for part in range(3):
        shares = [report.held[part] for report in fsdp]
        assert sum(shares) == pytest.approx(one.held[part], rel=0.02) and shares[0] == pytest.approx(
            shares[1], rel=0.1
        )  # a row that is left over goes to one of them
    assert fsdp[0].digest != fsdp[1].digest


def test_fsdp_gathers_the_root_and_a_block_at_a_time_and_never_everything(found, one, tiny_model):
    root = {id(weight) for weight in tiny_model.parameters()}
    blocks = [list(block.parameters()) for block in (*tiny_model.encoder.block, *tiny_model.decoder.block)]
    root -= {id(weight) for weights in blocks for weight in weights}
    always = sum(weight.nbytes for weight in tiny_model.parameters() if id(weight) in root)
    largest = max(sum(weight.nbytes for weight in weights) for weights in blocks)
    for report in found[Job("fsdp")]:
        assert always + largest <= report.gathered <= 2 * always + 3 * largest  # as `gathered` counts
    assert found[Job("ddp")][0].gathered == found[Job("zero-1")][0].gathered == one.gathered == 0


def test_mistakes_change_the_gradient(found, one):
    summed, same, means = (found[Job("ddp", fault)][0] for fault in FAULTS)
    assert summed.gradient == pytest.approx(2 * one.gradient, rel=1e-4)
    assert {tuple(report.rows) for report in found[Job("ddp", "same rows")]} == {(0, 2)}
    assert abs(same.gradient / one.gradient - 1) > 1e-3 and abs(means.gradient / one.gradient - 1) > 1e-3
    assert same.losses[0] != pytest.approx(one.losses[0], rel=1e-4)


def test_rows_are_dealt_without_rest():
    assert sorted(own_rows(7, 0, 3) + own_rows(7, 1, 3) + own_rows(7, 2, 3)) == list(range(7))


def test_what_cannot_be_shared_is_named(tiny_model, batches):
    with pytest.raises(ValueError, match="way: 'pipeline' is not one of 'one process', 'ddp'"):
        Job("pipeline")
    with pytest.raises(ValueError, match="each process needs a row"):
        train_together(tiny_model, batches, [Job()], processes=5)
    with pytest.raises(ValueError, match="is for `train_steps`"):
        train_together(tiny_model, batches, [Job(ALONE)])


def test_a_process_that_fails_ends_the_others_and_is_heard(tiny_model, batches):
    broken = [batch | {"labels": batch["labels"] + 10**6} for batch in batches]
    with pytest.raises(RuntimeError, match=r"process \d of 2 ended with code"):
        train_together(tiny_model, broken, [Job()])
