//! What RE2 reads and what it does not, and what it matches; Go's `regexp`, which has its syntax,
//! said the same of each, but for what is marked.

use super::{full, partial};

#[test]
fn what_re2_reads() {
    for expression in [
        r"a{,5}",
        r"/{id}",
        r"[\w-.]+",
        r"[\d-z]",
        r"[[a]b]",
        r"\_",
        r"\b{2}",
        r"[a&&b]",
        r"\Qa.b\E+",
        r"\12",
        r"\08",
        r"\pN",
        r"\p{^Greek}",
        r"[[:^alpha:]]",
        r"(?i)(?-i)a",
        r"(?P<1a>b)",
        r"(?<n>a)",
        r"(?P<n>a)(?P<n>b)",
        "]",
        "}",
        "a{2",
        "[]a]",
        "^*",
        r"\b+",
        "(|a)*",
        r"\pL{2}",
        "a{-1}",
        r"\<a\>",
        "[a-b-c]",
        "(?)a",
        "(?s:.)",
        "(?m)^a$",
        r"\Qab",
        r"\aa",
        "[[.a.]]",
        "[[:alpha:]-z]",
        r"[\pN-z]",
        "[:alpha:]",
        "a{1,1000}?",
        "a*?",
        "()",
        "a||b",
        "",
        r"[a\-z]",
        r"[--/]",
        r"[^-]",
        "é+",
        r"\Q\E",
    ] {
        assert!(
            partial(expression).is_ok(),
            "{expression}: {:?}",
            partial(expression)
        );
        assert!(
            full(expression).is_ok(),
            "{expression}: {:?}",
            full(expression)
        );
    }
}

#[test]
fn what_re2_refuses() {
    for (expression, reason) in [
        (r"\q", r"`\q` is no escape"),
        (r"\Z", r"`\Z` is no escape"),
        (r"\E", r"`\E` is no escape"),
        (r"\u0041", r"`\u` is no escape"),
        (r"\é", r"`\é` is no escape"),
        // RE2 has it: one byte, whatever it is part of.
        (r"\C", r"`\C` is no escape"),
        (r"\1", "no references to groups"),
        (r"a\", r"ends with `\`"),
        (r"\x4", r"behind `\x`"),
        (r"\x{110000}", r"behind `\x`"),
        (r"\x{", r"behind `\x`"),
        (r"\p", "no name of a class"),
        (r"\p{", "no name of a class"),
        (r"\p{Nobody}", "property not found"),
        (r"[\b]", r"`\b` is no escape"),
        (r"[a-\d]", "the range from 'a' has no end"),
        ("[z-a]", "the range from 'z' has no end"),
        ("[a-[:digit:]]", "the range from 'a' has no end"),
        ("[[:foo:]]", "`[:foo:]` is no class"),
        ("[]", "`[` without its `]`"),
        ("[^]", "`[` without its `]`"),
        ("[[:alpha:]", "`[` without its `]`"),
        ("a**", "`*` repeats a repetition"),
        ("a*+", "`+` repeats a repetition"),
        ("x{2}{3}", "`{3}` repeats a repetition"),
        ("a*??", "`?` repeats a repetition"),
        ("a{1001}", "`{1001}` is no repetition"),
        ("a{2,1}", "`{2,1}` is no repetition"),
        ("*", "missing expression"),
        ("a|*", "missing expression"),
        ("{2}", "missing expression"),
        (r"\Q\E*", "missing expression"),
        ("(?x)a", "behind `(?` come flags"),
        ("(?R)a", "behind `(?` come flags"),
        ("(?i", "behind `(?` come flags"),
        ("(?=a)", "look-around"),
        ("(?<!a)", "look-around"),
        ("(?P<a-b>c)", "a group's name"),
        ("(", "`(` without its `)`"),
        ("(?:", "`(` without its `)`"),
        (")", "`)` without its `(`"),
        ("a)(b", "`)` without its `(`"),
        ("((a{900}){900}){900}", "more than 1048576 bytes"),
    ] {
        for said in [partial(expression), full(expression)] {
            let said = said.expect_err(expression).to_string();
            assert!(said.contains(reason), "{expression}: {said}");
        }
    }
}

#[test]
fn what_re2_matches() {
    for (expression, matched, other) in [
        (r"\d+", "09", "٣"),
        (r"[\D]", "٣", "3"),
        (r"\w+", "a_Z9", "é"),
        (r"\W", "é", "_"),
        (r"a\sb", "a\tb", "a\u{0B}b"),
        (r"a\Sb", "a\u{0B}b", "a b"),
        (r"\bé", "-", "é"),
        (r"\Bé", "é", "-"),
        (r"a\b.", "aé", "ab"),
        (r"\<a\>", "<a>", "a"),
        (r"/{id}", "/{id}", "/id"),
        (r"a{,2}", "a{,2}", "aa"),
        (r"[\w-.]+", "a-.b", "a/b"),
        (r"[a&&b]+", "&a", "c"),
        (r"[[a]b]", "[b]", "a"),
        (r"[a-c--/]+", "b.", "d"),
        (r"\Qa.*\E.", "a.*b", "abcd"),
        (r"\101\x42\x{43}", "ABC", "abc"),
        (r"\08", "\08", "8"),
        (r"(?i)k\w", "\u{212A}S", "kß"),
        (r"(?i:[a-c])D", "BD", "Bd"),
        (r"a.b", "aéb", "a\nb"),
        (r"(?s)a.b", "a\nb", "ab"),
        (r"[^a]", "\n", "a"),
        (r"a|bc", "bc", "ac"),
        (r"^a$", "a", "a\n"),
        (r"(?P<n>a)(?P<n>b)", "ab", "a"),
        (r"[[:^alpha:][:upper:]]+", "A1", "a"),
        (r"\p{Greek}\PN\pL", "α-a", "α1a"),
        (r"a #b", "a #b", "ab"),
    ] {
        let built = full(expression).expect(expression);
        // `-` stands for nothing to match.
        if matched != "-" {
            assert!(built.is_match(matched), "{expression} and {matched:?}");
        }
        if other != "-" {
            assert!(!built.is_match(other), "{expression} and {other:?}");
        }
    }
    let found = partial(r"b+").expect("an expression");
    assert_eq!(found.find("abbc").map(|found| found.range()), Some(1..3));
}
