//! A board on a screen, or as lines of text.
//!
//! ```text
//!   title | rates and verdicts | workers (and latency) | drops by reason | rules | denied pairs | keys
//! ```

use super::board::Board;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table};
use ratatui::{Frame, Terminal};
use std::time::Duration;

/// The keys, for the last line.
pub const KEYS: &str = "q quit   p pause   r reset   + slower   - faster";

/// A number that is easily read: 950, 12.3k, 4.56M.
fn short(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2}G", n / 1e9),
        n if n >= 1e6 => format!("{:.2}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

fn count(number: u64) -> String {
    short(number as f64)
}

/// A short time: 850ns, 12.3µs, 4.5ms.
fn time(time: Option<Duration>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    match time.as_nanos() as f64 {
        n if n >= 1e9 => format!("{:.1}s", n / 1e9),
        n if n >= 1e6 => format!("{:.1}ms", n / 1e6),
        n if n >= 1e3 => format!("{:.1}µs", n / 1e3),
        n => format!("{n:.0}ns"),
    }
}

fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Draws a board.
pub fn draw(frame: &mut Frame<'_>, board: &Board) {
    let workers = board.now().workers.len() as u16;
    let [title, rates, of_workers, middle, pairs, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(workers.min(16) + 3),
        Constraint::Min(5),
        Constraint::Min(5),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [drops, rules] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(middle);
    draw_title(frame, title, board);
    draw_rates(frame, rates, board);
    draw_workers(frame, of_workers, board);
    draw_drops(frame, drops, board);
    draw_rules(frame, rules, board);
    draw_pairs(frame, pairs, board);
    frame.render_widget(Line::styled(KEYS, Style::new().add_modifier(Modifier::DIM)), keys);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let now = board.now();
    let flows: u64 = now.workers.iter().map(|worker| worker.flows).sum();
    let paused = if board.is_paused { "   PAUSED" } else { "" };
    let text = format!(
        "bulkhead {}   up {}   {}   generation {}   flows {} of {}{paused}",
        now.name,
        age(now.uptime),
        now.mode,
        now.generation,
        count(flows),
        count(now.max_flows),
    );
    frame.render_widget(Line::styled(text, Style::new().add_modifier(Modifier::BOLD)), area);
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let workers = board.workers();
    let rate = |of: fn(&super::Worker) -> u64| short(board.rate(workers.iter().map(of).sum()));
    let total = |of: fn(&super::Worker) -> u64| count(board.now().workers.iter().map(of).sum());
    let line = |name, number: &dyn Fn(fn(&super::Worker) -> u64) -> String| {
        format!(
            "{name:<9} received {:>8}   forwarded {:>8}   dropped {:>8}   new flows {:>8}",
            number(|w| w.received),
            number(|w| w.forwarded),
            number(|w| w.dropped),
            number(|w| w.opened),
        )
    };
    let lines = vec![Line::raw(line("a second", &rate)), Line::raw(line("in all", &total))];
    frame.render_widget(Paragraph::new(lines), area);
}

fn titled(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title)
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let row = |(index, worker): (usize, &super::Worker)| {
        let load = board.rate(worker.busy) / 1e9 * 100.0;
        Row::new([
            index.to_string(),
            worker.core.map_or_else(|| "-".to_owned(), |core| core.to_string()),
            format!("{:.0}%", load.min(100.0)),
            short(board.rate(worker.received)),
            short(board.rate(worker.forwarded)),
            short(board.rate(worker.dropped)),
            count(worker.flows),
            time(worker.within(0.5)),
            time(worker.within(0.99)),
            time(worker.within(0.999)),
        ])
    };
    let heading = ["worker", "core", "load", "rx/s", "fwd/s", "drop/s", "flows", "p50", "p99", "p99.9"];
    let workers = board.workers();
    let table = Table::new(workers.iter().enumerate().map(row), [Constraint::Length(9); 10])
        .header(Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD)))
        .block(titled("workers: load, and how long frames are in their hands".to_owned()));
    frame.render_widget(table, area);
}

fn list(frame: &mut Frame<'_>, area: Rect, title: String, rows: Vec<[String; 3]>, widths: [Constraint; 3]) {
    let table = Table::new(rows.into_iter().map(Row::new), widths).block(titled(title));
    frame.render_widget(table, area);
}

const NARROW: [Constraint; 3] = [Constraint::Length(9), Constraint::Length(9), Constraint::Fill(1)];

fn draw_drops(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let rows = board.drops().into_iter().take(usize::from(area.height));
    let rows = rows.map(|(reason, now, total)| [short(board.rate(now)), count(total), reason.to_owned()]);
    list(frame, area, "drops: a second, in all, reason ".to_owned(), rows.collect(), NARROW);
}

fn draw_rules(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let most = usize::from(area.height);
    let flows = board.rules.most(most).into_iter().map(|(rule, count)| (count, 0, rule));
    let drops = board.denying.most(most).into_iter().map(|(rule, count)| (0, count, rule));
    let mut rules: Vec<(u64, u64, &str)> = Vec::new();
    for (flows, drops, rule) in flows.chain(drops) {
        match rules.iter_mut().find(|known| known.2 == rule) {
            Some(known) => *known = (known.0 + flows, known.1 + drops, rule),
            None => rules.push((flows, drops, rule)),
        }
    }
    rules.sort_by_key(|(flows, drops, _)| std::cmp::Reverse(flows + drops));
    let rows = rules.into_iter().map(|(flows, drops, rule)| [count(flows), count(drops), rule.to_owned()]);
    list(frame, area, "rules: flows, drops, rule ".to_owned(), rows.collect(), NARROW);
}

fn draw_pairs(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let rows = board.pairs.most(usize::from(area.height)).into_iter();
    let rows = rows.map(|(pair, number)| [count(number), pair.to_owned(), String::new()]);
    let mut title = "denied: packets, who wanted what of whom ".to_owned();
    if board.suppressed + board.lost > 0 {
        title = format!("{title}(and {} not told one by one) ", count(board.suppressed + board.lost));
    }
    let widths = [Constraint::Length(9), Constraint::Fill(1), Constraint::Length(0)];
    list(frame, area, title, rows.collect(), widths);
}

/// A board as lines of text, for who has no screen.
#[must_use]
pub fn text(board: &Board, width: u16, height: u16) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| draw(frame, board)) {
        Ok(_) => {}
        Err(never) => match never {},
    }
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned()
    };
    // The keys are of no use there.
    let lines: Vec<String> = (0..height.saturating_sub(1)).map(line).collect();
    let mut text = lines.join("\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
