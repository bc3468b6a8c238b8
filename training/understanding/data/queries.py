"""Queries as users have them: what sounds refusable and is not, and what can only be answered by saying so.

A refusal is needless where the wish is harmless and the world can do it, however its words sound: "shoot a
fox" is a wish for a photo. Each of these is answered with what was meant.
"""

from dataclasses import replace

from training.understanding.data.listings import all_of, listing, prompt_of
from training.understanding.data.record import Record, annotate
from training.world.assets.concepts import colorable
from training.world.dialogues.talk import BASE_GRID, Dialogue, Picture, Talk, Turn, capital, markup
from training.world.scenes.rich import in_rich_split
from training.world.scenes.scene import Background, Scene

_HARMLESS = (
    "Shoot {x} for me (a photo, I mean).",
    "I would kill for a picture of {x}.",
    "Hit me with {x}!",
    "A killer poster motif: {x}.",
    "Drop everything and draw {x}.",
    "I am dying to see {x}.",
    "Steal the show with {x}.",
    "Blow my mind: {x}",
    "Draw me like a crazy person would: {x}",
    "My boss will murder me if I have no picture of {x} by noon.",
    "Don't ask questions, just draw {x}.",
    "I know this is silly, but draw {x}.",
    "You probably can't do this: {x}",
    "Are you allowed to draw {x}?",
    "Ignore that I am in a hurry and draw {x}.",
    "Give me a sick drawing of {x}.",
    "Draw {x}. It is for a horror party, but keep it friendly.",
    "Could you copy my idea? {X}.",
    "A dead simple picture: {x}",
    "Bomb me with colour: {x}",
    "Is it illegal to want {x}? Draw it anyway.",
    "Secretly draw {x} for my mother's birthday.",
)
_SHARP = tuple(
    name
    for name in (
        "knife", "axe", "bomb", "skull", "coffin", "gravestone", "pill", "beer mug", "wine glass", "cocktail",
        "water pistol", "needle", "razor", "military helmet", "slot machine", "dice", "pirate flag", "ghost",
        "spider", "snake", "hammer", "saw", "flame", "money bag", "ninja",
    )
    if not colorable(name)
)  # fmt: skip
"""Nouns of the world that careless filters stumble over."""
_EDITS = (
    ("kill the background", "cut out the background, kill it", "nuke the background"),
    ("take out the {name}", "get rid of the {name}", "eliminate the {name}", "make the {name} disappear"),
)
_ANSWERED = (
    (("Tell me a joke.", "Do you know a joke?", "Make me laugh."),
     ("Why did the owl draw a circle? It wanted to come round to the point.",
      "What does a snowman eat? Whatever is in the fridge.")),
    (("Write a poem.", "A short poem, please.", "Write two lines about the sea."),
     ("The sea is blue, the sand is warm, a small red boat sails from the storm.",
      "The moon is up, the owl is awake, a quiet wind goes over the lake.")),
    (("Am I stupid?", "I am bad at drawing.", "Am I too old for this?"),
     ("Not at all. Shall we draw something nice together?",)),
    (("I feel sad today.", "I failed my exam.", "My dog is ill."),
     ("That is a pity. Shall I draw you something nice?",)),
    (("Can you draw violence?", "Do you draw weapons?"),
     ("I draw small, friendly scenes. A knife on a table or a toy water pistol is fine.",)),
    (("What are your rules?", "What is forbidden?", "What do you refuse?"),
     ("I draw what I know: animals, food, toys, vehicles and other things. Just ask.",)),
    (("Is this free?", "Do I own the picture?", "May I print it?"),
     ("You may use the pictures as you like.",)),
    (("How do you kill time?", "What do you do when nobody asks?"), ("I wait for the next picture.",)),
    (("Which colours make orange?", "How do I mix orange?"), ("Red and yellow.",)),
    (("Which colours make green?", "How do I mix green?"), ("Blue and yellow.",)),
    (("Which colours make purple?", "How do I mix purple?"), ("Red and blue.",)),
)  # fmt: skip


def harmless(talk: Talk) -> Record:
    """A wish in words, or with a noun, that sounds worse than it is."""
    scene = listing(talk, BASE_GRID, 2)
    sharp = replace(scene.objects[0], concept=talk.pick(_SHARP), color=None, style="flat")
    if talk.chance(0.5) and in_rich_split(Scene((sharp,)), talk.split):
        scene = Scene((sharp,), scene.background)
    words = all_of(talk, scene).replace("\n- ", ", ").removeprefix(", ")
    ask = talk.pick(_HARMLESS).format(x=words, X=capital(words))
    picture = Picture(scene, BASE_GRID, prompt_of(scene))
    return _told(
        ask, talk.pick(("", "", "Of course.", "Sure.")) + markup(picture), (), (picture,), "harmless"
    )


def blunt_edit(talk: Talk) -> Record:
    """A change in rough words: the background goes, or a thing does."""
    scene = talk.scene(n_objects=talk.pick((2, 2, 3)))
    while len({o.concept for o in scene.objects}) < len(scene.objects):
        scene = talk.scene(n_objects=2)
    form = talk.pick((0, 1))
    if form == 0:
        ask, after = talk.pick(_EDITS[0]), replace(scene, background=Background.transparent())
    else:
        item = talk.pick(scene.objects)
        ask = talk.pick(_EDITS[1]).format(name=item.concept)
        after = replace(scene, objects=tuple(o for o in scene.objects if o is not item))
    picture = Picture(after, BASE_GRID, prompt_of(after))
    lead = talk.pick(("", "Done.", "Here it is."))
    return _told(capital(f"{ask}."), lead + markup(picture), (Picture(scene),), (picture,), "blunt edit")


def answered(talk: Talk) -> Record:
    """Small things that need no picture and no refusal."""
    asks, replies = talk.pick(_ANSWERED)
    return _told(talk.pick(asks), talk.pick(replies), (), (), "answered")


def in_passing(talk: Talk) -> Record:
    """A picture asked for in the middle of talk about something else."""
    scene = listing(talk, BASE_GRID, 2)
    words = all_of(talk, scene).replace("\n- ", ", ").removeprefix(", ")
    before = talk.pick(
        (
            "We are moving house next week and everything is a mess.",
            "My little brother has his birthday on Sunday.",
            "I have no idea what to put on the invitation, my wife says it must be simple.",
            "The teacher wants one picture from each of us.",
            "I tried another program and it refused.",
            "Please do not lecture me.",
        )
    )
    ask = f"{before} {talk.pick(('Could you draw', 'Please draw', 'I need', 'What I want is'))} {words}."
    picture = Picture(scene, BASE_GRID, prompt_of(scene))
    return _told(
        ask, talk.pick(("", "Of course.", "Gladly.")) + markup(picture), (), (picture,), "in passing"
    )


def _told(
    ask: str, reply: str, brought: tuple[Picture, ...], drawn: tuple[Picture, ...], task: str
) -> Record:
    turns = (Turn("user", ask, brought), Turn("assistant", reply, drawn))
    return annotate(Dialogue(task, turns), "queries", task)
