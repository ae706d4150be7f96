//! The sender of a webhook, which signs as GitHub does.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::{Answer, Failure, Fallible, Home, PATIENCE, send_over};

/// The secret of every webhook in tests.
pub(crate) const SECRET: &str = "a secret that nobody guesses";

/// A sender that knows the secret and the way.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    address: SocketAddr,
    webhook: String,
}

impl Sender {
    /// Writes the secret and a configuration that listens for webhooks, and starts the daemon again with them.
    pub(crate) fn configure(home: &Home, config: &str) -> Fallible {
        let secret = home.data().join("secret");
        fs::write(&secret, SECRET)?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let listen = "[webhooks]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(home.data().join("config.toml"), format!("{listen}{config}"))?;
        home.crash_and_start()
    }

    /// The sender for a webhook of this home.
    pub(crate) fn of(home: &Home, webhook: &str) -> Fallible<Self> {
        let list = home.api().get("/v1/webhooks")?;
        let url = list["items"].as_array().into_iter().flatten().find(|item| item["name"] == webhook);
        let url = url.and_then(|item| item["url"].as_str()).and_then(|url| url.strip_prefix("http://"));
        let address = url.and_then(|url| url.split('/').next());
        let address = address.ok_or_else(|| Failure::new(format!("no address of {webhook} in {list}")))?;
        Ok(Self { address: address.parse()?, webhook: webhook.to_owned() })
    }

    /// Sends a delivery under an id.
    pub(crate) fn deliver(&self, id: &str, body: &Value) -> Fallible<Answer> {
        let bytes = body.to_string().into_bytes();
        self.send(id, &bytes, &sign(SECRET, &bytes))
    }

    /// Sends these bytes with this signature.
    pub(crate) fn send(&self, id: &str, bytes: &[u8], signature: &str) -> Fallible<Answer> {
        let head = [
            ("Content-Type", "application/json"),
            ("X-GitHub-Delivery", id),
            ("X-Hub-Signature-256", signature),
            ("X-GitHub-Event", "push"),
        ];
        self.raw("POST", &format!("/hooks/{}", self.webhook), &head, bytes)
    }

    /// Sends any request to the listener.
    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        head: &[(&str, &str)],
        body: &[u8],
    ) -> Fallible<Answer> {
        send_over(self.connect()?, method, path, head, Some(body))
    }

    /// A connection to the listener.
    pub(crate) fn connect(&self) -> Fallible<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// GitHub's signature of a body.
pub(crate) fn sign(secret: &str, bytes: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mac| mac.chain_update(bytes));
    let digest = mac.map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default();
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let hex = nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16));
    "sha256=".chars().chain(hex).collect()
}
