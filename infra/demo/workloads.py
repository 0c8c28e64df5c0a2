"""Traffic of three tenants with different habits, generated from templates with a seed.

Each tenant sends what such an application sends: a fixed system prompt with the house style, two worked examples, and
the user's own text. Its values (products, names, tables, functions, ...) are split in two: requests to adapt on and
held-out requests share the tenant's habits and none of the varying values, so no held-out prompt was seen before.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

Message = dict[str, str]  # role, content
Part = str  # "learn" or "heldout"


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str  # also the endpoint's name
    title: str
    system: str
    examples: tuple[tuple[str, str], ...]  # user, assistant
    templates: tuple[str, ...]
    slots: Mapping[str, tuple[Sequence[str], Sequence[str]]]  # name -> values to adapt on, held-out values
    max_tokens: int = 160

    def messages(self, text: str) -> list[Message]:
        """The chat request that carries the user's `text`."""
        turns = [{"role": "system", "content": self.system}]
        for user, assistant in self.examples:
            turns += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        return [*turns, {"role": "user", "content": text}]


def requests(tenant: Tenant, part: Part, count: int, seed: int = 0) -> list[list[Message]]:
    """`count` distinct requests in the order of their arrival. Raises ValueError if the slots give fewer."""
    rng = random.Random(f"{tenant.name}/{part}/{seed}")
    side = {"learn": 0, "heldout": 1}[part]
    texts: dict[str, None] = {}
    for _ in range(50 * count):
        values = {name: rng.choice(sides[side]) for name, sides in tenant.slots.items()}
        values["number"] = str(rng.randrange(10_000, 55_000) if side == 0 else rng.randrange(55_000, 99_999))
        texts[Template(rng.choice(tenant.templates)).substitute(values)] = None
        if len(texts) == count:
            return [tenant.messages(text) for text in texts]
    raise ValueError(f"{tenant.name} has only {len(texts)} distinct {part} requests")


def halves(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Values between semicolons: two thirds to adapt on, the rest held out."""
    values = tuple(value.strip() for value in text.split(";"))
    cut = (2 * len(values) + 2) // 3
    return values[:cut], values[cut:]


SUPPORT = Tenant(
    name="support-desk",
    title="Support desk: letters answered as JSON",
    system="""\
You are the support desk of Northwind Outdoor. Read the customer's message and answer with one JSON object and nothing \
else. Keys: "order_id", "customer", "product", "problem", "priority" (low, normal or high), "reply". The reply is one \
or two polite sentences.""",
    examples=(
        (
            "The zip of my Breeze tent broke on the first trip. Order 31882. I want a replacement. Marek",
            """\
{
  "order_id": "31882",
  "customer": "Marek",
  "product": "Breeze tent",
  "problem": "The zip broke on the first trip.",
  "priority": "high",
  "reply": "Dear Marek, we are sorry to hear that the zip broke on the first trip. We will write to you about order \
31882 within 24 hours."
}""",
        ),
        (
            "Hi, my order 20417 has not arrived. The Alta daypack was promised for Monday. Can you check? Regards, Ida",
            """\
{
  "order_id": "20417",
  "customer": "Ida",
  "product": "Alta daypack",
  "problem": "The Alta daypack has not arrived.",
  "priority": "normal",
  "reply": "Dear Ida, we are sorry to hear that the Alta daypack has not arrived. We will write to you about order \
20417 within 24 hours."
}""",
        ),
    ),
    templates=(
        "Hello, the $product from order $number has not arrived yet. It was promised for $day. Where is it? $name",
        "Order $number: the $product came with a broken $part. Please send me a replacement. Thanks, $name",
        "The $product from order $number is too $size for me. Can I get another size? Regards, $name",
        "Hi, I ordered a $product on $day (order $number) and the $part is missing. What now? Kind regards, $name",
        "My $product stopped working after a week, the $part is loose. Order $number. I am disappointed. $name",
        "Can I still change the address of order $number? It is a $product, ordered on $day. Best, $name",
        "The $part of my $product broke on $day. Order $number. I want my money back. $name",
    ),
    slots={
        "product": halves(
            """Ridge tent;Delta backpack;Comet stove;Polar headlamp;Fjord sleeping bag;Aurora jacket;Trail lantern;
            Canyon water filter;Summit tent;Ridge backpack;Delta stove;Comet headlamp;Polar jacket;Fjord lantern;
            Harbor kayak;Pine hammock;Tundra boots;Lynx trekking poles;Otter dry bag;Mesa cooler;Willow blanket"""
        ),
        "part": halves("zip;strap;buckle;pole;cable;lid;handle;battery;valve;hook;seam"),
        "size": halves("small;large;heavy;tight;wide;long"),
        "day": halves("Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday"),
        "name": halves(
            """Anna;Ben;Carla;David;Elena;Frank;Greta;Hugo;Ines;Jonas;Karin;Liam;Mara;Nils;Olga;Paul;Rosa;Simon;Tara;
            Uwe;Vera;Walter;Yara;Zoe;Priya;Omar;Lucia;Kenji;Aisha;Pavel"""
        ),
    },
)

SQL = Tenant(
    name="sql-assistant",
    title="SQL assistant: questions answered as PostgreSQL queries",
    system="""\
You translate questions into PostgreSQL for the shop's analysts. Answer with one query in a code block, then one \
sentence that begins with "This query". Tables: customers(id, name, city, country, created_at), orders(id, \
customer_id, status, total, created_at), products(id, name, category, price, stock), order_items(order_id, \
product_id, quantity, price).""",
    examples=(
        (
            "How many orders with status returned came from customers in Oslo?",
            """\
```sql
SELECT COUNT(*) AS num_orders
FROM orders o
JOIN customers c ON c.id = o.customer_id
WHERE o.status = 'returned'
  AND c.city = 'Oslo';
```
This query counts the orders with status returned from customers in Oslo.""",
        ),
        (
            "List the 5 products of category garden with the lowest stock.",
            """\
```sql
SELECT p.name, p.stock
FROM products p
WHERE p.category = 'garden'
ORDER BY p.stock ASC
LIMIT 5;
```
This query lists the 5 products of category garden with the lowest stock.""",
        ),
        (
            "What is the average total of orders with status returned from customers in Oslo?",
            """\
```sql
SELECT AVG(o.total) AS average_total
FROM orders o
JOIN customers c ON c.id = o.customer_id
WHERE o.status = 'returned'
  AND c.city = 'Oslo';
```
This query averages the total of orders with status returned from customers in Oslo.""",
        ),
    ),
    templates=(
        "How many orders with status $status came from customers in $city?",
        "List the $count products of category $category with the lowest stock.",
        "List the $count products of category $category with the highest price.",
        "How many products of category $category cost more than $count?",
        "List the $count orders with status $status and the highest total.",
        "How many customers from $city are there?",
        "What is the average total of orders with status $status from customers in $city?",
    ),
    slots={
        "status": halves("shipped;pending;cancelled;paid;delivered;refunded;packed;open;lost"),
        "city": halves(
            """Paris;Berlin;Madrid;Rome;Vienna;Prague;Lisbon;Dublin;Athens;Warsaw;Zurich;Geneva;Milan;Lyon;Porto;Turin;
            Bergen;Leipzig;Krakow;Bilbao;Seville;Naples;Utrecht;Ghent;Tampere;Aarhus;Malaga;Graz;Basel;Cork"""
        ),
        "category": halves(
            "books;toys;shoes;music;sports;beauty;kitchen;office;camping;pets;tools;bikes;jewelry;lamps;paint"
        ),
        "count": halves("3;10;20;8;15;25;12;7;30"),
    },
)

_FUNCTIONS = (
    """\
def ${verb}_$noun($noun, cache={}):
    cache[$noun.id] = $noun
    return cache""",
    """\
def ${verb}_$noun(path):
    file = open(path)
    $noun = file.read()
    return $noun""",
    """\
def ${verb}_$noun($noun):
    try:
        $noun.$verb()
    except:
        pass""",
    """\
def ${verb}_$noun(items):
    for i in range(len(items)):
        print(items[i].$noun)""",
    """\
def ${verb}_$noun($noun):
    if $noun == None:
        return False
    return True""",
    """\
def ${verb}_$noun(db, name):
    return db.execute("SELECT * FROM $noun WHERE name = '" + name + "'")""",
)

REVIEW = Tenant(
    name="code-review",
    title="Code review bot: a finding and the changed function",
    system="""\
You review Python functions. Answer in exactly this form: a line "**Summary:**" that says what the function does, a \
line "**Finding:**" with the most important problem, then "**Suggested change:**" and the improved function with a \
docstring in a code block. Keep names as they are.""",
    examples=(
        (
            """\
Please review:
```python
def read_config(path):
    file = open(path)
    config = file.read()
    return config
```""",
            """\
**Summary:** `read_config` reads the config from a file.
**Finding:** The file is opened and never closed.
**Suggested change:**
```python
def read_config(path):
    \"\"\"Read the config from a file.\"\"\"
    with open(path) as file:
        config = file.read()
    return config
```""",
        ),
        (
            """\
Please review:
```python
def has_owner(owner):
    if owner == None:
        return False
    return True
```""",
            """\
**Summary:** `has_owner` checks whether there is an owner.
**Finding:** The owner is compared with None by `==`.
**Suggested change:**
```python
def has_owner(owner):
    \"\"\"Check whether there is an owner.\"\"\"
    if owner is None:
        return False
    return True
```""",
        ),
    ),
    templates=tuple(f"Please review:\n```python\n{function}\n```" for function in _FUNCTIONS),
    slots={
        "verb": halves("load;save;send;check;update;fetch;build;parse;merge;close;sync;export;apply;render"),
        "noun": halves(
            """user;order;invoice;report;token;session;message;account;ticket;product;payment;image;event;profile;
            customer;document;record;device;address;booking"""
        ),
    },
)

TENANTS: tuple[Tenant, ...] = (SUPPORT, SQL, REVIEW)
