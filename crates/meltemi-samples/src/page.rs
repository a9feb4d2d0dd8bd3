//! productpage's HTML: one self-contained document, every string of a service escaped.

use std::fmt::Write;

use http::StatusCode;
use serde_json::Value;

use crate::books;

pub(crate) const CSS: &str = include_str!("page.css");

/// A service's answer, or the error that is shown in its place.
pub(crate) struct Outcome {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) served_by: Option<String>,
}

/// Everything the page shows.
pub(crate) struct Page<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) details: &'a Outcome,
    pub(crate) reviews: &'a Outcome,
    /// The pod that renders it.
    pub(crate) pod: &'a str,
}

impl Page<'_> {
    pub(crate) fn render(&self) -> String {
        let mut body = format!(
            "<h1>{}</h1>\n<p class=summary>{}</p>\n<div class=columns>",
            books::TITLE,
            books::DESCRIPTION_HTML
        );
        body += &details(self.details);
        body += &reviews(self.reviews);
        body += "</div>";
        let pods = [
            Some(self.pod),
            self.details.served_by.as_deref(),
            self.reviews.served_by.as_deref(),
        ];
        let chips = pods.into_iter().flatten().flat_map(|pods| pods.split(", "));
        let chips: String = chips
            .map(|pod| format!("<code>{}</code> ", escape(pod)))
            .collect();
        document(
            self.user,
            &body,
            &format!("<footer>This page was served by {chips}</footer>"),
        )
    }
}

/// The page at `/`.
pub(crate) fn index(user: Option<&str>) -> String {
    let body = "<h1>Hello! This is a simple bookstore application</h1>\n<p class=summary>Four services show one book. \
        Reviews come in three versions: without stars, with black stars, with red stars. Which one answers is the mesh's \
        decision.</p>\n<p><a class=button href=\"/productpage?u=normal\">Open the product page</a></p>";
    document(user, body, "")
}

fn document(user: Option<&str>, body: &str, footer: &str) -> String {
    let login = match user {
        Some(user) => format!("<span class=user>{}</span> <a href=\"/logout\">Sign out</a>", escape(user)),
        None => "<form method=post action=\"/login\"><input name=username placeholder=\"User name, e.g. jason\" \
            aria-label=\"User name\" maxlength=64 required autocomplete=username> <button>Sign in</button></form>"
            .to_string(),
    };
    format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>Simple Bookstore App</title>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n<meta name=color-scheme content=\"light dark\">\n\
         <link rel=icon href=\"data:,\">\n<style>\n{CSS}</style>\n</head>\n<body>\n<header><a class=brand href=\"/\">BookInfo Sample</a>\
         <div class=login>{login}</div></header>\n<main>\n{body}\n</main>\n{footer}\n</body>\n</html>\n"
    )
}

fn details(details: &Outcome) -> String {
    if details.status != StatusCode::OK {
        return failure("details", "Error fetching product details!", details);
    }
    let fields = [
        ("Type", "type"),
        ("Pages", "pages"),
        ("Publisher", "publisher"),
        ("Language", "language"),
        ("Author", "author"),
        ("Year", "year"),
        ("ISBN-10", "ISBN-10"),
        ("ISBN-13", "ISBN-13"),
    ];
    let mut out = String::from("<section id=details>\n<h2>Book Details</h2>\n<dl>\n");
    for (label, key) in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<dt>{label}</dt><dd>{}</dd>",
            escape(&plain(&details.body[key]))
        );
    }
    out + "</dl>\n</section>\n"
}

fn reviews(reviews: &Outcome) -> String {
    if reviews.status != StatusCode::OK {
        return failure("reviews", "Error fetching product reviews!", reviews);
    }
    let mut out = String::from("<section id=reviews>\n<h2>Book Reviews</h2>\n");
    for review in reviews.body["reviews"].as_array().into_iter().flatten() {
        let (text, reviewer) = (
            escape(&plain(&review["text"])),
            escape(&plain(&review["reviewer"])),
        );
        let _ = writeln!(
            out,
            "<article>\n<blockquote><p>{text}</p><cite>{reviewer}</cite></blockquote>\n{}</article>",
            rating(&review["rating"])
        );
    }
    let (pod, cluster) = (
        plain(&reviews.body["podname"]),
        plain(&reviews.body["clustername"]),
    );
    let _ = write!(
        out,
        "<p class=served>Reviews served by: <code>{}</code>",
        escape(&pod)
    );
    if !cluster.is_empty() && cluster != "null" {
        let _ = write!(out, " on cluster <code>{}</code>", escape(&cluster));
    }
    out + "</p>\n</section>\n"
}

/// Five stars in the version's colour; nothing for the version that has none.
fn rating(rating: &Value) -> String {
    if rating.is_null() {
        return String::new();
    }
    let Some(stars) = rating["stars"].as_i64() else {
        return format!(
            "<p class=error><em>{}</em></p>\n",
            escape(&plain(&rating["error"]))
        );
    };
    let full = stars.clamp(0, 5) as usize;
    let color = plain(&rating["color"]);
    // Any colour word may be configured (STAR_COLOR); only letters reach the style.
    let word: String = color
        .chars()
        .filter(char::is_ascii_alphabetic)
        .take(20)
        .collect();
    let style = if word == "black" {
        String::new()
    } else {
        format!(" style=\"color:{word}\"")
    };
    format!(
        "<p class=\"stars {word}\"{style} role=img aria-label=\"{full} of 5 stars, {word}\">{}<span class=empty>{}</span></p>\n",
        "★".repeat(full),
        "☆".repeat(5 - full)
    )
}

fn failure(id: &str, title: &str, outcome: &Outcome) -> String {
    let message = escape(&plain(&outcome.body["error"]));
    format!(
        "<section id={id} class=failed>\n<h2 class=error>{title}</h2>\n<p>{message}</p>\n</section>\n"
    )
}

/// A JSON value as a reader wants to see it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Text made safe between tags and within quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(status: u16, body: Value) -> Outcome {
        Outcome {
            status: StatusCode::from_u16(status).unwrap(),
            body,
            served_by: Some("<pod>".into()),
        }
    }

    fn rendered(reviews: Outcome) -> String {
        let details = outcome(200, books::details(0));
        Page {
            user: Some("<b>"),
            details: &details,
            reviews: &reviews,
            pod: "p",
        }
        .render()
    }

    #[test]
    fn strings_of_services_and_users_are_escaped() {
        let review = json!({ "reviewer": "<script>", "text": "a & b", "rating": { "stars": 9, "color": "red;\"x" } });
        let page = rendered(outcome(
            200,
            json!({ "podname": "<img>", "reviews": [review] }),
        ));
        for hostile in ["<script>", "<img>", "<pod>", "<b>,", "red;"] {
            assert!(!page.contains(hostile), "{hostile} is in the page");
        }
        assert!(page.contains("a &amp; b") && page.contains("<span class=user>&lt;b&gt;</span>"));
        assert!(
            page.contains("★★★★★<span class=empty></span>")
                && page.contains("style=\"color:redx\"")
        );
    }

    #[test]
    fn each_version_and_each_failure_looks_different() {
        let with = |rating: Value| {
            rendered(outcome(
                200,
                json!({ "reviews": [{ "reviewer": "r", "text": "t", "rating": rating }] }),
            ))
        };
        assert!(with(json!({ "stars": 4, "color": "black" })).contains("stars black"));
        assert!(with(json!({ "stars": 4, "color": "red" })).contains("color:red"));
        assert!(!with(Value::Null).contains('★'));
        assert!(
            with(json!({ "error": "Ratings service is currently unavailable" }))
                .contains("Ratings service is currently unavailable")
        );
        let failed = rendered(outcome(500, json!({ "error": "Sorry" })));
        assert!(failed.contains("Error fetching product reviews!") && failed.contains("Sorry"));
    }
}
