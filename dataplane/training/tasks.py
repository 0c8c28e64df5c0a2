"""Prompts for tasks that conversations rarely hold: reading a passage, arithmetic in words, translation, short facts.

    python -m dataplane.training.tasks --count 4000 --passages CONVERSATIONS.json --out FILE.jsonl

Passages to be summarised or asked about are longer messages of the conversations; what is learned is only what the
target makes of them. The output is JSON Lines for `static generate`.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from dataplane.training.prompts import read_conversations
from dataplane.training.templates import PEOPLE, PLACES, THINGS, TOPICS

SHORTEST, LONGEST = 500, 3600  # characters of a passage
READING = (
    "Summarize: {passage}",
    "Summarize the following text in a few sentences.\n\n{passage}",
    "{passage}\n\nWrite a summary of the text above.",
    "{passage}\n\nWhat does the text say about {name}?",
    "{passage}\n\n{passage2}\n\nQuestion: what is said about {name}?",
    "Read the text and answer: what is the role of {name}?\n\n{passage}",
    "Use the passages below to answer the question.\n\n{passage2}\n\n{passage}\n\nWhat is {name}? Answer:",
    "List the key points of this text:\n\n{passage}",
    "Extract the names and numbers from this text:\n\n{passage}",
)
SUMS = (
    "{a} buys {n} boxes of {thing}s. Each box holds {m} of them and costs ${k}. How much does {a} pay, and how many "
    "{thing}s are there?",
    "{a} has {n} marbles. {b} has {m} more than {a}. How many do they have together?",
    "A train travels {n} miles in {k} hours. How far does it go in {m} hours at the same speed?",
    "{a} earns ${n} an hour and works {m} hours a week. {b} earns ${k} less per hour. How much more does {a} earn in "
    "{k} weeks?",
    "There are {n} students in a school. {p}% of them walk, and {m} come by bus. How many come in another way?",
    "{a} reads {k} pages every day. The book has {n} pages. {a} has read for {m} days. How many pages are left?",
    "A {thing} costs ${n}. In the sale it is {p}% cheaper. {a} buys {k} of them. What is the total price?",
    "{a} bakes {n} cookies, eats {k} and shares the rest equally among {m} friends. How many does each friend get?",
    "{b} is {k} years older than {a}. In {m} years {b} will be {n}. How old is {a} now?",
    "A tank holds {n} liters. A pump fills {k} liters a minute and a leak loses 1 liter a minute. How long until it is "
    "full?",
    "{a} saves ${k} in the first week and doubles the amount each week. How much has been saved after {s} weeks?",
    "Solve for x: {k}x + {m} = {n}.",
    "What is the area of a rectangle with sides {k} and {m}? And its perimeter?",
    "If f(x) = {k}x^2 - {m}x + {s}, what is f({s})?",
)
GERMAN = (
    "Der Minister|Die Regierung|Ein Sprecher der Polizei|Die Stadt|Das Unternehmen|Der Verein|Eine Forscherin|"
    "Die Europäische Union|Der Präsident|Viele Eltern|Die Bank|Ein Zeuge",
    "kündigte an|erklärte|teilte mit|bestätigte|bestritt|hofft|warnte|betonte|berichtete|befürchtet",
    "dass die Preise in diesem Jahr steigen|dass neue Schulen gebaut werden|dass der Verkehr zunimmt|"
    "dass die Wahlen verschoben wurden|dass mehr Geld gebraucht wird|dass die Brücke gesperrt bleibt|"
    "dass niemand verletzt wurde|dass die Verhandlungen weitergehen|dass das Wetter besser wird|"
    "dass die Krise noch lange dauern kann",
    "am Montag|in Berlin|nach Angaben der Zeitung|seit dem Sommer|vor wenigen Tagen|trotz der Kritik|im Parlament|"
    "zum ersten Mal",
)
TRANSLATION = (
    "Translate German to English: {german}",
    "Translate the following sentence from German to English: {german}",
    "What does this mean in English? {german}",
)
FACTS = (
    "Who invented the {thing}?|What is the capital of the country in which {place} lies?|When were {topic} discovered?|"
    "Where do most people see {topic}?|Who wrote the best known book about {topic}?|How many people live in {place}?|"
    "What is {topic}?|What is the meaning of the name {person}?|When did {place} become a city?|"
    "Which country has the most {topic}?|Who was the first king called {person}?|What is the river in {place} called?|"
    "Where was the {thing} first made?|How old is {place}?|What are the parts of a {thing}?|Who sings about {topic}?"
).split("|")
SHARES = {"reading": 0.4, "sums": 0.25, "german": 0.2, "facts": 0.15}


def task_prompts(passages: Iterable[str], count: int, seed: int) -> list[dict[str, object]]:
    """`count` distinct prompts, each `{"turns": [text]}`; without passages none of them is about reading."""
    source = random.Random(seed)
    texts = sorted(set(passages))
    source.shuffle(texts)
    kinds = [kind for kind in SHARES if texts or kind != "reading"]
    prompts: dict[str, None] = {}
    while len(prompts) < count:
        kind = source.choices(kinds, [SHARES[kind] for kind in kinds])[0]
        prompts.setdefault(_reading(texts, source) if kind == "reading" else _filled(kind, source))
    return [{"turns": [text]} for text in prompts]


def passages_of(path: Path) -> Iterator[str]:
    """Long messages of assistants, mostly plain prose, cut at the end of a sentence."""
    for messages in read_conversations(path):
        for sender, text in messages:
            plain = sum(character < "\x7f" for character in text) >= 0.98 * len(text)
            if sender != "human" and len(text) >= SHORTEST and plain and "```" not in text:
                yield cut(text, LONGEST)


def cut(text: str, most: int) -> str:
    """The text's first sentences, at most `most` characters."""
    if len(text) <= most:
        return text.strip()
    end = max(text.rfind(mark, 0, most) for mark in (". ", ".\n", "\n"))
    return text[: end + 1 if end > most // 2 else most].strip()


def _reading(texts: list[str], source: random.Random) -> str:
    passage = cut(source.choice(texts), source.choice((900, 1600, 2600, LONGEST)))
    names = re.findall(r"(?<=[a-z] )[A-Z][a-z]+(?: [A-Z][a-z]+)*", passage) or re.findall(r"\b[a-z]{7,}\b", passage)
    return source.choice(READING).format(
        passage=passage, passage2=cut(source.choice(texts), 900), name=source.choice(names or ["it"])
    )


def _filled(kind: str, source: random.Random) -> str:
    a, b = source.sample(PEOPLE, 2)
    if kind == "sums":
        numbers = {"n": source.randint(20, 400), "m": source.randint(3, 20), "k": source.randint(2, 12)}
        text = source.choice(SUMS)
        return text.format(
            a=a, b=b, thing=source.choice(THINGS), p=5 * source.randint(1, 15), s=source.randint(2, 6), **numbers
        )
    if kind == "german":
        who, says, what, when = (source.choice(part.split("|")) for part in GERMAN)
        return source.choice(TRANSLATION).format(german=f"{who} {says} {when} , {what} .")
    return source.choice(FACTS).format(
        thing=source.choice(THINGS), place=source.choice(PLACES), topic=source.choice(TOPICS), person=a
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--passages", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    passages = [passage for path in options.passages for passage in passages_of(path)]
    lines = [json.dumps(prompt) for prompt in task_prompts(passages, options.count, options.seed)]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
