//! Rows of a benchmark: what each subject takes in a case, and how that compares with the limit, which is the first of them.

use crate::subject::Subject;
use crate::{Format, Result, cell, table};
use serde::Serialize;
use std::time::Duration;
use steadfast::System;

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) subject: String,
    pub(crate) median_us: f64,
    pub(crate) ratio_to_limit: f64,
}

/// The subjects take turns, with a pause before each if there is to be one.
pub(crate) fn measure(case: &'static str, subjects: &[Subject<'_>], rounds: usize, apart: Option<Duration>) -> Result<Vec<Row>> {
    let system = System::pid_legacy();
    let mut samples = vec![Vec::new(); subjects.len()];
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    for round in 0..=rounds {
        fastrand::shuffle(&mut order);
        for index in &order {
            apart.into_iter().for_each(|apart| system.sleep(apart));
            let begun = system.now();
            (subjects[*index].run)()?;
            // The first time is no measure.
            if round > 0 {
                samples[*index].push((system.now() - begun).as_secs_f64() * 1e6);
            }
        }
    }
    let medians: Vec<f64> = samples.into_iter().map(cell::median).collect();
    Ok(rows(case, subjects.iter().map(|subject| subject.name), &medians))
}

/// The first is the limit.
pub(crate) fn rows(case: &'static str, names: impl Iterator<Item = &'static str>, medians: &[f64]) -> Vec<Row> {
    let row = |(name, median): (&str, &f64)| Row {
        case,
        subject: name.to_owned(),
        median_us: *median,
        ratio_to_limit: median / medians[0],
    };
    names.zip(medians).map(row).collect()
}

/// As one table, or one object.
pub(crate) fn print(bench: &str, format: Format, rows: &[Row]) {
    match format {
        Format::Text => {
            let cells = |row: &Row| {
                [
                    row.case.to_owned(),
                    row.subject.clone(),
                    format!("{:.1} µs", row.median_us),
                    format!("{:.2}", row.ratio_to_limit),
                ]
            };
            print!("{}", table::render(["case", "subject", "median", "to the limit"], &[2, 3], rows.iter().map(cells)));
        }
        Format::Json => println!("{}", serde_json::json!({ "bench": bench, "rows": rows })),
    }
}
