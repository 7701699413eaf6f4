"""Repositories for the hub of the tests, in the form of the real ones: their files, their configurations and their
limits, with untrained weights and the kit's own dialogues.

What is not as in the original: FLAN-T5's sentencepiece file is not at hand. The tokenizer here has the pieces of the
kit's own one, filled up to 32,000, and FLAN-T5's hundred sentinels, special tokens, window of 512 and way to split at
blanks (newlines are lost). So a text has another number of tokens than with FLAN-T5, of the same order.
"""

from __future__ import annotations

import csv
import json
from itertools import islice, product
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models as token_models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from helpers.models.sizes import COMMON
from helpers.settings import POCKET
from pocket.tokenizer import TAGS

PIECES, SENTINELS, WINDOW = 32_000, 100, 512
# Kinds of layers, gated GELU, head apart, and widths that are multiples of 64: as in FLAN-T5-small. Smaller are the
# widths and the number of layers.
SMALLER = {"d_model": 64, "d_kv": 64, "d_ff": 128, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 6}
UNWANTED = ("pytorch_model.bin", "flax_model.msgpack", "tf_model.h5")  # the original has these too; nobody may ask
SMALL_BERT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
LONG, TOO_LONG = 5, 17  # one dialogue in five is two of the kit's in one; one in seventeen is five
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_json(path: Path, value):
    """Makes the file's folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def kits_rows(split: str) -> list[dict]:
    """The kit's own dialogues of one split."""
    return [json.loads(line) for line in (POCKET / "data" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def words_of_no_text(count: int) -> list[str]:
    """Different words of four consonants, to fill a vocabulary up."""
    return ["▁" + "".join(letters) for letters in islice(product("bcdfghjklmnpqrtvwxz", repeat=4), count)]


def flan_tokenizer(size: int = PIECES) -> T5Tokenizer:
    """A tokenizer with FLAN-T5's number of entries, or another `size`; see the module's docstring for what is its
    own.
    """
    known = json.loads((POCKET / "model" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    # A speaker's tag is one piece in the kit, and several in FLAN-T5.
    pieces = [(piece, score) for piece, score in known if piece not in TAGS and "\n" not in piece]
    least = min(score for _, score in pieces)
    pieces += [(word, least) for word in words_of_no_text(size - len(pieces))]
    pieces += [(f"<extra_id_{number}>", 0.0) for number in reversed(range(SENTINELS))]
    return T5Tokenizer(vocab=pieces, extra_ids=SENTINELS, model_max_length=WINDOW)


def write_flan_t5(folder: Path, shape: dict = SMALLER, pieces: int = PIECES, seed: int = 0):
    """FLAN-T5's files with untrained weights: `shape` is one of `SHAPES`, or `SMALLER`, which is no FLAN-T5's."""
    flan_tokenizer(pieces).save_pretrained(folder)
    torch.manual_seed(seed)
    said = {"dropout_rate": 0.1, "n_positions": WINDOW, "architectures": ["T5ForConditionalGeneration"]}
    config = T5Config(**COMMON | shape | said)
    model = T5ForConditionalGeneration(config)
    model.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
    weights = {name: value for name, value in model.state_dict().items() if "embed_tokens" not in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    said = config.to_dict() | {"tie_word_embeddings": False, "dtype": "float32"}
    said.pop("scale_decoder_outputs", None)  # the original's config.json has no such word
    write_json(folder / "config.json", said)
    write_json(
        folder / "generation_config.json",
        {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "_from_model_config": True},
    )
    for name in UNWANTED:
        (folder / name).write_bytes(b"nobody reads this")


def joined(rows: list[dict], number: int, count: int) -> dict:
    """So many dialogues in one, with the first one's summaries."""
    some = [rows[(number + place) % len(rows)] for place in range(count)]
    return some[0] | {"dialogue": "\n".join(row["dialogue"] for row in some)}


def write_dialogsum(folder: Path, train: int = 150, validation: int = 30, test: int = 30):
    """DialogSum's files: CSV with id, dialogue, summary and topic, and three rows for each dialogue of the test split.

    Like the original, some dialogues are long: with an example they pass a window of 512 tokens, and a few do so alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        rows, lines = kits_rows(split), []
        for number in range(count):
            size = 5 if number % TOO_LONG == TOO_LONG - 1 else 2 if number % LONG == 0 else 1
            row = joined(rows, number, size)
            summaries = row.get("summaries") or [row["summary"]]
            texts = (summaries * 3)[:3] if split == "test" else summaries[:1]
            names = [f"{split}_{number}_{writer}" for writer in (1, 2, 3)] if split == "test" else [f"{split}_{number}"]
            lines += [(name, row["dialogue"], text, row["topic"]) for name, text in zip(names, texts)]
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("id", "dialogue", "summary", "topic"), *lines])
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# Dialogues\n", encoding="utf-8")


def byte_tokenizer(special: list[str], **options) -> PreTrainedTokenizerFast:
    """Byte-pair encoding over bytes, as GPT-2, RoBERTa and SmolLM2 have it, trained on a few of the kit's dialogues."""
    backend = Tokenizer(token_models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([row["dialogue"] for row in kits_rows("validation")], trainer)
    if options.get("cls_token"):
        ends = [(token, backend.token_to_id(token)) for token in (options["cls_token"], options["sep_token"])]
        backend.post_processor = processors.RobertaProcessing(ends[1], ends[0])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **options)


def write_classifier(folder: Path, seed: int = 0):
    """A RoBERTa with the labels `nothate` and `hate`, as the profile's reward model has them; its weights say nothing.

    Its tokenizer knows no limit, and of its 514 positions RoBERTa uses 512.
    """
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    special = dict(zip(names, ("<s>", "<pad>", "</s>", "<unk>", "<mask>")))
    tokenizer = byte_tokenizer(list(special.values()), **special, cls_token="<s>", sep_token="</s>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        **SMALL_BERT,
        max_position_embeddings=514,
        type_vocab_size=1,
        id2label={0: "nothate", 1: "hate"},
        label2id={"nothate": 0, "hate": 1},
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)


def write_pickles_only(folder: Path):
    """A classifier whose weights are there as a pickle alone."""
    write_classifier(folder)
    (folder / "model.safetensors").replace(folder / "pytorch_model.bin")


def write_chat_model(folder: Path, seed: int = 0):
    """A Llama with SmolLM2's special tokens and template, grouped keys and a tied head."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_tokenizer(
        special, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>", model_max_length=8192
    )
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,  # of which quantization makes groups of 32, as of any real model's
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def write_sentence_encoder(folder: Path, seed: int = 0):
    """A BERT with all-MiniLM-L6-v2's files: mean pooling, then vectors of length one."""
    said = {word.lower() for row in kits_rows("validation") for word in row["dialogue"].split()}
    words = sorted(filter(str.isalpha, said))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(
        token_models.WordPiece({word: place for place, word in enumerate([*special, *words])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=512, **dict(zip(names, special))
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    BertModel(BertConfig(vocab_size=len(special) + len(words), **SMALL_BERT)).save_pretrained(folder)
    write_json(
        folder / "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
    )
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 48, "pooling_mode_mean_tokens": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False})
