//! `bulkhead top`: a screen of what a running gateway does.

use super::Outcome;
use super::show::At;
use crate::control::{Client, ClientError, EventFilter, Request, Show};
use crate::stream::{Written, answer_line};
use crate::top::{Board, Sample, screen};
use crossbeam_channel::{Receiver, Sender, bounded};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::Value;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Show what a running gateway does: rates, verdicts, load and latency of its workers, rules, denied pairs.
///
/// Keys: q or Esc ends it, p holds the screen still, r forgets rules and pairs, + and - change how often it looks. Rules and
/// pairs are counted from events since it began; those that were not told one by one are said. Where the output is no
/// terminal, frames are written as text.
#[derive(clap::Args, Debug)]
pub(super) struct Top {
    /// Write one frame as text, and end.
    #[arg(long, conflicts_with = "number")]
    once: bool,
    /// Write so many frames as text, and end.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    number: Option<u64>,
    /// Seconds between two looks.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    delay: u64,
    #[command(flatten)]
    at: At,
}

/// Events that wait to be counted.
const ROOM: usize = 4096;
/// How often is looked whether a key was pressed.
const KEYS_EVERY: Duration = Duration::from_millis(100);
/// The size of a frame of text.
const TEXT: (u16, u16) = (110, 40);

impl Top {
    pub(super) fn run(self) -> Outcome {
        let mut client = match Client::connect(&self.at.socket) {
            Ok(client) => client,
            Err(error) => return super::failed(&error),
        };
        let events = follow(&self.at.socket);
        let frames = if self.once { Some(1) } else { self.number };
        let delay = Duration::from_secs(self.delay);
        let shown = if frames.is_some() || !std::io::stdout().is_terminal() {
            plain(&mut client, &events, frames, delay)
        } else {
            live(&mut client, &events, delay)
        };
        match shown {
            Ok(()) => Outcome::Success,
            Err(error) => super::failed(&error),
        }
    }
}

/// Events from now on, by a thread of its own: it ends with the process, or when nobody takes them.
fn follow(socket: &Path) -> Receiver<Result<Value, u64>> {
    let (sender, receiver) = bounded(ROOM);
    let socket: PathBuf = socket.to_owned();
    // Without it there are no rules and pairs, and all else is there.
    let _ = std::thread::Builder::new().name("events".to_owned()).spawn(move || hear(&socket, &sender));
    receiver
}

fn hear(socket: &Path, sender: &Sender<Result<Value, u64>>) {
    let Ok(mut client) = Client::connect(socket) else { return };
    let request = Request::Observe { filter: EventFilter::default(), follow: true, since: None, last: None };
    // That the gateway has gone is said by the other connection.
    let _ = client.ask_while(request, |item| match sender.send(item) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    });
}

fn look(client: &mut Client, since: Instant) -> Result<Sample, ClientError> {
    let status = client.ask(Request::Show { what: Show::Status }, |_| {})?;
    let (mut workers, mut drops) = (Vec::new(), Vec::new());
    let at = since.elapsed();
    client.ask(Request::Show { what: Show::Workers }, |item| workers.extend(item.ok()))?;
    client.ask(Request::Show { what: Show::Drops }, |item| drops.extend(item.ok()))?;
    Ok(Sample::new(at, &status, &workers, &drops))
}

/// Takes in events until a moment.
fn listen(board: &mut Board, events: &Receiver<Result<Value, u64>>, until: Instant) {
    while let Ok(item) = events.recv_deadline(until) {
        board.hear(&item);
    }
    // Where there is no thread to hear, time passes all the same.
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

fn plain(
    client: &mut Client,
    events: &Receiver<Result<Value, u64>>,
    frames: Option<u64>,
    delay: Duration,
) -> Result<(), ClientError> {
    let (start, mut board) = (Instant::now(), Board::default());
    board.look(look(client, start)?);
    let mut written = 0;
    while frames.is_none_or(|frames| written < frames) {
        listen(&mut board, events, Instant::now() + delay);
        board.look(look(client, start)?);
        if answer_line(&screen::text(&board, TEXT.0, TEXT.1)) == Written::NobodyReads {
            break;
        }
        written += 1;
    }
    Ok(())
}

/// Puts the terminal back, however the screen ends.
struct Screen(ratatui::DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn live(
    client: &mut Client,
    events: &Receiver<Result<Value, u64>>,
    mut delay: Duration,
) -> Result<(), ClientError> {
    let (start, mut board) = (Instant::now(), Board::default());
    board.look(look(client, start)?);
    let mut terminal = Screen(ratatui::try_init().map_err(ClientError::Broken)?);
    let mut next = Instant::now() + delay;
    loop {
        if !board.is_paused && Instant::now() >= next {
            board.look(look(client, start)?);
            next = Instant::now() + delay;
        }
        terminal.0.draw(|frame| screen::draw(frame, &board)).map_err(ClientError::Broken)?;
        if event::poll(KEYS_EVERY).map_err(ClientError::Broken)? {
            match key(event::read().map_err(ClientError::Broken)?) {
                Some(Key::Quit) => return Ok(()),
                Some(Key::Pause) => board.is_paused = !board.is_paused,
                Some(Key::Reset) => board.reset(),
                Some(Key::Slower) => delay = (delay + Duration::from_secs(1)).min(Duration::from_secs(60)),
                Some(Key::Faster) => {
                    delay = delay.saturating_sub(Duration::from_secs(1)).max(Duration::from_secs(1));
                }
                None => {}
            }
        }
        for item in events.try_iter().take(ROOM) {
            if !board.is_paused {
                board.hear(&item);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Quit,
    Pause,
    Reset,
    Slower,
    Faster,
}

fn key(event: Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('p' | ' ') => Some(Key::Pause),
        KeyCode::Char('r') => Some(Key::Reset),
        KeyCode::Char('+' | '=') => Some(Key::Slower),
        KeyCode::Char('-') => Some(Key::Faster),
        // The rest of the keyboard means nothing here.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn keys_are_those_of_the_documentation() {
        let press = |code, modifiers| key(Event::Key(KeyEvent::new(code, modifiers)));
        for (letter, meant) in [
            ('q', Some(Key::Quit)),
            ('p', Some(Key::Pause)),
            ('r', Some(Key::Reset)),
            ('+', Some(Key::Slower)),
            ('-', Some(Key::Faster)),
            ('c', None),
        ] {
            assert_eq!(press(KeyCode::Char(letter), KeyModifiers::NONE), meant, "{letter}");
        }
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(press(KeyCode::Esc, KeyModifiers::NONE), Some(Key::Quit));
        assert_eq!(key(Event::Resize(80, 24)), None);
    }
}
