//! Secrets in texts, as far as they can be told by their look.
//!
//! The forms are those that issuers document for their tokens, so that they can be found, the words before `=` and `:`
//! that people give to secrets, and the options by which common programs take them. What looks like none of these stays.
//! A text is often JSON, so quotes and line ends may stand in it with a backslash before them.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Bytes that an expression may take in memory: twice what they take, and little beside a daemon.
const EXPRESSION_BYTES: usize = 1 << 19;

/// How often a text is looked at, at most. What stood in the way of another secret may be gone the second time.
const ROUNDS: usize = 4;

/// The text without what looks like a secret. Takes time in proportion to its length, but where it is made to resist:
/// callers give it a few kilobytes.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut redacted = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        let fewer = without(&SECRETS, &redacted);
        let next = without(&OPTIONS, &fewer);
        if next == redacted {
            break;
        }
        redacted = Cow::Owned(next.into_owned());
    }
    redacted
}

/// The text without what an expression finds. The groups of a match stay: those at its beginning before the secret, and
/// the one behind it. Where they are all of the match, there is no secret. What is in the group `then` is looked at again.
fn without<'a>(secrets: &Regex, text: &'a str) -> Cow<'a, str> {
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = secrets.captures_at(text, at) {
        let whole = found.get_match();
        let (mut secret, mut behind) = (whole.start(), whole.end());
        for part in found.iter().skip(1).flatten() {
            if part.start() == secret {
                secret = part.end();
            } else {
                behind = part.start();
            }
        }
        at = found.name("then").map_or(whole.end(), |then| then.start());
        if secret < whole.end() {
            out.push_str(&text[copied..secret]);
            out.push_str(REDACTED);
            copied = behind;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Words that people give to secrets, and what they put behind them.
const WORDS: &str = "(?i:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)(?:[_-][A-Za-z0-9]+)*";

/// The last words of settings whose names only begin like those of secrets.
const SETTINGS: &str = "at|count|dir|endpoint|expiry|file|in|index|length|limit|name|path|policy|size|ttl|type|uri|url|usage|version";

/// Options of many programs whose argument is a secret.
const FLAG: &str = r#"--(?:[a-z0-9]+-)*(?:password|passwd|passphrase|token|api-?key|access-?key|secret-?key|client-secret)(?:\s+|\\?["']\s*,\s*)"#;

/// A private key, to its end or that of the text.
const PRIVATE_KEY: &str = r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z)";

/// What is in quotes: those with a backslash before them, double and single ones. A space at the beginning is the text
/// between two that are quoted.
const QUOTED: &str = concat!(
    r#"(\\")(?:[^"\\\s]|\\[^"\\]|\\\\(?:\\.)?)(?:[^"\\]|\\[^"\\]|\\\\(?:\\.)?){2,}(\\")|"#,
    r#"(")(?:[^"\\\s]|\\.)(?:[^"\\\n]|\\.){2,}(")|"#,
    r"(')(?:[^'\\\s]|\\.)(?:[^'\\\n]|\\.){2,}(')",
);

/// What is in no quotes, or in those that do not close.
const BARE: &str = r#"(\\*["'])?[^\s"'\\&;|,(){}$<>:=][^\s"'\\&;|,(){}<>]{3,}"#;

static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    let sign = r#"\\*["']?\s*(?:=>|:=|={1,3}|:)\s*"#;
    let ended_no_secrets = [
        // A variable.
        format!(r#"((?:{WORDS}{sign}|{FLAG})(?:\\*["'])?\$[A-Za-z_][A-Za-z0-9_]*)"#),
        // A type, or no value, in code.
        format!("({WORDS}{sign}(?:[Ss]tring|str|bytes|null|[Nn]one|nil|undefined|[Tt]rue|[Ff]alse))"),
        // Prose.
        "((?i:bearer|basic)\\s+[a-z]+[.:!?]?)".to_owned(),
    ];
    let no_secrets = [
        // A setting of tokens and passwords that is none itself.
        format!("({WORDS}[_-](?i:{SETTINGS}){sign})"),
        // What a command prints, and what has to be set, in a shell.
        format!(r#"((?:{WORDS}{sign}|{FLAG})(?:\\*["'])?\$[({{])"#),
        r"(\$\{[A-Za-z0-9_]+:?\?)".to_owned(),
        // A call, an index and a type in code.
        format!(r"({WORDS}{sign}[A-Za-z_.:]+!?[(\[<])"),
        // The next option; a file that is mounted.
        format!("({FLAG}-)"),
        format!("(/{WORDS}:/)"),
        // A port, so that no password follows the colon.
        r#"([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'\\]*:[0-9]{1,5}[/?#])"#.to_owned(),
    ];
    let no_secrets = format!(
        r#"(?:{})(?P<then>[\s"'\\&;|,)}}/]|\z)|{}"#,
        ended_no_secrets.join("|"),
        no_secrets.join("|")
    );
    let authorization = format!(
        r#"((?i:authorization){sign}(?:\\*["'])?)(?:((?i:bearer|basic|token|api-?key)\s+)[^\s"'\\$]{{4,}}|[A-Za-z0-9._~+/=-]{{16,}})"#
    );
    let named = format!(
        r"({WORDS}{sign}|{FLAG})(?:(\[\s*)?(?:(\\*[\x22'])?{PRIVATE_KEY}|{QUOTED})|((?i:bearer|basic|token)\s+)?{BARE})"
    );
    let bearer = r"((?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{12,}";
    let issued = format!(r"(\\[nrt]|(?-u:\b))(?:{})", ISSUED.join("|"));
    let alternatives = [&authorization, &no_secrets, &named, bearer, PRIVATE_KEY, &issued, ADDRESSES];
    expression(&alternatives.join("|"))
});

/// Forms of tokens, as their issuers document them.
const ISSUED: [&str; 20] = [
    // Anthropic, OpenAI and others that took over the form.
    r"sk-[A-Za-z0-9_-]{16,}",
    // GitHub: classic and fine-grained; GitLab.
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"glpat-[A-Za-z0-9_-]{16,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[A-Za-z0-9_-]{30,}",
    // Slack.
    r"xox[a-z]-[A-Za-z0-9-]{10,}",
    r"xapp-[A-Za-z0-9-]{10,}",
    // AWS: the id of a key; the key itself has no form, but a name before it.
    r"(?:AKIA|ASIA)[A-Z0-9]{16}(?-u:\b)",
    // Google.
    r"AIza[A-Za-z0-9_-]{30,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    // Stripe.
    r"(?:sk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}",
    // Hugging Face, SendGrid, Shopify, DigitalOcean, age.
    r"hf_[A-Za-z0-9]{20,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16,}",
    r"do[opr]_v1_[a-f0-9]{32,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    // Azure: the key of an account in a connection string.
    r"(AccountKey=|SharedAccessKey=)[A-Za-z0-9+/=]{16,}",
    // The addresses of Slack's hooks, which are all that one needs.
    r"(https://hooks\.slack\.com/[a-z]+/)[A-Za-z0-9/_+-]{8,}",
    // JSON Web Tokens.
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
];

/// What stands before the host of an address: a token, one with a password, a password.
const ADDRESSES: &str = concat!(
    r#"((?i:https?)://)[A-Za-z0-9_-]{16,}(@)|"#,
    r#"([A-Za-z][A-Za-z0-9+.-]*://)[A-Za-z0-9_-]{16,}:[^\s/@"'\\]*(@)|"#,
    r#"([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'\\]*:)(?:(\$\{?[A-Za-z_][A-Za-z0-9_]*\}?@)|[^\s"'\\]+(@))"#,
);

/// What some programs take by options that mean something else to others.
static OPTIONS: LazyLock<Regex> = LazyLock::new(|| {
    let value = r#"(?:(\\")[^"\\$][^"\\]*|(")[^"\\$][^"\\]*|(')[^'\\]+|[^\s"'\\$&;|<>-][^\s"'\\&;|<>]*)"#;
    let user = r#"[^\s:"'\\$]*:"#;
    let login = format!(
        r#"(curl(?-u:\b)[^\n]*?\s(?:-[A-Za-z#]*[uU]|--user|--proxy-user)[\s=]*)(?:(\\"{user})[^"\\$][^"\\]*|("{user})[^"\\$][^"\\]*|('{user})[^'\\]+|({user})[^\s"'\\$&;|<>][^\s"'\\&;|<>]*)"#
    );
    let before = [
        r"sshpass\s+-p\s*",
        r"(?:mysql|mysqldump|mysqladmin|mariadb)\s[^\n]*?\s-p",
        r"redis-cli\s[^\n]*?-a\s+",
        r"(?:docker|podman|nerdctl|registry|oras|skopeo)\s+login\s[^\n]*?-p\s+",
    ];
    expression(&format!("{login}|({}){value}", before.join("|")))
});

#[expect(clippy::expect_used, reason = "the expressions are constants, and the tests use them")]
fn expression(text: &str) -> Regex {
    RegexBuilder::new(text).size_limit(EXPRESSION_BYTES).build().expect("the expression is one")
}

#[cfg(test)]
mod tests;
