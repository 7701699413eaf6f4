"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .constitution import (
    CALM as CALM,
    CONSTITUTION as CONSTITUTION,
    HEATED as HEATED,
    INSULT as INSULT,
    NOTHING as NOTHING,
    RESPECT as RESPECT,
    approval as approval,
    critique_prompt as critique_prompt,
    kit_rows as kit_rows,
    lessons as lessons,
    objects as objects,
    preferences as preferences,
    review as review,
    revision_lessons as revision_lessons,
    revision_prompt as revision_prompt,
    sentences as sentences,
    verdict as verdict,
)
from .dpo import dpo_loss as dpo_loss
from .dpo_trainer import (
    DPOConfig as DPOConfig,
    DPOTrainer as DPOTrainer,
    encode_preferences as encode_preferences,
    implicit_rewards as implicit_rewards,
)
from .group_relative import (
    group_advantages as group_advantages,
    grpo_loss as grpo_loss,
    leave_one_out_advantages as leave_one_out_advantages,
    rloo_loss as rloo_loss,
)
from .group_trainers import (
    GRPOConfig as GRPOConfig,
    GRPOTrainer as GRPOTrainer,
    RLOOConfig as RLOOConfig,
    RLOOTrainer as RLOOTrainer,
)
from .human_feedback import (
    FeedbackError as FeedbackError,
    FeedbackStore as FeedbackStore,
    Item as Item,
    Ranking as Ranking,
    agreement as agreement,
    best_and_worst as best_and_worst,
    consensus as consensus,
    people_first as people_first,
    politeness as politeness,
    preference_pairs as preference_pairs,
    simulated_order as simulated_order,
    simulated_panel as simulated_panel,
    stored_rankings as stored_rankings,
)
from .policy import Policy as Policy, encode_for_policy as encode_for_policy
from .policy_evaluation import evaluate_policy as evaluate_policy, sampled as sampled
from .ppo import token_logprobs as token_logprobs
from .ppo_trainer import (
    METRICS as METRICS,
    PPOConfig as PPOConfig,
    PPOTrainer as PPOTrainer,
    minibatch_loss as minibatch_loss,
)
from .reward_model import (
    HARD_CASES as HARD_CASES,
    judged_toxicity as judged_toxicity,
    load_reward as load_reward,
    pairwise_accuracy as pairwise_accuracy,
    pairwise_loss as pairwise_loss,
    train_reward_model as train_reward_model,
    untrained_scorer as untrained_scorer,
)
