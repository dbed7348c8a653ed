//! Filters and templates as their authors and their events see them: what they mean, what is refused, what
//! is bounded.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod it {
    mod corpus;
    mod filter_bounds;
    mod filter_errors;
    mod filter_properties;
    mod filters;
    mod support;
    mod template_bounds;
    mod template_errors;
    mod template_properties;
    mod templates;
}
