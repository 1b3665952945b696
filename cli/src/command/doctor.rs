//! `bulkhead doctor`: is this machine fit to be a gateway?

use super::show::At;
use super::{Outcome, Output};
use crate::config;
use crate::control::{Client, ClientError, Request, Show};
use crate::doctor::{Finding, Findings, Level, Live, Plan, examine};
use dataplane::topology::{PortConfig, XdpMode};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Say whether this machine is fit to be a gateway, and what to do where it is not.
///
/// With a gateway file, its ports and cores are looked at; without one, those of the gateway that runs here, if one does.
/// It changes nothing. It ends with 1 where something fails.
#[derive(clap::Args, Debug)]
pub(super) struct Doctor {
    /// The gateway file.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    at: At,
}

impl Doctor {
    pub(super) fn run(self) -> Outcome {
        let running = ask(&self.at.socket);
        let (mut plan, base) = match &self.config {
            Some(path) => {
                let Some(configuration) = super::report(path, config::load(path)) else {
                    return Outcome::Failure;
                };
                let topology = configuration.topology;
                (Plan { ports: topology.ports, cores: topology.cores, is_running: false }, "the file")
            }
            None => (running.as_ref().map(Running::plan).unwrap_or_default(), "the running gateway"),
        };
        plan.is_running = running.as_ref().is_ok_and(|running| running.has_ports_of(&plan));
        let mut findings = examine(Path::new("/"), &Live, &plan);
        findings.extend(gateway(&running, base));
        match self.output {
            Output::Text => text(&findings),
            Output::Json => answer!("{:#}", json!({ "findings": findings, "worst": worst(&findings) })),
        }
        match worst(&findings) {
            Level::Fail => Outcome::Negative,
            Level::Ok | Level::Warn => Outcome::Success,
        }
    }
}

fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

fn text(findings: &[Finding]) {
    for finding in findings {
        let Finding { subject, check, level, found, remedy } = finding;
        answer!("{:<4}  {subject:<10} {check:<14} {found}", level.name());
        if let Some(remedy) = remedy {
            answer!("      {:<25} -> {remedy}", "");
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    answer!("{} ok, {} warnings, {} failures", count(Level::Ok), count(Level::Warn), count(Level::Fail));
}

/// What a gateway that runs says of its ports and workers.
struct Running {
    name: String,
    ports: Vec<Value>,
    workers: Vec<Value>,
}

fn ask(socket: &Path) -> Result<Running, ClientError> {
    let mut client = Client::connect(socket)?;
    let name = client.hello().gateway.clone();
    let mut list = |what| {
        let mut items = Vec::new();
        client.ask(Request::Show { what }, |item| items.extend(item.ok()))?;
        Ok::<_, ClientError>(items)
    };
    Ok(Running { name, ports: list(Show::Ports)?, workers: list(Show::Workers)? })
}

impl Running {
    fn plan(&self) -> Plan {
        let port = |port: &Value| PortConfig {
            name: port["name"].as_str().unwrap_or_default().to_owned(),
            interface: port["interface"].as_str().unwrap_or_default().to_owned(),
            queues: port["queues"].as_u64().and_then(|queues| u16::try_from(queues).ok()).unwrap_or(1),
            xdp: XdpMode::Auto,
            mac: None,
            mtu: None,
        };
        let cores = self.workers.iter().filter_map(|worker| worker["core"].as_u64());
        Plan {
            ports: self.ports.iter().map(port).collect(),
            cores: cores.filter_map(|core| usize::try_from(core).ok()).collect(),
            is_running: true,
        }
    }

    /// Whether it has all of these ports.
    fn has_ports_of(&self, plan: &Plan) -> bool {
        let has = |port: &PortConfig| self.ports.iter().any(|p| p["interface"] == port.interface.as_str());
        !plan.ports.is_empty() && plan.ports.iter().all(has)
    }
}

fn gateway(running: &Result<Running, ClientError>, base: &str) -> Vec<Finding> {
    let mut findings = Findings::about("gateway");
    let running = match running {
        Ok(running) => running,
        Err(ClientError::NotRunning(_)) => {
            findings.ok("running", "no gateway runs here");
            return findings.into_all();
        }
        Err(error) => {
            findings.warn("running", error.to_string(), "ask as root, or say `--socket`");
            return findings.into_all();
        }
    };
    findings.ok("running", format!("`{}` runs; the ports are those of {base}", running.name));
    for port in &running.ports {
        let name = port["name"].as_str().unwrap_or_default();
        let mode = port["xdp"].as_str().unwrap_or_default();
        if mode.contains("skb") || mode.contains("generic") {
            let found = format!("{name} is in generic mode, which is slow");
            findings.warn("xdp-in-force", found, "use a card whose driver runs XDP programs");
        } else {
            findings.ok("xdp-in-force", format!("{name}: {mode}"));
        }
        let kernel = |key: &str| port["kernel"][key].as_u64().unwrap_or(0);
        let unserved = kernel("unserved_queue");
        if unserved > 0 {
            let found =
                format!("{name} has lost {unserved} frames at its start, or on queues that nobody serves");
            let interface = port["interface"].as_str().unwrap_or_default();
            let remedy =
                format!("where the number grows: ethtool -L {interface} combined {}", port["queues"]);
            findings.warn("unserved", found, remedy);
        }
        let late = kernel("rx_ring_full") + kernel("rx_dropped");
        if late > 0 {
            let found = format!("the kernel has dropped {late} frames of {name}: the workers were too slow");
            findings.warn("too-slow", found, "more workers and queues, isolated cores, or `idle = \"poll\"`");
        }
    }
    findings.into_all()
}
