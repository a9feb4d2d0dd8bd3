//! The sample configuration, part of the binary, so that `up` needs no file beside it.

/// One file: its name within the directory, and its text.
type File = (&'static str, &'static str);

macro_rules! files {
    ($dir:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../samples/", $dir, "/", $name)))),+]
    };
}

/// The configuration directory of bookinfo, complete.
pub fn bookinfo_files() -> &'static [File] {
    files!("bookinfo": "meltemi.yaml", "mesh.yaml", "bookinfo.yaml", "gateway.yaml", "destination-rules.yaml")
}

/// Routing examples over bookinfo, to be applied one at a time.
pub fn routing_files() -> &'static [File] {
    files!("routing":
        "all-v1.yaml",
        "reviews-90-10.yaml",
        "reviews-jason-v2.yaml",
        "ratings-delay.yaml",
        "ratings-abort.yaml",
        "mtls-strict.yaml",
    )
}
