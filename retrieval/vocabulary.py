"""The general vocabulary: product words for catalogs without attributes, and scenes, which no catalog lists."""

PRODUCTS: tuple[str, ...] = (
    # what it is
    "dress", "shirt", "t-shirt", "blouse", "sweater", "cardigan", "hoodie", "jacket", "coat", "blazer", "vest", "suit",
    "trousers", "jeans", "shorts", "leggings", "skirt", "jumpsuit", "swimsuit", "underwear", "pyjamas", "socks",
    "shoe", "boot", "sneaker", "sandal", "high heels", "slippers", "hat", "cap", "scarf", "gloves", "belt", "tie",
    "bag", "handbag", "backpack", "suitcase", "wallet", "watch", "ring", "necklace", "bracelet", "earrings", "glasses",
    "chair", "armchair", "sofa", "stool", "table", "desk", "bed", "shelf", "cabinet", "lamp", "mirror", "rug",
    "curtain", "cushion", "blanket", "towel", "vase", "candle", "clock", "picture frame", "plant pot",
    "mug", "glass", "bottle", "plate", "bowl", "teapot", "pan", "knife", "kettle", "toaster",
    "phone", "laptop", "headphones", "camera", "speaker", "keyboard", "television",
    "bicycle", "ball", "toy", "doll", "book", "pen", "umbrella", "tool",
    # colours
    "red", "orange", "yellow", "green", "blue", "navy", "turquoise", "purple", "pink", "brown", "beige", "black",
    "white", "grey", "gold", "silver", "multicoloured", "transparent", "dark", "light", "pastel", "bright",
    # patterns
    "plain", "striped", "dotted", "checked", "plaid", "zigzag", "two-tone", "floral", "geometric", "animal print",
    "camouflage", "printed", "embroidered", "with a logo", "with letters",
    # materials and finishes
    "cotton", "wool", "linen", "silk", "denim", "leather", "suede", "lace", "velvet", "fur", "knitted", "nylon",
    "wood", "metal", "steel", "plastic", "ceramic", "porcelain", "stone", "marble", "rattan", "paper", "rubber",
    "matte", "glossy", "transparent glass", "quilted", "ribbed", "pleated",
    # cuts and shapes
    "sleeveless", "short sleeves", "long sleeves", "strapless", "v-neck", "round neck", "turtleneck", "collar",
    "mini length", "midi length", "maxi length", "slim legs", "wide legs", "cropped", "loose", "fitted", "high waist",
    "low cut", "ankle high", "knee high", "flat sole", "platform sole", "pointed toe",
    "handle", "no handle", "strap", "long strap", "brim", "wide brim", "shade", "legs", "backrest", "armrests",
    "round", "square", "rectangular", "oval", "tall", "low", "wide", "narrow", "small", "large",
    "with buttons", "with a zip", "with pockets", "with a bow", "with fringes", "with studs", "with a hood",
    # styles
    "casual", "formal", "sporty", "elegant", "vintage", "modern", "rustic", "minimalist",
)  # fmt: skip
"""What shoppers mean: kinds, colours, patterns, materials, cuts. May be kept from a reference."""

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
    "plain backdrop", "white background", "black background", "grey background", "gradient background",
    "brick wall", "concrete wall", "tiles", "wooden floor", "grass", "sand", "carpet on the floor", "on a table",
    "on a shelf", "on a hanger", "flat lay",
    # time, weather and light
    "night", "at night", "night lights", "sunset", "sunrise", "sunlight", "fog", "rain", "clouds", "blue sky", "shadow",
    "flash light", "backlight", "blurred background",
    # people and their poses
    "worn by a woman", "worn by a man", "worn by a child", "held in a hand", "on a mannequin", "people", "face",
    "crowd",
    # how the picture was made
    "close-up photo", "photo from above", "side view", "black and white photo", "drawing", "painting", "collage",
    "screenshot", "watermark",
)  # fmt: skip
"""What shoppers do not mean: places, backdrops, light, poses, kinds of picture. Dropped from a reference."""
