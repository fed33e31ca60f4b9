//! The table at the end, and the arithmetic of its columns.

use std::time::Duration;

/// What a ratio has to be.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Nothing: the figure informs.
    None,
    /// At least `least`, hopefully `aim`.
    AtLeast { aim: f64, least: f64 },
    /// At most this.
    AtMost(f64),
}

/// One line of the table.
pub struct Row {
    pub name: String,
    pub ours: String,
    pub plain: String,
    pub ratio: f64,
    pub bound: Bound,
    /// Of ours.
    pub spread: Option<Spread>,
}

/// The middle and the end of many durations.
#[derive(Clone, Copy)]
pub struct Spread {
    pub p50: Duration,
    pub p99: Duration,
}

impl Spread {
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

/// The middle of a few numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[middle] } else { f64::midpoint(numbers[middle - 1], numbers[middle]) }
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Whether every bound is kept.
    pub fn all_hold(&self) -> bool {
        self.rows.iter().all(Row::holds)
    }

    pub fn print(&self) {
        let line = |cells: [&str; 7]| {
            let [name, ours, plain, ratio, aim, p50, p99] = cells;
            println!("{name:<46} {ours:>12} {plain:>12} {ratio:>6} {aim:<16} {p50:>9} {p99:>9}");
        };
        println!();
        line(["", "ours", "plain", "ratio", "aim", "p50", "p99"]);
        for row in &self.rows {
            let spread = |pick: fn(Spread) -> Duration| {
                row.spread.map_or_else(String::new, |spread| format!("{:.1?}", pick(spread)))
            };
            line([
                &row.name,
                &row.ours,
                &row.plain,
                &format!("{:.2}", row.ratio),
                &row.aim(),
                &spread(|spread| spread.p50),
                &spread(|spread| spread.p99),
            ]);
        }
    }
}

impl Row {
    fn holds(&self) -> bool {
        match self.bound {
            Bound::None => true,
            Bound::AtLeast { least, .. } => self.ratio >= least,
            Bound::AtMost(most) => self.ratio <= most,
        }
    }

    fn aim(&self) -> String {
        match self.bound {
            Bound::None => String::new(),
            Bound::AtLeast { .. } | Bound::AtMost(_) if !self.holds() => format!("{} MISSED", self.limit()),
            Bound::AtLeast { aim, .. } if self.ratio < aim => format!("{aim} not reached"),
            _ => self.limit(),
        }
    }

    fn limit(&self) -> String {
        match self.bound {
            Bound::None => String::new(),
            Bound::AtLeast { aim, least } => format!("{aim}, min {least}"),
            Bound::AtMost(most) => format!("max {most}"),
        }
    }
}
