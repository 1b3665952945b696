//! `bulkhead demo`: the gateway at work between three namespaces.

use super::{Outcome, Output};
use crate::demo::{Observed, Show, Stage, script, to_json};
use crate::testbed;
use std::io::BufRead;

/// Show the gateway at work: three hosts in network namespaces of this machine, and Bulkhead between them.
///
/// Each thing that is tried is a line: what its host saw, what arrived, and what the gateway said of it. It needs
/// root, touches no interface of the machine, and leaves nothing behind. Exit status 0: all came out as the
/// policy says; 1: it did not; 2: the stage can't be set up.
#[derive(clap::Args, Debug)]
pub(super) struct DemoCommand {
    /// Leave everything running at the end, to look around, until Enter is pressed.
    #[arg(long)]
    pause: bool,
    /// How to write what came of it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl DemoCommand {
    pub(super) fn run(self) -> Outcome {
        if !testbed::is_root() {
            tell!("error: the demo makes network namespaces, which needs root; `bulkhead replay` does not");
            return Outcome::Failure;
        }
        let mut stdout = std::io::stdout();
        let mut stderr = std::io::stderr();
        // Programs get one JSON document; whoever started them may still watch.
        let mut show = match self.output {
            Output::Text => Show::on_stdout(&mut stdout),
            Output::Json => Show::plain(&mut stderr),
        };
        let played = self.play(&mut show);
        testbed::yield_to_signal();
        match played {
            Ok(true) => Outcome::Success,
            Ok(false) => Outcome::Negative,
            Err(message) => {
                tell!("error: {message}");
                Outcome::Failure
            }
        }
    }

    fn play(&self, show: &mut Show<'_>) -> Result<bool, String> {
        show.announce();
        let stage = Stage::set_up().map_err(|e| e.to_string())?;
        show.stage(&stage);
        show.head();
        let mut observed: Vec<Observed> = Vec::new();
        for scene in script() {
            let came = scene
                .play(&stage)
                .map_err(|e| format!("{} → {}, {}: {e}", scene.from, scene.to, scene.attempt))?;
            show.observed(&came);
            observed.push(came);
        }
        if self.pause {
            show.pause(stage.name());
            wait_for_enter();
        }
        let mode = stage.gateway().guards()[0].mode().to_string();
        let counters = stage.take_down();
        show.sum_up(&observed, counters.as_ref());
        if self.output == Output::Json {
            answer!("{}", to_json(&mode, &observed, counters.as_ref()));
        }
        Ok(counters.is_some_and(|c| c.balance()) && observed.iter().all(Observed::is_expected))
    }
}

/// Until a line or the end of the standard input comes. A signal ends the process, and the test bed sees to the
/// rest.
fn wait_for_enter() {
    // Whatever comes, even an error, is the end.
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}
