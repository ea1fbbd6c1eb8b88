//! Samples, medians and the table.

use std::time::Duration;

use serde::Serialize;

/// One line of the table.
#[derive(Serialize)]
struct Row {
    name: String,
    unit: &'static str,
    /// Bigger is better.
    rate: bool,
    ours: Vec<f64>,
    native: Vec<f64>,
}

/// Everything measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    rows: Vec<Row>,
    comparisons: Vec<(String, f64)>,
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

impl Report {
    fn row(&mut self, name: &str, unit: &'static str, rate: bool) -> &mut Row {
        let at = self
            .rows
            .iter()
            .position(|row| row.name == name)
            .unwrap_or_else(|| {
                self.rows.push(Row {
                    name: name.to_owned(),
                    unit,
                    rate,
                    ours: Vec::new(),
                    native: Vec::new(),
                });
                self.rows.len() - 1
            });
        &mut self.rows[at]
    }

    /// A duration of ours or of native's, told in milliseconds.
    pub(crate) fn time(&mut self, name: &str, ours: bool, time: Duration) {
        self.add(name, "ms", false, ours, time.as_secs_f64() * 1e3);
    }

    /// A duration told in microseconds.
    pub(crate) fn short_time(&mut self, name: &str, ours: bool, time: Duration) {
        self.add(name, "us", false, ours, time.as_secs_f64() * 1e6);
    }

    /// Transactions a second.
    pub(crate) fn rate(&mut self, name: &str, ours: bool, tps: f64) {
        self.add(name, "tps", true, ours, tps);
    }

    /// A share of 1.
    pub(crate) fn share(&mut self, name: &str, ours: bool, value: f64) {
        self.add(name, "of 1", true, ours, value);
    }

    /// Tells the ratio of the medians of two rows of ours below the table.
    pub(crate) fn compare(&mut self, name: &str, row: &str, other: &str) {
        let ours = |wanted: &str| {
            let row = self.rows.iter().find(|row| row.name == wanted)?;
            median(&row.ours)
        };
        if let (Some(one), Some(other)) = (ours(row), ours(other)) {
            self.comparisons.push((name.to_owned(), one / other));
        }
    }

    fn add(&mut self, name: &str, unit: &'static str, rate: bool, ours: bool, value: f64) {
        let row = self.row(name, unit, rate);
        if ours {
            row.ours.push(value);
        } else {
            row.native.push(value);
        }
    }

    /// The table of medians, as Markdown, and the geometric mean of the speed suite's ratios.
    pub(crate) fn print(&self) {
        println!("| what | unit | ours | native 18.6 | ours / native |\n|---|---|---:|---:|---:|");
        let show = |value: Option<f64>| {
            value.map_or_else(
                || "-".to_owned(),
                |value| {
                    if value < 100.0 {
                        format!("{value:.2}")
                    } else {
                        format!("{value:.0}")
                    }
                },
            )
        };
        let mut logs = Vec::new();
        for row in &self.rows {
            let (ours, native) = (median(&row.ours), median(&row.native));
            let ratio = ours.zip(native).map(|(ours, native)| ours / native);
            if let Some(ratio) = ratio.filter(|_| row.name.starts_with("speed ")) {
                logs.push(ratio.ln());
            }
            let better = if row.rate { " (more is better)" } else { "" };
            println!(
                "| {}{better} | {} | {} | {} | {} |",
                row.name,
                row.unit,
                show(ours),
                show(native),
                show(ratio)
            );
        }
        for (name, ratio) in &self.comparisons {
            println!("| {name} | | | | {ratio:.2} |");
        }
        if !logs.is_empty() {
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            println!(
                "| **speed suite, geometric mean of {} ratios** | | | | **{:.3}** |",
                logs.len(),
                mean.exp()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
