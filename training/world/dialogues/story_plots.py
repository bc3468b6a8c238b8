"""The plots of the stories: sentences with slots, and who is in each picture.

Slots: {p} a fox, {P} the fox (or its name), {q} a red balloon, {Q} the red balloon, {f} an owl, {F} the owl,
{at} in the meadow.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Beat:
    """One picture of a story: its sentence, and whether the quest and the friend are in it."""

    texts: tuple[str, ...]
    quest: bool = False
    friend: bool = False
    moves: bool = False
    time: str | None = None


@dataclass(frozen=True)
class Plot:
    """What happens; `asks` completes "a story about a fox who ..."; `quest` lists the nouns it is about."""

    asks: tuple[str, ...]
    quest: tuple[str, ...]
    opening: Beat
    key: Beat
    ending: Beat


NAMES = ("Milo", "Luna", "Pip", "Nora", "Otto", "Ruby", "Finn", "Mia", "Bruno", "Zoe")
_TOYS = (
    "balloon",
    "balloon",
    "ball",
    "kite",
    "gift",
    "star",
    "hat",
    "umbrella",
    "key",
    "book",
    "flower",
    "heart",
    "lantern",
    "cap",
    "backpack",
    "leaf",
    "apple",
    "bucket",
    "car",
    "boat",
    "crown",
    "drum",
    "guitar",
    "teddy bear",
    "shell",
    "letter",
    "camera",
    "mushroom",
)
_FOOD = (
    "cake",
    "ice cream",
    "cookie",
    "pizza",
    "apple",
    "watermelon",
    "strawberry",
    "bread",
    "cheese",
    "doughnut",
    "banana",
    "burger",
    "pumpkin",
    "carrot",
)
_START = Beat(
    (
        "One morning, {p} goes for a walk {at}.",
        "Once upon a time, {p} lives {at}.",
        "{p} is alone {at}. It is a quiet day.",
        "This is the story of {p}. It lives {at}.",
        "There once is {p}. It likes to walk {at}.",
        "{p} wakes up {at} and wants to see the world.",
    )
)
_START_WITH = Beat(
    (
        "One morning, {p} plays with {q} {at}.",
        "{p} has {q}. It takes it everywhere, even {at}.",
        "Once upon a time, {p} owns {q}. They are {at}.",
        "{p} is {at}, and {q} is always near.",
    ),
    quest=True,
)
_HOME = Beat(
    (
        "{P} takes {Q} home and smiles.",
        "In the end, {P} is happy with {Q} {at}.",
        "{P} and {Q} stay together {at}.",
        "At last {P} rests {at}, with {Q} beside it.",
        "Now {P} is never alone: {Q} is there {at}.",
    ),
    quest=True,
    moves=True,
)

ALONE = (
    Beat(
        ("{P} walks on {at}.", "{P} looks around {at}.", "The way leads {P} on. Now it is {at}."), moves=True
    ),
    Beat(
        ("{P} takes a short rest {at}.", "{P} sits down {at} and thinks."),
    ),
    Beat(("{P} searches everywhere {at}.", "{P} looks left and right {at}."), moves=True),
    Beat(("Evening comes. {P} is still {at}.", "The sun goes down {at}, and {P} is tired."), time="sunset"),
    Beat(("It is night. {P} looks at the stars {at}.", "{P} spends the night {at}."), time="night"),
    Beat(("A new day begins, and {P} walks {at}.", "The next day {P} is {at}."), moves=True, time="day"),
)
AFTER_WITH = (
    Beat(
        ("{P} carries {Q} along. Now they are {at}.", "{P} and {Q} travel on {at}."), quest=True, moves=True
    ),
    Beat(("{P} plays with {Q} {at}.", "{P} laughs and looks at {Q}."), quest=True),
    Beat(("{P} shows {Q} the world. Here they are {at}.", "Together they are {at}."), quest=True, moves=True),
    Beat(
        ("Evening comes. {P} and {Q} are {at}.", "The sun goes down over {P} and {Q}."),
        quest=True,
        time="sunset",
    ),
    Beat(
        ("At night {P} keeps {Q} close {at}.", "It is night, and {P} looks at {Q}."), quest=True, time="night"
    ),
    Beat(
        ("The next day {P} takes {Q} along {at}.", "A new day begins for {P} and {Q}."),
        quest=True,
        moves=True,
        time="day",
    ),
)
FRIEND_ALONE = (
    Beat(("{P} meets {f} {at}.", "{f} comes along and says hello to {P}."), friend=True),
    Beat(("{P} asks {f} for the way.", "{f} walks with {P} {at}."), friend=True, moves=True),
)
FRIEND_WITH = (
    Beat(("{P} shows {Q} to {f}.", "{f} comes along and admires {Q}."), quest=True, friend=True),
    Beat(("{P} meets {f} {at}. They both look at {Q}.",), quest=True, friend=True, moves=True),
)

PLOTS: tuple[Plot, ...] = (
    Plot(
        ("finds {q}", "finds {q}", "discovers {q}", "is looking for {q}", "comes across {q}"),
        _TOYS,
        _START,
        Beat(
            (
                "Suddenly {P} finds {q}!",
                "What is that? {P} has found {q}.",
                "There, {at}, {P} sees {q}.",
                "Then {P} discovers {q} {at}.",
            ),
            quest=True,
            moves=True,
        ),
        _HOME,
    ),
    Plot(
        ("loses {q}", "has lost {q}", "loses {q} and finds it again"),
        _TOYS,
        _START_WITH,
        Beat(
            (
                "Oh no! {P} has lost {Q}.",
                "The wind takes {Q} away, and {P} is sad.",
                "{P} looks around, but {Q} is gone.",
            ),
            moves=True,
        ),
        Beat(
            (
                "{P} finds {Q} again {at}!",
                "Look, {Q} is back! {P} jumps for joy.",
                "In the end {P} has {Q} again.",
            ),
            quest=True,
            moves=True,
        ),
    ),
    Plot(
        ("shares {q} with a friend", "wants to share {q}", "shares {q}"),
        _FOOD,
        _START_WITH,
        Beat(("{P} meets {f} and shows {Q}.", "{f} is hungry too. {P} has {Q}."), quest=True, friend=True),
        Beat(
            ("They share {Q} and are happy.", "{P} and {F} enjoy {Q} together {at}."), quest=True, friend=True
        ),
    ),
    Plot(
        ("travels in {q}", "goes on a trip with {q}", "travels the world with {q}"),
        ("car", "boat", "train", "bicycle", "rocket", "airplane", "tractor", "truck"),
        _START,
        Beat(("{P} takes {q} and sets off {at}.", "{P} finds {q}. The trip begins!"), quest=True),
        Beat(
            ("{P} has come far with {Q}. Now it is {at}.", "At last {P} arrives {at}. Thank you, {Q}!"),
            quest=True,
            moves=True,
        ),
    ),
    Plot(
        ("builds {q}", "wants to build {q}", "dreams of {q}"),
        ("house", "tent", "boat", "kite", "rocket", "chair"),
        _START,
        Beat(
            ("{P} works all day, and soon {q} stands {at}.", "{P} builds {q} {at}. It is hard work."),
            quest=True,
        ),
        Beat(("{P} is proud of {Q}.", "The work is done. {P} rests beside {Q}."), quest=True),
    ),
    Plot(
        ("cannot sleep without {q}", "falls asleep beside {q}", "goes to sleep with {q}"),
        ("lantern", "book", "teddy bear", "tent", "candle", "star", "heart", "chair"),
        Beat(("Evening comes, and {p} is tired {at}.", "{p} cannot sleep {at}."), time="sunset"),
        Beat(("Then {P} fetches {q}.", "There is {q}. Now {P} feels safe."), quest=True, time="night"),
        Beat(
            ("{P} falls asleep beside {Q}. Good night!", "{P} sleeps well, and {Q} is close."),
            quest=True,
            time="night",
        ),
    ),
    Plot(
        ("meets {q}", "becomes friends with {q}", "makes friends with {q}", "visits {q}"),
        ("friend",),
        _START,
        Beat(
            ("{P} meets {q} {at}.", "Who is that? It is {q}!", "{q} comes along and says hello."),
            quest=True,
            moves=True,
        ),
        Beat(
            ("{P} and {Q} are friends now.", "From this day on {P} and {Q} play together {at}."),
            quest=True,
            moves=True,
        ),
    ),
    Plot(
        ("is caught in the rain with {q}", "finds {q} in the rain", "takes {q} for the rain"),
        ("umbrella", "hat", "tent", "umbrella"),
        _START,
        Beat(
            ("It starts to rain, but {P} has {q}.", "Dark clouds come. {P} is glad to have {q}."), quest=True
        ),
        Beat(
            ("The rain is over. {P} and {Q} are dry.", "The sun is back, and {P} puts {Q} down {at}."),
            quest=True,
        ),
    ),
    Plot(
        ("brings {q} to a friend", "has {q} for a friend", "gives {q} to a friend"),
        ("gift", "gift", "flower", "cake", "letter", "book", "balloon", "heart"),
        _START_WITH,
        Beat(
            ("{P} brings {Q} to {f}.", "Here lives {f}. {P} gives it {Q}."),
            quest=True,
            friend=True,
            moves=True,
        ),
        Beat(("{F} is so happy about {Q}!", "{P} and {F} look at {Q} and laugh."), quest=True, friend=True),
    ),
    Plot(
        ("follows {q}", "runs after {q}", "wants to catch {q}"),
        ("butterfly", "bee", "balloon", "ball", "kite", "star", "leaf", "ladybug", "airplane"),
        Beat(
            (
                "One morning, {p} sees {q} {at}.",
                "There is {q}! {p} looks up.",
                "{p} is {at}. There comes {q}.",
            ),
            quest=True,
        ),
        Beat(
            ("{P} follows {Q}. Now they are {at}.", "{Q} moves away, and {P} runs after it."),
            quest=True,
            moves=True,
        ),
        Beat(
            ("At last {P} has caught up with {Q}.", "{P} and {Q} come to a rest {at}."),
            quest=True,
            moves=True,
        ),
    ),
)
