//! Texts that JavaScript cut in the middle of a character.
//!
//! Claude Code shortens tool results by UTF-16 units; half a surrogate pair is printed as `\ud83d`, which is JSON by
//! the grammar and no Unicode text. The rest of such a line is as good as any.

/// The line with each half of a surrogate pair replaced by U+FFFD; `None` if it has none.
pub(super) fn without_lone_surrogates(line: &str) -> Option<String> {
    let bytes = line.as_bytes();
    let mut fixed: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match surrogate(&bytes[at..]) {
            None => at += 2,
            Some(Half::High) if surrogate(&bytes[at + 6..]) == Some(Half::Low) => at += 12,
            Some(Half::High | Half::Low) => {
                fixed.get_or_insert_with(|| bytes.to_vec())[at..at + 6].copy_from_slice(b"\\ufffd");
                at += 6;
            }
        }
    }
    fixed.and_then(|bytes| String::from_utf8(bytes).ok())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// Whether the bytes begin with the escape of half a pair.
fn surrogate(bytes: &[u8]) -> Option<Half> {
    let hex = bytes.get(..6)?.strip_prefix(b"\\u")?;
    match u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::without_lone_surrogates;

    #[test]
    fn only_halves_of_pairs_are_replaced() {
        for (line, want) in [
            (r#"{"a":"\ud83d"}"#, Some(r#"{"a":"\ufffd"}"#)),
            (r#"{"a":"\ude00x\ud83d\ud83d\ude00"}"#, Some(r#"{"a":"\ufffdx\ufffd\ud83d\ude00"}"#)),
            (r#"{"a":"\ud83d\ude00"}"#, None),
            (r#"{"a":"\\ud83d"}"#, None),
            (r#"{"a":"\u00e4\"\\"}"#, None),
            (r#"{"a":"\u"#, None),
        ] {
            assert_eq!(without_lone_surrogates(line).as_deref(), want, "{line}");
        }
    }
}
