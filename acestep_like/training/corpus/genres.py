"""What people call each style: genre and subgenre names, scenes, uses, and descriptions. Standard library only.

`NAMES` can stand where a genre name stands ("a sad ... with piano"); `SCENES` are whole phrases that imply the style.
"""

from __future__ import annotations

NAMES: dict[str, tuple[str, ...]] = {
    "lofi": (
        "lofi", "lo-fi", "lo-fi hip hop", "lofi hip hop", "chillhop", "lofi beat", "lo-fi beats", "study beats",
        "chill beats", "jazzhop", "boom bap instrumental", "bedroom beats", "chill hip hop", "lofi jazz beat",
        "mellow lo-fi groove", "dusty hip hop beat", "chill beat tape", "lofi study music", "sleepy lo-fi",
            "lazy beats",
        "laid-back hip hop instrumental", "lofi chill", "downtempo hip hop", "chilled beats", "sampled jazz beat",
    ),
    "house": (
        "house", "deep house", "tech house", "house music", "club track", "edm", "dance music",
            "electronic dance music",
        "four-on-the-floor", "progressive house", "nightclub groove", "dance track", "disco house", "garage house",
        "chicago house", "french house", "club banger", "dancefloor track", "techno", "electro house", "funky house",
        "vocal house", "party track", "rave track", "dj set groove", "minimal house", "eurodance", "nu-disco",
    ),
    "rock": (
        "rock", "alternative rock", "hard rock", "classic rock", "indie rock", "garage rock", "punk rock", "pop punk",
        "punk", "grunge", "stadium rock", "arena rock", "guitar rock", "rock anthem", "rock band", "southern rock",
        "rock and roll", "rock ballad", "power pop", "britpop", "college rock", "post-punk", "surf rock", "skate punk",
        "garage punk", "driving rock", "rock song", "emo rock",
    ),
    "jazz": (
        "jazz", "swing", "bebop", "hard bop", "cool jazz", "jazz trio", "jazz quartet", "jazz combo", "swing jazz",
        "jazz standard", "straight-ahead jazz", "jazz ballad", "modal jazz", "big band swing", "gypsy jazz",
            "jazz waltz",
        "smooth jazz", "lounge jazz", "late-night jazz", "dinner jazz", "vocal jazz", "post-bop", "dixieland",
        "speakeasy jazz", "bar jazz", "jazz quintet", "walking-bass jazz",
    ),
    "ambient": (
        "ambient", "drone", "dark ambient", "space ambient", "ambient soundscape", "new age", "meditation music",
        "soundscape", "atmospheric music", "atmospheric pads", "drone music", "ethereal soundscape", "spa music",
        "healing music", "relaxation music", "sleep music", "yoga music", "drifting pads", "slow ambient texture",
        "cinematic ambient", "ambient drone", "background ambience", "calm atmospheres", "generative ambient",
        "beatless electronica", "space music", "deep sleep drone",
    ),
    "folk": (
        "folk", "acoustic folk", "indie folk", "celtic folk", "irish folk", "folk song", "singer-songwriter",
            "acoustic",
        "acoustic ballad", "traditional folk", "irish jig", "celtic tune", "reel", "fingerpicking",
            "fingerstyle guitar",
        "folk ballad", "campfire song", "sea shanty", "medieval folk", "tavern music", "scottish folk", "english folk",
        "folk-pop", "acoustic pop", "unplugged song", "nordic folk", "americana folk", "unplugged acoustic tune",
    ),
    "orchestral": (
        "orchestral", "classical", "symphonic", "film score", "cinematic", "cinematic score", "epic orchestral",
        "soundtrack", "movie soundtrack", "orchestra", "symphony", "film music", "trailer music", "epic trailer",
        "classical orchestra", "string orchestra", "orchestral score", "fantasy soundtrack", "adventure score",
        "heroic theme", "orchestral suite", "chamber orchestra", "romantic symphony", "hollywood score", "epic music",
        "orchestral fantasy theme", "royal fanfare",
    ),
    "chiptune": (
        "chiptune", "8-bit", "8bit", "8-bit music", "chip music", "video game music", "retro game music", "nes music",
        "game boy music", "bitpop", "arcade music", "retro video game soundtrack", "pixel music", "8-bit game theme",
        "16-bit game music", "chiptune rock", "console game music", "vgm", "old-school game tune", "platformer theme",
        "arcade theme", "chip tune", "square wave tune", "retro gaming music", "nintendocore tune", "jrpg battle theme",
    ),
    "bossa": (
        "bossa nova", "bossa", "samba", "brazilian jazz", "latin jazz", "latin", "latin groove", "brazilian music",
        "bossa nova jazz", "mpb", "rio groove", "samba-jazz", "latin lounge", "cuban son", "salsa", "tropical jazz",
        "brazilian guitar", "latin acoustic", "rumba", "cha cha", "mambo", "latin dance", "tropical bossa",
            "samba groove",
        "copacabana style", "south american groove",
    ),
    "synthwave": (
        "synthwave", "retrowave", "outrun", "80s synth", "synthpop", "dreamwave", "darksynth", "80s synthpop",
            "vaporwave",
        "retro electronic", "electropop", "new wave", "chillwave", "80s pop", "neon synth", "italo disco",
        "retro synth", "80s electronic", "analog synth", "synth-driven 80s track", "futuresynth", "80s retro",
        "cyberpunk synth", "80s soundtrack synths", "arpeggiated synth music", "spacewave",
    ),
    "funk": (
        "funk", "funky groove", "p-funk", "soul funk", "disco funk", "70s funk", "funk jam", "funk band", "jazz funk",
        "slap bass funk", "motown groove", "soul", "disco", "r&b groove", "rhythm and blues funk", "nu funk",
            "acid jazz",
        "brass funk", "funky", "boogie", "new orleans funk", "neo soul", "groovy funk", "dance funk", "street funk",
        "syncopated funk",
    ),
    "blues": (
        "blues", "chicago blues", "delta blues", "blues rock", "electric blues", "slow blues", "twelve-bar blues",
        "blues shuffle", "texas blues", "blues guitar", "minor blues", "bar blues", "juke joint blues", "blues band",
        "12 bar blues", "mississippi blues", "country blues", "boogie-woogie", "shuffle", "swamp blues", "soul blues",
        "bluesy guitar", "roadhouse blues", "blues ballad", "smoky blues", "harmonica blues",
    ),
    "reggae": (
        "reggae", "roots reggae", "dub", "ska", "rocksteady", "reggae groove", "dub reggae", "jamaican music",
            "lovers rock",
        "island music", "caribbean music", "dancehall", "one drop", "beach reggae", "reggae rock",
            "skank guitar reggae",
        "roots dub", "island groove", "kingston sound", "tropical reggae", "sunny reggae", "reggae pop",
        "one-drop riddim", "riddim", "rasta reggae", "ska groove",
    ),
    "trap": (
        "trap", "hip hop", "trap beat", "rap beat", "hip-hop", "drill", "808 trap", "dark trap", "trap instrumental",
        "rap instrumental", "type beat", "gangsta rap beat", "southern hip hop", "cloud rap", "emo rap beat",
        "freestyle beat", "uk drill", "hard trap", "urban beat", "street rap", "trap soul", "phonk", "hip hop banger",
        "808 beat", "hard-hitting rap beat", "atlanta trap", "modern hip hop",
    ),
    "country": (
        "country", "bluegrass", "americana", "country pop", "honky-tonk", "outlaw country", "country rock",
            "nashville country",
        "country western", "western", "country ballad", "hoedown", "line dance", "country folk", "train-beat country",
        "classic country", "banjo picking", "country waltz", "fiddle tune", "southern country", "truck driving country",
        "country two-step", "alt-country", "barn dance", "cowboy song", "modern country", "bluegrass breakdown",
    ),
    "metal": (
        "metal", "heavy metal", "thrash metal", "death metal", "metalcore", "power metal", "speed metal", "black metal",
        "djent", "thrash", "doom metal", "nu metal", "hardcore", "progressive metal", "groove metal",
            "industrial metal",
        "metal riff", "symphonic metal", "melodic death metal", "deathcore", "extreme metal", "shredding metal",
        "brutal metal", "classic heavy metal", "heavy riffs", "double bass drum metal",
    ),
    "piano": (
        "solo piano", "piano", "classical piano", "piano waltz", "piano solo", "piano piece", "romantic piano",
            "piano sonata",
        "piano music", "nocturne", "minuet", "waltz for piano", "neoclassical piano", "piano etude", "piano prelude",
        "modern classical piano", "unaccompanied piano", "piano instrumental", "calm piano", "salon piano",
        "piano ballad", "chopin-like piano", "baroque piano", "recital piano", "piano only", "gentle piano piece",
    ),
    "dnb": (
        "drum and bass", "dnb", "drum & bass", "d&b", "liquid drum and bass", "jungle", "liquid dnb", "neurofunk",
        "drum n bass", "breakbeat", "breakcore", "atmospheric drum and bass", "jump up", "liquid funk", "uk jungle",
        "fast breakbeats", "amen break", "174 bpm drum and bass", "dnb roller", "rolling drum and bass",
            "jungle breaks",
        "intelligent drum and bass", "dark dnb", "techstep", "breaks", "drum'n'bass",
    ),
}  # fmt: skip

SCENES: dict[str, tuple[str, ...]] = {
    "lofi": (
        "music to study to", "beats to relax to", "rainy window, coffee and homework", "background for a coffee shop",
        "a lazy sunday afternoon beat", "late-night coding session", "sleepy beats for reading", "cozy bedroom vibes",
        "chill music for working from home", "cat napping on a windowsill", "a tired student at 2am",
            "cafe background beats",
    ),
    "house": (
        "peak time at the club", "something to dance to all night", "ibiza sunset party", "for a fashion show runway",
        "gym workout dance music", "pool party in summer", "dancefloor at 3am", "saturday night in a nightclub",
        "hands in the air festival drop", "pumping kick for a workout", "rooftop dj set", "warehouse rave",
    ),
    "rock": (
        "loud guitars and pounding drums", "a band in a garage", "driving down the highway with the windows down",
        "stadium crowd singing along", "distorted guitar anthem", "teenage rebellion",
            "electric guitars and a big backbeat",
        "a band playing a sweaty basement show", "opening credits of an action comedy", "sports montage",
        "turn the amps up to eleven", "rebellious youth with guitars",
    ),
    "jazz": (
        "a smoky jazz club", "late night in a new york bar", "cocktail hour", "a trio in a dim basement club",
        "saxophone over walking bass", "fancy restaurant background", "film noir detective", "1950s lounge",
        "swinging ride cymbal and upright bass", "elegant dinner party", "after midnight in paris", "whisky and cigars",
    ),
    "ambient": (
        "floating in space", "for meditation and deep sleep", "endless drones", "watching the stars",
            "slowly evolving pads",
        "under the ocean", "a peaceful mountain lake at dawn", "breathing exercises", "weightless and timeless",
        "fog over a silent forest", "background for a spa", "arctic landscape at night", "no beat, only atmosphere",
    ),
    "folk": (
        "around the campfire", "strumming on the porch", "an irish pub at night", "a walk in the green hills",
        "fingerpicked guitar and flute", "medieval village fair", "wandering minstrel",
            "autumn leaves and wool sweaters",
        "hobbit-like village", "sailors singing in a tavern", "acoustic guitar by the fire",
            "a quiet cabin in the woods",
    ),
    "orchestral": (
        "an epic battle scene", "the hero returns home", "a dragon over the mountains",
            "opening titles of a fantasy film",
        "movie trailer build-up", "royal coronation", "sweeping strings and horns", "a ship sailing into the unknown",
        "emotional film ending", "majestic brass and timpani", "a grand adventure begins", "period drama soundtrack",
    ),
    "chiptune": (
        "boss fight", "level one of a platformer", "handheld console boss fight", "pixel art adventure",
            "final boss battle",
        "old arcade cabinet", "collecting coins and jumping on enemies", "retro game title screen", "8-bit dungeon",
        "high score screen", "racing game on an old console", "overworld map of an old rpg",
    ),
    "bossa": (
        "on the beach in rio", "sipping caipirinhas", "summer evening by the sea", "girl walking on the beach",
        "elevator music with nylon guitar", "hotel lobby in brazil", "carnival street", "tropical cocktail bar",
        "dancing in havana", "soft brazilian guitar and flute", "cruise ship lounge", "sunny terrace brunch",
    ),
    "synthwave": (
        "driving through neon city at night", "retro sci-fi movie", "miami 1984", "an old vhs tape",
            "laser grid sunset",
        "cyberpunk skyline", "a chase in a flying car", "80s workout video", "glowing arcade at midnight",
        "nostalgic 80s teen film", "robots and chrome", "pulsing analog bass and gated snare",
    ),
    "funk": (
        "makes you move your hips", "slap bass and wah guitar", "70s cop show", "block party", "horn section stabs",
        "get on the good foot", "tight groove with clavinet", "roller disco", "a strutting bassline",
            "heist movie groove",
        "everybody on the dance floor in bell-bottoms", "greasy groove",
    ),
    "blues": (
        "my baby left me", "a crossroads in mississippi", "whiskey bar at closing time", "crying electric guitar",
        "harmonica and a stomping foot", "a sad guitar in a roadhouse", "woke up this morning",
            "shuffle with a walking bass",
        "old bluesman on a porch", "dusty juke joint", "bending guitar notes with feeling", "rainy night in chicago",
    ),
    "reggae": (
        "chilling under a palm tree", "jamaican beach party", "offbeat guitar and heavy bass", "sunny island vibes",
        "peace, love and unity", "hammock in the caribbean", "one drop rhythm with organ bubble",
            "summer barbecue on the beach",
        "skanking guitars", "sound system in kingston", "easy sunday on the island", "echoing dub sirens",
    ),
    "trap": (
        "hard 808s and rolling hi-hats", "something to rap over", "street racing at night", "menacing 808 bass",
        "a beat for a freestyle", "dark piano loop with 808s", "city streets after dark", "hi-hat rolls and sub bass",
        "flexing in a sports car", "mixtape intro", "bass that shakes the car", "cold and menacing beat",
    ),
    "country": (
        "a pickup truck on a dirt road", "barn dance on saturday night", "cowboys riding west", "banjo and fiddle",
        "sweet home on the farm", "rodeo", "boots and beer", "wild west saloon", "line dancing in texas",
        "front porch picking", "wide open prairie", "tennessee mountain home",
    ),
    "metal": (
        "headbanging", "mosh pit", "double kick drums and shredding guitars", "crushing riffs",
            "demons rising from hell",
        "viking battle with distorted guitars", "aggressive gym music", "rage and fury", "blast beats",
            "chugging palm mutes",
        "extremely heavy and fast", "screaming guitar solo over double bass drums",
    ),
    "piano": (
        "a lonely grand piano", "just piano, nothing else", "a ballroom in vienna", "a music teacher playing alone",
        "candlelight recital", "soft keys in an empty hall", "ballet class accompaniment", "a child's first recital",
        "only a piano", "rain on the window and piano keys", "salon in the 19th century", "silent film accompaniment",
    ),
    "dnb": (
        "fast breaks and rolling bass", "underground rave in london", "racing game soundtrack", "high-speed chase",
        "frantic breakbeats with deep sub bass", "liquid pads over fast drums", "jungle sound system",
            "futuristic racing",
        "170 bpm energy", "snowboarding video", "late night bass rave", "rapid drum breaks",
    ),
}  # fmt: skip
