//! What a figure is of: CloudWatch's namespace, name, dimensions and unit.

use std::collections::BTreeMap;

use crate::sketch::Sketch;

/// What has been counted, by what it is of.
pub type Figures = Vec<(Series, Sketch)>;

/// The units that this program gives its own figures.
pub mod unit {
    /// Pieces.
    pub const COUNT: &str = "Count";
    /// Times.
    pub const MILLISECONDS: &str = "Milliseconds";
    /// What has none.
    pub const NONE: &str = "None";
}

/// One metric: as in CloudWatch, another dimension or another value of one makes another metric, and values of different units are not summed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Such as `AWS/ApiGateway`.
    pub namespace: String,
    /// Such as `Latency`.
    pub name: String,
    /// Values by names.
    pub dimensions: BTreeMap<String, String>,
    /// Such as `Milliseconds`; see [`mod@unit`].
    pub unit: String,
}

impl Series {
    /// A metric of these dimensions.
    #[must_use]
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)], unit: &str) -> Series {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Series {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.iter().map(owned).collect(),
            unit: unit.to_owned(),
        }
    }
}
