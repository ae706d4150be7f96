//! Whether a delivery comes from where it says, and what its sender calls it.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lockkeeper_api::{Signature, limits as api_limits};
use sha2::Sha256;
use thiserror::Error;

use crate::limits;

/// What deliveries must prove, and with which secrets.
pub(crate) struct Proof {
    pub(super) signature: Signature,
    secrets: Vec<Vec<u8>>,
}

/// A delivery that came from where it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved {
    /// What its sender calls it; none if it has no name.
    pub(crate) id: Option<String>,
    /// What kind of event it tells of, if its head says so.
    pub(crate) event: Option<String>,
    /// Whether it is known by its bytes too, because the signature does not cover its id.
    pub(crate) by_content: bool,
}

/// Why a delivery is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Unproved {
    /// A header is not there.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header cannot be read.
    #[error("the header {0} is not of the form that it has to be")]
    Malformed(&'static str),
    /// It is signed, and its sender gives it no name, or one that cannot be a key.
    #[error("the header {0}, by which a repetition is known, is missing, longer than {most} bytes, or not ASCII", most = api_limits::KEY_BYTES)]
    Unnamed(&'static str),
    /// Nobody who knows the secret signed this.
    #[error("no secret of the webhook fits the signature")]
    Wrong,
    /// It was signed at another time.
    #[error("it was signed {off_s} s {when}, and {} s are let pass", limits::WEBHOOK_CLOCK_S)]
    Expired {
        /// How far off, in seconds.
        off_s: u64,
        /// To which side.
        when: &'static str,
    },
}

const GITHUB_SIGNATURE: &str = "x-hub-signature-256";
const GITHUB_DELIVERY: &str = "x-github-delivery";
const GITHUB_EVENT: &str = "x-github-event";
const STANDARD_ID: &str = "webhook-id";
const STANDARD_TIMESTAMP: &str = "webhook-timestamp";
const STANDARD_SIGNATURE: &str = "webhook-signature";
const BEARER: &str = "authorization";
const GITLAB_TOKEN: &str = "x-gitlab-token";
const GITLAB_EVENT: &str = "x-gitlab-event";
const GITLAB_DELIVERY: &str = "x-gitlab-event-uuid";

impl Proof {
    /// A proof with the secrets of a file: one in each line, so that one can be changed for another at leisure.
    pub(crate) fn of(signature: Signature, file: &str) -> Result<Self, String> {
        let lines: Vec<&str> = file.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let secrets = lines.iter().map(|line| secret(signature, line)).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err("holds no secret".to_owned());
        }
        let short = secrets.iter().map(Vec::len).min().filter(|len| *len < limits::WEBHOOK_SECRET_BYTES);
        if let Some(len) = short {
            let least = limits::WEBHOOK_SECRET_BYTES;
            return Err(format!(
                "holds a secret of {len} bytes, which can be guessed; the least are {least}"
            ));
        }
        Ok(Self { signature, secrets })
    }

    /// Looks at a delivery that came at `now_s`, in seconds since 1970.
    pub(crate) fn check(&self, head: &HeaderMap, body: &[u8], now_s: i64) -> Result<Proved, Unproved> {
        match self.signature {
            Signature::Github => self.github(head, body),
            Signature::Standard => self.standard(head, body, now_s),
            Signature::Token => self.token(head),
        }
    }

    /// See GitHub's "Validating webhook deliveries". The delivery's id is not signed.
    fn github(&self, head: &HeaderMap, body: &[u8]) -> Result<Proved, Unproved> {
        let given = text(head, GITHUB_SIGNATURE)?.ok_or(Unproved::Missing(GITHUB_SIGNATURE))?;
        let given =
            given.strip_prefix("sha256=").and_then(unhex).ok_or(Unproved::Malformed(GITHUB_SIGNATURE))?;
        self.signed(&[body], &[given])?;
        let id = id(head, GITHUB_DELIVERY)?.ok_or(Unproved::Unnamed(GITHUB_DELIVERY))?;
        let event = text(head, GITHUB_EVENT)?.map(str::to_owned);
        Ok(Proved { id: Some(id), event, by_content: true })
    }

    /// See the Standard Webhooks specification, version 1.0: symmetric signatures, of which there may be several.
    fn standard(&self, head: &HeaderMap, body: &[u8], now_s: i64) -> Result<Proved, Unproved> {
        let given = text(head, STANDARD_SIGNATURE)?.ok_or(Unproved::Missing(STANDARD_SIGNATURE))?;
        let id = id(head, STANDARD_ID)?.ok_or(Unproved::Missing(STANDARD_ID))?;
        let at = text(head, STANDARD_TIMESTAMP)?.ok_or(Unproved::Missing(STANDARD_TIMESTAMP))?;
        let at_s: i64 = at.parse().map_err(|_| Unproved::Malformed(STANDARD_TIMESTAMP))?;
        let ours = given.split_ascii_whitespace().filter_map(|one| one.strip_prefix("v1,"));
        let given: Vec<Vec<u8>> = ours.filter_map(|one| BASE64.decode(one).ok()).collect();
        if given.is_empty() {
            return Err(Unproved::Malformed(STANDARD_SIGNATURE));
        }
        self.signed(&[id.as_bytes(), b".", at.as_bytes(), b".", body], &given)?;
        let off_s = now_s.abs_diff(at_s);
        if off_s > limits::WEBHOOK_CLOCK_S {
            return Err(Unproved::Expired {
                off_s,
                when: if at_s < now_s { "ago" } else { "ahead of this clock" },
            });
        }
        Ok(Proved { id: Some(id), event: None, by_content: false })
    }

    fn token(&self, head: &HeaderMap) -> Result<Proved, Unproved> {
        let bearer =
            text(head, BEARER)?.map(|text| text.strip_prefix("Bearer ").ok_or(Unproved::Malformed(BEARER)));
        let given = match bearer {
            Some(bearer) => bearer?,
            None => text(head, GITLAB_TOKEN)?.ok_or(Unproved::Missing(BEARER))?,
        };
        if !self.secrets.iter().any(|secret| is_same(secret, given.as_bytes())) {
            return Err(Unproved::Wrong);
        }
        let id = match id(head, STANDARD_ID)? {
            Some(id) => Some(id),
            None => id(head, GITLAB_DELIVERY)?,
        };
        Ok(Proved { id, event: text(head, GITLAB_EVENT)?.map(str::to_owned), by_content: false })
    }

    /// Whether one of the signatures is made with one of the secrets. Each is compared in constant time.
    fn signed(&self, pieces: &[&[u8]], given: &[Vec<u8>]) -> Result<(), Unproved> {
        let fits = |secret: &Vec<u8>| {
            let mac = sign(secret, pieces);
            given.iter().any(|given| mac.clone().verify_slice(given).is_ok())
        };
        if self.secrets.iter().any(fits) { Ok(()) } else { Err(Unproved::Wrong) }
    }
}

/// The secret that a line gives. The Standard Webhooks specification has them in base 64, with a prefix.
fn secret(signature: Signature, line: &str) -> Result<Vec<u8>, String> {
    match line.strip_prefix("whsec_") {
        Some(encoded) if signature == Signature::Standard => {
            BASE64.decode(encoded).map_err(|error| format!("holds a secret that is not base 64: {error}"))
        }
        Some(_) | None => Ok(line.as_bytes().to_vec()),
    }
}

fn sign(secret: &[u8], pieces: &[&[u8]]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    for piece in pieces {
        mac.update(piece);
    }
    mac
}

/// Compares without telling by its time how much is the same.
fn is_same(secret: &[u8], given: &[u8]) -> bool {
    sign(secret, &[given]).verify(&sign(secret, &[secret]).finalize().into_bytes()).is_ok()
}

fn text<'a>(head: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Unproved> {
    head.get(name).map(|value| value.to_str().map_err(|_| Unproved::Malformed(name))).transpose()
}

/// A sender's name for a delivery. It becomes a key, and is bounded like one.
fn id(head: &HeaderMap, name: &'static str) -> Result<Option<String>, Unproved> {
    match text(head, name).map_err(|_| Unproved::Unnamed(name))? {
        Some(id) if id.is_empty() || id.len() > api_limits::KEY_BYTES => Err(Unproved::Unnamed(name)),
        id => Ok(id.map(str::to_owned)),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((nibble(*pair.first()?)? << 4) | nibble(*pair.get(1)?)?)).collect()
}
