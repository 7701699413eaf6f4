"""Parity of helpers.alignment.ppo with recorded tensors of trl 0.11.4, the last library that trained encoder-decoder
models by PPO.

python -m tests.alignment.ppo_parity [FOLDER]     prints the worst difference of each field, exits 1 past the tolerance

FOLDER holds fixture.npz and fixture.json (tensors and scalars of one batch of 8 completions), t5_config.json and the
weights policy, ref, new and policy_after_step, all .safetensors; without one, the recording that lies beside the tests
is used.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from helpers.alignment.policy import Policy, Rollout
from helpers.alignment.ppo import adapted_kl_coef, masked_mean, token_entropy
from helpers.alignment.ppo_trainer import PPOConfig, make_experience, minibatch_loss, update

FOLDER = Path(__file__).parents[1] / "fixtures" / "ppo"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Recording:
    """What the folder holds: arrays as tensors, scalars, and where the weights are."""

    folder: Path
    arrays: dict
    scalars: dict

    def policy(self, name) -> Policy:
        """The tiny T5 and value head of one file of weights; the output head is its own."""
        config = T5Config.from_json_file(self.folder / "t5_config.json")
        model = T5ForConditionalGeneration(config)
        model.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        model.config.tie_word_embeddings, model.config.scale_decoder_outputs = False, False
        policy, weights = Policy(model), load_file(self.folder / f"{name}.safetensors")
        head = {
            key.removeprefix("v_head.summary."): weights.pop(key) for key in list(weights) if key.startswith("v_head.")
        }
        missing, unexpected = policy.model.load_state_dict(weights, strict=False)
        assert not unexpected and all("embed_tokens" in key for key in missing), (missing, unexpected)
        policy.value_head.load_state_dict(head)
        return policy

    def config(self) -> PPOConfig:
        """The settings of the recorded run, with its conventions."""
        theirs = self.scalars["ppo_config"]
        return PPOConfig(
            batch_size=theirs["batch_size"],
            mini_batch_size=theirs["mini_batch_size"],
            epochs=theirs["ppo_epochs"],
            learning_rate=theirs["learning_rate"],
            kl_coef=theirs["init_kl_coef"],
            gamma=theirs["gamma"],
            lam=theirs["lam"],
            cliprange=theirs["cliprange"],
            cliprange_value=theirs["cliprange_value"],
            vf_coef=theirs["vf_coef"],
            max_grad_norm=None,
            max_update_kl=None,
            skip_first_token=True,
        )


def read(folder: Path) -> Recording:
    """The recording in a folder."""
    with np.load(folder / "fixture.npz") as arrays:
        found = {name: torch.from_numpy(arrays[name]) for name in arrays}
    return Recording(folder, found, json.loads((folder / "fixture.json").read_text(encoding="utf-8")))


def rollout_of(recording: Recording, policy: Policy) -> Rollout:
    """The recorded completions as the policy scores them; they are a token longer than what is scored."""
    arrays = recording.arrays
    mask = torch.arange(arrays["mask"].shape[1])[None] < arrays["response_len"][:, None] - 1
    with torch.no_grad():
        logprobs, values, _ = policy(arrays["input_ids"], arrays["attention_mask"], arrays["decoder_input_ids"])
    return Rollout(
        arrays["input_ids"], arrays["attention_mask"], arrays["decoder_input_ids"], mask, logprobs * mask, values * mask
    )


def _compare_experience(recording, experience, worst):
    """Everything up to the advantages, where the mask is True."""
    arrays, mask, rollout = recording.arrays, experience.mask, experience.rollout
    worst["mask"] = (mask != arrays["mask"].bool()).sum().item()
    ours = {"logprobs": rollout.logprobs, "ref_logprobs": experience.reference_logprobs, "values": rollout.values}
    for name, tensor in ours.items():
        worst[name] = ((tensor - arrays[name]) * rollout.mask).abs().max().item()
    ours = {
        "kl": rollout.logprobs - experience.reference_logprobs,
        "rewards": experience.rewards,
        "advantages": experience.advantages,
        "returns": experience.returns,
    }
    for name, tensor in ours.items():
        worst[name] = ((tensor - arrays[name]) * mask).abs().max().item()


def _compare_losses(recording, experience, worst):
    """The loss of a policy that has moved, and of one that has not, with gradients of the latter."""
    everything, arrays = torch.arange(len(experience.rollout)), recording.arrays
    policies = {"loss_new_policy": recording.policy("new"), "loss_ratio_one": recording.policy("policy")}
    for name, policy in policies.items():
        theirs = recording.scalars[name]
        loss, parts = minibatch_loss(policy, experience, everything, recording.config())
        loss.backward()
        ours = {
            "loss/policy": parts["policy_loss"],
            "loss/value": parts["value_loss"],
            "loss/total": loss.item(),
            "policy/approxkl": parts["update_kl"],
            "policy/clipfrac": parts["clip_fraction"],
        }
        worst |= {f"{name}: {key}": abs(value - theirs[key]) for key, value in ours.items()}
    new = policies["loss_new_policy"]
    with torch.no_grad():
        logprobs, values, logits = new(arrays["input_ids"], arrays["attention_mask"], arrays["decoder_input_ids"])
    kept = experience.rollout.mask
    for name, tensor in (
        ("new_logprobs", logprobs),
        ("new_values", values),
        ("new_ratio", (logprobs - arrays["logprobs"]).exp()),
    ):
        worst[name] = ((tensor - arrays[name]) * kept).abs().max().item()
    worst["entropy of the new policy"] = abs(
        masked_mean(token_entropy(logits), experience.mask).item()
        - recording.scalars["loss_new_policy"]["policy/entropy"]
    )
    _compare_gradients(recording, policies["loss_ratio_one"], worst)


def _compare_gradients(recording, policy, worst):
    arrays, theirs = recording.arrays, recording.scalars["grad_norms_ratio_one_full_batch"]
    gradients = {name: weight.grad for name, weight in policy.named_parameters()}
    exact = {
        "grad_v_head_weight": "value_head.weight",
        "grad_v_head_bias": "value_head.bias",
        "grad_dec1_q": "model.decoder.block.1.layer.0.SelfAttention.q.weight",
    }
    for field, name in exact.items():
        worst[field] = (gradients[name] - arrays[field]).abs().max().item()
    worst["grad_lm_head_norms_by_row"] = (
        (gradients["model.lm_head.weight"].norm(dim=1) - arrays["grad_lm_head_norms_by_row"]).abs().max().item()
    )
    ours = {
        name.replace("model.", "pretrained_model.", 1).replace("value_head.", "v_head.summary."): gradient.norm().item()
        for name, gradient in gradients.items()
        if gradient is not None
    }
    worst["gradient norms of all weights"] = max(abs(ours[name] - value) for name, value in theirs.items())


def _compare_step(recording, experience, worst):
    """The weights after two passes of two mini-batches, and what each update reported on average."""
    policy, config, step = recording.policy("policy"), recording.config(), recording.scalars["step"]
    optimizer = torch.optim.Adam(policy.trained().values(), lr=config.learning_rate)
    found = update(policy, optimizer, experience, config, [torch.tensor(order) for order in step["permutations"]])
    for ours, key in (
        ("policy_loss", "loss/policy"),
        ("value_loss", "loss/value"),
        ("entropy", "policy/entropy"),
        ("clip_fraction", "policy/clipfrac"),
    ):
        worst[f"step: {key}"] = abs(found[ours] - np.mean([stats[key] for stats in step["minibatch_stats"]]))
    after = recording.policy("policy_after_step")
    worst["weights after the step"] = max(
        (weight - other).abs().max().item() for weight, other in zip(policy.parameters(), after.parameters())
    )
    moved = max(
        (weight - other).abs().max().item()
        for weight, other in zip(policy.parameters(), recording.policy("policy").parameters())
    )
    assert moved > 3 * TOLERANCE, "the step moved no weight: the comparison says nothing"


def _compare_controller(recording, worst):
    coef = recording.scalars["ppo_config"]["init_kl_coef"]
    theirs = recording.scalars["adaptive_kl_init0.2_target6_horizon10000__current_nsteps_value"]
    worst["adaptive KL coefficient"] = max(
        abs(adapted_kl_coef(coef, kl, 6.0, completions) - value) for kl, completions, value in theirs
    )


def compare(folder: Path = FOLDER) -> dict[str, float]:
    """Field -> worst absolute difference between ours and the recording."""
    recording, worst = read(folder), {}
    rollout = rollout_of(recording, recording.policy("policy"))
    reference = rollout_of(recording, recording.policy("ref")).logprobs
    experience = make_experience(
        rollout, reference, recording.arrays["scores"], recording.config(), recording.config().kl_coef
    )
    _compare_experience(recording, experience, worst)
    _compare_losses(recording, experience, worst)
    _compare_step(recording, experience, worst)
    _compare_controller(recording, worst)
    return worst


def main(arguments) -> int:
    worst = compare(Path(arguments[0]) if arguments else FOLDER)
    width = max(map(len, worst))
    for name, difference in worst.items():
        print(f"{name:{width}}  {difference:.1e}{'' if difference <= TOLERANCE else '  PAST THE TOLERANCE'}")
    past = sum(difference > TOLERANCE for difference in worst.values())
    print(f"{len(worst)} fields, {past} past {TOLERANCE:g}")
    return 1 if past else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
