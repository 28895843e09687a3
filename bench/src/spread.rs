//! A figure that was taken several times: its median, and how far it went.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one figure, none of which is "not a number".
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Spread {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        };
        Spread {
            median,
            least: figures[0],
            most: figures[figures.len() - 1],
        }
    }
}

/// "0.95 (0.93–0.97)", with as many places as are asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(2);
        let Spread {
            median,
            least,
            most,
        } = self;
        write!(f, "{median:.places$} ({least:.places$}–{most:.places$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        let cases: [(&[f64], &str); 4] = [
            (&[2.0], "2.0 (2.0–2.0)"),
            (&[3.0, 1.0], "2.0 (1.0–3.0)"),
            (&[9.0, 1.0, 2.0], "2.0 (1.0–9.0)"),
            (&[4.0, 1.0, 3.0, 2.0], "2.5 (1.0–4.0)"),
        ];
        for (figures, expected) in cases {
            let spread = Spread::of(figures.iter().copied());
            assert_eq!(format!("{spread:.1}"), expected);
        }
    }
}
