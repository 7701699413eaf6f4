import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn.functional import cross_entropy, kl_div

from helpers.compression.distillation import distillation_loss, half_of, kept_layers, remembering, soften, student_of
from helpers.data.pairs import IGNORED, Collator
from helpers.models.generation import generate
from helpers.models.sizes import SHAPES, count_parameters, untrained
from helpers.run_records import TrainingError, fingerprint
from helpers.training.finetuning_methods import distilled, full
from helpers.training.finished_runs import load_run
from helpers.training.trainer import train
from tests.training.training_cases import tiny_pairs, tiny_settings

SOFT = distilled(1.0, 2.0, 1e-2)
logit = st.floats(-8, 8, width=32)


@st.composite
def batches(draw):
    """(student logits, teacher logits (B, T, V), labels (B, T) of which some are ignored, one at least not)."""
    rows, length, words = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(2, 5))
    both = [
        torch.tensor(draw(st.lists(logit, min_size=rows * length * words, max_size=rows * length * words))).reshape(
            rows, length, words
        )
        for _ in range(2)
    ]
    labels = torch.tensor(draw(st.lists(st.integers(-1, words - 1), min_size=rows * length, max_size=rows * length)))
    labels[draw(st.integers(0, rows * length - 1))] = 0
    return *both, labels.masked_fill(labels < 0, IGNORED).reshape(rows, length)


def plain_loss(student, teacher, labels, alpha, temperature):
    """The definition, token by token and class by class."""
    losses = []
    for row in range(labels.shape[0]):
        for place in range(labels.shape[1]):
            label = int(labels[row, place])
            if label == IGNORED:
                continue
            powers = {
                name: [math.exp(value / t) for value in logits[row, place].double().tolist()]
                for name, logits, t in (
                    ("q", student, temperature),
                    ("p", teacher, temperature),
                    ("hard", student, 1.0),
                )
            }
            chances = {name: [power / sum(values) for power in values] for name, values in powers.items()}
            soft = sum(p * math.log(p / q) for p, q in zip(chances["p"], chances["q"]))
            losses.append(alpha * temperature**2 * soft - (1 - alpha) * math.log(chances["hard"][label]))
    return sum(losses) / len(losses)


@given(batches(), st.floats(0, 1), st.floats(0.5, 10))
def test_the_loss_is_the_plain_one(batch, alpha, temperature):
    assert distillation_loss(*batch, alpha, temperature).item() == pytest.approx(
        plain_loss(*batch, alpha, temperature), rel=2e-4, abs=2e-4
    )


@given(batches(), st.floats(0.5, 10))
def test_the_soft_part_is_that_of_torch(batch, temperature):
    student, teacher, labels = batch
    real = labels != IGNORED
    stock = kl_div(
        (student[real] / temperature).log_softmax(-1), (teacher[real] / temperature).softmax(-1), reduction="batchmean"
    )
    assert distillation_loss(*batch, 1.0, temperature).item() == pytest.approx(
        temperature**2 * stock.item(), rel=1e-3, abs=1e-4
    )


@given(batches())
def test_ignored_positions_and_the_teacher_get_no_gradient(batch):
    student, teacher, labels = batch
    student, teacher = student.clone().requires_grad_(True), teacher.clone().requires_grad_(True)
    distillation_loss(student, teacher, labels, 0.7, 3.0).backward()
    assert teacher.grad is None and not student.grad[labels == IGNORED].any()


def test_hard_labels_alone_are_cross_entropy_and_a_student_like_its_teacher_has_no_soft_loss():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 6, 9, generator=generator), torch.randint(0, 9, (4, 6), generator=generator)
    assert torch.equal(
        distillation_loss(logits, -logits, labels, 0.0, 4.0), cross_entropy(logits.flatten(0, 1), labels.flatten())
    )
    assert (
        distillation_loss(logits, logits + 5.0, labels, 1.0, 4.0).abs() < 1e-5
    )  # a constant added to all logits changes no probability


def test_the_factor_keeps_the_gradient_when_the_temperature_rises():
    generator = torch.Generator().manual_seed(0)
    student, teacher, labels = (
        torch.randn(50, 20, generator=generator),
        torch.randn(50, 20, generator=generator),
        torch.zeros(50, dtype=torch.long),
    )

    def size(temperature, factor=1.0):
        logits = student.clone().requires_grad_(True)
        (factor * distillation_loss(logits, teacher, labels, 1.0, temperature)).backward()
        return logits.grad.norm().item()

    assert size(8.0) == pytest.approx(size(32.0), rel=0.1)  # with T²
    assert size(8.0, 1 / 64) > 10 * size(32.0, 1 / 1024)  # without


def test_a_high_temperature_levels_and_a_low_one_sharpens():
    logits = torch.tensor([2.0, 1.0, -1.0])
    assert torch.allclose(soften(logits, 1.0), logits.softmax(-1)) and torch.allclose(
        soften(logits, 1e4), torch.full((3,), 1 / 3), atol=1e-3
    )
    assert soften(logits, 0.1)[0] > 0.99 and soften(logits.bfloat16(), 2.0).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.2}, "alpha: 1.2"),
        ({"temperature": 0}, "temperature: 0"),
        ({"labels": torch.full((2, 3), IGNORED)}, "all of them are -100"),
        ({"teacher_logits": torch.zeros(2, 3, 5)}, r"teacher \(2, 3, 5\)"),
        ({"labels": torch.zeros(2, 4, dtype=torch.long)}, r"labels \(2, 4\)"),
    ],
)
def test_what_cannot_be_a_loss_is_named(change, message):
    given_ = {
        "student_logits": torch.zeros(2, 3, 4),
        "teacher_logits": torch.zeros(2, 3, 4),
        "labels": torch.zeros(2, 3, dtype=torch.long),
        "alpha": 0.5,
        "temperature": 2.0,
    }
    with pytest.raises(ValueError, match=message):
        distillation_loss(**given_ | change)


@given(st.integers(1, 48).flatmap(lambda layers: st.tuples(st.just(layers), st.integers(1, layers))))
def test_kept_layers_are_in_order_spread_and_begin_with_the_first(numbers):
    layers, kept = numbers
    found = kept_layers(layers, kept)
    assert (
        len(set(found)) == kept
        and found == sorted(found)
        and found[0] == 0
        and found[-1] == (layers - 1 if kept > 1 else 0)
    )
    gaps = [after - before for before, after in pairwise(found)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_impossible_numbers_of_layers_are_named(tiny_model):
    with pytest.raises(ValueError, match="kept: 2 of 1 layers"):
        student_of(tiny_model, 2, 1)


@pytest.fixture(scope="module")
def deep(tiny_model):
    """An untrained T5 of four encoder and three decoder layers."""
    config = copy.deepcopy(tiny_model.config)
    config.num_layers, config.num_decoder_layers = 4, 3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return type(tiny_model)(config).eval()


def test_a_student_has_the_teachers_layers_and_a_life_of_its_own(deep, tiny_tokenizer, dialogues, tmp_path):
    before, student = fingerprint(deep), student_of(deep, 2, 1)
    assert torch.equal(
        student.encoder.block[1].layer[1].DenseReluDense.wo.weight,
        deep.encoder.block[3].layer[1].DenseReluDense.wo.weight,
    )
    assert torch.equal(
        student.decoder.block[0].layer[0].SelfAttention.q.weight, deep.decoder.block[0].layer[0].SelfAttention.q.weight
    )
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight
    said = generate(
        student, tiny_tokenizer, dialogues, max_new_tokens=8, show_progress=False
    )  # with a cache of keys and values
    student.save_pretrained(tmp_path)
    loaded = type(student).from_pretrained(tmp_path).eval()
    assert (loaded.config.num_layers, loaded.config.num_decoder_layers) == (2, 1) and fingerprint(
        loaded
    ) == fingerprint(student)
    assert generate(loaded, tiny_tokenizer, dialogues, max_new_tokens=8, show_progress=False) == said
    with torch.no_grad():
        student.shared.weight.zero_()
    assert fingerprint(deep) == before


def test_all_layers_kept_are_the_teacher(deep):
    assert fingerprint(student_of(deep, 4, 3)) == fingerprint(deep)


@pytest.mark.parametrize("name", list(SHAPES))
def test_half_of_a_published_model_is_between_a_third_and_a_half(name):
    model = untrained(name)
    found = half_of(model)
    assert 1 / 3 < count_parameters(student_of(model, *found)).total / count_parameters(model).total <= 0.5, found


def test_a_model_of_embeddings_alone_has_no_half(tiny_model):
    with pytest.raises(ValueError, match="more than half"):
        half_of(tiny_model)


@pytest.fixture(scope="module")
def student(tiny_model):
    """The tiny model's start, with other weights than its own: something to learn from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return type(tiny_model)(tiny_model.config).eval()


def teach(student, tiny_tokenizer, teacher, folder, method=SOFT, **options):
    pairs = tiny_pairs(tiny_tokenizer, turn=0)
    return train(
        student,
        tiny_tokenizer,
        pairs,
        pairs,
        method,
        tiny_settings(),
        folder,
        teacher=teacher,
        **{"steps": 12, "evaluations": 3, "show_progress": False} | options,
    )


def test_a_student_comes_closer_to_its_teacher_and_the_teacher_stays(student, tiny_model, tiny_tokenizer, tmp_path):
    before, batch = (
        fingerprint(tiny_model),
        Collator(tiny_tokenizer.pad_token_id)(list(tiny_pairs(tiny_tokenizer, turn=0))),
    )
    run = teach(student, tiny_tokenizer, tiny_model, tmp_path, steps=60)

    @torch.no_grad()
    def distance(model):
        return distillation_loss(model(**batch).logits, tiny_model(**batch).logits, batch["labels"], 1.0, 2.0).item()

    assert distance(run.model) < 0.5 * distance(student)
    assert fingerprint(tiny_model) == before and all(weight.grad is None for weight in tiny_model.parameters())
    assert run.record.losses[0][1] == pytest.approx(distance(student), rel=0.5)
    assert run.record.settings["teacher"] == before and load_run(run.folder, student, tiny_settings()).loaded
    with torch.no_grad():
        hard = cross_entropy(run.model(**batch).logits.transpose(1, 2), batch["labels"], ignore_index=IGNORED).item()
    assert run.record.validation_losses[-1][1] == pytest.approx(hard, rel=0.1)  # cross-entropy, for every method


def test_the_teacher_is_part_of_the_run_and_no_teacher_leaves_the_old_identity(
    student, tiny_model, tiny_tokenizer, tmp_path
):
    first = teach(student, tiny_tokenizer, tiny_model, tmp_path)
    assert teach(student, tiny_tokenizer, tiny_model, tmp_path).loaded
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        other.shared.weight.mul_(1.01)
    assert not teach(student, tiny_tokenizer, other, tmp_path).loaded
    plain = teach(student, tiny_tokenizer, None, tmp_path, full(1e-2))
    assert "teacher" in first.record.settings and "teacher" not in plain.record.settings


@pytest.mark.parametrize(
    ("method", "has_teacher", "message"),
    [
        (distilled(), False, "is missing for the method 'distilled'"),
        (full(), True, "says nothing to the method 'full'"),
    ],
)
def test_a_teacher_belongs_to_distillation_and_to_nothing_else(
    student, tiny_model, tiny_tokenizer, tmp_path, method, has_teacher, message
):
    with pytest.raises(ValueError, match=message):
        teach(student, tiny_tokenizer, tiny_model if has_teacher else None, tmp_path, method)


def test_a_teacher_of_another_vocabulary_is_refused(student, tiny_model, tiny_tokenizer, tmp_path):
    other = copy.deepcopy(tiny_model)
    other.resize_token_embeddings(tiny_model.config.vocab_size + 8)
    with pytest.raises(ValueError, match="soft labels need the same"):
        teach(student, tiny_tokenizer, other, tmp_path)


def test_a_lost_loss_still_ends_the_run(student, tiny_model, tiny_tokenizer, tmp_path):
    broken = copy.deepcopy(student)
    with torch.no_grad():
        broken.shared.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match="nan nats at step 1"):
        teach(broken, tiny_tokenizer, tiny_model, tmp_path)


def test_a_teacher_that_remembers_says_the_same(tiny_model, tiny_tokenizer, student, tmp_path):
    pairs = tiny_pairs(tiny_tokenizer)
    kept, batch = (
        remembering(tiny_model, tiny_tokenizer, pairs, batch_size=4),
        Collator(tiny_tokenizer.pad_token_id)([pairs[row] for row in (4, 0, 2)]),
    )
    real = batch["labels"] != IGNORED
    with torch.no_grad():
        assert torch.allclose(kept(**batch).logits[real], tiny_model(**batch).logits[real], atol=1e-4)
    assert fingerprint(kept) == fingerprint(tiny_model) and kept(**batch).logits.shape[:2] == batch["labels"].shape
    assert "forward" not in vars(tiny_model)
    with pytest.raises(KeyError):
        kept(**Collator(tiny_tokenizer.pad_token_id)([tiny_pairs(tiny_tokenizer, turn=0)[1]]))
