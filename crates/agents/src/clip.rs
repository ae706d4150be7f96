//! Texts for people, kept short.

use lockkeeper_core::limits::MESSAGE_BYTES;

/// The beginning of the text, as much of it as an event keeps.
pub(crate) fn clip(text: &str) -> String {
    text[..text.floor_char_boundary(MESSAGE_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE_BYTES, clip};

    #[test]
    fn no_character_is_cut() {
        assert_eq!(clip("short"), "short");
        let long = clip(&"ä€".repeat(MESSAGE_BYTES));
        assert!(
            long.len() <= MESSAGE_BYTES
                && long.len() > MESSAGE_BYTES - 4
                && "ä€".repeat(2000).starts_with(&long)
        );
    }
}
