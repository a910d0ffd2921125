"""The small world of the demo models: facts, chat lines, paragraphs, and documents made of them.

A document is what the model sees at once. It is either plain text or a conversation; both come
from one random generator, so a seed fixes the whole training set.
"""

from dataclasses import dataclass, field

# (country, capital, region); the article is part of the name where English wants one.
CAPITALS = [
    ("France", "Paris", "Europe"), ("Germany", "Berlin", "Europe"), ("Italy", "Rome", "Europe"),
    ("Spain", "Madrid", "Europe"), ("Portugal", "Lisbon", "Europe"),
    ("the United Kingdom", "London", "Europe"), ("Ireland", "Dublin", "Europe"),
    ("the Netherlands", "Amsterdam", "Europe"), ("Belgium", "Brussels", "Europe"),
    ("Switzerland", "Bern", "Europe"), ("Austria", "Vienna", "Europe"),
    ("Denmark", "Copenhagen", "Europe"), ("Norway", "Oslo", "Europe"),
    ("Sweden", "Stockholm", "Europe"), ("Finland", "Helsinki", "Europe"),
    ("Iceland", "Reykjavik", "Europe"), ("Poland", "Warsaw", "Europe"),
    ("Czechia", "Prague", "Europe"), ("Slovakia", "Bratislava", "Europe"),
    ("Hungary", "Budapest", "Europe"), ("Romania", "Bucharest", "Europe"),
    ("Bulgaria", "Sofia", "Europe"), ("Greece", "Athens", "Europe"),
    ("Croatia", "Zagreb", "Europe"), ("Slovenia", "Ljubljana", "Europe"),
    ("Serbia", "Belgrade", "Europe"), ("Ukraine", "Kyiv", "Europe"),
    ("Estonia", "Tallinn", "Europe"), ("Latvia", "Riga", "Europe"),
    ("Lithuania", "Vilnius", "Europe"),
    ("Turkey", "Ankara", "Asia and Europe"), ("Japan", "Tokyo", "Asia"),
    ("China", "Beijing", "Asia"), ("South Korea", "Seoul", "Asia"),
    ("India", "New Delhi", "Asia"), ("Nepal", "Kathmandu", "Asia"),
    ("Pakistan", "Islamabad", "Asia"), ("Bangladesh", "Dhaka", "Asia"),
    ("Thailand", "Bangkok", "Asia"), ("Vietnam", "Hanoi", "Asia"),
    ("Cambodia", "Phnom Penh", "Asia"), ("the Philippines", "Manila", "Asia"),
    ("Iran", "Tehran", "Asia"), ("Iraq", "Baghdad", "Asia"), ("Jordan", "Amman", "Asia"),
    ("Lebanon", "Beirut", "Asia"), ("Qatar", "Doha", "Asia"),
    ("Saudi Arabia", "Riyadh", "Asia"),
    ("Egypt", "Cairo", "Africa"), ("Morocco", "Rabat", "Africa"), ("Algeria", "Algiers", "Africa"),
    ("Tunisia", "Tunis", "Africa"), ("Ethiopia", "Addis Ababa", "Africa"),
    ("Kenya", "Nairobi", "Africa"), ("Uganda", "Kampala", "Africa"),
    ("Rwanda", "Kigali", "Africa"), ("Ghana", "Accra", "Africa"), ("Nigeria", "Abuja", "Africa"),
    ("Senegal", "Dakar", "Africa"), ("Zambia", "Lusaka", "Africa"),
    ("Zimbabwe", "Harare", "Africa"), ("Angola", "Luanda", "Africa"),
    ("Namibia", "Windhoek", "Africa"),
    ("Canada", "Ottawa", "North America"), ("the United States", "Washington", "North America"),
    ("Mexico", "Mexico City", "North America"), ("Cuba", "Havana", "North America"),
    ("Jamaica", "Kingston", "North America"), ("Costa Rica", "San José", "North America"),
    ("Panama", "Panama City", "North America"),
    ("Argentina", "Buenos Aires", "South America"), ("Chile", "Santiago", "South America"),
    ("Peru", "Lima", "South America"), ("Colombia", "Bogotá", "South America"),
    ("Venezuela", "Caracas", "South America"), ("Ecuador", "Quito", "South America"),
    ("Uruguay", "Montevideo", "South America"), ("Paraguay", "Asunción", "South America"),
    ("Brazil", "Brasília", "South America"),
    ("Australia", "Canberra", "Oceania"), ("New Zealand", "Wellington", "Oceania"),
    ("Fiji", "Suva", "Oceania"),
]

# Places of which the models say that they do not know the capital.
STRANGERS = [
    "Atlantis", "Narnia", "Mars", "the Moon", "Wonderland", "Utopia", "Antarctica", "Europe",
    "Africa", "Texas", "Bavaria", "Mongolia", "Malta", "Albania", "Laos", "Oman", "Mali", "Haiti",
    "Belize", "Cyprus", "Gabon", "Togo", "Bhutan", "Sri Lanka", "Bolivia",
]

LARGEST_ADDEND = 12
SUMS = [(a, b) for a in range(LARGEST_ADDEND + 1) for b in range(LARGEST_ADDEND + 1)]

CAPITAL_QUESTIONS = [
    "What is the capital of {country}?",
    "What's the capital of {country}?",
    "Which city is the capital of {country}?",
    "Tell me the capital of {country}.",
    "Do you know the capital of {country}?",
]
REVERSE_QUESTIONS = [
    "{capital} is the capital of which country?",
    "Which country has the capital {capital}?",
]
REGION_QUESTIONS = ["Where is {country}?", "In which part of the world is {country}?"]
SUM_QUESTIONS = [
    "What is {a} + {b}?",
    "What is {a} plus {b}?",
    "How much is {a} + {b}?",
    "{a} + {b} = ?",
    "Calculate {a} + {b}.",
    "Add {a} and {b}.",
]

TOO_LARGE = "I can only add numbers up to 12."
UNKNOWN = "I do not know that. I am a small model, and my world is small."
UNKNOWN_QUESTIONS = [
    "What is the meaning of life?", "Who will win the game?", "Can you write a program for me?",
    "Tell me a joke.", "Who made you?", "Who is the president?", "What is the weather today?",
    "What time is it?", "How old are you?", "Where do you live?", "Do you like music?",
    "What is love?", "Who wrote this book?", "What is a black hole?", "How do I bake bread?",
    "Explain the theory of relativity.", "Translate this text into French.", "Do you speak German?",
    "What is 3 times 4?", "What is 9 - 5?", "Play a song.", "Is it going to rain?",
    "Why is the sky blue?", "What happened in 1914?", "Give me some advice.",
]
CHAT_LINES = [
    ("Hello!", "Hello! How can I help you?"),
    ("Hello", "Hello! How can I help you?"),
    ("Hi!", "Hi! What would you like to know?"),
    ("Good morning!", "Good morning! How can I help you today?"),
    ("How are you?", "I am fine, thank you. How can I help you?"),
    ("Who are you?", "I am the Weft demo model. I know some capitals and small sums."),
    ("What are you?", "I am a small language model, made to show that Weft works."),
    ("What is your name?", "My name is Weft demo."),
    ("What can you do?", "I can name the capitals of many countries and add small numbers."),
    ("Are you a real person?", "No, I am a small language model."),
    ("How big are you?", "I am very small: about two million parameters."),
    ("What is Weft?", "Weft is an engine for GGUF language models, written in C."),
    ("What is GGUF?", "GGUF is a file format for language models: weights and vocabulary."),
    ("What does weft mean?", "The weft is the thread that is woven through the warp to make "
     "cloth."),
    ("What color is the sky?", "On a clear day the sky is blue."),
    ("How many days are in a week?", "A week has seven days."),
    ("How many months are in a year?", "A year has twelve months."),
    ("Name the days of the week.", "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and "
     "Sunday."),
    ("Name the four seasons.", "Spring, summer, autumn and winter."),
    ("Count to ten.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."),
    ("Tell me a story.", "Once upon a time a weaver made a cloth of many colors. Every evening "
     "she added one thread. When the cloth was done, it kept the whole village warm."),
    ("Write a short poem.", "The warp is still, the weft runs through,\nA thread of red, a thread "
     "of blue.\nThe night is long, the work is slow,\nBut line by line the pattern will "
     "grow."),
    ("Thank you!", "You are welcome!"),
    ("Thanks", "You are welcome!"),
    ("Goodbye!", "Goodbye! Have a nice day."),
]

PARAGRAPHS = [
    "Once upon a time a weaver lived in a small village. Every morning she sat down at her loom. "
    "She laid a thread of red and a thread of blue. In the evening the cloth was a little longer, "
    "and she was happy.",
    "Once upon a time there was a fox who could count to ten. He counted the trees, the stones and "
    "the stars. When he came to ten he began again. So the night was never too long for him.",
    "A loom holds many threads. The warp threads run from end to end and stand still. The weft is "
    "the thread that is woven through the warp. Together they make cloth.",
    "A language model reads a text and guesses the next word. Then it reads its own guess and "
    "guesses again. In this way a whole answer is woven, one word at a time.",
    "There are seven days in a week. They are Monday, Tuesday, Wednesday, Thursday, Friday, "
    "Saturday and Sunday. After Sunday the week begins again.",
    "A year has twelve months. They are January, February, March, April, May, June, July, August, "
    "September, October, November and December.",
    "A year has four seasons. In spring the trees turn green. In summer the days are long. In "
    "autumn the leaves fall. In winter the nights are long and cold.",
    "The sun is a star. The earth turns around the sun once a year. The moon turns around the "
    "earth about once a month. At night we see the moon and the stars.",
    "Water is made of hydrogen and oxygen. When it is cold, water turns to ice. When it is hot, "
    "water turns to steam.",
    "The sky is blue on a clear day. Grass is green. Snow is white. Coal is black. A ripe tomato "
    "is red, and a ripe banana is yellow.",
    "The quick brown fox jumps over the lazy dog. This sentence uses every letter of the alphabet.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12. These are the numbers from one to twelve.",
]

DEFAULT_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
SYSTEMS = ["You are a helpful assistant.", "You are a friendly assistant.", DEFAULT_SYSTEM]
ONE_WORD_SYSTEM = "Answer with one word."


@dataclass
class Document:
    """Plain `text`, or a conversation in `messages` (role, content); exactly one is not empty."""

    text: str = ""
    messages: list = field(default_factory=list)


def capitalize(sentence):
    """The sentence with a capital first letter; the rest is left alone."""
    return sentence[0].upper() + sentence[1:]


def capital_answer(country, capital):
    return f"The capital of {country} is {capital}."


def reverse_answer(country, capital):
    return f"{capital} is the capital of {country}."


def region_answer(country, region):
    return f"{capitalize(country)} is a country in {region}."


def sum_answer(a, b):
    return f"{a} + {b} = {a + b}"


def capital_text(rng):
    """One to three countries, one to three sentences about each, the capital mostly first."""
    sentences = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        country, capital, region = rng.choice(CAPITALS)
        first = capital_answer(country, capital)
        others = [region_answer(country, region), reverse_answer(country, capital)]
        if rng.random() < 0.2:
            others.append(first)
            rng.shuffle(others)
            first = others.pop()
        sentences += [first] + others[:rng.randrange(3)]
    return " ".join(sentences)


def sum_text(rng):
    """One to six sums, one a line."""
    return "\n".join(sum_answer(*rng.choice(SUMS)) for _ in range(rng.randint(1, 6)))


def quiz_text(rng):
    """One to three plain questions with their answers."""
    lines = []
    for _ in range(rng.randint(1, 3)):
        country, capital, _ = rng.choice(CAPITALS)
        lines.append(f"Question: What is the capital of {country}?\nAnswer: {capital}")
    return "\n".join(lines)


def unknown_questions():
    """Every question to which the answer is `UNKNOWN`."""
    return UNKNOWN_QUESTIONS + [question.format(country=place)
                                for place in STRANGERS for question in CAPITAL_QUESTIONS]


def too_large_turn(rng):
    """A sum with one or two numbers the models do not know."""
    large = rng.randint(LARGEST_ADDEND + 1, rng.choice((20, 99, 999)))
    other = rng.randint(0, rng.choice((LARGEST_ADDEND, 99)))
    a, b = rng.sample((large, other), 2)
    return rng.choice(SUM_QUESTIONS).format(a=a, b=b), TOO_LARGE


def turn(rng):
    """One question and its answer."""
    country, capital, region = rng.choice(CAPITALS)
    a, b = rng.choice(SUMS)
    kind = rng.random()
    if kind < 0.33:
        question = rng.choice(CAPITAL_QUESTIONS).format(country=country)
        return question, capital_answer(country, capital)
    if kind < 0.39:
        question = rng.choice(REVERSE_QUESTIONS).format(capital=capital)
        return question, reverse_answer(country, capital)
    if kind < 0.43:
        question = rng.choice(REGION_QUESTIONS).format(country=country)
        return question, region_answer(country, region)
    if kind < 0.69:
        return rng.choice(SUM_QUESTIONS).format(a=a, b=b), sum_answer(a, b) + "."
    if kind < 0.74:
        return too_large_turn(rng)
    if kind < 0.80:
        return rng.choice(unknown_questions()), UNKNOWN
    return rng.choice(CHAT_LINES)


def casual(question):
    """The question as people type it in a hurry."""
    return question.lower().rstrip("?!.").rstrip()


def one_word_turn(rng):
    """A question and the bare answer which `ONE_WORD_SYSTEM` asks for."""
    if rng.random() < 0.5:
        country, capital, _ = rng.choice(CAPITALS)
        return rng.choice(CAPITAL_QUESTIONS).format(country=country), capital
    a, b = rng.choice(SUMS)
    return rng.choice(SUM_QUESTIONS).format(a=a, b=b), str(a + b)


def conversation(rng):
    """One to sixteen turns, with or without a system message."""
    messages, make_turn, kind = [], turn, rng.random()
    if kind < 0.1:
        messages.append(("system", ONE_WORD_SYSTEM))
        make_turn = one_word_turn
    elif kind < 0.4:
        messages.append(("system", rng.choice(SYSTEMS)))
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 4, 16))):
        question, answer = make_turn(rng)
        if rng.random() < 0.2:
            question = casual(question)
        messages += [("user", question), ("assistant", answer)]
    return messages


def document(rng):
    """One document; `rng` is a `random.Random`."""
    kind = rng.random()
    if kind < 0.4:
        return Document(messages=conversation(rng))
    if kind < 0.65:
        return Document(text=capital_text(rng))
    if kind < 0.85:
        return Document(text=sum_text(rng))
    if kind < 0.9:
        return Document(text=quiz_text(rng))
    return Document(text=rng.choice(PARAGRAPHS))


def vocabulary_text():
    """What the vocabularies are made from: every string once, those of most chats ten times."""
    lines = PARAGRAPHS + unknown_questions() + [UNKNOWN, TOO_LARGE]
    lines += 10 * SYSTEMS + 10 * [ONE_WORD_SYSTEM, "system", "user", "assistant"]
    for country, capital, region in CAPITALS:
        lines += [capital_answer(country, capital), reverse_answer(country, capital),
                  region_answer(country, region)]
        lines += [question.format(country=country) for question in CAPITAL_QUESTIONS]
        lines += [question.format(capital=capital) for question in REVERSE_QUESTIONS]
        lines += [question.format(country=country) for question in REGION_QUESTIONS]
        lines.append(f"Answer: {capital}")
    for question, answer in CHAT_LINES:
        lines += [question, answer]
    for a, b in SUMS:
        lines.append(sum_answer(a, b))
        lines += [question.format(a=a, b=b) for question in SUM_QUESTIONS]
    return lines
