//! The rows as a table on the terminal.

use crate::{Row, mock, wait};
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
    align_right(&mut table, [1, 2, 4, 5]);
    format!("{table}\n")
}

pub(crate) fn render_mock(rows: &[mock::Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["case", "live processes", "per second", "each"]);
    for row in rows {
        let each = format!("{:.2} µs", 1e6 / row.per_second);
        table.add_row([row.case.to_owned(), row.live.to_string(), format!("{:.0}", row.per_second), each]);
    }
    align_right(&mut table, 1..4);
    format!("{table}\n")
}

pub(crate) fn render_wait(rows: &[wait::Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["case", "children", "subject", "median", "to the limit"]);
    for row in rows {
        table.add_row([
            row.case.clone(),
            row.children.to_string(),
            row.subject.clone(),
            format!("{:.2} µs", row.median_us),
            format!("{:.2}", row.ratio_to_limit),
        ]);
    }
    align_right(&mut table, [1, 3, 4]);
    format!("{table}\n")
}

fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
