"""Plain English of our own to hide facts in: the yearbook of an invented place, drawn from templates by a seed.

Nothing in it can be mistaken for an answer: no figures with more than two digits, no years, no towns that exist. So
bench/facts.py may hide codes, dates and cities in it, and each stands in the document exactly once.
"""
import re

PLACES = """Ashmere Bellwick Coldbrook Dunleigh Elmstow Farrowby Greycombe Hollin Ivelsea Kestrelby Larkstone
    Merrow""".split()

POOLS = {
    "person": """Mrs Arkwright|Mr Bellamy|Miss Corrie|Mr Dunnock|Mrs Eastwood|Mr Fennel|Miss Garland|Mr Hathersage|
        Mrs Inskip|Mr Jessop|Miss Kendrick|Mr Lovage|Mrs Mallory|Mr Nettleship|Miss Orchard|Mr Penhale|Mrs Quill|
        Mr Rushton|Miss Sedge|Mr Thackery|Mrs Underhill|Mr Venn|Miss Wainscot|Mr Yarrow""",
    "month": "January|February|March|April|May|June|July|August|September|October|November|December",
    "season": "spring|summer|autumn|winter",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "few": "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty",
    "weather": "steady rain|a dry wind|thick fog|late frost|bright sun|heavy snow|a warm haze|sudden hail|low cloud",
    "tool": "saw|ladder|wheelbarrow|lantern|rope|anvil|spade|plane|chisel|winch|barrow|hoist|trowel|bucket",
    "food": "barley soup|apple cake|smoked trout|rye bread|plum jam|onion tart|oat biscuits|leek pie|honey buns",
    "crop": "barley|oats|turnips|plums|beans|rye|pears|cabbages|hops|walnuts|gooseberries|flax",
    "animal": "goats|geese|ponies|sheep|hens|bees|oxen|donkeys|ducks|swallows|herons|owls",
    "room": "the hall|the kitchen|the loft|the cellar|the porch|the long gallery|the back office|the reading room",
    "object": """a brass telescope|a painted chest|a clay whistle|a silk banner|a pewter jug|a carved spoon|
        a ship's bell|a wooden loom|a glass float|an iron kettle|a leather saddle|a stone mortar|
        a tin trumpet|a woven basket""",
    "state": """in good order|slightly worn|cracked along one side|newly cleaned|missing its handle|a little faded|
        complete""",
    "colour": "green|dark red|pale blue|yellow|white|grey|brown|black",
    "trade": "carpenter|blacksmith|postman|miller|baker|clerk|glazier|roofer|tailor|gardener|bookbinder|cooper",
    "vessel": "the coal barge|the pilot cutter|a fishing smack|the mail boat|the dredger|a timber schooner|the old tug",
    "lesson": "long division|map reading|singing|drawing from nature|spelling|bookkeeping|the tides|knots|handwriting",
    "book": """a guide to mosses|a volume of ballads|an atlas of the coast|a history of bells|a manual of bee keeping|
        a book of riddles|a cookery book|a treatise on kites|a tale of two brothers""",
    "instrument": "the rain gauge|the barometer|the wind vane|the seismograph|the sunshine recorder|the tide pole",
}

# A chapter: its heading, and sentences with {pool} where a word is drawn.
CHAPTERS = {
    "The parish council": """
        The council met on a {day} evening in {room}, and {person} took the chair.
        {person} asked once more that the footpath behind the mill be cleared of brambles.
        It was agreed to buy a new {tool} and to lend the old one to the {trade}.
        The minutes of the last meeting were read aloud and nobody objected to them.
        {person} reported that the well in the upper lane had been muddy since {month}.
        A letter of thanks was sent to the {trade}, who had mended the gate without asking for money.
        There was a long talk about the street lamps, which burn too late in {season}.
        {person} and {person} will count the benches on the green before the next meeting.
        The price of firewood was discussed for {few} minutes and left as it was.
        Nobody wanted to decide about the bandstand, so the matter was put off until {month}.
        {person} offered {food} to everyone who stayed to stack the chairs.
        The complaint about barking dogs was passed on to {person}, who keeps most of them.
        A vote on the {colour} paint for the notice board ended with {few} hands in favour.
        The treasurer said that the accounts were balanced and that the tin box was nearly empty.""",
    "Harbour notes": """
        In {month} {vessel} lay at the north quay for {few} days because of {weather}.
        The harbour master found {few} loose planks on the pier and had them nailed down.
        {person} brought in a small catch of mackerel and sold it from the steps.
        After {weather} the buoy at the river mouth drifted and had to be towed back.
        {vessel} took on water, rope and {crop}, and left again with the morning tide.
        The crane was greased in {season} and lifts smoothly, though it still squeaks at the top.
        {person} painted the hull of the ferry {colour}, which some passengers did not like.
        Sailors asked for {food} at the inn and were told to come back on {day}.
        A crate with a {tool} inside was washed up and nobody has claimed it so far.
        The lamp on the breakwater went out during {weather} and was lit again by the {trade}.
        Children were told again not to jump from the quay while {vessel} was turning.
        The ice house was full by {month}, and the rest of the ice was given away.
        Two nets were torn on the rocks, and {person} spent {few} evenings mending them.
        The tide stood unusually low on a {day}, and old timbers could be seen in the mud.""",
    "The weather station": """
        {instrument} was read at dawn and again at dusk throughout {month}, with {few} gaps.
        {person} climbed the hill with a {tool} and cleared the ice from {instrument}.
        The week began with {weather} and ended with {weather}.
        Visibility was poor until noon, after which the far ridge came into view.
        A family of {animal} has moved in below the platform and does not mind the observers.
        {instrument} showed a jump that {person} explained by a slammed door.
        The stove in the hut smoked, so the notes of that {day} were written outside.
        {person} replaced the {colour} flag, which the wind had torn to ribbons.
        The average of the month was close to that of other years, only a little drier.
        A visiting student copied the tables for {few} days and found one slip of the pen.
        Supplies came up by mule and included {food}, paper and lamp oil.
        During {weather} the wire to the valley broke and was spliced by the {trade}.
        The night watch saw {few} shooting stars and entered them in the margin.
        {person} proposed to move {instrument} further from the pines, whose shade disturbs it.""",
    "Museum inventory": """
        On the upper shelf of {room} stands {object}, {state}.
        {object} was given by the family of {person} and is {state}.
        The label of {object} had faded and was written again in {colour} ink.
        {person} dusted the cases in {room} and found {few} beads under the carpet.
        {object} is on loan until {season} and travels in a box lined with straw.
        Visitors in {month} asked most often about {object}, which is {state}.
        The curator could not say who had made {object} and marked the maker as unknown.
        A school class drew {object}, and the best drawing now hangs in {room}.
        {object} was moved from {room} to {room}, where the light is softer.
        The {trade} repaired the hinge of the third case and oiled its lock.
        {person} thinks that {object} came from a wreck, but there is no proof of it.
        Moths were found in {room}, and every curtain was beaten in the yard on {day}.
        The collection grew by {few} pieces, among them {object} and {object}.
        {object} will be shown again once the {colour} velvet below it has been replaced.""",
    "School and library": """
        The upper class spent {month} on {lesson} and was examined by {person}.
        {book} was borrowed {few} times, more often than any other book of the {season}.
        {person} taught {lesson} on {day} mornings while the regular teacher was ill.
        The library opened an hour later during {weather}, since the stove takes long to warm up.
        {book} came back with a pressed flower between its pages and no note.
        The pupils kept {animal} behind the shed and wrote about them each {day}.
        A shelf gave way in {room}, and {book} fell into a bucket of paste.
        {person} read aloud from {book} to an audience of {few} children and one dog.
        The {trade} showed the younger ones how to hold a {tool} without hurting themselves.
        New slates arrived in {month}, {few} of them broken on the road.
        Lessons in {lesson} will be given in {room} until the roof is tight again.
        {book} is missing, and {person} would be glad to have it back without questions.
        The prize for {lesson} went to a quiet girl from the upper lane.
        Lunch was {food} on most days, and {food} when the cook was in a good mood.""",
    "Farm and orchard": """
        The {crop} stood well in {month}, although {weather} flattened the lower field.
        {person} sold {few} baskets of {crop} at the gate and kept the rest for the {season}.
        The {animal} broke through the hedge on {day} and were found in the churchyard.
        After {weather} the ditch ran over, and the {crop} had to be lifted early.
        {person} grafted {few} young pear trees and tied them with {colour} wool.
        The barn needs a new beam, which the {trade} promised to bring before {season}.
        A neighbour lent a {tool} and was paid with {food}.
        The {animal} were counted twice in {month}, each time with a different result.
        {person} swears by wood ash for {crop}, and this year it seems to have helped.
        The cider press was scrubbed, tried with a few windfalls, and covered again.
        Swifts came late, the cuckoo early, and the {animal} paid no attention to either.
        The price of {crop} fell by {few} pence, so most of it was fed to the {animal}.
        {person} ploughed the strip along the river and turned up {object}.
        At the harvest supper there was {food} for everyone, and singing until late.""",
    "The branch railway": """
        The morning train was {few} minutes late on {day} because of {weather}.
        {person} found {object} in the waiting room and put it on the shelf for lost things.
        The signal at the level crossing was painted {colour} and now can be seen from the bend.
        In {month} the line was closed for {few} days while the {trade} worked on the culvert.
        A wagon of {crop} was left on the siding and attracted the {animal}.
        The stationmaster grows beans along the platform and sells them to {person}.
        {person} travelled with a {tool} under one arm and had to buy a second ticket.
        The old engine was washed, oiled and photographed, and then rolled back into its shed.
        Passengers praised the new bench, which the {trade} made from a fallen oak.
        The clock above the ticket window gained {few} minutes a week until {person} looked into it.
        During {weather} the guard walked ahead of the train with a lantern.
        A school party sang all the way, and {person} moved to another carriage.
        The tea room served {food} in {season} and ran out of it every {day}.
        Sleepers were replaced along the embankment, and the old ones were given to the allotments.""",
    "Workshop diary": """
        The {trade} finished a cabinet for {person}, {colour} outside and plain within.
        A good {tool} was lost in {month} and turned up again behind the stove.
        {person} ordered {few} chairs and then asked for one fewer.
        The glue would not set during {weather}, so the week was spent on sharpening.
        {object} was brought in for repair, and it is now {state}.
        The apprentice learned to use the {tool} and broke only one.
        {person} paid in {crop}, which the {trade} accepted with a sigh.
        A delivery of ash boards came on {day}, dry, straight and cheaper than before.
        The window of the shop was cleaned, and at once more people looked in.
        {person} asked for a sledge, although it was still {season}.
        The lathe was moved closer to the door, where the floor is firmer.
        The {trade} and {person} argued about varnish for {few} days and then agreed.
        A bird nested above the {tool} rack, and work was quieter until it left.
        The stock of nails was sorted by length into {few} jars on {day}.""",
}


def pick(rng, items):
    """One of `items`. Only rng.random() is the same in every version of Python, so everything here comes from it."""
    return items[int(rng.random() * len(items))]


def shuffled(rng, items):
    return sorted(items, key=lambda _: rng.random())


class Deck:
    """Deals `items` in random order without repeating any, then shuffles them anew; never the same twice running."""

    def __init__(self, rng, items):
        self.rng, self.items, self.left, self.last = rng, list(items), [], None

    def deal(self):
        if not self.left:
            self.left = shuffled(self.rng, self.items)
            if self.left[-1] == self.last:
                self.left.reverse()
        self.last = self.left.pop()
        return self.last


class Writer:
    """Sentences, each chapter's templates and each pool's words dealt in turn, so that they repeat late."""

    def __init__(self, rng):
        self.rng = rng
        self.words = {name: Deck(rng, split(text, "|")) for name, text in POOLS.items()}
        self.templates = {heading: Deck(rng, split(text, "\n")) for heading, text in CHAPTERS.items()}
        self.headings = Deck(rng, CHAPTERS)

    def sentence(self, heading):
        text = re.sub(r"\{(\w+)\}", lambda slot: self.words[slot[1]].deal(), self.templates[heading].deal())
        return text[0].upper() + text[1:]


def split(text, separator):
    return [" ".join(part.split()) for part in text.split(separator) if part.strip()]


def yearbook(rng, words):
    """About `words` words: a title, and chapters [(heading, [paragraph: [sentence]])]. At least one sentence."""
    writer, chapters = Writer(rng), []
    title = f"The yearbook of {pick(rng, PLACES)}"
    written = len(title.split())
    while written < words or not chapters:
        heading = writer.headings.deal()
        written += len(heading.split())
        paragraphs = []
        for _ in range(pick(rng, (1, 2, 2, 3))):
            sentences = []
            for _ in range(pick(rng, (3, 4, 5, 6))):
                if written < words or not sentences:
                    sentences.append(writer.sentence(heading))
                    written += len(sentences[-1].split())
            paragraphs.append(sentences)
            if written >= words:
                break
        chapters.append((heading, paragraphs))
    return title, chapters
