//! "Did you mean": the nearest of a list of names.

/// The candidate nearest to `name` by Damerau-Levenshtein distance (adjacent swaps count one),
/// without regard to case; none when every candidate differs in more than a third of the name.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let bound = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(d, _)| *d <= bound)
        .min_by_key(|(d, candidate)| (*d, *candidate))
        .map(|(_, candidate)| candidate)
}

/// A remedy for an unknown name: the nearest one, or the list of the known ones.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean {near:?}?");
    }
    let mut all: Vec<&str> = known.into_iter().collect();
    all.sort_unstable();
    format!("known here: {}", all.join(", "))
}

fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(MAX_COMPARED).collect();
    let b: Vec<char> = b.chars().take(MAX_COMPARED).collect();
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// The comparison is quadratic; no field name is this long.
const MAX_COMPARED: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_typo() {
        let names = ["destination", "weight", "headers"];
        assert_eq!(nearest("wieght", names), Some("weight"));
        assert_eq!(nearest("destinaton", names), Some("destination"));
        assert_eq!(nearest("Weight", names), Some("weight"));
        assert_eq!(nearest("zzz", names), None);
    }
}
