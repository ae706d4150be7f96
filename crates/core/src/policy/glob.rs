//! `*` and `?` in a text.

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// This character.
    One(char),
    /// Any character.
    Any,
    /// Any text.
    Text,
}

/// Whether a text is what a pattern means: `*` stands for anything, `?` for one character, and `\` before a character
/// for that one.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    fits(&pieces(pattern), text)
}

/// Whether a text is made of these pieces. From the last `*` on, it begins again one character later: that takes at most the
/// product of both lengths.
pub(super) fn fits(pattern: &[Piece], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut piece, mut at, mut star) = (0, 0, None);
    while let Some(c) = text.get(at) {
        match pattern.get(piece) {
            Some(Piece::Text) => {
                piece += 1;
                star = Some((piece, at));
            }
            Some(Piece::Any) => (piece, at) = (piece + 1, at + 1),
            Some(Piece::One(one)) if one == c => (piece, at) = (piece + 1, at + 1),
            Some(Piece::One(_)) | None => {
                let Some((after, from)) = &mut star else { return false };
                *from += 1;
                (piece, at) = (*after, *from);
            }
        }
    }
    pattern.get(piece..).unwrap_or_default().iter().all(|piece| *piece == Piece::Text)
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '*' => Piece::Text,
            '?' => Piece::Any,
            '\\' => Piece::One(characters.next().unwrap_or('\\')),
            other => Piece::One(other),
        });
    }
    pieces
}
