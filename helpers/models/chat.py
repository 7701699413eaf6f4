"""Chat models: loaded, asked in their own template, answers streamed, and given answers scored."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, StoppingCriteria, TextIteratorStreamer

from helpers.hardware import choose_dtype
from helpers.models.generation import (
    GenerationError,
    check_parameters,
    check_positions,
    encode_prompts,
    evaluating,
    generate,
    only_these_settings,
    padded,
    random_stream,
    to_generation_config,
)
from helpers.models.loading import (
    ModelError,
    as_model_error,
    check_report,
    check_weights,
    model_folder,
    tokenizer_of,
    weight_files,
)
from helpers.models.packaged import is_packaged, packaged_folder
from helpers.progress import one_bar, progress
from helpers.settings import Settings

ROLES = ("system", "user", "assistant")
Conversation = str | Sequence[dict[str, str]]


def load_chat(settings: Settings, dtype: str | None = None):
    """(tokenizer, model) of `settings.chat_model` on `settings.device`: a decoder that was taught to answer.

    Only safetensors are read, and no code of a model's repository is run. A model in a package is converted first.

    Args:
        dtype: "float32" or "bfloat16"; without one bfloat16 where the hardware computes in it.
    Raises:
        ModelError: see `helpers.models.loading.load_seq2seq` and `helpers.models.packaged.packaged_folder`; a tokenizer
            without a chat template.
    """
    name, kind = settings.chat_model, ("decoder", "LAB_CHAT_MODEL")
    where = (name, settings.chat_revision, "chat_model")
    folder = packaged_folder(name) if is_packaged(name) else model_folder(*where)
    weight_files(name, folder)
    tokenizer = tokenizer_of(name, folder, *kind)
    if not tokenizer.chat_template:
        raise ModelError(f"{name}: its tokenizer has no chat template; choose a model that was taught to chat")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    with as_model_error(name, *kind), one_bar():
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype or choose_dtype(settings.device)[0]),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    check_report(name, report)
    check_weights(name, model, tokenizer)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, model.to(settings.device).eval()


def chat_prompt(tokenizer, conversation: Conversation) -> str:
    """A conversation as the text that the model was trained on, up to where its answer begins.

    Args:
        conversation: a question, or messages {"role": …, "content": …} in order; roles are those of `ROLES`. A template
            may add a system message of its own if the first is none.
    Raises:
        GenerationError: no message, an empty one, an unknown role, a special token inside a message, or a last message
            that is the model's own.
    """
    messages = [{"role": "user", "content": conversation}] if isinstance(conversation, str) else list(conversation)
    if not messages:
        raise GenerationError("conversation: it has no message; begin with one of the role user")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise GenerationError(
                f"conversation[{place}]: {str(message)[:60]!r} is no message; write {{'role': …, 'content': …}} with a "
                f"role of {', '.join(ROLES)}"
            )
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise GenerationError(f"conversation[{place}]: the {message['role']}'s message is empty; write one")
        signs = [sign for sign in tokenizer.all_special_tokens if sign in message["content"]]
        if signs:  # the text could end its own turn and speak for somebody else
            raise GenerationError(
                f"conversation[{place}]: the {message['role']}'s message holds {signs[0]!r}, with which the template "
                "marks turns; take it out"
            )
    if messages[-1]["role"] == "assistant":
        raise GenerationError("conversation: its last message is the assistant's; end with what should be answered")
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def answer(model, tokenizer, conversations: Sequence[Conversation], **options) -> list[str]:
    """An answer to each conversation: `helpers.models.generate` of their prompts, with the same options.

    Raises:
        GenerationError: see `chat_prompt` and `helpers.models.generate`.
    """
    if isinstance(conversations, str):
        raise GenerationError(f"conversations: {conversations[:60]!r} is one text; for a single one write [text]")
    return generate(model, tokenizer, [chat_prompt(tokenizer, each) for each in conversations], **options)


class _Stopped(StoppingCriteria):
    """Ends generation once an event is set."""

    def __init__(self, event):
        self.event = event

    def __call__(self, input_ids, scores, **_):
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


def stream(
    model, tokenizer, prompt: str, *, seed: int | None = None, stop: threading.Event | None = None, **parameters
) -> Iterator[str]:
    """The completion of one prompt, piece by piece, as it is written.

    Args:
        seed: of the sampling, as in `helpers.models.generate`. stop: once it is set, no further token is computed; so
            it is when the caller leaves the loop. parameters: as there; beams cannot be streamed.
    Raises:
        GenerationError: before anything runs, at the first piece.
    Source: `transformers.TextIteratorStreamer`: generation runs in a thread of its own.
    """
    settings = check_parameters(parameters)
    if settings["num_beams"] > 1:
        raise GenerationError("num_beams: beams are compared at their ends, so nothing can be streamed; leave it out")
    [row] = encode_prompts(tokenizer, [prompt])
    check_positions(model.config, [row], settings["max_new_tokens"])
    config, left, faults = to_generation_config(model, settings), threading.Event(), []
    pieces = TextIteratorStreamer(tokenizer, skip_prompt=not model.config.is_encoder_decoder, skip_special_tokens=True)
    input_ids = torch.tensor([row], device=model.device)

    def write():
        try:
            with random_stream(seed, model.device), torch.inference_mode():
                model.generate(
                    input_ids=input_ids,
                    attention_mask=torch.ones_like(input_ids),
                    generation_config=config,
                    stopping_criteria=[_Stopped(event) for event in (stop, left) if event],
                    streamer=pieces,
                )
        except Exception as error:  # told by the loop that waits for pieces
            faults.append(error)
            pieces.end()

    thread = threading.Thread(target=write, daemon=True)
    with evaluating(model), only_these_settings(model, config):
        thread.start()
        try:
            yield from (piece for piece in pieces if piece)
        finally:
            left.set()  # the caller's event stays the caller's
            thread.join()
    if faults:
        raise faults[0]


@torch.inference_mode()
def answer_logprobs(
    model,
    tokenizer,
    prompts: Sequence[str],
    answers: Sequence[str],
    *,
    batch_size: int = 16,
    show_progress: bool = True,
) -> list[torch.Tensor]:
    """How likely a decoder finds given answers: the log-probability of each of their tokens, in nats.

    Prompt and answer become tokens apart, so that an answer's tokens are the same behind every prompt.

    Args:
        prompts, answers: N texts each; answer i stands right behind prompt i (mind the space between them).
    Returns:
        N float32 tensors, (tokens of the answer,) each; their sum is the answer's log-likelihood.
    Raises:
        GenerationError: lists of different lengths, an empty prompt or answer, or more tokens than the window holds.
    """
    if len(prompts) != len(answers):
        raise GenerationError(f"answers: {len(answers)} for {len(prompts)} prompts; give one answer for each prompt")
    before = encode_prompts(tokenizer, prompts)
    after = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    for index, ids in enumerate(after):
        if not ids:
            raise GenerationError(f"answers[{index}]: {answers[index]!r} is empty; give at least one token")
        check_positions(model.config, [before[index]], len(ids))
    order = sorted(range(len(before)), key=lambda index: -len(before[index]) - len(after[index]))
    found: list = [None] * len(order)
    bar = progress(total=len(order), desc="scoring", unit="answer", disable=not show_progress)
    with bar, evaluating(model):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            rows = [before[index] + after[index] for index in chosen]
            input_ids, mask = padded(rows, tokenizer.pad_token_id, model.device, "left")
            longest = max(len(after[index]) for index in chosen)
            places = (mask.cumsum(1) - 1).clamp(min=0)  # padding takes none
            output = model(
                input_ids=input_ids,
                attention_mask=mask,
                position_ids=places,
                logits_to_keep=longest + 1,
                use_cache=False,
            )
            logits = output.logits[:, :-1].float()  # (B, longest, vocabulary)
            logprobs = F.log_softmax(logits, -1).gather(-1, input_ids[:, -longest:, None])[..., 0].cpu()  # (B, longest)
            for index, values in zip(chosen, logprobs):
                found[index] = values[longest - len(after[index]) :].clone()
            bar.update(len(chosen))
    return found
