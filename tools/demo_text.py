"""The demo's document: made-up prose with eight facts, and a question about each. The seed decides everything."""
import dataclasses
import random

# What prose is made of: a word of a list for every {name}.
WORDS = {
    "who": ["the gardener", "the night porter", "an old clerk", "the ferryman", "the baker's sister", "a young carpenter",
            "the postmistress", "the choir master", "a travelling salesman", "the watchmaker", "the schoolteacher"],
    "where": ["behind the station", "on the market square", "near the old mill", "under the chestnut trees", "by the canal",
              "outside the bakery", "at the edge of the meadow", "in the reading room"],
    "thing": ["a bundle of newspapers", "a basket of apples", "a broken umbrella", "a box of candles", "a rusty bicycle",
              "a roll of canvas", "a pair of boots", "a jar of honey"],
    "when": ["early in the morning", "towards evening", "after the rain", "on the first warm day", "once the shops had closed",
             "shortly before noon"],
    "weather": ["a light drizzle", "thick fog", "bright sunshine", "a cold wind", "the first snow"],
}
SENTENCES = [
    "{when} {who} carried {thing} home.", "{who} waited {where} and said nothing.",
    "There was {weather}, so most people stayed indoors.", "{who} asked {who} about {thing}, but got no answer.",
    "Somebody had left {thing} {where}.", "{who} remembered that the winters used to be longer.",
    "The windows {where} were being cleaned, which took all day.", "{when} one could hear music {where}.",
    "{who} sold {thing} to {who} and regretted it later.", "Nobody could say why the gate {where} was locked.",
    "{who} read the newspaper {where} in spite of {weather}.", "A dog slept {where}, and nobody disturbed it.",
    "{who} complained about {weather}, as on every other day.", "{when} {who} swept the steps {where}.",
    "It was decided to repaint the benches {where}.", "{who} had promised to mend {thing}, and forgot about it.",
    "After {weather} the whole street smelled of wet leaves.", "{who} told the same story again, and everybody laughed.",
]

# A fact: a sentence, a question, and what the {} of both can be: the fact's answers.
FACTS = [
    ("The name of the lighthouse keeper is {}.", "What is the name of the lighthouse keeper?",
     ["Ingrid Solheim", "Tomas Varga", "Miriam Castle", "Pavel Novak", "Helen Marsh"]),
    ("The password for the archive is {}.", "What is the password for the archive?",
     ["marigold", "cinnamon", "thunder", "velvet", "porcupine"]),
    ("The new bridge cost {} dollars.", "How many dollars did the new bridge cost?",
     ["48,200", "91,350", "27,640", "63,780", "35,910"]),
    ("The museum was founded in the year {}.", "In which year was the museum founded?",
     ["1843", "1792", "1868", "1817", "1906"]),
    ("The stolen painting was found in the city of {}.", "In which city was the stolen painting found?",
     ["Lisbon", "Nairobi", "Helsinki", "Toronto", "Marseille"]),
    ("The favourite food of the mayor is {}.", "What is the favourite food of the mayor?",
     ["mushroom soup", "lemon cake", "fried trout", "apple dumplings", "onion pie"]),
    ("The telephone number of the doctor is {}.", "What is the telephone number of the doctor?",
     ["55-2817", "55-9046", "55-3381", "55-7120", "55-6493"]),
    ("The winner of the chess tournament was {}.", "Who was the winner of the chess tournament?",
     ["Oscar Lindqvist", "Daniela Rossi", "Samuel Okoro", "Greta Holm", "Victor Amsel"]),
]


@dataclasses.dataclass
class Fact:
    sentence: str
    question: str
    answer: str


def draw_fact(draw, form):
    sentence, question, answers = form
    answer = draw.choice(answers)
    return Fact(sentence.format(answer), question, answer)


def draw_sentence(draw):
    text = draw.choice(SENTENCES)
    while "{" in text:
        name = text[text.index("{") + 1:text.index("}")]
        text = text.replace("{" + name + "}", draw.choice(WORDS[name]), 1)
    return text[0].upper() + text[1:]


def document(seed, n_words):
    """A text of about so many words, and the facts in the order in which they stand there, at even steps."""
    draw = random.Random(seed)
    facts = [draw_fact(draw, form) for form in FACTS]
    draw.shuffle(facts)
    sentences, words = [], sum(len(fact.sentence.split()) for fact in facts)
    while words < n_words:
        sentences.append(draw_sentence(draw))
        words += len(sentences[-1].split())
    for i, fact in reversed(list(enumerate(facts))):
        sentences.insert(round((i + 0.5) / len(facts) * len(sentences)), fact.sentence)
    return "\n\n".join(" ".join(sentences[i:i + 7]) for i in range(0, len(sentences), 7)), facts
