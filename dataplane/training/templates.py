"""Synthetic broad prompts: many forms of structured answers, so that the floor is no weaker on them than on prose.

`python -m dataplane.training.templates --count 1200 --out FILE.jsonl` writes JSON Lines for `static generate`.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

THINGS = (
    "bicycle|tea kettle|garden chair|laptop bag|desk lamp|camping tent|violin|raincoat|toaster|telescope|backpack|"
    "mirror|coffee grinder|wool scarf|skateboard|printer|blender|hammock|chess set|water bottle"
).split("|")
TOPICS = (
    "volcanoes|the water cycle|compound interest|bees|the Silk Road|sleep|electric cars|jazz|earthquakes|vaccines|"
    "recycling|black holes|bread baking|public libraries|the printing press|coral reefs|time zones|photosynthesis|"
    "chess|gravity|inflation|rivers|the immune system|lighthouses|soil|trains|maps|clouds|glass|democracy"
).split("|")
PEOPLE = ("Amara|Bruno|Chen|Dalia|Erik|Farah|Goran|Hana|Ivan|Jun|Karim|Lena|Mateo|Nadia|Oscar|Priya").split("|")
PLACES = ("Lisbon|Nairobi|Osaka|Quito|Tallinn|Perth|Montreal|Krakow|Hanoi|Bergen|Lima|Tunis").split("|")
LANGUAGES = ("Python|JavaScript|Java|C|Go|Rust|Bash|TypeScript|Ruby|C++").split("|")
TASKS = (
    "reverses a string|counts the vowels in a text|merges two sorted lists|checks whether a number is prime|"
    "removes duplicates from a list|finds the longest word|parses a date|computes a factorial|"
    "flattens a nested list|reads a file line by line|sorts records by two keys|validates an e-mail address|"
    "computes a moving average|groups words by their first letter|converts Celsius to Fahrenheit|"
    "finds the maximum of a matrix|retries a network call|caches the results of a function|"
    "splits a list into chunks|rotates an array"
).split("|")
TABLES = (
    "books(id, title, author, year, price)|flights(id, origin, destination, departs_at, seats)|"
    "patients(id, name, birth_date, ward)|songs(id, title, artist, seconds, plays)|"
    "invoices(id, client, total, paid_on)|players(id, name, team, goals)|sensors(id, room, measured_at, value)|"
    "courses(id, name, teacher, credits)|parcels(id, sender, weight, status)|recipes(id, name, minutes, calories)"
).split("|")
QUESTIONS = (
    "how many rows there are for each {column}|the ten rows with the largest {column}|the average {column}|"
    "all rows whose {column} is missing|the rows added last, sorted by {column}|"
    "which {column} occurs more than once|the total of {column} per month|"
    "every row whose {column} starts with the letter A"
).split("|")
FIELDS = (
    "name, city and age|title, year and rating|product, quantity and unit price|sender, subject and urgency|"
    "date, place and number of guests|animal, habitat and diet|country, capital and population|"
    "task, owner and deadline"
).split("|")
SNIPPETS = (
    "def area(r):\n    return 3.14 * r * r|for i in range(len(items)):\n    print(items[i])|"
    "x = input()\nif x == True:\n    run()|"
    "let total = 0;\nfor (var i = 0; i <= list.length; i++) {{ total += list[i]; }}|"
    "def add(item, basket=[]):\n    basket.append(item)\n    return basket|try:\n    load()\nexcept:\n    pass|"
    "int *make() {{\n    int n = 3;\n    return &n;\n}}|while True:\n    data = fetch()\n    if not data: continue"
).split("|")
FORMS = (
    "a Markdown table with three columns|a numbered list of five points|a JSON array of objects|"
    "a short YAML document|CSV lines with a header|bullet points with bold keywords|a two-column table|"
    "an HTML unordered list"
).split("|")
REQUESTS = (
    "{person} from {place} ordered {number} of the {thing} on {day} and paid {amount} dollars.\nWrite "
    "this as a JSON object with suitable keys.",
    "Give me example data about {topic} as {form}.",
    "Return a JSON object with the keys {fields}, filled with invented values.",
    "Table {table}. Write an SQL query that shows {question}.",
    "Write an SQL statement that creates the table {table}.",
    "Write a {language} function that {task}.",
    "Write a {language} function that {task}, with a short docstring and an example.",
    "What is wrong with this code?\n\n{snippet}",
    "Review this code and suggest improvements:\n\n{snippet}",
    "Explain this code line by line:\n\n{snippet}",
    "Write three unit tests for a {language} function that {task}.",
    "Summarize what people should know about {topic} in three sentences.",
    "List {small} facts about {topic}.",
    "Explain {topic} to a ten-year-old.",
    "Compare {topic} and {topic2} in a table.",
    "What are the advantages and drawbacks of {topic}?",
    "Write a polite e-mail from {person} to {person2} about a late delivery of a {thing}.",
    'Classify the sentiment of this review as positive, negative or neutral and say why: "The {thing} '
    'arrived {state}."',
    "Extract all names, places and numbers: {person} met {person2} in {place} and bought {number} pieces "
    "of the {thing}.",
    "Rewrite in a formal tone: hey {person}, the {thing} is {state}, pls fix it asap",
    "{person} has {number} apples, gives {small} to {person2} and buys {number2} more. How many are "
    "left? Think step by step.",
    "What is {number} times {number2}? Show the steps.",
    "Write a product description for a {thing} in two short paragraphs.",
    "Make a plan for a weekend in {place} as {form}.",
    "Write a regular expression that matches {pattern} and explain it.",
    'Translate into Spanish and French: "{person} would like a {thing}, please."',
    "Write a short dialogue between {person} and {person2} about {topic}.",
    "Give a definition of {topic} and two examples.",
    "Create a quiz with {small} questions about {topic}, with answers.",
    "Write the {language} code that prints a table of {fields}.",
    "Write a configuration file in YAML for a service with {small} workers, port {number} and a log level.",
    "Write a commit message for a change that {task}.",
    "Which of these is different and why: {thing}, {thing2}, {topic}?",
    "Write a haiku about {topic} and then explain it.",
    "Answer with yes or no and one sentence: is {topic} older than {topic2}?",
)
STATES = (
    "broken|two weeks late|in perfect condition|without its screws|exactly as described|in the wrong colour"
).split("|")
PATTERNS = (
    "a phone number|a hexadecimal colour|an IPv4 address|a date like 2024-05-31|a word in capitals|a price"
).split("|")
SYSTEMS = (
    "Answer briefly.|You are a careful assistant. Keep the format that the user asks for.|Answer only with code.|"
    "You answer in JSON.|You are a patient teacher.|Use plain words and short sentences.|"
    "You are an experienced engineer."
).split("|")


def template_prompts(count: int, seed: int) -> list[dict[str, object]]:
    """`count` distinct prompts, each `{"turns": [text]}`, half of them with a `system` prompt."""
    source = random.Random(seed)
    prompts: dict[str, dict[str, object]] = {}
    while len(prompts) < count:
        table = source.choice(TABLES)
        column = source.choice(table[table.index("(") + 1 : -1].split(", "))
        first, second = source.sample(TOPICS, 2)
        text = source.choice(REQUESTS).format(
            person=source.choice(PEOPLE),
            person2=source.choice(PEOPLE),
            place=source.choice(PLACES),
            thing=source.choice(THINGS),
            thing2=source.choice(THINGS),
            topic=first,
            topic2=second,
            table=table,
            question=source.choice(QUESTIONS).format(column=column),
            language=source.choice(LANGUAGES),
            task=source.choice(TASKS),
            snippet=source.choice(SNIPPETS).replace("{{", "{").replace("}}", "}"),
            fields=source.choice(FIELDS),
            form=source.choice(FORMS),
            state=source.choice(STATES),
            pattern=source.choice(PATTERNS),
            number=source.randint(11, 99),
            number2=source.randint(3, 60),
            small=source.randint(3, 9),
            amount=f"{source.uniform(5, 900):.2f}",
            day=f"2024-{source.randint(1, 12):02d}-{source.randint(1, 28):02d}",
        )
        prompt: dict[str, object] = {"turns": [text]}
        if source.random() < 0.5:
            prompt["system"] = source.choice(SYSTEMS)
        prompts.setdefault(text, prompt)
    return list(prompts.values())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = [json.dumps(prompt) for prompt in template_prompts(options.count, options.seed)]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
