//! Options of the commands that make Neuroglancer links.

use clap::Args;

use crate::preview::{LinkTarget, UrlMapping, ViewerUrl};

/// Where links lead.
#[derive(Clone, Debug, Args)]
pub(super) struct LinkArgs {
    /// Neuroglancer that links open
    #[arg(long, value_name = "URL", default_value = "https://neuroglancer-demo.appspot.com/", value_parser = ViewerUrl::parse)]
    viewer: ViewerUrl,
    /// In links, replace the folder FROM (a path or a URL) by URL: where a browser finds it. Can be repeated
    #[arg(long, value_name = "FROM=URL", value_parser = UrlMapping::parse)]
    map: Vec<UrlMapping>,
}

impl LinkArgs {
    pub(super) fn target(self) -> LinkTarget {
        LinkTarget {
            viewer: self.viewer,
            mappings: self.map,
        }
    }
}
