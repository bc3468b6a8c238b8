"""Plain chat: greetings, what the assistant can do, and honest answers to what it cannot."""

from training.world.assets.concepts import CATALOGUE
from training.world.dialogues.requests import answer, single_request
from training.world.dialogues.talk import Dialogue, Talk, Turn

_CAN = (
    "I draw small scenes of animals, food, toys, vehicles and other things, and I tell stories with pictures."
)
_TRY = (
    "Ask me for a fox in a meadow, for example.",
    "Try: a red balloon on a beach at sunset.",
    "For example, I can tell a story about a cat who finds a key.",
    "Shall I draw an owl in a forest for you?",
)
# (what the user says, how the assistant answers)
_SMALL_TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        (
            "hello",
            "Hello!",
            "hi",
            "Hi there!",
            "Hey",
            "Good morning!",
            "Good evening.",
            "Hello, how are you?",
            "How are you?",
        ),
        (
            "Hello! What shall I draw?",
            "Hello! I am well. What would you like to see?",
            "Hi! Which picture would you like?",
        ),
    ),
    (
        (
            "What can you do?",
            "what can you draw?",
            "Help",
            "How does this work?",
            "What can I ask you?",
            "What do you know?",
        ),
        (_CAN, _CAN + " Tell me what you want to see, and where."),
    ),
    (
        ("Who are you?", "what are you?", "What is your name?", "Are you a person?", "Are you a robot?"),
        ("I am wanimage, a small program that draws. " + _CAN,),
    ),
    (
        (
            "thanks",
            "Thank you!",
            "Thank you very much.",
            "great, thanks",
            "That is nice!",
            "Well done!",
            "Wonderful.",
            "I like it.",
        ),
        ("You are welcome!", "I am glad you like it.", "With pleasure. Shall I draw something else?"),
    ),
    (("bye", "Goodbye!", "See you.", "Good night!"), ("Goodbye!", "See you soon!")),
    (
        ("Which colours do you know?", "What colors can you use?"),
        ("Red, orange, yellow, green, teal, blue, purple, pink, brown, black, white and grey.",),
    ),
    (
        ("Which places can you draw?", "Which backgrounds do you know?", "Where can a scene be?"),
        (
            "A meadow, a beach, a desert, a snowy field, a forest, a city, hills and a lake, "
            "by day, at sunset or at night. A plain or transparent background works too.",
        ),
    ),
    (
        ("Which animals can you draw?", "What animals do you know?"),
        ("Foxes, cats, dogs, rabbits, bears, owls, mice, frogs, lions, penguins and many more.",),
    ),
    (
        ("How many pictures can you make?", "How long can a story be?"),
        ("Two to twelve pictures in one answer.",),
    ),
    (
        ("ok", "yes", "no", "hm", "what?", "really?"),
        ("Tell me what you would like to see.", "What shall I draw next?"),
    ),
)
_STRANGE_WORDS = """
submarine dragon castle bridge computer phone wizard knight princess pirate
spaceship volcano waterfall mountain river ocean island temple church tower stadium violin piano trumpet
flute harp sword shield bow arrow helmet clock watch mirror table sofa lamp fridge oven spoon fork knife
plate bottle glass cup shark lobster eagle camel zebra giraffe kangaroo crocodile snake spider scorpion
ant worm bat deer moose goat sheep donkey goose turkey peacock flamingo ostrich seal walrus hamster
beaver otter skunk badger unicorn mermaid vampire zombie monster alien angel skeleton dinosaur-egg
telescope microscope printer keyboard robot-arm engine motorbike tank helicopter ambulance taxi bus
skateboard ski sledge hammer saw screw ladder rope chain coin diamond ring necklace shoe sock glove coat
trousers belt map compass flag newspaper hand eye tooth bone brain onion potato
tomato lettuce pepper rice soup noodles sushi steak egg sausage salad coffee tea milk wine beer cloud
rainbow tornado storm fire smoke planet galaxy comet moon
"""
UNKNOWN_WORDS = tuple(
    words for words in (word.replace("-", " ") for word in _STRANGE_WORDS.split()) if words not in CATALOGUE
)
"""What nothing in the world can show; a noun of its catalogue is never refused."""
_QUESTIONS = (
    "What is the capital of France?",
    "How far is the moon?",
    "Who won the game?",
    "What is the weather like?",
    "Translate this into German.",
    "What time is it?",
    "Write some code for me.",
    "How do I cook rice?",
    "Who is the president?",
    "What is love?",
    "Can you sing?",
    "Search the web for me.",
    "Send an email.",
    "Explain gravity.",
    "Recommend a film.",
    "How old are you?",
    "Where do you live?",
    "Make a video.",
    "Play some music.",
    "Read this text to me.",
)


def chat(talk: Talk) -> Dialogue:
    """Small talk, sometimes before or after a picture."""
    turns = _exchange(talk)
    if talk.chance(0.35):
        picture, ask = single_request(talk, plain=True)
        drawn = [Turn("user", ask), answer(talk, picture)]
        turns = [*drawn, *_thanks(talk)] if talk.chance(0.5) else [*turns, *drawn]
    elif talk.chance(0.3):
        turns += _exchange(talk)
    return Dialogue("chat", tuple(turns))


def refusal(talk: Talk) -> Dialogue:
    """Something the assistant does not know, answered honestly and with a way on."""
    if talk.chance(0.65):
        word = talk.pick(UNKNOWN_WORDS)
        article = "an" if word[0] in "aeiou" and not word.startswith("uni") else "a"
        ask = talk.pick(
            (
                f"Draw {article} {word}.",
                f"draw {article} {word}",
                f"Can you draw {article} {word}?",
                f"A picture of {article} {word}, please.",
                f"I want {article} {word}.",
                f"{article} {word}",
            )
        )
        reply = talk.pick(
            (
                f"I am sorry, I do not know how to draw {article} {word}.",
                f"I cannot draw {article} {word} yet.",
            )
        )
    else:
        ask, reply = (
            talk.pick(_QUESTIONS),
            talk.pick(("I am sorry, I do not know that.", "I cannot help with that.")),
        )
    return Dialogue("refusal", (Turn("user", ask), Turn("assistant", f"{reply} {_CAN} {talk.pick(_TRY)}")))


def _exchange(talk: Talk) -> list[Turn]:
    asks, replies = talk.pick(_SMALL_TALK)
    thought = "<think>The user wants to chat, no picture is needed.</think>" if talk.chance(0.06) else ""
    return [Turn("user", talk.pick(asks)), Turn("assistant", thought + talk.pick(replies))]


def _thanks(talk: Talk) -> list[Turn]:
    asks, replies = _SMALL_TALK[3]
    return [Turn("user", talk.pick(asks)), Turn("assistant", talk.pick(replies))]
