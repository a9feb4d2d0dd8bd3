//! The client of the administration: numbers by their names.

use super::client::Received;
use super::common::http::Request;

/// The sums of what ends with these names, as the connection's end.
pub fn read(admin: u16, names: &[&str]) -> Result<Received, String> {
    let response = Request::get(admin, "/stats")
        .send()
        .map_err(|error| error.to_string())?;
    let lines: Vec<(&str, u64)> = response
        .body
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name, value.parse().ok()?))
        })
        .collect();
    let sum = |wanted: &&str| {
        let of_it = lines.iter().filter(|(name, _)| name.ends_with(wanted));
        let sum: u64 = of_it.map(|(_, value)| value).sum();
        format!("{wanted} {sum}")
    };
    let end: Vec<String> = names.iter().map(sum).collect();
    Ok(Received {
        end: end.join(", "),
        ..Received::default()
    })
}
