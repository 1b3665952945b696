//! A board from answers and events as a gateway gives them, and what it looks like.

use super::{Board, Sample, Tally, screen};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};
use std::time::Duration;

fn sample(second: u64, received: u64, dropped: u64, turns: Value) -> Sample {
    let status = json!({
        "name": "edge-1", "mode": "enforce", "generation": 3, "uptime_s": 3725 + second, "max_flows": 1_048_576,
        "events_lost": 0,
    });
    let worker = |index: u64| {
        json!({
            "worker": index, "core": 2 + index, "received": received, "forwarded": received - dropped,
            "dropped": dropped, "flows": 60 * (index + 1), "flows_opened": received / 100,
            "busy_ns": second * 250_000_000 * (index + 1), "turns": turns,
        })
    };
    let drops = [
        json!({ "reason": "default-deny", "frames": dropped * 2 }),
        json!({ "reason": "spoofed", "frames": 7 }),
    ];
    Sample::new(Duration::from_secs(second), &status, &[worker(0), worker(1)], &drops)
}

fn event(verdict: &str, rule: Option<&str>, port: u16) -> Result<Value, u64> {
    Ok(json!({
        "source": "10.0.10.10", "destination": "10.0.20.10", "protocol": 6, "source_port": 40000,
        "destination_port": port, "verdict": verdict, "rule": rule, "from": ["web"], "to": ["app"],
    }))
}

fn board() -> Board {
    let mut board = Board::default();
    board.look(sample(0, 1_000, 100, json!([[1000, 900], [50_000, 100]])));
    (0..5).for_each(|_| board.hear(&event("forward", Some("web-to-app"), 8080)));
    (0..3).for_each(|_| board.hear(&event("drop", None, 22)));
    board.hear(&event("reject", Some("no-telnet"), 23));
    board.hear(&Ok(json!({ "time": "T", "suppressed": 90, "reason": "default-deny" })));
    board.hear(&Err(9));
    board.look(sample(2, 3_000_000, 2_100, json!([[1000, 1_900], [50_000, 100], [2_000_000, 3]])));
    board
}

fn drawn(board: &Board, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, board)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

#[test]
fn a_screen_shows_rates_loads_percentiles_drops_rules_and_pairs() {
    let lines = drawn(&board(), 100, 24);
    assert_eq!(lines[0], "bulkhead edge-1   up 1h02m   enforce   generation 3   flows 180 of 1.05M");
    assert_eq!(
        lines[1],
        "a second  received    3.00M   forwarded    3.00M   dropped     2000   new flows    30.0k"
    );
    assert_eq!(
        lines[2],
        "in all    received    6.00M   forwarded    6.00M   dropped     4200   new flows    60.0k"
    );
    assert!(lines[3].starts_with("workers: load"));
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(5), ["0", "2", "25%", "1.50M", "1.50M", "1000", "60", "1.0µs", "1.0µs", "2.0ms"]);
    assert_eq!(words(6)[2], "50%");
    let all = lines.join("\n");
    let at = |text: &str| all.find(text).unwrap_or_else(|| panic!("{text}:\n{all}"));
    assert!(at("2000      4200      default-deny") < at("0         7         spoofed"));
    assert!(at("5         0         web-to-app") < at("0         3         (default)"));
    at("0         1         no-telnet");
    assert!(
        at("3         10.0.10.10 -> 10.0.20.10 tcp/22") < at("1         10.0.10.10 -> 10.0.20.10 tcp/23")
    );
    at("(and 99 not told one by one)");
    assert_eq!(lines[23], screen::KEYS);
}

#[test]
fn before_the_second_look_there_are_no_rates_and_a_reset_forgets_names() {
    let mut first = Board::default();
    first.look(sample(0, 1_000, 100, json!([[1000, 1000]])));
    let lines = drawn(&first, 100, 24);
    assert!(lines[1].contains("received        0"), "{}", lines[1]);
    assert!(lines[5].contains("0%") && lines[5].ends_with('-'), "{}", lines[5]);
    let mut board = board();
    board.is_paused = true;
    board.reset();
    let all = drawn(&board, 100, 24).join("\n");
    assert!(all.contains("PAUSED") && !all.contains("web-to-app") && !all.contains("not told"), "{all}");
}

#[test]
fn a_screen_of_any_size_holds() {
    for (width, height) in [(1, 1), (20, 3), (40, 8), (300, 100)] {
        assert_eq!(drawn(&board(), width, height).len(), usize::from(height));
        assert!(screen::text(&board(), width, height).lines().count() <= usize::from(height).max(1));
    }
    let text = screen::text(&board(), 100, 24);
    assert!(text.starts_with("bulkhead edge-1") && !text.contains(screen::KEYS), "{text}");
}

#[test]
fn names_without_number_do_not_fill_the_memory_and_frequent_ones_stay() {
    let mut tally = Tally::default();
    for number in 0..100_000_u32 {
        tally.add(format!("once {number}"));
        if number % 10 == 0 {
            tally.add("often".to_owned());
        }
    }
    assert_eq!(tally.most(1), [("often", 10_000)]);
    assert!(tally.most(usize::MAX).len() <= 4097);
}
