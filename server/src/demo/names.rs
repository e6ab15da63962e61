//! Clubs and players that don't exist, but might.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore};

/// Ids and names of the league's clubs: the last word tells them apart from any town.
pub const CLUBS: [(&str, &str, &str); 20] = [
    ("ald", "Aldermoor City", "Kiln Lane"),
    ("bwk", "Brackwater Rovers", "The Sluice"),
    ("cal", "Caldmere Athletic", "Foundry Road"),
    ("dun", "Dunholt United", "Castle Meadow"),
    ("eas", "Eastermouth", "Harbour Ground"),
    ("fwg", "Farrowgate Town", "Drovers Field"),
    ("gle", "Glenhaven Thistle", "Burnside"),
    ("hrd", "Harrowdene", "Orchard Park"),
    ("ivw", "Ivywick Wanderers", "Chapel Green"),
    ("kes", "Kestrelby", "Windmill Hill"),
    ("lon", "Longreach Albion", "Ferry Street"),
    ("mer", "Merrowfield United", "Tannery Yard"),
    ("nor", "Northcombe", "The Terraces"),
    ("oak", "Oakhythe Rangers", "Saltmarsh Lane"),
    ("pen", "Pendlecross", "Quarry Bank"),
    ("rav", "Ravensholm City", "Tower Meadow"),
    ("sal", "Saltershaw", "Brine Street"),
    ("thr", "Thornbeck Town", "Mill Race"),
    ("ulv", "Ulverstow", "Priory Field"),
    ("wyn", "Wynfleet Athletic", "Lighthouse Road"),
];

const GIVEN: [&str; 32] = [
    "Adam", "Aleks", "Bruno", "Cai", "Callum", "Davi", "Elias", "Emeka", "Femi", "Hugo", "Idris",
    "Ivan", "Jakub", "Joel", "Kenji", "Kofi", "Lars", "Leo", "Luca", "Malik", "Marco", "Mateo",
    "Nico", "Omar", "Owen", "Pavel", "Rafa", "Samir", "Tariq", "Tomas", "Viktor", "Yusuf",
];
const HEAD: [&str; 24] = [
    "Al", "Bar", "Bel", "Cor", "Dal", "Der", "El", "Fal", "Gar", "Hal", "Jor", "Kal", "Lam", "Mar",
    "Mor", "Nor", "Or", "Pel", "Ros", "Sal", "Tor", "Val", "Wes", "Zan",
];
const TAIL: [&str; 20] = [
    "ado", "ani", "berg", "den", "dic", "ero", "es", "eta", "holm", "iano", "ier", "ini", "lock",
    "ova", "rell", "sen", "son", "tez", "wick", "yemi",
];

/// A given name and a surname: 15,360 of them.
pub fn player_name(rng: &mut dyn RngCore) -> String {
    let pick = |rng: &mut dyn RngCore, names: &[&'static str]| -> &'static str {
        names[rng.random_range(0..names.len())]
    };
    let given = GIVEN.choose(rng).copied().unwrap_or("Adam");
    format!("{given} {}{}", pick(rng, &HEAD), pick(rng, &TAIL))
}
