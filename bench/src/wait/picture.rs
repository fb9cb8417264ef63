//! The cost of an exit as a picture: two panels, time against live children, for threads and for tasks.

use super::Row;
use crate::Result;
use plotters::prelude::*;
use std::path::Path;

const SUBJECTS: [(&str, RGBColor); 7] = [
    ("async-process", RGBColor(150, 120, 190)),
    ("tokio", RGBColor(230, 150, 60)),
    ("std, asking all", RGBColor(200, 60, 60)),
    ("steadfast, async-io", RGBColor(90, 170, 220)),
    ("steadfast, tokio", RGBColor(30, 110, 200)),
    ("steadfast", RGBColor(30, 110, 200)),
    ("limit", RGBColor(90, 90, 90)),
];

pub(crate) fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let area = SVGBackend::new(path, (960, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((1, 2));
    for (panel, (case, title)) in
        panels.iter().zip([("per_exit", "to hear of an exit and reap the child"), ("async_per_exit", "the same in a task")])
    {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.case == case).collect();
        let most = rows.iter().map(|row| row.children).max().unwrap_or(1).max(2) as f64;
        let least = rows.iter().map(|row| row.children).min().unwrap_or(1) as f64;
        let slowest = rows.iter().map(|row| row.median_us).fold(10.0, f64::max);
        let mut chart = ChartBuilder::on(panel)
            .caption(title, ("sans-serif", 13))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d((least..most).log_scale(), (1.0..slowest * 2.0).log_scale())?;
        chart.configure_mesh().x_desc("live children").y_desc("median, µs").light_line_style(WHITE.mix(0.0)).draw()?;
        for (subject, colour) in SUBJECTS {
            let own = rows.iter().filter(|row| row.subject == subject);
            let points: Vec<(f64, f64)> = own.map(|row| (row.children as f64, row.median_us)).collect();
            if points.is_empty() {
                continue;
            }
            let width = if subject.starts_with("steadfast") { 4 } else { 2 };
            let line = LineSeries::new(points, colour.stroke_width(width)).point_size(3);
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(line)?.label(subject).legend(legend);
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).position(SeriesLabelPosition::UpperLeft).draw()?;
    }
    area.present()?;
    Ok(())
}
