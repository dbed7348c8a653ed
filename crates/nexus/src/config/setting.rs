//! A setting: its key, its bounds, its meaning, and where it goes.

use super::{
    given::Given,
    read::{Bounds, Value},
};

/// One setting of `T`: the loader and the reference both read this and nothing else.
pub(crate) struct Setting<T> {
    /// Its key, with dots between sections.
    pub(crate) key: &'static str,
    /// Between what a number must lie.
    pub(crate) bounds: Bounds,
    /// What it does, as the reference says it.
    pub(crate) meaning: &'static str,
    /// Reads a value into its place.
    pub(crate) apply: fn(&mut T, &Given, Bounds) -> Result<(), String>,
    /// The value that is in its place.
    pub(crate) show: fn(&T) -> String,
    /// What may be written.
    pub(crate) allowed: fn(Bounds) -> String,
}

/// What the values of a field may be.
pub(crate) fn allowed_of<T, V: Value>(_: impl Fn(&T) -> &V, bounds: Bounds) -> String {
    V::allowed(bounds)
}

/// A [`Setting`] whose key is the path of the field that it sets.
macro_rules! setting {
    ($owner:ty, $first:ident $(.$rest:ident)*, $bounds:expr, $meaning:expr) => {
        $crate::config::setting::Setting::<$owner> {
            key: concat!(stringify!($first) $(, ".", stringify!($rest))*),
            bounds: $bounds,
            meaning: $meaning,
            apply: |owner, given, bounds| {
                owner.$first$(.$rest)* = $crate::config::read::Value::read(given, bounds)?;
                Ok(())
            },
            show: |owner| $crate::config::read::Value::show(&owner.$first$(.$rest)*),
            allowed: |bounds| {
                $crate::config::setting::allowed_of(|owner: &$owner| &owner.$first$(.$rest)*, bounds)
            },
        }
    };
}
pub(crate) use setting;
