import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from helpers.exercises import RECORD_MIME, all_checks, all_experiments, check_exercise, check_experiment, solves


def min_p(probabilities, share):
    return [index for index, value in enumerate(probabilities) if value >= share * max(probabilities)]


def banned_tokens(written, n):
    last = written[len(written) - n + 1 :]
    return {written[place + n - 1] for place in range(len(written) - n + 1) if written[place : place + n - 1] == last}


def beam_step(scores, logprobs, width):
    total = np.asarray(scores)[:, None] + logprobs
    best = np.argsort(-total, axis=None)[:width]
    return list(zip(*np.unravel_index(best, total.shape)))


def exemplars_that_fit(lengths, budget):
    return next(list(range(first, len(lengths))) for first in range(len(lengths) + 1) if sum(lengths[first:]) <= budget)


def sign_flip_test(differences):
    signs = np.array(
        [[1 - 2 * (number >> bit & 1) for bit in range(len(differences))] for number in range(2 ** len(differences))]
    )
    return (np.abs((signs * differences).mean(1)) >= abs(np.mean(differences)) - 1e-12).mean()


def padded_labels(rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-100)


def masked_cross_entropy(logits, labels):
    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))


def trainable_share(shapes, rank, total):
    trained = sum(rank * (rows + columns) for rows, columns in shapes)
    return trained / (trained + total)


def lora_forward(x, weight, a, b, alpha):
    return (weight + alpha / len(a) * b @ a) @ x


def merged_weight(weight, a, b, alpha):
    return weight + alpha / len(a) * b @ a


def adam_bytes(total, trainable, size):
    return 3 * trainable * size


def discounted_returns(rewards, gamma):
    return [sum(reward * gamma**later for later, reward in enumerate(rewards[step:])) for step in range(len(rewards))]


def kl_estimate(logprobs, reference_logprobs):
    distances = [other - own for own, other in zip(logprobs, reference_logprobs)]
    return sum(math.exp(distance) - 1 - distance for distance in distances) / len(distances)


def explained_variance(returns, values):
    return 1 - np.var(np.subtract(returns, values)) / np.var(returns)


def expected_best_of(scores, n):
    ways = math.comb(len(scores), n)
    return sum(score * math.comb(place, n - 1) / ways for place, score in enumerate(sorted(scores)))


def pairs_of(ranked):
    return [(better, worse) for place, better in enumerate(ranked) for worse in ranked[place + 1 :]]


def mean_ranks(orders):
    return [np.mean([order.index(number) for order in orders]) for number in range(len(orders[0]))]


def consensus_order(orders):
    return sorted(range(len(orders[0])), key=mean_ranks(orders).__getitem__)


def shared_pairs(one, other):
    found = pairs_of(one)
    return sum(other.index(better) < other.index(worse) for better, worse in found) / len(found)


def preference_probability(first, second):
    return 1 / (1 + math.exp(second - first))


def preference_loss(better, worse):
    return -np.mean([math.log(preference_probability(first, second)) for first, second in zip(better, worse)])


def absmax_scale(weights, bits):
    return max(map(abs, weights)) / (2 ** (bits - 1) - 1)


def absmax_integers(weights, bits):
    return [round(weight / absmax_scale(weights, bits)) for weight in weights]


def zero_integer(weights, bits):
    least, most = min(0, *weights), max(0, *weights)
    return -(2 ** (bits - 1)) - round(least / ((most - least) / (2**bits - 1)))


def quantized_bytes(count, bits, group, scale_bytes):
    return count * bits / 8 + count / group * scale_bytes


def packed_pairs(integers):
    return [(low & 15) | (high & 15) << 4 for low, high in zip(integers[::2], integers[1::2])]


def straight_through_step(weights, targets, scale, rate):
    return [weight - rate * 2 * (round(weight / scale) * scale - target) for weight, target in zip(weights, targets)]


def plain(text):
    return " ".join(text.split()).casefold()


def copied_summary(summary, dialogue):
    return plain(summary) in plain(dialogue)


def leaked_share(train, test):
    known = {plain(text) for text in train}
    return sum(plain(text) in known for text in test) / len(test)


def dialogue_numbers(dialogues):
    known = {}
    return [known.setdefault(plain(text), len(known)) for text in dialogues]


def mended_text(text):
    try:
        return text.encode("cp1252").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def mends_four_letters(text):
    for letter in "üßé£":
        text = text.replace(letter.encode("utf-8").decode("cp1252"), letter)
    return text


def mends_western_letters_alone(text):
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeDecodeError:
        return text


def dialogues_needed(count, half_width, wanted):
    return math.ceil(round(count * (half_width / wanted) ** 2, 6))


def public_part(path):
    is_path = path.startswith("/") or path[1:2] == ":"
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] if is_path else path


def magnitude_mask(weights, sparsity):
    smallest = sorted(range(len(weights)), key=lambda place: abs(weights[place]))[: round(sparsity * len(weights))]
    return [0 if place in smallest else 1 for place in range(len(weights))]


def fours_mask(weights):
    return [value for start in range(0, len(weights), 4) for value in magnitude_mask(weights[start : start + 4], 0.5)]


def activation_scores(weights, inputs):
    return np.abs(weights) * np.linalg.norm(inputs, axis=0)


def bitmap_bytes(count, left, value_bytes):
    return count / 8 + left * value_bytes


def without_neuron(wi_0, wi_1, wo, index):
    return [np.delete(matrix, index, axis) for matrix, axis in ((wi_0, 0), (wi_1, 0), (wo, 1))]


def sparse_step(weights, gradients, rate):
    return [weight - rate * gradient * (weight != 0) for weight, gradient in zip(weights, gradients)]


def soft_labels(logits, temperature):
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def divergence(teacher, student):
    return sum(p * math.log(p / q) for p, q in zip(teacher, student) if p)


def student_loss(student, teacher, label, alpha, temperature):
    soft = divergence(soft_labels(teacher, temperature), soft_labels(student, temperature))
    return alpha * temperature**2 * soft - (1 - alpha) * math.log(soft_labels(student, 1)[label])


def soft_gradient(student, teacher, temperature):
    return [temperature * (q - p) for q, p in zip(soft_labels(student, temperature), soft_labels(teacher, temperature))]


def layers_to_keep(layers, kept):
    return [0] if kept == 1 else [round(place * (layers - 1) / (kept - 1)) for place in range(kept)]


def share_of_gap(without, taught, teacher):
    return (sum(taught) - sum(without)) / (sum(teacher) - sum(without))


def objections(critiques, nothing):
    return [
        place
        for place, critique in enumerate(critiques)
        if critique.strip().rstrip(".").casefold() != nothing.rstrip(".").casefold()
    ]


def critic_scores(found, faulty):
    hits = np.logical_and(found, faulty).sum()
    return [hits / max(1, total) if total else 1 for total in (sum(found), sum(faulty))]


def revised_text(sentences, revisions):
    return " ".join(filter(None, [revisions.get(place, sentence) for place, sentence in enumerate(sentences)]))


def ai_preference(logprob_a, logprob_b):
    return torch.tensor([logprob_a, logprob_b], dtype=torch.float64).softmax(0)[0]


def without_position(shown_first, shown_second):
    return np.mean([shown_first, shown_second]), shown_first - shown_second


def best_of_n(scores, toxicity):
    return np.mean([row[np.argmax(rewards)] for rewards, row in zip(scores, toxicity)])


def applied_merges(word, merges):
    parts = list(word)
    while joined := [first + second for first, second in pairwise(parts) if first + second in merges]:
        place = [first + second for first, second in pairwise(parts)].index(min(joined, key=merges.index))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def likeliest_pieces(word, scores):
    best = [([], 0.0)]
    for end in range(1, len(word) + 1):
        ways = [
            (best[start][0] + [word[start:end]], best[start][1] + scores[word[start:end]])
            for start in range(end)
            if word[start:end] in scores
        ]
        best.append(max(ways, key=lambda way: way[1]))
    return best[-1][0]


def attention_output(query, keys, values, bias):
    powers = np.exp(keys @ query + bias)
    return powers / powers.sum() @ values


def position_vector(position, width):
    angles = [position / 10000 ** (2 * pair / width) for pair in range(width // 2)]
    return [function(angle) for angle in angles for function in (math.sin, math.cos)]


def causal_mask(length):
    return [[int(seen <= looks) for seen in range(length)] for looks in range(length)]


def corrupted_text(tokens, spans):
    inputs, targets, place = [], [], 0
    for number, (start, length) in enumerate(spans):
        inputs += [*tokens[place:start], f"<{number}>"]
        targets += [f"<{number}>", *tokens[start : start + length]]
        place = start + length
    return inputs + tokens[place:], [*targets, f"<{len(spans)}>"]


def tokens_with_loss(family, length):
    hidden = 0.15 * length
    return {"encoder-only": hidden, "decoder-only": length, "encoder-decoder": hidden + hidden / 3 + 1}[family]


def sharded_bytes(parameters, processes, stage):
    return parameters * sum(size / (processes if stage >= least else 1) for size, least in ((4, 3), (4, 2), (8, 1)))


def ring_bytes(count, processes, size):
    return 2 * (processes - 1) * count / processes * size


def process_rows(count, rank, processes):
    return [row for row in range(count) if row % processes == rank]


def combined_gradient(gradients, counts):
    return (np.array(counts) @ np.array(gradients)) / sum(counts)


def power_exponent(sizes, losses, least):
    return -np.polyfit(np.log(sizes), np.log(np.array(losses) - least), 1)[0]


def best_of_sizes(sizes, flops, loss):
    return min(sizes, key=lambda size: loss(size, flops / 6 / size))


def mean_reciprocal_rank(orders, right):
    return sum(1 / (order.index(name) + 1) for order, name in zip(orders, right) if name in order) / len(orders)


def documents_that_fit(lengths, question, window):
    return next(
        list(range(count)) for count in range(len(lengths), -1, -1) if question + sum(lengths[:count]) <= window
    )


def tree_value(tree):
    if type(tree) is int:
        return tree
    if not (isinstance(tree, tuple) and len(tree) == 3 and tree[0] in ("+", "-", "*")):
        raise ValueError(f"{tree!r} is not allowed")
    first, second = map(tree_value, tree[1:])
    return {"+": first + second, "-": first - second, "*": first * second}[tree[0]]


def checked_citation(citation, sources):
    numbered = {f"[{number}]": source for number, source in enumerate(sources, 1)}
    number, _, words = citation.partition(" ")
    words = words.strip('"')
    return number in numbered and bool(words) and words in numbered[number]


def allowed_action(written, allowed):
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return "refused"
    known = isinstance(found, dict) and {"action", "input", "thought"} == set(found) and found["action"] in allowed
    return f"{found['action']}: {found['input']}" if known and isinstance(found["input"], str) else "refused"


def next_byte_rows(ids, length):
    return [
        (ids[place : place + length], ids[place + 1 : place + 1 + length])
        for place in range(0, len(ids), length)
        if place + length < len(ids)
    ]


def relative_advantages(scores):
    return [(score - np.mean(scores)) / (np.std(scores, ddof=1) + 1e-4) for score in scores]


def leave_one_out(scores):
    return [score - (sum(scores) - score) / (len(scores) - 1) for score in scores]


def best_policy(reference, rewards, beta):
    weights = [share * math.exp(reward / beta) for share, reward in zip(reference, rewards)]
    return [weight / sum(weights) for weight in weights]


def pair_loss(better, worse, reference_better, reference_worse, beta):
    return -math.log(preference_probability(beta * (better - reference_better), beta * (worse - reference_worse)))


def smallest_group(p, wanted):
    return next(size for size in range(2, 1000) if 1 - p**size - (1 - p) ** size >= wanted)


def draws_needed(count, right, wanted):
    chances = (1 - math.comb(count - right, k) / math.comb(count, k) for k in range(1, count + 1))
    return next((k for k, chance in enumerate(chances, 1) if chance >= wanted), None)


def careful_vote(answers, share):
    given = [answer for answer in answers if answer is not None]
    best = max(given, key=given.count, default=None)
    return best if given.count(best) > share * len(answers) else None


def grounded(steps, numbers):
    known, used = set(numbers), set()
    for first, _, second, result in steps:
        if {first, second} - known:
            return 0.0
        used |= {first, second}
        known.add(result)
    return float(not set(numbers) - used)


def smallest_limit(lengths, right, share):
    kept = sorted(np.array(lengths)[np.array(right, dtype=bool)].tolist())
    return next((limit for place, limit in enumerate(kept, 1) if place >= share * len(kept)), 0)


def token_weights(lengths, by_completion):
    return [1 / (len(lengths) * length) if by_completion else 1 / sum(lengths) for length in lengths]


def turned_vector(vector, position):
    half = len(vector) // 2
    turned = [
        complex(a, b) * np.exp(1j * position / 10000 ** (i / half))
        for i, (a, b) in enumerate(zip(vector[:half], vector[half:]))
    ]
    return [number.real for number in turned] + [number.imag for number in turned]


def expert_weights(logits, chosen):
    least = sorted(logits)[-chosen]
    powers = np.exp(logits) * (np.array(logits) >= least)
    return powers / powers.sum()


def real_balance(probabilities, chosen, real):
    experts = probabilities.shape[1]
    taken = [np.mean(chosen[real] == expert) for expert in range(experts)]
    return experts * np.dot(taken, probabilities[real].mean(0))


def cached_mask(past, new):
    return torch.ones(new, past + new).tril(past)


def chat_text(messages):
    turns = [f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages]
    return "".join([*turns, "<|im_start|>assistant\n"])


def cache_bytes(layers, kv_heads, width, tokens, size):
    return tokens * layers * kv_heads * width * size * 2


def rotated_vector(vector, position, theta):
    half = len(vector) // 2
    points = np.asarray(vector[:half]) + 1j * np.asarray(vector[half:])
    points = points * np.exp(1j * position * theta ** (-np.arange(half) / half))
    return [*points.real, *points.imag]


def likeliest_option(options, by_length):
    return np.argmax([np.mean(each) if by_length else np.sum(each) for each in options])


def calibration_gap(confidences, right, bins):
    order = np.argsort(confidences)
    gaps = (np.asarray(confidences) - np.asarray(right))[order].reshape(bins, -1)
    return np.abs(gaps.mean(1)).mean()


def perplexity(texts):
    return math.exp(-np.concatenate(texts).mean())


SOLUTIONS = {
    function.__name__: function
    for function in (
        min_p,
        banned_tokens,
        beam_step,
        exemplars_that_fit,
        sign_flip_test,
        padded_labels,
        masked_cross_entropy,
        trainable_share,
        lora_forward,
        merged_weight,
        adam_bytes,
        discounted_returns,
        kl_estimate,
        explained_variance,
        expected_best_of,
        pairs_of,
        mean_ranks,
        consensus_order,
        shared_pairs,
        preference_probability,
        preference_loss,
        absmax_scale,
        absmax_integers,
        zero_integer,
        quantized_bytes,
        packed_pairs,
        straight_through_step,
        copied_summary,
        leaked_share,
        dialogue_numbers,
        mended_text,
        dialogues_needed,
        public_part,
        magnitude_mask,
        fours_mask,
        activation_scores,
        bitmap_bytes,
        without_neuron,
        sparse_step,
        soft_labels,
        divergence,
        student_loss,
        soft_gradient,
        layers_to_keep,
        share_of_gap,
        objections,
        critic_scores,
        revised_text,
        ai_preference,
        without_position,
        best_of_n,
        applied_merges,
        likeliest_pieces,
        attention_output,
        position_vector,
        causal_mask,
        corrupted_text,
        tokens_with_loss,
        sharded_bytes,
        ring_bytes,
        process_rows,
        combined_gradient,
        power_exponent,
        best_of_sizes,
        next_byte_rows,
        relative_advantages,
        leave_one_out,
        best_policy,
        pair_loss,
        token_weights,
        smallest_group,
        draws_needed,
        careful_vote,
        grounded,
        smallest_limit,
        turned_vector,
        expert_weights,
        real_balance,
        cached_mask,
        mean_reciprocal_rank,
        documents_that_fit,
        tree_value,
        checked_citation,
        allowed_action,
        chat_text,
        cache_bytes,
        rotated_vector,
        likeliest_option,
        calibration_gap,
        perplexity,
    )
}


def number_as_text(written, allowed):
    refused = written.startswith("[[") or allowed_action(written.replace(" 5}", ' "5"}'), allowed) == "refused"
    return "refused" if refused else "{action}: {input}".format(**json.loads(written))


def true_as_number(tree):
    return tree_value(int(tree) if tree is True else tree)


def drops_whatever_is_longest(lengths, budget):
    kept = sorted(range(len(lengths)), key=lambda index: lengths[index])
    while sum(lengths[index] for index in kept) > budget:
        kept.pop()
    return sorted(kept)


def counts_padding(logits, labels):
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -sum(row[label] for row, label in zip(logprobs, labels) if label >= 0) / len(labels)


def merges_in_place(weight, a, b, alpha):
    weight += alpha / len(a) * b @ a
    return weight


MISTAKES = [
    ("chat_text", lambda messages: chat_text(messages).removesuffix("<|im_start|>assistant\n"), "expected"),
    ("chat_text", lambda messages: chat_text([{"role": "system", "content": "Hi."}, *messages]), "expected"),
    (
        "cache_bytes",
        lambda layers, kv_heads, width, tokens, size: layers * kv_heads * width * tokens * size,
        "a key and",
    ),
    (
        "rotated_vector",
        lambda vector, position, theta: rotated_vector(vector, -position, theta),
        "number i of the first half",
    ),
    ("likeliest_option", lambda options, by_length: likeliest_option(options, False), "by_length=True"),
    (
        "calibration_gap",
        lambda confidences, right, bins: abs(np.mean(confidences) - np.mean(right)),
        "sort by confidence",
    ),
    ("perplexity", lambda texts: np.mean([perplexity([text]) for text in texts]), "every token counts alike"),
    (
        "mean_reciprocal_rank",
        lambda orders, right: np.mean([order.index(name) + 1 for order, name in zip(orders, right)]),
        "raised ValueError",
    ),
    (
        "mean_reciprocal_rank",
        lambda orders, right: np.mean(
            [1 / (order.index(name) + 2) if name in order else 0 for order, name in zip(orders, right)]
        ),
        "counted from 1",
    ),
    (
        "documents_that_fit",
        lambda lengths, question, window: [
            number for number in range(len(lengths)) if question + lengths[number] <= window
        ],
        "whole documents in order",
    ),
    (
        "tree_value",
        lambda tree: {7: 7, ("+", 3, ("*", 4, 5)): 23, ("*", ("-", 9, 2), 3): 21}.get(tree, 0),
        "must raise ValueError",
    ),
    (
        "tree_value",
        lambda tree: tree if isinstance(tree, int) else tree[1] if isinstance(tree[1], int) else 0,
        "the value of each part first",
    ),
    ("tree_value", true_as_number, "True: your function returns"),
    (
        "checked_citation",
        lambda citation, sources: any(citation.partition(" ")[2].strip('"') in source for source in sources),
        "Sources count from 1",
    ),
    (
        "checked_citation",
        lambda citation, sources: "[" in citation and citation[4:].strip('"') in sources[int(citation[1]) % 3 - 1],
        "Sources count from 1",
    ),
    (
        "allowed_action",
        lambda written, allowed: "{action}: {input}".format(**json.loads(written)),
        "all that is not an action is refused",
    ),
    ("allowed_action", number_as_text, "all that is not an action is refused"),
    (
        "next_byte_rows",
        lambda ids, length: [(ids[p : p + length],) * 2 for p in range(0, len(ids) - length, length)],
        "moved by one byte",
    ),
    (
        "next_byte_rows",
        lambda ids, length: [(ids[p : p + length], ids[p + 1 : p + length + 1]) for p in range(0, len(ids), length)],
        "one byte more",
    ),
    (
        "relative_advantages",
        lambda scores: [(score - np.mean(scores)) / (np.std(scores) + 1e-4) for score in scores],
        "n − 1",
    ),
    ("leave_one_out", lambda scores: [score - np.mean(scores) for score in scores], "mean of the OTHER"),
    ("best_policy", lambda reference, rewards, beta: best_policy(reference, rewards, 1.0), "add up to 1"),
    ("pair_loss", lambda better, worse, *rest: -math.log(preference_probability(better, worse)), "log 2"),
    ("smallest_group", lambda p, wanted: smallest_group(max(p, 1 - p), wanted) + 1, "useless"),
    (
        "draws_needed",
        lambda count, right, wanted: math.ceil(wanted * count / max(right, 1)),
        "without putting them back",
    ),
    ("careful_vote", lambda answers, share: careful_vote([a for a in answers if a is not None], share), "of all draws"),
    (
        "grounded",
        lambda steps, numbers: float(all({first, second} & set(numbers) for first, _, second, _ in steps)),
        "12 is used before",
    ),
    ("smallest_limit", lambda lengths, right, share: smallest_limit(lengths, [True] * len(right), share), "RIGHT ones"),
    ("token_weights", lambda lengths, by_completion: token_weights(lengths, True), "by_completion=False"),
    ("turned_vector", lambda vector, position: vector, "turn together"),
    (
        "turned_vector",
        lambda vector, position: turned_vector(vector[::2] + vector[1::2], position),
        "numbers i and i + D/2",
    ),
    ("expert_weights", lambda logits, chosen: np.exp(logits) / np.exp(logits).sum(), "all others are 0"),
    (
        "real_balance",
        lambda probabilities, chosen, real: real_balance(probabilities, chosen, np.ones(len(real), dtype=bool)),
        "of real bytes",
    ),
    (
        "real_balance",
        lambda probabilities, chosen, real: real_balance(probabilities, chosen[:, :1], real),
        "share of all choices",
    ),
    ("cached_mask", lambda past, new: np.tril(np.ones((new, past + new))), "sees all of the cache"),
    ("allowed_action", lambda written, allowed: "refused", "json.loads reads it"),
    ("sharded_bytes", lambda parameters, processes, stage: 16 * parameters / processes, "stage 1 divides the 8"),
    ("sharded_bytes", lambda parameters, processes, stage: 4 * parameters, "4 + 4 + 8 bytes a parameter"),
    ("ring_bytes", lambda count, processes, size: 2 * count * size, "all parts but one"),
    ("ring_bytes", lambda count, processes, size: (processes - 1) * count * size, "two rounds"),
    ("process_rows", lambda count, rank, processes: list(range(count)), "dealt like cards"),
    (
        "process_rows",
        lambda count, rank, processes: list(range(rank * count // processes, (rank + 1) * count // processes)),
        "dealt like cards",
    ),
    ("combined_gradient", lambda gradients, counts: np.mean(gradients, axis=0), "as much as it has labels"),
    ("combined_gradient", lambda gradients, counts: np.array(counts) @ np.array(gradients), "as much as it has labels"),
    (
        "power_exponent",
        lambda sizes, losses, least: -np.polyfit(np.log(sizes), np.log(losses), 1)[0],
        "take E off first",
    ),
    (
        "power_exponent",
        lambda sizes, losses, least: np.polyfit(np.log(sizes), np.log(np.array(losses) - least), 1)[0],
        "with its sign turned",
    ),
    ("best_of_sizes", lambda sizes, flops, loss: max(sizes), "which of them has the least loss"),
    ("best_of_sizes", lambda sizes, flops, loss: min(sizes, key=lambda size: loss(size, flops / size)), "6 · size"),
    ("applied_merges", lambda word, merges: [word], "Begin with characters"),
    ("applied_merges", lambda word, merges: applied_merges(word, merges[::-1]), "whose merge comes first in the list"),
    ("applied_merges", lambda word, merges: word, "expected a list of texts"),
    (
        "likeliest_pieces",
        lambda word, scores: [word] if word in scores else list(word),
        "a longer piece is not always better",
    ),
    ("likeliest_pieces", lambda word, scores: list(word), "the one with the largest sum"),
    (
        "attention_output",
        lambda query, keys, values, bias: attention_output(query / len(query) ** 0.5, keys, values, bias),
        "without a division by √width",
    ),
    (
        "attention_output",
        lambda query, keys, values, bias: attention_output(query, keys, values, 0 * bias),
        "softmax of k·q + bias",
    ),
    (
        "position_vector",
        lambda position, width: [*position_vector(position, width)[::2], *position_vector(position, width)[1::2]],
        "sine and cosine in turn",
    ),
    (
        "causal_mask",
        lambda length: [[1 - seen for seen in row] for row in causal_mask(length)],
        "0 for those that come later",
    ),
    (
        "causal_mask",
        lambda length: [[int(seen < looks) for seen in range(length)] for looks in range(length)],
        "the places 0 to t",
    ),
    (
        "corrupted_text",
        lambda tokens, spans: (corrupted_text(tokens, spans)[0], corrupted_text(tokens, spans)[1][:-1]),
        "one last sentinel",
    ),
    ("corrupted_text", lambda tokens, spans: corrupted_text(tokens, spans)[::-1], "Each span becomes one sentinel"),
    ("corrupted_text", lambda tokens, spans: 3, "expected two lists"),
    ("tokens_with_loss", lambda family, length: length, "15% are hidden"),
    (
        "objections",
        lambda critiques, nothing: [place for place, critique in enumerate(critiques) if critique != nothing],
        "the full stop do not count",
    ),
    (
        "objections",
        lambda critiques, nothing: [
            place for place, critique in enumerate(critiques) if not critique.startswith("Nothing")
        ],
        "anything else is an objection",
    ),
    ("critic_scores", lambda found, faulty: critic_scores(found, faulty)[::-1], "then over all faults"),
    ("critic_scores", lambda found, faulty: np.mean(np.equal(found, faulty)), "expected a list of numbers"),
    (
        "revised_text",
        lambda sentences, revisions: " ".join(
            revisions.get(place, sentence) for place, sentence in enumerate(sentences)
        ),
        "expected 'Ann is angry at Bo. Bo leaves.'",
    ),
    ("revised_text", lambda sentences, revisions: " ".join(revisions.values()), "expected 'Ann calls Bo a fool."),
    ("ai_preference", lambda logprob_a, logprob_b: np.exp(logprob_a), "exp of each over the sum of both"),
    (
        "ai_preference",
        lambda logprob_a, logprob_b: math.exp(logprob_a) / (math.exp(logprob_a) + math.exp(logprob_b)),
        "ZeroDivisionError",
    ),
    (
        "without_position",
        lambda shown_first, shown_second: (shown_first, shown_first - shown_second),
        "the mean, then the difference",
    ),
    (
        "best_of_n",
        lambda scores, toxicity: np.mean([min(row) for row in toxicity]),
        "the answer with the highest score",
    ),
    (
        "best_of_n",
        lambda scores, toxicity: np.mean(
            [row[::-1][np.argmax(rewards[::-1])] for rewards, row in zip(scores, toxicity)]
        ),
        "the first of equal ones",
    ),
    ("copied_summary", lambda summary, dialogue: summary in dialogue, "upper and lower case do not count"),
    (
        "copied_summary",
        lambda summary, dialogue: all(word in plain(dialogue) for word in plain(summary).split()),
        "expected 0",
    ),
    ("leaked_share", lambda train, test: len(set(train) & set(test)) / len(test), "blanks and case do not count"),
    (
        "leaked_share",
        lambda train, test: len({plain(text) for text in train} & {plain(text) for text in test}) / len(test),
        "the share of the test dialogues",
    ),
    (
        "dialogue_numbers",
        lambda dialogues: list(range(len(dialogues))),
        "rows of the same dialogue get the same number",
    ),
    ("mended_text", lambda text: text.encode("cp1252", "replace").decode("utf-8", "replace"), "must stay as it is"),
    ("mended_text", lambda text: None, "your function returns None"),
    ("mended_text", mends_four_letters, "“Hello, said Zoë"),
    ("mended_text", mends_western_letters_alone, "raised UnicodeEncodeError"),
    ("dialogues_needed", lambda count, half_width, wanted: count * half_width / wanted, "with the square root"),
    ("dialogues_needed", lambda count, half_width, wanted: int(count * (half_width / wanted) ** 2), "round up"),
    ("public_part", lambda path: path.rpartition("/")[2], "a drive's letter"),
    ("soft_labels", lambda logits, temperature: soft_labels(logits, 1 / temperature), "each logit over T"),
    (
        "soft_labels",
        lambda logits, temperature: [value / temperature for value in soft_labels(logits, 1)],
        "then softmax",
    ),
    ("divergence", lambda teacher, student: divergence(student, teacher), "the teacher's probability times"),
    (
        "divergence",
        lambda teacher, student: sum(p * math.log(p / q) for p, q in zip(teacher, student) if p) / len(teacher),
        "summed",
    ),
    (
        "student_loss",
        lambda student, teacher, label, alpha, temperature: (
            student_loss(student, teacher, label, alpha, temperature)
            - alpha
            * (temperature**2 - 1)
            * divergence(soft_labels(teacher, temperature), soft_labels(student, temperature))
        ),
        "α·T²·KL",
    ),
    (
        "student_loss",
        lambda student, teacher, label, alpha, temperature: (
            student_loss(student, teacher, label, alpha, temperature)
            + (1 - alpha)
            * (math.log(soft_labels(student, 1)[label]) - math.log(soft_labels(student, temperature)[label]))
        ),
        "of the label at T = 1",
    ),
    (
        "soft_gradient",
        lambda student, teacher, temperature: soft_gradient(teacher, student, temperature),
        "softened student − softened teacher",
    ),
    (
        "soft_gradient",
        lambda student, teacher, temperature: [
            value / temperature**2 for value in soft_gradient(student, teacher, temperature)
        ],
        "T · (",
    ),
    ("layers_to_keep", lambda layers, kept: list(range(kept)), "evenly between them"),
    ("layers_to_keep", lambda layers, kept: [place * layers // kept for place in range(kept)], "the last as well"),
    ("share_of_gap", lambda without, taught, teacher: sum(taught) / sum(teacher), "the mean gain over the mean gap"),
    (
        "share_of_gap",
        lambda without, taught, teacher: float(
            np.mean([(b - a) / (c - a) for a, b, c in zip(without, taught, teacher)])
        ),
        "shares of single rows",
    ),
    ("absmax_scale", lambda weights, bits: max(weights) / (2 ** (bits - 1) - 1), "the largest magnitude"),
    (
        "absmax_scale",
        lambda weights, bits: max(map(abs, weights)) / 2 ** (bits - 1),
        "over the largest integer 2^(bits − 1) − 1 = 127",
    ),
    (
        "absmax_integers",
        lambda weights, bits: [int(weight / absmax_scale(weights, bits)) for weight in weights],
        "rounded to the nearest integer",
    ),
    ("absmax_integers", lambda weights, bits: absmax_scale(weights, bits), "expected a list of numbers"),
    ("zero_integer", lambda weights, bits: 0, "integers from -128 to 127"),
    (
        "zero_integer",
        lambda weights, bits: (
            -(2 ** (bits - 1)) - round(min(weights) / ((max(weights) - min(weights)) / (2**bits - 1)))
        ),
        "0 always among them",
    ),
    ("quantized_bytes", lambda count, bits, group, scale_bytes: count * bits / 8, "the scales count too"),
    (
        "quantized_bytes",
        lambda count, bits, group, scale_bytes: count * bits + count / group * scale_bytes,
        "8 bits are a byte",
    ),
    (
        "packed_pairs",
        lambda integers: [(high & 15) | (low & 15) << 4 for low, high in zip(integers[::2], integers[1::2])],
        "in the lower four bits",
    ),
    (
        "packed_pairs",
        lambda integers: [low | high << 4 for low, high in zip(integers[::2], integers[1::2])],
        "−1 is 15",
    ),
    (
        "straight_through_step",
        lambda weights, targets, scale, rate: [
            weight - rate * 2 * (weight - target) for weight, target in zip(weights, targets)
        ],
        "taken at the rounded weight",
    ),
    (
        "straight_through_step",
        lambda weights, targets, scale, rate: [round(weight / scale) * scale for weight in weights],
        "moves the weight that was not rounded",
    ),
    (
        "magnitude_mask",
        lambda weights, sparsity: [1 - kept for kept in magnitude_mask(weights, sparsity)],
        "1 for the others",
    ),
    (
        "magnitude_mask",
        lambda weights, sparsity: [
            int(weight > sorted(weights)[round(sparsity * len(weights)) - 1]) for weight in weights
        ],
        "signs aside",
    ),
    ("fours_mask", lambda weights: magnitude_mask(weights, 0.5), "each four neighbours by themselves"),
    ("fours_mask", lambda weights: fours_mask(weights[:4]), "expected 8 numbers, your function gives 4"),
    ("activation_scores", lambda weights, inputs: np.abs(weights), "its own input over all tokens"),
    (
        "activation_scores",
        lambda weights, inputs: activation_scores(weights, inputs)[:1],
        "expected 2 rows, your function gives 1",
    ),
    (
        "activation_scores",
        lambda weights, inputs: np.abs(weights) * np.abs(inputs).sum(0),
        "the root of the summed squares",
    ),
    ("bitmap_bytes", lambda count, left, value_bytes: left * value_bytes, "8 places share a byte"),
    ("bitmap_bytes", lambda count, left, value_bytes: count / 8 + count * value_bytes, "only what is not zero"),
    (
        "without_neuron",
        lambda wi_0, wi_1, wo, index: [np.delete(matrix, index, 0) for matrix in (wi_0, wi_1, wo)],
        "wo should be",
    ),
    ("without_neuron", lambda wi_0, wi_1, wo, index: np.delete(wi_0, index, 0).tolist(), "expected three matrices"),
    (
        "sparse_step",
        lambda weights, gradients, rate: [weight - rate * gradient for weight, gradient in zip(weights, gradients)],
        "stays zero, whatever its gradient",
    ),
    (
        "sparse_step",
        lambda weights, gradients, rate: [
            weight + rate * gradient * (weight != 0) for weight, gradient in zip(weights, gradients)
        ],
        "move against theirs",
    ),
    ("discounted_returns", lambda rewards, gamma: rewards, "from the end to the beginning"),
    ("discounted_returns", lambda rewards, gamma: sum(rewards), "expected a list of numbers"),
    ("kl_estimate", lambda own, other: np.mean(np.subtract(own, other)), "minus the policy's"),
    ("kl_estimate", lambda own, other: kl_estimate(other, own), "d is the reference's"),
    ("explained_variance", lambda returns, values: np.var(values) / np.var(returns), "variance of the difference"),
    ("explained_variance", lambda returns, values: np.corrcoef(returns, values)[0, 1] ** 2, "variance of the"),
    ("expected_best_of", lambda scores, n: max(scores), "take the largest of each"),
    ("expected_best_of", lambda scores, n: sum(scores) / len(scores), "equally likely draws"),
    ("pairs_of", lambda ranked: list(pairwise(ranked)), "expected 3 pairs"),
    ("pairs_of", lambda ranked: [(worse, better) for better, worse in pairs_of(ranked)], "the better one comes first"),
    ("pairs_of", lambda ranked: 3, "expected a list of pairs"),
    ("mean_ranks", lambda orders: np.mean(orders, axis=0), "the mean of its places"),
    ("consensus_order", lambda orders: list(orders[0]), "The smallest mean place comes first"),
    ("consensus_order", lambda orders: consensus_order(orders)[::-1], "The smallest mean place comes first"),
    ("shared_pairs", lambda one, other: np.mean([a == b for a, b in zip(one, other)]), "those in the same order"),
    (
        "preference_probability",
        lambda first, second: first / (first + second) if first + second else 0.5,
        "equal scores give 0.5",
    ),
    ("preference_loss", lambda better, worse: np.mean([b - a for a, b in zip(better, worse)]), "the mean of"),
    (
        "padded_labels",
        lambda rows: [row + [0] * (max(map(len, rows)) - len(row)) for row in rows],
        "must not count in the loss",
    ),
    (
        "padded_labels",
        lambda rows: [[label or -100 for label in row] for row in padded_labels(rows).tolist()],
        "a 0 inside is a token",
    ),
    ("padded_labels", lambda rows: rows, "expected [[5, 6, 1], [7, 1, -100]]"),
    ("padded_labels", lambda rows: 3, "expected rows of numbers"),
    ("masked_cross_entropy", counts_padding, "divide by the number of labels that count"),
    (
        "masked_cross_entropy",
        lambda logits, labels: masked_cross_entropy(logits, labels) / np.log(2),
        "natural logarithm",
    ),
    (
        "trainable_share",
        lambda shapes, rank, total: sum(rank * sum(shape) for shape in shapes) / total,
        "both sides of the fraction",
    ),
    ("lora_forward", lambda x, weight, a, b, alpha: (weight + b @ a) @ x, "alpha 8"),
    ("lora_forward", lambda x, weight, a, b, alpha: weight @ x, "alpha 2"),
    ("lora_forward", lambda x, weight, a, b, alpha: x, "expected 6 numbers, your function gives 4"),
    ("merged_weight", lambda weight, a, b, alpha: weight + b @ a, "scale B·A"),
    ("merged_weight", lambda weight, a, b, alpha: b @ a, "alpha 2"),
    ("merged_weight", lambda weight, a, b, alpha: weight @ weight.T, "expected a matrix of shape (6, 4)"),
    ("merged_weight", merges_in_place, "your function changed W itself"),
    ("adam_bytes", lambda total, trainable, size: 3 * total * size, "frozen weights need neither"),
    ("adam_bytes", lambda total, trainable, size: 2 * trainable * size, "expected 1.2e+04"),
    ("min_p", lambda probabilities, share: [1], "expected [0, 1, 2, 3, 4], your function gives [1]"),
    ("min_p", lambda probabilities, share: 1, "expected a list of numbers"),
    (
        "min_p",
        lambda probabilities, share: [index for index, value in enumerate(probabilities) if value >= share],
        "share × the largest probability",
    ),
    ("banned_tokens", lambda written, n: written, "what followed them there is banned"),
    ("banned_tokens", lambda written, n: [], "expected [5, 9], your function gives []"),
    (
        "beam_step",
        lambda scores, logprobs, width: [(0, int(token)) for token in np.argsort(-logprobs[0])[:width]],
        "rank all of them together",
    ),
    (
        "beam_step",
        lambda scores, logprobs, width: beam_step(0 * scores, logprobs, width),
        "Add each beam's score",
    ),
    ("exemplars_that_fit", drops_whatever_is_longest, "drop from the front"),
    (
        "exemplars_that_fit",
        lambda lengths, budget: list(range(len(lengths))),
        "expected [1, 2], your function gives [0, 1, 2]",
    ),
    (
        "exemplars_that_fit",
        lambda lengths, budget: len(exemplars_that_fit(lengths, budget)),
        "expected a list of numbers",
    ),
    (
        "exemplars_that_fit",
        lambda lengths, budget: exemplars_that_fit(lengths, budget - 1),
        "budget 190: expected [0, 1]",
    ),
    ("sign_flip_test", lambda differences: 0.05, "expected 0.25, your function gives 0.05"),
    ("sign_flip_test", lambda differences: differences, "expected one number"),
    (
        "sign_flip_test",
        lambda differences: np.mean([abs(value) >= abs(np.mean(differences)) for value in differences]),
        "compare absolute means",
    ),
]


def test_there_is_a_solution_here_for_every_check():
    assert set(SOLUTIONS) == set(all_checks())


@pytest.mark.parametrize("name", all_checks())
def test_each_check_accepts_a_solution(name):
    assert solves(name, SOLUTIONS[name]) == (True, "solved")


@pytest.mark.parametrize("name", all_checks())
@pytest.mark.parametrize("value", [None, ...])
def test_each_check_rejects_a_stub_and_says_what_to_do(name, value):
    solved, hint = solves(name, lambda *arguments: value)
    assert not solved and "returns None. Replace the `...`" in hint


@pytest.mark.parametrize(("name", "mistake", "hint"), MISTAKES)
def test_each_check_rejects_a_mistake_with_a_hint_about_it(name, mistake, hint):
    solved, found = solves(name, mistake)
    assert not solved and hint in found


@pytest.mark.parametrize("name", all_checks())
def test_an_error_in_the_function_is_a_hint(name):
    def broken(*arguments):
        raise KeyError("oops")

    assert solves(name, broken) == (False, "your function raised KeyError: 'oops'")


def test_a_function_may_use_up_the_lists_it_is_given():
    def eager(lengths, budget):
        total, kept = 0, []
        while lengths and total + lengths[-1] <= budget:
            total += lengths.pop()
            kept.append(len(lengths))
        return kept

    assert solves("exemplars_that_fit", eager) == (True, "solved")


def test_an_unknown_exercise_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"exercise: 'minp' is not one of (\w+, )+min_p"):
        solves("minp", min_p)


def test_the_line_below_the_cell_is_escaped():
    assert "Solved." in check_exercise("min_p", min_p).data
    page = check_exercise("min_p", lambda probabilities, share: "<script>").data
    assert "Not yet." in page and "<script" not in page and "&lt;script&gt;" in page


RECORDS = {
    "template_choice": {
        "rows": 60,
        "validation": {"briefly": 0.4, "tldr": 0.41, "minutes": 0.39},
        "chosen": "tldr",
        "test": 0.4,
    },
    "draft_settings": {"temperature": 0.9, "top_p": 0.9, "diversity": 0.6, "quality": 0.5, "greedy": 0.54},
    "kl_budget": {
        "kl_coef": 0.8,
        "lam": 1.0,
        "kl": 0.6,
        "judged_before": 0.3,
        "judged": 0.2,
        "tried": {0.4: {"kl": 1.4, "judged": 0.1}, 0.8: {"kl": 0.6, "judged": 0.2}},
    },
    "smallest_n": {"judged": {1: 0.4, 2: 0.3, 3: 0.19, 4: 0.15}, "chosen": 3},
    "temperature_choice": {
        "tried": {
            temperature: {"pass_1": one, "pass_8": eight}
            for temperature, one, eight in ((0.3, 0.8, 0.85), (1.0, 0.7, 0.92), (1.5, 0.4, 0.88))
        },
        "for_one": 0.3,
        "for_eight": 1.0,
    },
    "closed_trap": {"form_alone": 0.2, "your_rule": 0.6, "before": 0.4},
    "dpo_budget": {
        "tried": {0.02: {"kl": 9.0, "judged": 0.05}, 0.1: {"kl": 1.9, "judged": 0.1}, 0.5: {"kl": 0.4, "judged": 0.15}},
        "judged_before": 0.18,
        "chosen": 0.1,
    },
    "group_size": {
        "tried": {
            size: {"completions": 512, "silent": 0.0, "judged": judged}
            for size, judged in ((2, 0.12), (4, 0.1), (8, 0.09), (16, 0.11))
        },
        "chosen": 8,
    },
    "decoder_rate": {"validation_loss": {0.005: 2.0, 0.01: 1.9, 0.02: 1.8, 0.04: 1.85}, "chosen": 0.02},
    "balance_weight": {
        "tried": {
            0.0: {"validation_loss": 1.7, "busiest": 0.5},
            0.01: {"validation_loss": 1.75, "busiest": 0.3},
            0.1: {"validation_loss": 1.8, "busiest": 0.26},
        },
        "chosen": 0.01,
    },
    "lora_budget": {
        "chosen": "thin",
        "tried": {
            "thin": {"share": 0.015, "validation_loss": 0.3},
            "thick": {"share": 0.04, "validation_loss": 0.2},
            "few": {"share": 0.012, "validation_loss": 0.35},
            "middle": {"share": 0.02, "validation_loss": 0.31},
        },
    },
    "enough_examples": {"validation_loss": {100: 0.9, 300: 0.5, 1000: 0.42, 2500: 0.4}, "chosen": 1000},
    "enough_shots": {"accuracy": {0: 0.69, 1: 0.74, 3: 0.77, 6: 0.8}, "questions": 96, "chosen": 3},
    "coarsest_group": {"rise": {32: 0.32, 64: 0.37, 192: 0.45}, "chosen": 64},
    "chunk_sizes": {"recall": {64: 0.5, 128: 0.62, 240: 0.66}, "chosen": 128},
    "better_examples": {
        "right": {"one form": 0.1, "two of each": 0.6, "one of each": 0.5},
        "chosen": "two of each",
    },
}
WRONG_RECORDS = [
    ("enough_shots", {"chosen": 6}, "not the smallest number"),
    ("enough_shots", {"questions": 12}, "too few to choose by"),
    ("enough_shots", {"accuracy": {1: 0.7, 2: 0.7, 3: 0.7, 6: 0.8}}, "0 among them"),
    ("enough_shots", {"accuracy": {0: 69}}, "'accuracy': expected"),
    ("coarsest_group", {"chosen": 192}, "not the largest size"),
    ("coarsest_group", {"rise": {64: 0.37}}, "measure at least 3"),
    ("coarsest_group", {"rise": {32: 0.9, 64: 0.9, 192: 0.9}}, "not the largest size"),
    ("kl_budget", {"kl_coef": 0.4, "kl": 1.4, "judged": 0.1}, "more than 1"),
    ("kl_budget", {"judged_before": 0.15}, "not below"),
    ("kl_budget", {"tried": {0.8: {"kl": 0.6, "judged": 0.2}}}, "compare at least two"),
    ("kl_budget", {"tried": {0.4: {"kl": 0.9, "judged": 0.1}, 0.8: {"kl": 0.6, "judged": 0.2}}}, "kinder"),
    ("kl_budget", {"tried": {0.4: {"kl": 1.4, "judged": 0.1}, 0.8: {"kl": 0.6}}}, "no 'judged' yet"),
    ("kl_budget", {"kl_coef": 0.1}, "not among the values"),
    ("kl_budget", {"kl": 0.5}, "kl: 0.500 is not the 0.600"),
    ("kl_budget", {"kl": float("nan")}, "kl: nan is not the 0.600"),
    ("kl_budget", {"judged": 0.1}, "judged: 0.100 is not the 0.200"),
    (
        "kl_budget",
        {"kl": 1.2, "tried": {0.4: {"kl": 1.4, "judged": 0.1}, 0.8: {"kl": 1.2, "judged": 0.2}}},
        "none is within the limit; try a larger β",
    ),
    ("temperature_choice", {"for_one": 1.0}, "not the temperature with the largest pass_1"),
    ("temperature_choice", {"for_eight": 2.0}, "not the temperature with the largest pass_8"),
    ("temperature_choice", {"tried": {1.0: {"pass_1": 0.5, "pass_8": 0.6}}}, "try at least 3"),
    (
        "temperature_choice",
        {"tried": {each: {"pass_1": 0.5, "pass_8": 0.4} for each in (0.3, 0.5, 1.0)}},
        "pass@8 is below pass@1",
    ),
    ("closed_trap", {"your_rule": 0.22}, "not better than form alone"),
    ("closed_trap", {"before": 0.7}, "not above the 0.70"),
    ("dpo_budget", {"chosen": 0.02}, "its KL is above 2 nats"),
    ("dpo_budget", {"chosen": 0.5}, "another β within the limit is kinder"),
    ("dpo_budget", {"judged_before": 0.1}, "not below the 0.100"),
    ("dpo_budget", {"tried": {0.1: {"kl": 1.0, "judged": 0.1}}}, "compare at least two"),
    ("dpo_budget", {"tried": {0.1: {"kl": 3.0, "judged": 0.1}, 0.2: {"kl": 2.5, "judged": 0.1}}}, "every KL is above"),
    ("group_size", {"chosen": 4}, "not the size with the least toxicity"),
    ("group_size", {"tried": {2: {"completions": 64, "silent": 0, "judged": 0.1}}}, "try at least 3"),
    (
        "group_size",
        {"tried": {size: {"completions": 64 * size, "silent": 0, "judged": 0.1} for size in (2, 4, 8)}},
        "the same number of judged completions",
    ),
    ("decoder_rate", {"chosen": 0.04}, "not the rate with the lowest"),
    ("decoder_rate", {"validation_loss": {0.01: 1.9, 0.02: 1.8, 0.04: 1.85}}, "try at least 4"),
    ("decoder_rate", {"validation_loss": {0.01: 1.9, 0.02: 1.8, 0.03: 1.9, 0.04: 1.85}}, "8 times the smallest"),
    ("balance_weight", {"chosen": 0.0}, "more than 35%"),
    ("balance_weight", {"chosen": 0.1}, "another weight within the limit"),
    ("balance_weight", {"tried": {0.01: {"validation_loss": 1.7, "busiest": 0.3}}}, "0 among them"),
    ("lora_budget", {"chosen": "thick"}, "train at most 2%"),
    ("lora_budget", {"chosen": "few"}, "another adapter within the budget"),
    ("lora_budget", {"tried": {"thin": {"share": 0.015, "validation_loss": 0.3}}}, "compare at least 3"),
    (
        "lora_budget",
        {
            "tried": {
                name: {"share": share, "validation_loss": 0.3}
                for name, share in (("thin", 0.01), ("a", 0.03), ("b", 0.03))
            }
        },
        "tried: 1 within the budget",
    ),
    ("lora_budget", {"tried": {"thin": {"share": 0.015}}}, "no 'validation_loss' yet"),
    ("enough_examples", {"chosen": 300}, "not the smallest amount at most 0.03 nats"),
    ("enough_examples", {"chosen": 2500}, "not the smallest amount"),
    ("enough_examples", {"validation_loss": {300: 0.5, 2500: 0.4}}, "measure at least 4"),
    ("enough_examples", {"validation_loss": [0.5]}, "'validation_loss': expected"),
    ("chunk_sizes", {"chosen": 240}, "not the smallest size"),
    ("chunk_sizes", {"recall": {64: 0.5, 128: 0.62}}, "measure at least 3"),
    ("chunk_sizes", {"recall": {64: 0.5, 128: 0.62, 300: 0.66}}, "at most 256"),
    ("chunk_sizes", {"recall": {64: 50}}, "'recall': expected"),
    ("better_examples", {"chosen": "one of each"}, "not the best set"),
    ("better_examples", {"right": {"one form": 0.5, "two of each": 0.6}}, "which form is missing"),
    ("better_examples", {"right": {"a": 0.5, "two of each": 0.6}}, "measure 'one form'"),
    ("smallest_n", {"judged": {1: 0.4, 2: 0.3, 4: 0.15}}, "measure n = [3] too"),
    ("smallest_n", {"judged": {1: 0.4, 2: 0.39, 3: 0.38, 4: 0.37}}, "no n leaves"),
    ("smallest_n", {"judged": {1: 0.4, 2: 0.39, 3: 0.38, 4: 0.37, 8: 0.1}, "chosen": 8}, "measure every smaller n"),
    ("smallest_n", {"judged": {1: 40}}, "'judged': expected"),
    ("smallest_n", {"chosen": 4}, "not the smallest"),
    ("template_choice", {"rows": 5}, "5 dialogues are too few"),
    ("template_choice", {"chosen": "briefly"}, "not the template with the highest mean"),
    ("template_choice", {"validation": {"tldr": 0.4}}, "'validation': expected"),
    ("template_choice", {"validation": {"tldr": 0.4, "minutes": 0.39}}, "2 templates; measure at least 3"),
    (
        "template_choice",
        {"validation": {"tldr": 0.4, "briefly": 0.3, "going-on": 0.2}},
        "none of these templates is your own",
    ),
    ("template_choice", {"test": 40}, "'test': expected"),
    ("draft_settings", {"diversity": 0.3}, "too alike"),
    ("draft_settings", {"quality": 0.4}, "cut more of the tail"),
    ("draft_settings", {"temperature": 0}, "not above 0"),
    ("draft_settings", {"top_p": 0}, "top_p: 0 is not above 0"),
    ("draft_settings", {"top_p": "high"}, "'top_p': expected"),
]


def test_every_experiment_has_a_record_here():
    assert set(RECORDS) == set(all_experiments())


@pytest.mark.parametrize("name", all_experiments())
def test_a_record_is_accepted_and_every_missing_entry_is_named(name):
    assert solves(name, RECORDS[name]) == (True, "solved")
    for entry in RECORDS[name]:
        solved, hint = solves(name, {key: value for key, value in RECORDS[name].items() if key != entry})
        assert not solved and f"no {entry!r} yet" in hint
    assert not solves(name, None)[0] and not solves(name, {})[0]


@pytest.mark.parametrize(("name", "changed", "hint"), WRONG_RECORDS)
def test_a_wrong_record_gets_a_hint(name, changed, hint):
    solved, found = solves(name, RECORDS[name] | changed)
    assert not solved and hint in found


def test_the_record_of_an_experiment_is_kept_in_the_output(monkeypatch):
    shown = []
    monkeypatch.setattr("helpers.exercises.display", lambda data, raw: shown.append(data))
    check_experiment("template_choice", RECORDS["template_choice"] | {"test": np.float64(0.4)})
    assert shown[0][RECORD_MIME]["chosen"] == "tldr" and shown[0]["text/plain"] == "Solved."
