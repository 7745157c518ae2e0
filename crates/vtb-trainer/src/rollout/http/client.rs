//! Requests: bounded in time, size and number.

use std::io::Read;
use std::time::Duration;

use ureq::http::Uri;
use ureq::{Agent, RequestBuilder, Timeout};

use super::HttpSettings;
use super::error::{HttpFault, printable};
use super::key::ApiKey;

/// Longest wait that a server may ask for before a repetition, and longest of our own.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Largest text of a refusal that is looked at.
const REFUSAL_LIMIT: u64 = 16 << 10;
/// Connections are not used again after so long a pause: servers close idle ones.
const IDLE: Duration = Duration::from_secs(3);

/// Sends requests to one server.
pub(super) struct Client {
    base: String,
    agent: Agent,
    key: Option<ApiKey>,
    timeout: Duration,
    attempts: u32,
    backoff: Duration,
}

/// Why one request brought nothing.
enum Trouble {
    /// It may go well the next time.
    Again {
        fault: HttpFault,
        after: Option<Duration>,
    },
    End(HttpFault),
}

impl Client {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, HttpFault> {
        let base = base_address(&settings.url)?;
        // Redirects and proxies of the environment could lead a key and the prompts elsewhere.
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("vtb/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(settings.timeout))
            .timeout_connect(Some(CONNECT.min(settings.timeout)))
            .max_idle_age(IDLE)
            .max_idle_connections(settings.concurrency)
            .max_idle_connections_per_host(settings.concurrency)
            .build()
            .into();
        Ok(Self {
            base,
            agent,
            key: settings.key.clone(),
            timeout: settings.timeout,
            attempts: settings.attempts.max(1),
            backoff: settings.backoff,
        })
    }

    /// The whole address of `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Posts JSON and returns the body of a success, of at most `limit` bytes. Connection faults and overload are met by
    /// patience; a time that is over is not, since the next attempt would take as long.
    pub(super) fn post(&self, path: &str, body: &str, limit: u64) -> Result<Vec<u8>, HttpFault> {
        self.patiently(&self.url(path), Some(body), limit)
    }

    /// As [`Client::post`], asking only.
    pub(super) fn get(&self, path: &str, limit: u64) -> Result<Vec<u8>, HttpFault> {
        self.patiently(&self.url(path), None, limit)
    }

    /// As [`Client::post`], tried once, for requests whose failure does no harm.
    pub(super) fn post_once(
        &self,
        path: &str,
        body: &str,
        limit: u64,
    ) -> Result<Vec<u8>, HttpFault> {
        match self.once(&self.url(path), Some(body), limit) {
            Ok(bytes) => Ok(bytes),
            Err(Trouble::End(fault) | Trouble::Again { fault, .. }) => Err(fault),
        }
    }

    fn patiently(&self, url: &str, body: Option<&str>, limit: u64) -> Result<Vec<u8>, HttpFault> {
        let mut failed = 0;
        loop {
            let (fault, after) = match self.once(url, body, limit) {
                Ok(bytes) => return Ok(bytes),
                Err(Trouble::End(fault)) => return Err(fault),
                Err(Trouble::Again { fault, after }) => (fault, after),
            };
            failed += 1;
            if failed >= self.attempts {
                return Err(with_attempts(fault, failed));
            }
            let own = self.backoff * 2u32.saturating_pow(failed - 1);
            let wait = after.map_or(own, |after| after.max(own)).min(LONGEST_WAIT);
            tracing::debug!("{fault}; attempt {} follows in {wait:?}", failed + 1);
            std::thread::sleep(wait);
        }
    }

    fn once(&self, url: &str, body: Option<&str>, limit: u64) -> Result<Vec<u8>, Trouble> {
        let response = match body {
            Some(body) => self
                .with_headers(self.agent.post(url))
                .header("content-type", "application/json")
                .send(body),
            None => self.with_headers(self.agent.get(url)).call(),
        };
        let response = response.map_err(|e| self.trouble(url, &e))?;
        let status = response.status().as_u16();
        let after = response.headers().get("retry-after");
        let after = after.and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let success = (200..300).contains(&status);
        let limit = if success { limit } else { REFUSAL_LIMIT };
        let mut bytes = Vec::new();
        let reader = response.into_body().into_with_config().limit(u64::MAX);
        let read = reader.reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|e| self.trouble(url, &ureq::Error::from(e)))?;
        if !success {
            return Err(self.refusal(url, status, &bytes, after.map(Duration::from_secs)));
        }
        match bytes.len() as u64 > limit {
            true => Err(Trouble::End(HttpFault::Answer {
                url: url.to_owned(),
                reason: format!("has more than {limit} bytes; is this the right server?"),
            })),
            false => Ok(bytes),
        }
    }

    fn with_headers<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request = request.header("accept-encoding", "identity");
        match &self.key {
            Some(key) => request.header("authorization", key.header()),
            None => request,
        }
    }

    fn trouble(&self, url: &str, fault: &ureq::Error) -> Trouble {
        let url = url.to_owned();
        let reason = self.shown(&fault.to_string());
        let again = |fault| Trouble::Again { fault, after: None };
        match fault {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                again(unreachable(url, reason))
            }
            ureq::Error::Timeout(_) => Trouble::End(HttpFault::Timeout {
                url,
                seconds: self.timeout.as_secs_f64(),
            }),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Trouble::End(unreachable(url, reason)),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::Protocol(_) => {
                Trouble::End(HttpFault::Answer {
                    url,
                    reason: format!("is not HTTP as it should be: {reason}"),
                })
            }
            _ => again(unreachable(url, reason)),
        }
    }

    fn refusal(&self, url: &str, status: u16, body: &[u8], after: Option<Duration>) -> Trouble {
        let fault = HttpFault::Refused {
            url: url.to_owned(),
            status,
            message: self.shown(&message_of(body)),
            hint: hint(status).to_owned(),
        };
        match status {
            408 | 425 | 429 | 500..=599 => Trouble::Again { fault, after },
            _ => Trouble::End(fault),
        }
    }

    fn shown(&self, text: &str) -> String {
        match &self.key {
            Some(key) => printable(&key.redact(text)),
            None => printable(text),
        }
    }
}

fn unreachable(url: String, reason: String) -> HttpFault {
    HttpFault::Unreachable {
        url,
        reason,
        attempts: 1,
    }
}

fn with_attempts(fault: HttpFault, made: u32) -> HttpFault {
    match fault {
        HttpFault::Unreachable { url, reason, .. } => HttpFault::Unreachable {
            url,
            reason,
            attempts: made,
        },
        other => other,
    }
}

/// The server's words: `error.message`, `message`, `detail`, or the text itself.
fn message_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else {
        return text.into_owned();
    };
    let places = [
        value.pointer("/error/message"),
        value.pointer("/message"),
        value.pointer("/detail"),
    ];
    let found = places.into_iter().flatten().find_map(|v| v.as_str());
    found.map_or_else(|| text.clone().into_owned(), str::to_owned)
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed; write the address it leads to into rollout.url",
        401 | 403 => {
            "put the server's key into the environment variable that rollout.api_key_env names"
        }
        404 | 405 => {
            "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora; a server that was started anew \
             has lost its adapters, go on with --resume"
        }
        413 => "raise the server's limit on the size of requests, or make pictures smaller",
        500..=599 => "look at the server's log",
        _ => "see docs/guides/train-grpo.md for how to start the server",
    }
}

/// Whether `url` can be that of a server.
///
/// # Errors
/// [`HttpFault::Setting`] saying what is wrong with it.
pub fn check_address(url: &str) -> Result<(), HttpFault> {
    base_address(url).map(drop)
}

/// Scheme, host, port and folder of the server, without a slash at the end; a final `/v1` is taken off.
fn base_address(text: &str) -> Result<String, HttpFault> {
    let fail = |message: &str| HttpFault::Setting {
        key: "rollout.url".into(),
        message: message.into(),
    };
    if text.contains('@') {
        // A password would stand in messages.
        return Err(fail(
            "must not hold a user name or password; name an environment variable in rollout.api_key_env",
        ));
    }
    let trimmed = text.trim().trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/v1").unwrap_or(trimmed);
    let uri: Option<Uri> = trimmed.parse().ok();
    let good = uri.is_some_and(|uri| {
        ["http", "https"].contains(&uri.scheme_str().unwrap_or_default())
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    match good {
        true => Ok(trimmed.to_owned()),
        false => Err(fail(&format!(
            "= `{}` is no address; write http://host:port or https://host",
            printable(text)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (given, base) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
            ("https://host/vllm", "https://host/vllm"),
            (" http://[::1]:8/ ", "http://[::1]:8"),
        ] {
            assert_eq!(base_address(given).unwrap(), base);
        }
        for bad in [
            "",
            "host:8000",
            "ftp://host",
            "http://",
            "http://a b",
            "http://h?q",
        ] {
            let text = base_address(bad).unwrap_err().to_string();
            assert!(text.contains("rollout.url"), "{bad}: {text}");
        }
        let text = base_address("http://me:secret@host")
            .unwrap_err()
            .to_string();
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn the_servers_words_are_found() {
        for (body, message) in [
            (r#"{"error": {"message": "no"}}"#, "no"),
            (r#"{"message": "no"}"#, "no"),
            (r#"{"detail": "Not Found"}"#, "Not Found"),
            ("oops", "oops"),
            ("[1]", "[1]"),
        ] {
            assert_eq!(message_of(body.as_bytes()), message);
        }
    }
}
