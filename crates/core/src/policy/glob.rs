//! `*` and `?` in a text.

/// Whether a text is what a pattern means: `*` stands for anything, `?` for one character, and `\` before a character
/// for that one. Takes at most the product of both lengths.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<Unit> = units(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Unit::Any) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Unit::One) => (p, t) = (p + 1, t + 1),
            Some(Unit::Just(character)) if *character == text[t] => (p, t) = (p + 1, t + 1),
            Some(Unit::Just(_)) | None => {
                let Some((at, reached)) = star else { return false };
                star = Some((at, reached + 1));
                (p, t) = (at + 1, reached + 1);
            }
        }
    }
    pattern[p..].iter().all(|unit| *unit == Unit::Any)
}

#[derive(PartialEq, Eq)]
enum Unit {
    Any,
    One,
    Just(char),
}

fn units(pattern: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        units.push(match character {
            '*' => Unit::Any,
            '?' => Unit::One,
            '\\' => Unit::Just(characters.next().unwrap_or('\\')),
            other => Unit::Just(other),
        });
    }
    units
}
