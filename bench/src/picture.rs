//! The medians of one thread as a picture: two panels, time against memory in use, both without and with attributes.

use crate::{Result, Row};
use plotters::prelude::*;
use std::path::Path;

const SUBJECTS: [(&str, RGBColor); 5] = [
    ("async-process", RGBColor(150, 120, 190)),
    ("tokio", RGBColor(230, 150, 60)),
    ("std", RGBColor(200, 60, 60)),
    ("steadfast", RGBColor(30, 110, 200)),
    ("limit", RGBColor(90, 90, 90)),
];

pub(crate) fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let area = SVGBackend::new(path, (960, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((1, 2));
    for (panel, (case, title)) in panels.iter().zip([
        ("plain", "spawn + wait"),
        ("attributes", "with user, group, directory (steadfast: session, descriptors, limits too)"),
    ]) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.case == case && row.threads == 1).collect();
        let most_memory = rows.iter().map(|row| row.rss_mib).max().unwrap_or(1).max(1) as f64;
        let slowest = rows.iter().map(|row| row.median_us).fold(100.0, f64::max);
        let mut chart = ChartBuilder::on(panel)
            .caption(title, ("sans-serif", 13))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..most_memory / 1024.0, (30.0..slowest * 2.0).log_scale())?;
        chart.configure_mesh().x_desc("memory in use, GiB").y_desc("median, µs").light_line_style(WHITE.mix(0.0)).draw()?;
        for (subject, colour) in SUBJECTS {
            let points: Vec<(f64, f64)> = rows
                .iter()
                .filter(|row| row.subject == subject)
                .map(|row| (row.rss_mib as f64 / 1024.0, row.median_us))
                .collect();
            let line = LineSeries::new(points, colour.stroke_width(if subject == "steadfast" { 4 } else { 2 })).point_size(3);
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(line)?.label(subject).legend(legend);
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).position(SeriesLabelPosition::UpperLeft).draw()?;
    }
    area.present()?;
    Ok(())
}
