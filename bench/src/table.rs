//! The rows as a table on the terminal.

use crate::Row;
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

pub(crate) fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["case", "in use", "threads", "subject", "median", "to the limit"]);
    for row in rows {
        table.add_row([
            row.case.clone(),
            format!("{} MiB", row.rss_mib),
            row.threads.to_string(),
            row.subject.clone(),
            format!("{:.1} µs", row.median_us),
            format!("{:.2}", row.ratio_to_limit),
        ]);
    }
    for index in [1, 2, 4, 5] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}
