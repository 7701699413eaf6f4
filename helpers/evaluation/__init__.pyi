"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .calibration import (
    calibrated_error as calibrated_error,
    calibration_error as calibration_error,
    reliability as reliability,
)
from .claims import Claim as Claim, checkpoint as checkpoint
from .experiments import (
    answered_exactly as answered_exactly,
    baselines as baselines,
    by_part as by_part,
    by_task as by_task,
    clusters_of as clusters_of,
    draw_exemplars as draw_exemplars,
    headline as headline,
    load_task_rows as load_task_rows,
    reference_ceiling as reference_ceiling,
    rude_rows as rude_rows,
    run_condition as run_condition,
    score_tasks as score_tasks,
)
from .faithfulness import FactChecker as FactChecker, load_fact_checker as load_fact_checker
from .losses import pair_losses as pair_losses
from .metrics import (
    bleu as bleu,
    distinct_n as distinct_n,
    exact_match_per_dialogue as exact_match_per_dialogue,
    rouge as rouge,
    rouge_per_dialogue as rouge_per_dialogue,
    unigram_overlap as unigram_overlap,
    words as words,
)
from .multiple_choice import (
    Question as Question,
    load_questions as load_questions,
    option_scores as option_scores,
)
from .statistics import (
    Interval as Interval,
    exactly as exactly,
    mean_interval as mean_interval,
    paired_difference as paired_difference,
    ratio_interval as ratio_interval,
)
