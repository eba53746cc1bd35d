"""The general vocabulary: product words for catalogs without attributes, and scenes, which no catalog lists."""

from collections.abc import Mapping
from types import MappingProxyType

EXCLUSIVE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kind": (
            "dress", "shirt", "t-shirt", "blouse", "sweater", "cardigan", "hoodie", "jacket", "coat", "blazer", "vest",
            "suit", "trousers", "jeans", "shorts", "leggings", "skirt", "jumpsuit", "swimsuit", "underwear", "pyjamas",
            "socks", "shoe", "boot", "sneaker", "sandal", "high heels", "slippers", "hat", "cap", "scarf", "gloves",
            "belt", "tie", "bag", "handbag", "backpack", "suitcase", "wallet", "watch", "ring", "necklace", "bracelet",
            "earrings", "glasses", "chair", "armchair", "sofa", "stool", "table", "desk", "bed", "shelf", "cabinet",
            "lamp", "mirror", "rug", "curtain", "cushion", "blanket", "towel", "vase", "candle", "clock",
            "picture frame", "plant pot", "mug", "glass", "bottle", "plate", "bowl", "teapot", "pan", "knife", "kettle",
            "toaster", "phone", "laptop", "headphones", "camera", "speaker", "keyboard", "television", "bicycle",
            "ball", "toy", "doll", "book", "pen", "umbrella", "tool",
        ),
        "colour": (
            "red", "orange", "yellow", "green", "blue", "navy", "turquoise", "purple", "pink", "brown", "beige",
            "black", "white", "grey", "gold", "silver", "multicoloured", "transparent",
        ),
        "tone": ("dark", "light", "pastel", "bright"),
        "pattern": (
            "plain", "striped", "dotted", "checked", "plaid", "zigzag", "two-tone", "floral", "geometric",
            "animal print", "camouflage", "printed", "embroidered",
        ),
        "material": (
            "cotton", "wool", "linen", "silk", "denim", "leather", "suede", "lace", "velvet", "fur", "knitted", "nylon",
            "wood", "metal", "steel", "plastic", "ceramic", "porcelain", "stone", "marble", "rattan", "paper", "rubber",
        ),
        "finish": ("matte", "glossy"),
        "size": ("small", "large"),
        "height": ("tall", "low"),
        "width": ("narrow", "wide"),
        "shape": ("round", "square", "rectangular", "oval"),
        "sleeves": ("sleeveless", "short sleeves", "long sleeves"),
        "neck": ("strapless", "v-neck", "round neck", "turtleneck", "collar"),
        "length": ("mini length", "midi length", "maxi length"),
        "legs": ("slim legs", "wide legs", "cropped legs"),
        "fit": ("loose", "fitted"),
        "shaft": ("low cut", "ankle high", "knee high"),
        "sole": ("flat sole", "platform sole"),
        "brim": ("no brim", "narrow brim", "wide brim"),
        "handle": ("no handle", "round handle", "square handle"),
        "strap": ("no strap", "top handle", "long strap"),
        "lampshade": ("cone shade", "drum shade", "dome shade"),
        "back": ("no back", "low back", "high back"),
        "style": ("casual", "formal", "sporty", "elegant", "vintage", "modern", "rustic", "minimalist"),
    }
)  # fmt: skip
"""Aspect -> its values, of which a product has one: a text that names one replaces another."""

DETAILS: tuple[str, ...] = (
    "with a logo", "with letters", "transparent glass", "quilted", "ribbed", "pleated", "high waist", "pointed toe",
    "armrests", "with buttons", "with a zip", "with pockets", "with a bow", "with fringes", "with studs", "with a hood",
)  # fmt: skip
"""Words that go with any others."""

PRODUCTS: tuple[str, ...] = (*(term for terms in EXCLUSIVE.values() for term in terms), *DETAILS)
"""What shoppers mean. May be kept from a reference."""

KIND = "kind"
"""The aspect of what a product is: the subject of its picture."""

ASPECT_OF: Mapping[str, str] = MappingProxyType({term: aspect for aspect, terms in EXCLUSIVE.items() for term in terms})
"""Term -> the aspect in `EXCLUSIVE` that it is a value of."""

SCENES: tuple[str, ...] = (
    # places outdoors
    "snow", "in the snow", "beach", "on the beach", "sea", "city", "in a street", "in front of buildings", "forest",
    "in the forest", "park", "garden", "meadow", "mountains", "desert", "lake", "river", "field", "rocks", "waterfall",
    "road", "bridge", "car park", "market", "stadium", "balcony", "terrace", "swimming pool",
    # places indoors
    "studio", "in a studio", "kitchen", "in the kitchen", "living room", "bedroom", "bathroom", "office", "library",
    "in front of bookshelves", "shop", "shop window", "restaurant", "bar", "gym", "classroom", "hallway", "staircase",
    "garage", "warehouse", "museum",
    # backdrops and surfaces
    "plain backdrop", "gradient background",
    "brick wall", "concrete wall", "tiles", "wooden floor", "grass", "sand", "carpet on the floor", "on a table",
    "on a shelf", "on a hanger", "flat lay",
    # time, weather and light
    "night", "at night", "night lights", "sunset", "sunrise", "sunlight", "fog", "rain", "clouds", "sky", "shadow",
    "flash light", "backlight", "blurred background",
    # people and their poses
    "worn by a woman", "worn by a man", "worn by a child", "held in a hand", "on a mannequin", "people", "face",
    "crowd",
    # how the picture was made
    "close-up photo", "top view", "side view", "monochrome photo", "drawing", "painting", "collage",
    "screenshot", "watermark",
)  # fmt: skip
"""What shoppers do not mean: places, backdrops, light, poses, kinds of picture. Dropped from a reference. No term has a
colour in it, lest it take the product's colour along."""
