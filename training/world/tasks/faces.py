"""Portraits in tasks: one attribute changed, one person in several moods, and questions about a face."""

from dataclasses import replace

from training.world.dialogues.talk import NUMBERS, Grid, Talk, capital
from training.world.pictures.portraits import BLACK_HAIR, WORDS, Portrait, sample, split_of
from training.world.scenes.caption import join
from training.world.scenes.sample import split_of_key
from training.world.tasks.answers import Answer
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, write
from training.world.tasks.checks import Done, Kept, SameCharacter
from training.world.tasks.questions import Asker, Question, ask
from training.world.tasks.sample import NearMiss, Sample

KIND = "portrait"
GRID: Grid = (8, 8)
_TRIES = 400


def edit_portrait(talk: Talk, aspect: Grid | None = None) -> Sample:
    """One word of a face changed; the person stays the same."""
    before, after, name = _changed(talk)
    order = talk.pick(_orders(after, name))
    other = _another(talk, after, name)
    source = replace(frame(talk, before, aspect or GRID, KIND), prompt="")
    target = frame(talk, after, aspect or GRID, KIND)
    wish = Wish(
        f"{name.replace('_', ' ')}: {getattr(after, name)}",
        order,
        f"{order} in this portrait and leave the rest alone",
        ("It has to stay the same person.",),
    )
    return write(
        talk,
        "edit_portrait",
        wish,
        (target,),
        (source,),
        lead=talk.pick(("", "", "Done.", "Of course.")),
        thought=f"The person is now {after.phrase}." if talk.chance(0.15) else "",
        checks=(Kept(), Done()),
        near_misses=(
            NearMiss("edit not done", (source.bare,)),
            NearMiss("another attribute changed too", (target.shows(other),)),
            NearMiss("another attribute changed instead", (target.shows(_another(talk, before, name)),)),
        ),
    )


def moods(talk: Talk, aspect: Grid | None = None) -> Sample:
    """One person in two to eight moods."""
    count = talk.weighted({2: 0.2, 3: 0.3, 4: 0.25, 5: 0.1, 6: 0.05, 7: 0.05, 8: 0.05})
    for _ in range(_TRIES):
        person = sample(talk.rng, talk.split, GRID)
        if split_of_key(f"moods|{replace(person, expression=WORDS['expression'][0])}|{count}") == talk.split:
            break
    else:
        raise ValueError(f"no person of split {talk.split!r} in {_TRIES} tries")
    names = [str(word) for word in talk.rng.permutation(WORDS["expression"])[:count]]
    people = [replace(person, expression=n) for n in names]
    outputs = [frame(talk, each, aspect or GRID, KIND) for each in people]
    hair = "no hair" if person.hair == "no" else f"{person.hair} {person.hair_color} hair"
    said = f"a person with {hair} and {person.clothes} clothes"
    n, listed = NUMBERS[count], join(names)
    whole = person.phrase.split("person", 1)[1]
    wish = Wish(
        f"{said}: {', '.join(names)}",
        f"draw {n} portraits of {said}: {listed}",
        f"draw {n} portraits of the same person{whole}: {listed}",
        ("Only the expression changes from one picture to the next.",),
    )
    stranger, turned = list(outputs), [*outputs[1:], outputs[0]]
    index = int(talk.rng.integers(count))
    stranger[index] = outputs[index].shows(_another(talk, people[index], "expression"))
    return write(
        talk,
        "moods",
        wish,
        outputs,
        lead=talk.pick(("", f"Here are {n} portraits.", "Of course.")),
        as_series=True,
        checks=(SameCharacter(),),
        near_misses=(
            NearMiss("another person in one picture", tuple(stranger)),
            NearMiss("pictures out of order", tuple(turned)),
        ),
    )


def question_portrait(talk: Talk, aspect: Grid | None = None) -> Sample:
    """A question about a face."""
    person = sample(talk.rng, talk.split, GRID)
    return ask(talk, "question_portrait", person, KIND, aspect or GRID, FACE_QUESTIONS)


def _reads(name: str, asked: str, terse: str, saying: str) -> Asker:
    def make(talk: Talk, person: Portrait) -> Question:
        del talk
        word = getattr(person, name)
        rivals = tuple(other for other in WORDS[name] if other != word)
        answer = Answer(word, saying.format(x=word), rivals)
        return Question(f"{capital(asked)}?", f"tell me {asked}", terse, answer)

    make.__name__ = name
    return make


def _wears(talk: Talk, person: Portrait) -> Question:
    """Whether a person wears this, as yes or no."""
    name = talk.pick(("glasses", "beard"))
    options = [word for word in WORDS[name] if not word.startswith("no ")]
    said = talk.pick(options)
    word = getattr(person, name)
    yes = word == said
    steps = (f"The person has {word}.", f"That is {'' if yes else 'not '}{said}.")
    reply = f"Yes, {said}." if yes else "No."
    answer = Answer("yes" if yes else "no", reply, ("no",) if yes else ("yes",), steps)
    return Question(f"Does this person have {said}?", f"check for {said}", f"{said}?", answer)


FACE_QUESTIONS: tuple[Asker, ...] = (
    _reads("expression", "how the person looks", "mood", "The person looks {x}."),
    _reads("clothes", "what colour the clothes are", "colour of the clothes", "The clothes are {x}."),
    _reads("hair_color", "what colour the hair is", "hair colour", "The hair is {x}."),
    _reads("skin", "how the skin is", "skin", "The skin is {x}."),
    _wears,
)


def _orders(after: Portrait, name: str) -> tuple[str, ...]:
    word = getattr(after, name)
    if name in ("glasses", "beard"):
        bare = word.startswith("no ")
        noun = word.removeprefix("no ")
        if bare:
            return (f"take the {noun} off" if name == "glasses" else f"shave off the {noun}",)
        return (f"give the person {word}", f"add {word}")
    return {
        "hair": (f"change the hair: {'none' if word == 'no' else word}",),
        "hair_color": (f"dye the hair {word}", f"make the hair {word}"),
        "skin": (f"make the skin {word}", f"change the skin to {word}"),
        "expression": (f"make the person look {word}", f"change the expression to {word}"),
        "clothes": (f"make the clothes {word}", f"give the person {word} clothes"),
        "background": (f"make the background {word}", f"change the background to {word}"),
    }[name]


def _changed(talk: Talk) -> tuple[Portrait, Portrait, str]:
    """A face of the split, the same with another word, and the attribute's name."""
    for _ in range(_TRIES):
        before = sample(talk.rng, talk.split, GRID)
        name = talk.pick(list(WORDS))
        after = _with(talk, before, name)
        if after is not None and split_of(after) in (talk.split, "train"):
            return before, after, name
    raise ValueError(f"no edit of a portrait of split {talk.split!r} in {_TRIES} tries")


def _with(talk: Talk, person: Portrait, name: str) -> Portrait | None:
    """The person with another word for an attribute, where its hair allows that."""
    word = talk.other(WORDS[name], getattr(person, name))
    black = person.hair in BLACK_HAIR or (name == "hair" and word in BLACK_HAIR)
    bald = person.hair == "no" and name == "hair_color"
    if bald or (black and (name == "hair_color" or person.hair_color != "black")):
        return None
    return replace(person, **{name: word})


def _another(talk: Talk, person: Portrait, name: str) -> Portrait:
    """The person with another word for some other attribute."""
    while True:
        found = _with(talk, person, talk.other(list(WORDS), name))
        if found is not None:
            return found


assert set(WORDS) <= {"hair", "hair_color", "skin", "expression", "glasses", "beard", "clothes", "background"}
