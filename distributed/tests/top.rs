//! `manager top` on a terminal: it takes it, shows what there is, and gives it back.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use assert_cmd::cargo::cargo_bin;
use distributed::{Client, Result};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use support::LONG;

mod support;

fn top(address: &str) -> Command {
    let mut top = Command::new(cargo_bin("manager"));
    top.args(["top", address, "--interval=0.1", "--lang=en"]);
    top.env("MANAGER_AUTHKEY", "abc")
        .env("TERM", "xterm-256color");
    top
}

#[test]
fn a_reader_sees_the_queues_and_has_the_terminal_back_after_q() -> Result<()> {
    let (_manager, address) = support::manager(&["--queue=tasks"]);
    let tasks = Client::connect(&address, b"abc")?.queue::<u32>("tasks")?;
    tasks.put_many(&[1; 4242])?;
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(&size, None).expect("there are pseudo terminals");
    let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor is free"));
    let mut top = top(&address)
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .expect("it starts");
    let mut keys = File::from(pty.master.try_clone().expect("a descriptor is free"));
    let mut screen = File::from(pty.master);
    let (send, drawn) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = screen.read(&mut bytes) {
            let _ = send.send(bytes[..len].to_vec());
        }
    });
    let deadline = Instant::now() + LONG;
    let mut all = String::new();
    let mut until = |wanted: &str| {
        while !all.contains(wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = drawn.recv_timeout(left);
            let bytes = bytes.unwrap_or_else(|_| panic!("no {wanted} in {all:?}"));
            all += &String::from_utf8_lossy(&bytes);
        }
    };
    // The other screen, and on it the queue.
    until("\x1b[?1049h");
    until("tasks");
    until("4242");
    let local = || tcgetattr(&pty.slave).expect("it is a terminal").local_flags;
    assert!(
        !local().contains(LocalFlags::ICANON),
        "keys come one by one"
    );
    keys.write_all(b"q").expect("the terminal takes keys");
    until("\x1b[?1049l");
    let status = top.wait().expect("it is a child");
    assert!(status.success(), "{status}");
    assert!(local().contains(LocalFlags::ICANON | LocalFlags::ECHO));
    Ok(())
}

#[test]
fn without_a_terminal_that_moves_its_cursor_it_says_so_and_ends_with_2() {
    let pty = openpty(None, None).expect("there are pseudo terminals");
    let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor is free"));
    let refused = |command: &mut Command| {
        let output = command.stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("manager status"), "{said}");
    };
    // Nobody need listen there: it is refused before.
    refused(top("127.0.0.1:1").stdin(side()).stdout(Stdio::piped()));
    refused(top("127.0.0.1:1").stdin(Stdio::null()).stdout(side()));
    for term in ["dumb", ""] {
        refused(
            top("127.0.0.1:1")
                .env("TERM", term)
                .stdin(side())
                .stdout(side()),
        );
    }
    refused(
        top("127.0.0.1:1")
            .env_remove("TERM")
            .stdin(side())
            .stdout(side()),
    );
}

#[test]
fn a_manager_that_is_not_there_is_an_error_on_the_readers_own_screen() {
    let pty = openpty(None, None).expect("there are pseudo terminals");
    let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor is free"));
    let mut top = top("127.0.0.1:1");
    let output = top
        .stdin(side())
        .stdout(side())
        .stderr(Stdio::piped())
        .output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("connect to 127.0.0.1:1"), "{said}");
}
