//! Secrets in texts, as far as they can be told by their look.
//!
//! The forms are those that issuers document for their tokens, so that they can be found, and the words before `=` and
//! `:` that people give to secrets. What looks like neither stays.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    let alternatives = [
        // Private keys, to their end or that of the text.
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        // Anthropic, OpenAI and others that took over the form.
        r"\bsk-[A-Za-z0-9_-]{16,}",
        // GitHub: classic and fine-grained.
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"\bglpat-[A-Za-z0-9_-]{16,}",
        r"\bnpm_[A-Za-z0-9]{30,}",
        r"\bpypi-[A-Za-z0-9_-]{30,}",
        r"\bxox[a-z]-[A-Za-z0-9-]{10,}",
        // AWS: the id of a key; the key itself has no form, but a name before it.
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        // Google.
        r"\bAIza[A-Za-z0-9_-]{30,}",
        r"\bya29\.[A-Za-z0-9_-]{20,}",
        r"\b(?:sk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}",
        // JSON Web Tokens.
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    ];
    let named = r#"(?P<name>(?i:(?:[a-z0-9]+[_-])*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)(?:[_-][a-z0-9]+)*))(?P<sign>\\?["']?\s*[=:]\s*)(?P<quote>\\?["'])?(?P<value>[^\s"'\\&;|,(){}$<>]{4,})"#;
    let bearer = r"(?P<scheme>(?i:bearer|basic)\s+)(?P<credentials>[A-Za-z0-9._~+/=-]{12,})";
    let address = r"(?P<start>[a-z][a-z0-9+.-]*://[^\s/:@]*:)(?P<login>[^\s/@]+)(?P<at>@)";
    let all = format!("{}|{named}|{bearer}|{address}", alternatives.join("|"));
    #[expect(clippy::expect_used, reason = "the expression is a constant, and a test uses it")]
    Regex::new(&all).expect("the expression is one")
});

/// The text without what looks like a secret. Takes time in proportion to its length.
pub fn redact(text: &str) -> Cow<'_, str> {
    SECRETS.replace_all(text, |found: &regex::Captures<'_>| {
        let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
        format!(
            "{}{}{}{}{}{REDACTED}{}",
            part("name"),
            part("sign"),
            part("quote"),
            part("scheme"),
            part("start"),
            part("at"),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_taken_out_and_the_rest_stays() {
        let table = [
            ("cargo test --workspace", "cargo test --workspace"),
            (r#"{"command":"ls -la","description":"list"}"#, r#"{"command":"ls -la","description":"list"}"#),
            ("export ANTHROPIC_API_KEY=sk-ant-api03-abcdefghijklmnop", "export ANTHROPIC_API_KEY=[redacted]"),
            (
                "curl -H 'Authorization: Bearer abc.def-ghi_jkl012' x",
                "curl -H 'Authorization: Bearer [redacted]' x",
            ),
            (
                "git clone https://ada:hunter2@example.com/x.git",
                "git clone https://ada:[redacted]@example.com/x.git",
            ),
            ("echo ghp_0123456789abcdefghijABCDEFGHIJ012345", "echo [redacted]"),
            ("aws AKIAIOSFODNN7EXAMPLE", "aws [redacted]"),
            (r#"{"db_password": "correct horse"}"#, r#"{"db_password": "[redacted] horse"}"#),
            (r#"{\"token\": \"abcdef\"}"#, r#"{\"token\": \"[redacted]\"}"#),
            ("password=hunter2 ./run", "password=[redacted] ./run"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend", "[redacted]\nend"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "[redacted]"),
            // A reference to a secret is none.
            ("curl -H \"x: $TOKEN\" && token=$(cat f)", "curl -H \"x: $TOKEN\" && token=$(cat f)"),
            ("the tokenizer counts tokens: many", "the tokenizer counts tokens: many"),
        ];
        for (text, expected) in table {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn redacting_twice_changes_nothing_more(text in r"[ -~\n]{0,80}") {
            let once = redact(&text).into_owned();
            prop_assert_eq!(redact(&once).into_owned(), once);
        }
    }
}
