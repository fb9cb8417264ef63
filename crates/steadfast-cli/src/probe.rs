//! `steadfast probe`: what this machine can do.

use crate::say::{self, Format, Outcome};
use serde_json::{Value, json};
use std::fmt::Write;
use steadfast::{Answer, Containment, Error, Job, Probe, System};

/// Shows which backend this machine gets and why, and what its kernel can do
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn probe(Args {}: &Args, format: Format) -> Outcome {
    let (probe, system) = (Probe::once()?, System::current()?);
    let features = Probe::features()?;
    let named = |name: &'static str, since: &'static str, answer: Answer| (name, since, answer);
    let asked: Vec<_> = probe
        .checks
        .iter()
        .map(|check| named(check.name, check.since, check.answer))
        .chain(features.iter().map(|feature| named(feature.name, feature.since, feature.answer)))
        .collect();
    let held = Job::available()?;
    let limits = Job::available_limits()?;
    if format == Format::Json {
        let asked: Vec<Value> = asked.iter().map(|(name, since, answer)| json!({ "name": name, "since": since, "works": answer.works(), "meaning": answer.to_string() })).collect();
        let why = |why: &Option<Error>| why.as_ref().map(Error::to_string);
        let held: Vec<Value> =
            held.iter().map(|(how, no)| json!({ "containment": how.name(), "works": no.is_none(), "why": why(no) })).collect();
        let limits: Vec<Value> = limits
            .iter()
            .map(|(limit, no)| json!({ "limit": limit.to_string(), "works": no.is_none(), "why": why(no) }))
            .collect();
        say::print_json(
            &json!({ "backend": system.backend_name(), "reason": probe.reason(), "asked": asked, "jobs": held, "job_limits": limits }),
        )?;
        return Ok(0);
    }
    let mut text = format!("backend: {} ({})\n\nthe kernel was asked for\n", system.backend_name(), probe.reason());
    for (name, since, answer) in asked {
        writeln!(text, "  {name:<28} since {since:<6} {answer}")?;
    }
    text += "\na job can be held together by\n";
    for (how, no) in held {
        let note = if how == Containment::Namespace && no.is_none() { ", if it is asked for" } else { "" };
        writeln!(text, "  {:<12} {}{note}", how.name(), no.map_or("yes".to_owned(), |no| format!("no: {no}")))?;
    }
    text += "\na job can be limited in\n";
    for (limit, no) in limits {
        writeln!(text, "  {limit:<12} {}", no.map_or("yes".to_owned(), |no| format!("no: {no}")))?;
    }
    say::print(&text)?;
    Ok(0)
}
