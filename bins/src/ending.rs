//! How programs begin and end: logs on standard error, one clear error, an exit code.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

/// Ends by a signal after saving.
pub const INTERRUPTED: u8 = 130;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;

/// A mistake in what the user asked for, as opposed to something that failed.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The user asked to stop, and what was begun can go on later.
#[derive(Debug)]
pub struct Stopped(pub String);

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stopped {}

/// Prepares the process: its allocator, and diagnostics to standard error, of which `RUST_LOG` chooses how many.
pub fn start() {
    crate::allocator::keep_freed_pages();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second call (in tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .try_init();
}

/// Turns a program's result into its exit code, printing an error and its causes in one line.
#[allow(
    clippy::print_stderr,
    reason = "the one place where programs report their failure"
)]
pub fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(stopped) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Stopped>())
    {
        eprintln!("{stopped}");
        return ExitCode::from(INTERRUPTED);
    }
    eprintln!("error: {}", told(&error));
    let usage = error
        .chain()
        .any(|cause| cause.is::<Usage>() || cause.is::<crate::config::ConfigFaults>());
    ExitCode::from(if usage { USAGE } else { 1 })
}

/// An error and its causes in one line. Errors of our crates tell their cause themselves; it is not told again.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read rows.jsonl: {0}")]
    struct Tells(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read rows.jsonl")]
    struct Leaves(#[source] std::io::Error);

    fn gone() -> std::io::Error {
        std::io::Error::other("it is gone")
    }

    #[test]
    fn a_cause_is_told_once() {
        let tells = anyhow::Error::new(Tells(gone())).context("no data");
        let leaves = anyhow::Error::new(Leaves(gone())).context("no data");
        let line = "no data: cannot read rows.jsonl: it is gone";
        assert_eq!(told(&tells), line);
        assert_eq!(told(&leaves), line);
    }
}
