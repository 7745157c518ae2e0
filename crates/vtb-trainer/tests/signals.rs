//! Signals sent to a real process.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vtb_trainer::signal::{EXIT_INTERRUPTED, Interrupt};

/// Not a test by itself: the process that the others signal. Says `ready`, then `asked` after the first signal;
/// with `once` it then ends by itself as a loop would, else it waits for the second.
#[test]
fn signalled_child() {
    let Ok(mode) = std::env::var("VTB_TEST_SIGNALS") else {
        return;
    };
    let stop = Interrupt::install().unwrap();
    println!("\nready");
    let start = Instant::now();
    while !stop.is_set() {
        assert!(start.elapsed() < Duration::from_secs(60), "no signal came");
        thread::sleep(Duration::from_millis(5));
    }
    println!("asked");
    if mode == "once" {
        return;
    }
    thread::sleep(Duration::from_secs(60));
}

fn start(mode: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "signalled_child",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env("VTB_TEST_SIGNALS", mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut out, "ready");
    (child, out)
}

fn wait_for(out: &mut BufReader<ChildStdout>, word: &str) {
    let mut line = String::new();
    while line.trim() != word {
        line.clear();
        assert_ne!(
            out.read_line(&mut line).unwrap(),
            0,
            "the child ended before `{word}`"
        );
    }
}

fn send(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_first_signal_only_asks() {
    for signal in ["-INT", "-TERM"] {
        let (mut child, mut out) = start("once");
        send(&child, signal);
        wait_for(&mut out, "asked");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn the_second_signal_exits_at_once() {
    let (mut child, mut out) = start("twice");
    send(&child, "-TERM");
    wait_for(&mut out, "asked");
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(EXIT_INTERRUPTED));
}
