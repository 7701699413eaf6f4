"""DPO, GRPO and RLOO against trl, which trains decoders: the same loss and the same advantages on a small one whose
policy has moved away from its reference and from what wrote the completions.
"""

import copy
from functools import partial

import pytest
import torch
from datasets import Dataset

from helpers.alignment.dpo import dpo_loss
from helpers.alignment.group_relative import (
    group_advantages,
    grpo_loss,
    leave_one_out_advantages,
    rloo_loss,
)
from helpers.alignment.ppo import sequence_kl, token_logprobs
from tests.conftest import DIALOGUES, SUMMARIES
from tests.tiny_world import tiny_chat_tokenizer, tiny_llama

TOLERANCE, WRITER = 1e-5, 2  # of a loss; the seed of the policy that wrote the completions
OPTIONS = {
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "save_strategy": "no",
    "logging_strategy": "no",
}


def moved(model, seed, size=0.01):
    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator))
    return other


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_chat_tokenizer([*DIALOGUES, *SUMMARIES], pad_token="<s>")


@pytest.fixture
def reference(tokenizer):
    model = tiny_llama(tokenizer)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def logprobs_of(model, ids, attention):
    with torch.no_grad():
        return token_logprobs(model(ids, attention_mask=attention).logits[:, :-1].float(), ids[:, 1:])


def test_dpo_loss_is_trls(reference, tokenizer, tmp_path):
    from trl import DPOConfig, DPOTrainer

    policy = moved(reference, 1)
    rows = Dataset.from_dict(
        {
            "prompt": [text.split("\n")[0] for text in DIALOGUES],
            "chosen": SUMMARIES,
            "rejected": [*SUMMARIES[3:], *SUMMARIES[:3]],
        }
    )
    options = DPOConfig(str(tmp_path), beta=0.3, per_device_train_batch_size=6, max_steps=1, **OPTIONS)
    trainer = DPOTrainer(policy, reference, options, train_dataset=rows, processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model.eval(), dict(batch)).item()
    ids, mask = batch["input_ids"], batch["completion_mask"][:, 1:].bool()
    new, old = (logprobs_of(model, ids, batch["attention_mask"]) for model in (policy, reference))
    found = dpo_loss(new, old, mask, 0.3)
    assert found.loss.item() == pytest.approx(theirs, abs=TOLERANCE) and abs(theirs - 0.6931) > 0.01
    assert dpo_loss(new, old, mask, 0.1).loss.item() != pytest.approx(theirs, abs=1e-3)


def drawn(kind, options, reference, tokenizer, tmp_path):
    """(trainer, its batch of judged completions, their scores), with a policy that wrote them and a reference apart."""
    scores = []

    def digits_and_length(completions, **_):
        found = [0.3 * len(text) + 1.5 * sum(letter.isdigit() for letter in text) for text in completions]
        scores.extend(found)
        return found

    shared = {"num_generations": 4, "max_completion_length": 12, "beta": 0.2, "num_iterations": 2, "max_steps": 1}
    config = options(str(tmp_path), per_device_train_batch_size=8, gradient_accumulation_steps=1, **shared, **OPTIONS)
    rows = Dataset.from_dict({"prompt": [text.split("\n")[0] for text in DIALOGUES[:2]]})
    reference.save_pretrained(tmp_path / "reference")
    model = moved(reference, WRITER)
    model.config._name_or_path = str(tmp_path / "reference")  # from where the trainer loads its reference
    trainer = kind(model, digits_and_length, config, train_dataset=rows, processing_class=tokenizer)
    torch.manual_seed(5)
    trainer.model.train()
    batch = trainer._generate_and_score_completions([{"prompt": row["prompt"]} for row in rows for _ in range(4)])
    return trainer, batch, torch.tensor(scores)


def completion_logprobs(model, batch):
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    return logprobs_of(model, ids, attention)[:, -batch["completion_ids"].shape[1] :]


def shortened(batch):
    """The mask, after every second completion was cut: an untrained model hardly ever ends by itself."""
    batch["completion_mask"][::2, 5:] = 0
    return batch["completion_mask"].bool()


def their_loss(trainer, batch, learner):
    """Of trl's own model, which it has changed, with the weights of ours."""
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.load_state_dict(learner.state_dict())
    return trainer._compute_loss(trainer.model.train(), batch).item()


@pytest.mark.parametrize(("loss_type", "by_completion"), [("grpo", True), ("bnpo", False)])
def test_grpo_is_trls(loss_type, by_completion, reference, tokenizer, tmp_path):
    from trl import GRPOConfig, GRPOTrainer

    options = partial(GRPOConfig, loss_type=loss_type, use_bias_correction_kl=False)  # as in the paper
    trainer, batch, scores = drawn(GRPOTrainer, options, reference, tokenizer, tmp_path)
    advantages = group_advantages(scores, 4)
    assert torch.allclose(advantages, batch["advantages"], atol=TOLERANCE) and advantages.abs().max() > 0.5
    writer, mask = moved(reference, WRITER), batch["completion_mask"].bool()
    old, ref = (completion_logprobs(model, batch) for model in (writer, reference))
    assert torch.allclose(old[mask], batch["old_per_token_logps"][mask], atol=1e-4)
    assert torch.allclose(ref[mask], batch["ref_per_token_logps"][mask], atol=1e-4)
    mask = shortened(batch)
    learner = moved(writer, 3, 0.02)
    new = completion_logprobs(learner, batch)
    ours = grpo_loss(new, old, ref, advantages, mask, 0.2, by_completion=by_completion)
    assert ours.loss.item() == pytest.approx(their_loss(trainer, batch, learner), abs=TOLERANCE)
    assert 0 < ours.clip_fraction < 1
    other = grpo_loss(new, old, ref, advantages, mask, 0.2, by_completion=not by_completion)
    assert other.loss.item() != pytest.approx(ours.loss.item(), abs=1e-3)


def test_rloo_is_trls(reference, tokenizer, tmp_path):
    from trl import RLOOConfig, RLOOTrainer

    trainer, batch, scores = drawn(RLOOTrainer, RLOOConfig, reference, tokenizer, tmp_path)
    writer, mask = moved(reference, WRITER), batch["completion_mask"].bool()
    old, ref = (completion_logprobs(model, batch) for model in (writer, reference))
    advantages = leave_one_out_advantages(scores - 0.2 * sequence_kl(old, ref, mask), 4)
    assert torch.allclose(advantages, batch["advantages"], atol=TOLERANCE) and advantages.abs().max() > 0.5
    assert not torch.allclose(leave_one_out_advantages(scores, 4), batch["advantages"], atol=1e-2)
    mask = shortened(batch)
    batch["old_logps"] = (old * mask).sum(1)
    learner = moved(writer, 3, 0.005)
    ours = rloo_loss(completion_logprobs(learner, batch), old, advantages, mask)
    assert 0 < ours.clip_fraction < 1
    assert ours.loss.item() == pytest.approx(their_loss(trainer, batch, learner), abs=TOLERANCE)
