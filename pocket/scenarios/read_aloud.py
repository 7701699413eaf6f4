"""Reads a file of scenarios aloud: dialogues made from it with their references, and below them what is wrong with it.

python -m pocket.scenarios.read_aloud FILE
"""

from __future__ import annotations

import sys

from pocket.scenarios.generator import World
from pocket.scenarios.screenplay import check, parse, read_pools
from pocket.scenarios.styles import references


def read_aloud(path, dialogues=12):
    """Prints what is wrong with a file, then dialogues made from it with their references."""
    scenarios = parse(path, read_pools())
    problems = [problem for scenario in scenarios for problem in check(scenario)]
    world = World(scenarios)
    for number in range(dialogues):
        play = world.play(scenarios[number % len(scenarios)], seed=(path, number), rude=number % 2 == 0)
        print(
            f"\n### {play.scenario}{' (rude)' if play.rude else ''} · topic: {play.topics[0]} · {play.words()} "
            f"words\n{play.dialogue()}"
        )
        for text in references(play, seed=number):
            print(f"  - {text}")
        for question, answer in play.questions:
            print(f"  ? {question} = {answer}")
    lengths = [world.play(scenario, seed=number, rude=False).words() for scenario in scenarios for number in range(20)]
    print(
        f"\n{len(scenarios)} scenarios, mean length {sum(lengths) / len(lengths):.0f} words; {len(problems)} problems"
    )
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(read_aloud(sys.argv[1]))
