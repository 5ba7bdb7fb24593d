//! placeholder
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
/// x
pub enum Anchor {
    /// m
    #[default]
    Midpoint,
    /// s
    Start,
    /// e
    End,
}
