"""The nouns that came after the shipped weights were trained, as plain data; `concepts.CATALOGUE` has them.

Left out are icons too alike at 64 pixels (a ferry beside a ship), too pale to see, or without a plural.
"""

# kind: "name" or "name=icon", comma separated
ADDED = {
    "animal": "ant, bat, beaver, beetle, bird, bison, boar, camel, chicken, cricket, crocodile, deer, dove, "
    "dragon, eagle, flamingo, fly, giraffe, goose, gorilla, hamster, hippo=hippopotamus, jellyfish, "
    "kangaroo, leopard, lizard, llama, lobster, moose, mosquito, orangutan, peacock, raccoon, "
    "rooster, scorpion, seal, shark, sheep=ewe, shrimp, skunk, sloth, snake, spider, squid, turkey, "
    "tyrannosaur=t-rex, worm, zebra, pufferfish=blowfish, caterpillar=bug",
    "person": "astronaut, alien, clown=clown-face, ninja, baby, skull, ogre, goblin, "
    "alien monster=alien-monster, cook, detective",
    "food": "avocado, bell pepper=bell-pepper, burrito, chestnut, chocolate bar=chocolate-bar, coconut, "
    "croissant, cucumber, cupcake, corn cob=ear-of-corn, egg, eggplant, garlic bulb=garlic, "
    "salad=green-salad, honey pot=honey-pot, hot dog=hot-dog, hot pepper=hot-pepper, "
    "kiwi=kiwi-fruit, lemon, lollipop, melon, juice box=beverage-box, peach, peanut=peanuts, pear, "
    "pea pod=pea-pod, pineapple, drumstick=poultry-leg, popcorn box=popcorn, pretzel, "
    "rice ball=rice-ball, sandwich, steak=cut-of-meat, taco, tomato, waffle, wine glass=wine-glass, "
    "cocktail=cocktail-glass, cup=hot-beverage, bubble tea=bubble-tea, beer mug=beer-mug, "
    "baby bottle=baby-bottle, bottle=bottle-with-popping-cork, jar, tin can=canned-food, "
    "ginger root=ginger-root, pudding=custard, sundae=ice-cream, bone, takeout box=takeout-box, "
    "bunch of grapes=grapes, pancake=pancakes, frying pan=cooking, ham=meat-on-bone, "
    "fondue pot=fondue, candy",
    "vehicle": "ambulance, bus, taxi, police car=police-car, fire engine=fire-engine, motorcycle, "
    "rickshaw=auto-rickshaw, tram, flying saucer=flying-saucer, satellite, ship, "
    "cable car=mountain-cableway, parachute, wheelchair=manual-wheelchair, "
    "bullet train=bullet-train, canoe",
    "toy": "accordion, violin, trumpet, saxophone, long drum=long-drum, piano=musical-keyboard, "
    "soccer ball=soccer-ball, rugby ball=rugby-football, baseball, tennis racket=tennis, "
    "pool ball=pool-8-ball, dartboard=bullseye, dice=game-die, chess pawn=chess-pawn, joystick, "
    "slot machine=slot-machine, crystal ball=crystal-ball, disco ball=mirror-ball, trophy, "
    "medal=sports-medal, ice skate=ice-skate, fishing rod=fishing-pole, ferris wheel=ferris-wheel, "
    "roller coaster=roller-coaster, slide=playground-slide, cricket bat=cricket-game, "
    "carousel horse=carousel-horse",
    "nature": "hyacinth, bouquet, clover=four-leaf-clover, seedling, potted plant=potted-plant, sun, "
    "moon=crescent-moon, cloud, rain cloud=cloud-with-rain, snowflake, lightning bolt=high-voltage, "
    "rainbow, volcano, mountain, island=desert-island, flame=fire, water drop=droplet, comet, "
    "planet=ringed-planet, globe=globe-showing-europe-africa, rock, log=wood, nest=nest-with-eggs, "
    "coral, wave=water-wave, spider web=spider-web",
    "thing": "abacus, alarm clock=alarm-clock, bed, broom, calendar, castle, church, "
    "clapperboard=clapper-board, clipboard, coin, compass, crayon, eye, tooth, brain, factory, "
    "flashlight, floppy disk=floppy-disk, fountain, picture frame=framed-picture, gear, hammer, "
    "hospital, hut, knife=kitchen-knife, ladder, laptop, light bulb=light-bulb, "
    "magnifying glass=magnifying-glass-tilted-left, map=world-map, microphone, microscope, mirror, "
    "money bag=money-bag, movie camera=movie-camera, newspaper, box=package, pill, printer, radio, "
    "diamond ring=ring, saw=carpentry-saw, balance scale=balance-scale, school, scroll, "
    "needle=sewing-needle, sneaker=running-shoe, shopping cart=shopping-cart, spoon, stethoscope, "
    "stop sign=stop-sign, stopwatch, syringe, telescope, television, temple=classical-building, "
    "test tube=test-tube, thermometer, thread spool=thread, paper roll=roll-of-paper, "
    "tower=tokyo-tower, traffic light=vertical-traffic-light, bin=wastebasket, vest=safety-vest, "
    "window, wrench, sand timer=hourglass-done, coffin, gravestone=headstone, "
    "pirate flag=pirate-flag, office building=office-building, circus tent=circus-tent, mosque, "
    "pagoda=japanese-castle, lotion bottle=lotion-bottle, necklace=prayer-beads, "
    "monitor=desktop-computer, wheel, barrier=construction, brick wall=brick",
}

# name, icon, kind, paints
ADDED_COLORABLE = (
    ("racing car", "racing-car", "vehicle", "#f8312f #ca0b4a"),
    ("pickup truck", "pickup-truck", "vehicle", "#f8312f"),
    ("scooter", "motor-scooter", "vehicle", "#f92f60 #ca0b4a"),
    ("kick scooter", "kick-scooter", "vehicle", "#26c9fc"),
    ("helicopter", "helicopter", "vehicle", "#ff822d"),
    ("sled", "sled", "vehicle", "#f3c07b #f3ad61"),
    ("skateboard", "skateboard", "vehicle", "#635994"),
    ("roller skate", "roller-skate", "vehicle", "#f92f60 #ca0b4a"),
    ("frisbee", "flying-disc", "toy", "#00a6ed #26eafc #0074ba"),
    ("boomerang", "boomerang", "toy", "#d3883e"),
    ("yo-yo", "yo-yo", "toy", "#8d65c5 #bca4eb #433b6b"),
    ("puzzle piece", "puzzle-piece", "toy", "#c3ef3c"),
    ("game controller", "video-game", "toy", "#604f9e"),
    ("nesting doll", "nesting-dolls", "toy", "#ca0b4a #f70a8d"),
    ("boxing glove", "boxing-glove", "toy", "#f8312f #ca0b4a"),
    ("curling stone", "curling-stone", "toy", "#f8312f #ca0b4a"),
    ("water pistol", "water-pistol", "toy", "#c3ef3c #86d72f"),
    ("ribbon", "ribbon", "toy", "#f8312f #ca0b4a"),
    ("paddle", "ping-pong", "toy", "#e5336d"),
    ("rose", "rose", "nature", "#f8312f #ca0b4a"),
    ("hibiscus", "hibiscus", "nature", "#ff6dc6 #f70a8d"),
    ("feather", "feather", "nature", "#f3ad61 #a56953 #d3883e"),
    ("vase", "amphora", "thing", "#b97028 #8c5543 #7d4533 #6d4534"),
    ("axe", "axe", "thing", "#f8312f"),
    ("bandage", "adhesive-bandage", "thing", "#26c9fc #00a6ed"),
    ("oil drum", "oil-drum", "thing", "#00a6ed #0074ba #26eafc"),
    ("battery", "battery", "thing", "#86d72f"),
    ("bell", "bell", "thing", "#f9c23c #ff822d #ffb02e"),
    ("bomb", "bomb", "thing", "#533566 #6b438b"),
    ("boot", "hiking-boot", "thing", "#ffb02e"),
    ("briefcase", "briefcase", "thing", "#8c5543 #6d4534"),
    ("paintbrush", "paintbrush", "thing", "#f92f60"),
    ("coat", "coat", "thing", "#ffdea7 #f3ad61 #e19747 #8c5543 #f3c07b"),
    ("sofa", "couch-and-lamp", "thing", "#1345b7 #3f5fff #5092ff"),
    ("credit card", "credit-card", "thing", "#00a6ed"),
    ("gem", "gem-stone", "thing", "#aeddff #00a6ed #1c5cd7 #0084ce #26eafc #b4f6fc"),
    ("door", "door", "thing", "#d3883e #e19747"),
    ("fan", "folding-hand-fan", "thing", "#f8312f #ae2c52 #f37366"),
    ("fire extinguisher", "fire-extinguisher", "thing", "#f8312f"),
    ("fuel pump", "fuel-pump", "thing", "#f8312f"),
    ("graduation cap", "graduation-cap", "thing", "#321b41 #533566"),
    ("handbag", "handbag", "thing", "#f3ad61"),
    ("high heel", "high-heeled-shoe", "thing", "#ca0b4a"),
    ("hook", "hook", "thing", "#f9c23c"),
    ("kimono", "kimono", "thing", "#00a6ed #0074ba"),
    ("label", "label", "thing", "#fcd53f"),
    ("lipstick", "lipstick", "thing", "#f70a8d #ff6dc6"),
    ("lock", "locked", "thing", "#f9c23c"),
    ("suitcase", "luggage", "thing", "#00a6ed #26eafc"),
    ("magnet", "magnet", "thing", "#f8312f"),
    ("mailbox", "closed-mailbox-with-raised-flag", "thing", "#5092ff #3f5fff #1345b7"),
    ("megaphone", "megaphone", "thing", "#f9c23c #ffb02e"),
    ("pen", "pen", "thing", "#0074ba"),
    ("phone", "mobile-phone", "thing", "#321b41"),
    ("telephone", "telephone", "thing", "#f92f60 #ca0b4a #990838"),
    ("purse", "purse", "thing", "#f70a8d"),
    ("pushpin", "pushpin", "thing", "#f8312f #ca0b4a"),
    ("razor", "razor", "thing", "#3f5fff #5092ff #83cbff"),
    ("lifebuoy", "ring-buoy", "thing", "#f92f60"),
    ("sandal", "thong-sandal", "thing", "#5092ff #3f5fff"),
    ("scarf", "scarf", "thing", "#f8312f #ca0b4a #990838"),
    ("screwdriver", "screwdriver", "thing", "#f70a8d #ca0b4a"),
    ("shield", "shield", "thing", "#aeddff #00a6ed"),
    ("sponge", "sponge", "thing", "#f9c23c #e19747"),
    ("swimsuit", "one-piece-swimsuit", "thing", "#f70a8d"),
    ("ticket", "ticket", "thing", "#f9c23c"),
    ("toothbrush", "toothbrush", "thing", "#f8312f"),
    ("cassette", "videocassette", "thing", "#635994 #433b6b #533566 #321b41"),
    ("watch", "watch", "thing", "#5235a6 #a4aeeb"),
    ("yarn ball", "yarn", "thing", "#00a6ed #0074ba"),
    ("helmet", "rescue-workers-helmet", "thing", "#f8312f #ca0b4a #990838"),
    ("comb", "hair-pick", "thing", "#9f70b8 #6b438b"),
    ("diving mask", "diving-mask", "thing", "#f8312f"),
    ("flag", "triangular-flag", "thing", "#f8312f"),
    ("postbox", "postbox", "thing", "#f92f60 #ca0b4a"),
    ("musical note", "musical-note", "thing", "#402a32"),
    ("bookmark", "bookmark", "thing", "#f8312f"),
    ("folder", "file-folder", "thing", "#fcd53f #ffb02e"),
    ("anchor", "anchor", "thing", "#00a6ed"),
    ("bowl", "bowl-with-spoon", "thing", "#00a6ed #0074ba #26eafc"),
    ("military helmet", "military-helmet", "thing", "#44911b #008463"),
    ("ice cube", "ice", "thing", "#00a6ed #0074ba #83cbff"),
)
