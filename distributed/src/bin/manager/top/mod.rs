//! `manager top`: a status, looked at again and again on a terminal.

use std::env;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use distributed::Client;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Language, Top};
use view::View;

mod view;
mod words;

/// How long a key may wait for what has come from the server, and that for a key.
const TURN: Duration = Duration::from_millis(100);

/// Whether there is a terminal to draw on, or why there is none.
pub(crate) fn is_possible() -> Result<(), String> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err("top needs a terminal; in a pipe or a script use `manager status`".into());
    }
    match env::var_os("TERM") {
        Some(term) if term != "dumb" && !term.is_empty() => Ok(()),
        _ => Err(
            "top needs a terminal that moves its cursor, and TERM says that this one does \
                  not; use `manager status`"
                .into(),
        ),
    }
}

/// Shows the status of the server until the reader has seen enough.
pub(crate) fn watch(options: &Top, language: Language, client: &Client) -> anyhow::Result<()> {
    let mut view = View::new(&options.address, language);
    // What is wrong with the address or the key is said before the terminal is taken.
    view.look(
        Instant::now(),
        client.status().map_err(|error| error.to_string()),
    );
    if let Some(error) = &view.error {
        anyhow::bail!("{error}");
    }
    let (send, looks) = mpsc::channel();
    let (client, interval) = (client.clone(), options.interval.max(TURN));
    // A server that does not answer keeps this thread waiting, and not the keys.
    thread::spawn(move || {
        loop {
            thread::sleep(interval);
            let status = client.status().map_err(|error| error.to_string());
            if send.send((Instant::now(), status)).is_err() {
                return;
            }
        }
    });
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let mut terminal = ratatui::try_init().context("take the terminal")?;
    let shown = show(&mut terminal, &mut view, &looks, &ended);
    ratatui::try_restore().context("give the terminal back")?;
    shown.context("draw on the terminal")
}

type Look = (Instant, Result<distributed::Status, String>);

fn show(
    terminal: &mut DefaultTerminal,
    view: &mut View,
    looks: &mpsc::Receiver<Look>,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut is_changed = true;
    while !ended.load(Relaxed) {
        if is_changed {
            terminal.draw(|frame| view.draw(frame))?;
        }
        is_changed = match event::poll(TURN) {
            Ok(true) => match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if is_last(key, view) {
                        return Ok(());
                    }
                    true
                }
                // The window has another size.
                _ => true,
            },
            Ok(false) => false,
            // A signal came first.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return Err(error),
        };
        for (at, status) in looks.try_iter() {
            view.look(at, status);
            is_changed = true;
        }
    }
    Ok(())
}

/// Does what a key says. Whether that is to end.
fn is_last(key: KeyEvent, view: &mut View) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Down | KeyCode::Char('j') => view.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => view.scroll(-1),
        KeyCode::PageDown => view.scroll(10),
        KeyCode::PageUp => view.scroll(-10),
        KeyCode::Tab => view.next_table(),
        KeyCode::Right | KeyCode::Char('s') => view.sort_by_next(1),
        KeyCode::Left => view.sort_by_next(-1),
        KeyCode::Char('r') => view.reverse(),
        _ => {}
    }
    false
}
