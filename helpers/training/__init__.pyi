"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .bottleneck_adapters import Bottleneck as Bottleneck
from .distributed import (
    ALONE as ALONE,
    FAULTS as FAULTS,
    WAYS as WAYS,
    Job as Job,
    train_steps as train_steps,
    train_together as train_together,
)
from .finetuning_methods import (
    ATTENTION as ATTENTION,
    adapt as adapt,
    bottleneck as bottleneck,
    distilled as distilled,
    full as full,
    ia3 as ia3,
    lora as lora,
    lora_parameters as lora_parameters,
    prefix_tuning as prefix_tuning,
    prompt_tuning as prompt_tuning,
    qat as qat,
    sparse as sparse,
)
from .finished_runs import load_adapter as load_adapter
from .memory import (
    RECIPES as RECIPES,
    activation_bytes as activation_bytes,
    expected as expected,
    sent as sent,
    training_step as training_step,
)
from .model_cards import export_adapter as export_adapter
from .scaling_laws import (
    FLOPS as FLOPS,
    FORMS as FORMS,
    fit_law as fit_law,
    interval_of as interval_of,
    left_out_errors as left_out_errors,
    predicted_loss as predicted_loss,
    resampled_laws as resampled_laws,
    residuals as residuals,
)
from .trainer import train as train
