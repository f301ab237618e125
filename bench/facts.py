#!/usr/bin/env python3
"""Long documents with facts hidden at known depths, and questions about them; by a seed, standard library only.

    bench/facts.py [--seed 1] [--tokens 900] [--kind code] [--depth 0.5]      shows one document and its question

What a prompt is: a document of bench/prose.py, a fact that is asked about at `depth` (0: the beginning, 1: the end),
and other facts of other kinds elsewhere, which are not asked about. The question comes after the document: the caller
puts it at the end of the prompt.
"""
import argparse
import dataclasses
import random
import re
import sys

import prose

# Tokens of a prompt by its words, for SmolLM2 and its chat template, measured at 900 and 2,400 tokens; only to come
# near a wish: judgeq says how many there are.
TOKENS_PER_WORD, TOKENS_OF_TEMPLATE = 1.24, 32


@dataclasses.dataclass(frozen=True)
class Fact:
    """What is hidden and how it is asked for. references: what a right answer contains; each is a tuple of spellings,
    of which one suffices. decoys: sentences of the same form about other keys, spread over the document."""

    kind: str
    sentences: tuple
    question: str
    references: tuple
    decoys: tuple = ()


@dataclasses.dataclass(frozen=True)
class Prompt:
    seed: int
    depth: float
    document: str
    fact: Fact

    @property
    def question(self):
        """What to ask after the document. Small models need the first sentence: of 10 documents of 2,500 tokens the
        default one, with its full cache, answered 6 without it, and 3 of the other 4 with it."""
        return f"Answer from the text above. {self.fact.question}"


# ---- the kinds of facts: each takes (rng, taken) and gives a Fact whose key is not in `taken` yet --------------------

THINGS = """boathouse door|seed vault|archive lift|east pump house|signal tower|cold store|bell chamber|map cabinet|
    chapel gate|turbine hall|wine cellar|lamp room""".replace("\n", " ")
FIRST_NAMES = """Amira Bruno Clemens Dorothea Emil Fatima Goran Hanneke Ines Jonas Katya Leopold Mireille Nadia Otto
    Petra"""
LAST_NAMES = """Adebayo Brandt Castellan Dvorak Ekström Ferreira Grunwald Haddad Ivanova Jansen Kowalski Lindqvist
    Moreau"""
CITIES = "Lisbon Nairobi Osaka Helsinki Montevideo Cracow Toronto Marseille Bergen Hanoi Tunis Seville Riga Adelaide"
CLUBS = """rowing club|chess circle|night market|glider school|choir|astronomy group|sailing school|film society|
    bridge club|theatre troupe""".replace("\n", " ")
ADJECTIVES = "velvet copper silent crimson hollow frosty golden rusty marble amber"
NOUNS = "heron compass lantern walnut otter thimble meadow anchor violin pepper"
EVENTS = """great flood|lighthouse fire|first balloon flight|opening of the tunnel|collapse of the old bridge|
    royal visit|launch of the steamer|founding of the observatory|theft of the crown|eclipse""".replace("\n", " ")
MONTHS = prose.split(prose.POOLS["month"], "|")
SPECIMENS = """fossil fern|blue meteorite|whale tooth|amber beetle|bog oak|glass sponge|copper nugget|mammoth hair|
    petrified cone|coral fan""".replace("\n", " ")


def unused(rng, taken, kind, items):
    """One of `items` (a list, or words) that no other fact of this document is about."""
    items = items if isinstance(items, list) else prose.split(items, "|") if "|" in items else items.split()
    key = prose.pick(rng, [item for item in items if (kind, item) not in taken])
    taken.add((kind, key))
    return key


def digits(rng, count):
    return prose.pick(rng, "123456789") + "".join(prose.pick(rng, "0123456789") for _ in range(count - 1))


def code(rng, taken):
    thing, value = unused(rng, taken, "code", THINGS), digits(rng, 6)
    sentence = prose.pick(rng, [f"The code for the {thing} is {value}.",
                                f"To open the {thing} one needs the code {value}."])
    return Fact("code", (sentence,), f"What is the code for the {thing}?", ((value,),))


def city(rng, taken):
    first = unused(rng, taken, "city", FIRST_NAMES)
    person, where = f"{first} {prose.pick(rng, LAST_NAMES.split())}", unused(rng, taken, "city", CITIES)
    sentence = prose.pick(rng, [f"{person} has lived in the city of {where} since leaving school.",
                                f"The home of {person} is in the city of {where}."])
    return Fact("city", (sentence,), f"In which city does {person} live?", ((where,),))


def password(rng, taken):
    club = unused(rng, taken, "password", CLUBS)
    value = f"{unused(rng, taken, 'password', ADJECTIVES)} {unused(rng, taken, 'password', NOUNS)}"
    sentence = prose.pick(rng, [f'The password of the {club} is "{value}".',
                                f'Members of the {club} must say the password "{value}".'])
    return Fact("password", (sentence,), f"What is the password of the {club}?", ((value, value.replace(" ", "-")),))


def date(rng, taken):
    event, month = unused(rng, taken, "date", EVENTS), prose.pick(rng, MONTHS)
    day, year = 13 + int(rng.random() * 7), str(1815 + int(rng.random() * 130)) # 13th to 19th: all end in "th"
    sentence = prose.pick(rng, [f"The {event} took place on {day} {month} {year}.",
                                f"It was on {day} {month} {year} that the {event} took place."])
    spellings = (f"{day} {month}", f"{month} {day}", f"{day}th {month}", f"{day}th of {month}", f"{month} {day}th")
    return Fact("date", (sentence,), f"On which date did the {event} take place?", (spellings, (year,)))


def values(rng, taken):
    club, numbers = unused(rng, taken, "values", CLUBS), set()
    while len(numbers) < 3:
        numbers.add(digits(rng, 4))
    numbers = prose.shuffled(rng, sorted(numbers))
    sentences = tuple(f"A winning number of the {club}'s raffle is {number}." for number in numbers)
    question = f"What are all the winning numbers of the {club}'s raffle?"
    return Fact("values", sentences, question, tuple((number,) for number in numbers))


def identifier(rng, taken):
    specimen = unused(rng, taken, "identifier", SPECIMENS)
    groups = ["".join(prose.pick(rng, "0123456789abcdef") for _ in range(length)) for length in (8, 4, 4)]
    value = "-".join(groups)
    sentence = prose.pick(rng, [f"The {specimen} is filed under the identifier {value}.",
                                f"The identifier of the {specimen} is {value}."])
    return Fact("identifier", (sentence,), f"What is the identifier of the {specimen}?", ((value,),))


def locker(rng, taken, n_decoys=6):
    numbers, keys = set(), set()
    while len(numbers) < n_decoys + 1:
        numbers.add(digits(rng, 5))
    while len(keys) < n_decoys + 1:
        keys.add(prose.pick(rng, "ABCDEFGH") + str(10 + int(rng.random() * 90)))
    pairs = list(zip(prose.shuffled(rng, sorted(keys)), prose.shuffled(rng, sorted(numbers))))
    (key, value), *others = pairs
    taken.add(("locker", key))
    sentences = [f"The key of locker {name} bears the number {number}." for name, number in [(key, value), *others]]
    return Fact("locker", (sentences[0],), f"Which number does the key of locker {key} bear?", ((value,),),
                tuple(sentences[1:]))


KINDS = {kind.__name__: kind for kind in (code, city, password, date, values, identifier, locker)}
FACTS_MOST = len(KINDS) - 1 # in one document: one of each kind, and lockers only where they are asked about
QUESTIONS_MOST = 20 # about one document, without running out of things to ask for
SHORT = ["code", "city", "password", "date"] # one place, no decoys, an answer that is read at a glance


# ---- the document ----------------------------------------------------------------------------------------------------


def hide(chapters, sentence, depth):
    """Inserts `sentence` where `depth` (0..1) of the words stand before it, between two sentences of a paragraph."""
    spots, words = [], 0
    for heading, paragraphs in chapters:
        words += len(heading.split())
        for paragraph in paragraphs:
            for index in range(len(paragraph) + 1):
                spots.append((words, paragraph, index))
                words += len(paragraph[index].split()) if index < len(paragraph) else 0
    _, paragraph, index = min(spots, key=lambda spot: abs(spot[0] - depth * words))
    paragraph.insert(index, sentence)


def make_document(seed, words, placed):
    """About `words` words by `seed`, `placed` included: sentences with their depths [(depth, sentence)]."""
    hidden = sum(len(sentence.split()) for _, sentence in placed)
    title, chapters = prose.yearbook(random.Random(f"document {seed}"), words - hidden)
    for depth, sentence in sorted(placed):
        hide(chapters, sentence, depth)
    text = "\n\n".join(f"{heading}\n\n" + "\n\n".join(" ".join(paragraph) for paragraph in paragraphs)
                       for heading, paragraphs in chapters)
    return f"{title}\n\n{text}\n"


def make_prompt(seed, tokens, kind, depth, n_facts=4):
    """`n_facts` facts in a document such that document and question have about `tokens` tokens. One of `kind` at
    `depth` is asked about; where it has several sentences, the others follow in even steps, around the end to the
    beginning. The rest are of other kinds, at random depths."""
    rng, taken = random.Random(f"facts {seed} {kind}"), set()
    asked = KINDS[kind](rng, taken)
    others = prose.Deck(rng, [other for other in KINDS if other not in (kind, "locker")])
    rest = [KINDS[others.deal()](rng, taken) for _ in range(n_facts - 1)]
    return assemble(seed, tokens, asked, rest, depth)


def assemble(seed, tokens, asked, rest, depth):
    """A prompt that asks for the fact `asked` at `depth`, with the facts `rest` and all decoys spread at random."""
    rng, steps = random.Random(f"depths {seed}"), len(asked.sentences)
    placed = [((depth + index / steps) % 1 if index else depth, text) for index, text in enumerate(asked.sentences)]
    # Not beside the fact that is asked about: its depth would no longer be what it says.
    loose = [text for fact in rest for text in fact.sentences]
    loose += [text for fact in (asked, *rest) for text in fact.decoys]
    placed += [(rng.random(), text) for text in loose]
    question = Prompt(seed, depth, "", asked).question
    words = round((tokens - TOKENS_OF_TEMPLATE) / TOKENS_PER_WORD) - len(question.split())
    return Prompt(seed, depth, make_document(seed, words, placed), asked)


def make_questions(seed, tokens, count):
    """`count` prompts that ask for different facts of one document: the short kinds in turn."""
    rng, taken = random.Random(f"questions {seed}"), set()
    return ask_all(seed, tokens, [KINDS[SHORT[index % len(SHORT)]](rng, taken) for index in range(count)])


def ask_all(seed, tokens, asked):
    """A prompt for each fact of `asked`; they stand in one document, in this order and evenly spread."""
    depths = [(index + 0.5) / len(asked) for index in range(len(asked))]
    longest = max(len(Prompt(seed, 0, "", fact).question.split()) for fact in asked)
    words = round((tokens - TOKENS_OF_TEMPLATE) / TOKENS_PER_WORD) - longest
    document = make_document(seed, words, [(depth, fact.sentences[0]) for depth, fact in zip(depths, asked)])
    return [Prompt(seed, depth, document, fact) for depth, fact in zip(depths, asked)]


def make_prompts(seed, count, tokens, kinds=None, n_facts=4):
    """`count` prompts: the kinds in turn, depths spread evenly over 0.05 .. 0.95, whatever `count` is."""
    kinds = list(kinds or KINDS)
    golden = (5**0.5 - 1) / 2 # its multiples modulo 1 leave no gap and fall into no step with the kinds
    depths = [round(0.05 + 0.9 * ((0.5 + index * golden) % 1), 3) for index in range(count)]
    return [make_prompt(f"{seed}.{index}", tokens, kinds[index % len(kinds)], depth, n_facts)
            for index, depth in enumerate(depths)]


# ---- scoring ---------------------------------------------------------------------------------------------------------


def score(response, references):
    """The share of `references` that `response` contains, as whole words, in any case; 1: the answer is right."""
    text = " ".join(response.lower().split())
    found = [any(re.search(rf"(?<!\w){re.escape(spelling.lower())}(?!\w)", text) for spelling in reference)
             for reference in references]
    return sum(found) / len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=900)
    parser.add_argument("--kind", choices=KINDS, default="code")
    parser.add_argument("--depth", type=float, default=0.5)
    options = parser.parse_args()
    prompt = make_prompt(options.seed, options.tokens, options.kind, options.depth)
    print(f"{prompt.document}\n{prompt.question}")
    print("references:", "; ".join(" | ".join(reference) for reference in prompt.fact.references), file=sys.stderr)


if __name__ == "__main__":
    main()
