//! Selects the credentials for a bucket.
//!
//! The most specific source wins: an environment variable for anonymous access, CloudVolume's secret for the bucket, the
//! environment, CloudVolume's secret for the cloud, the files of the cloud's own tools, the identity of a machine in
//! that cloud. Without any of them, access is anonymous, which is enough for public buckets. Messages name the choice,
//! which has no secret.

pub(super) mod amazon;
pub(super) mod google;
mod profile;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where credentials are looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    vars: HashMap<String, String>,
    /// The user's home folder.
    home: Option<PathBuf>,
    /// The cloud in which this machine runs.
    machine: Option<Cloud>,
}

/// A cloud provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Google,
    Amazon,
}

/// The credentials for a bucket: settings of `object_store`'s builder, and the choice as text.
#[derive(Debug)]
pub(super) struct Credentials<K> {
    pub settings: Vec<(K, String)>,
    pub choice: Choice,
}

/// A choice, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub anonymous: bool,
    /// Continues "it was accessed ...", for example "with the keys in ...".
    pub description: String,
}

impl Choice {
    fn with(description: impl Into<String>) -> Self {
        Self {
            anonymous: false,
            description: description.into(),
        }
    }

    fn anonymous(reason: impl std::fmt::Display) -> Self {
        Self {
            anonymous: true,
            description: format!("without credentials ({reason})"),
        }
    }
}

impl Environment {
    /// The environment of the process and the machine.
    pub(super) fn of_process() -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        Self {
            vars: std::env::vars_os()
                .filter_map(|(name, value)| text(name).zip(text(value)))
                .collect(),
            home: std::env::home_dir(),
            machine: Cloud::of_machine(Path::new("/sys/class/dmi/id")),
        }
    }

    /// The value of a variable that is set and not empty.
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.vars.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Whether any of the variables is set.
    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// Whether a variable has a true value.
    pub(super) fn is_true(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "true" | "on" | "yes" | "y")
    }

    /// The variables that start with `prefix` and are settings of a builder.
    fn settings<K: std::str::FromStr>(&self, prefix: &str) -> Vec<(K, String)> {
        let mut vars: Vec<_> = self.vars.iter().collect();
        vars.sort();
        let settings = vars.into_iter().filter_map(|(name, value)| {
            name.starts_with(prefix).then_some(())?;
            Some((name.to_ascii_lowercase().parse().ok()?, value.clone()))
        });
        settings.collect()
    }

    /// The path in `variable`, or `below_home` in the home folder.
    fn file(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        match self.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => Some(self.home.as_ref()?.join(below_home)),
        }
    }

    /// The file of CloudVolume's secret `name`, from the first of its folders that has it.
    fn secret(&self, name: &str) -> Option<PathBuf> {
        let cloud_volume = self.get("CLOUD_VOLUME_DIR").map(Path::new);
        let below = |base: Option<&Path>, folder: &str| Some(base?.join(folder).join(name));
        let files = [
            below(cloud_volume, ".cloudvolume/secrets"),
            below(cloud_volume, "secrets"),
            below(self.home.as_deref(), ".cloudvolume/secrets"),
            below(self.home.as_deref(), ".cloudfiles/secrets"),
        ];
        files.into_iter().flatten().find(|file| file.is_file())
    }
}

impl Cloud {
    /// The cloud named in the firmware tables in `folder`.
    fn of_machine(folder: &Path) -> Option<Self> {
        let starts_with = |file: &str, name: &str| {
            let text = std::fs::read_to_string(folder.join(file));
            text.is_ok_and(|text| text.trim_start().starts_with(name))
        };
        if starts_with("product_name", "Google") {
            Some(Self::Google)
        } else if starts_with("sys_vendor", "Amazon EC2") {
            Some(Self::Amazon)
        } else {
            None
        }
    }
}

/// The object in the JSON file.
fn read_json(file: &Path) -> Result<serde_json::Map<String, Value>, String> {
    let unreadable = |e: &dyn std::fmt::Display| {
        format!("the credentials in {} cannot be read: {e}", file.display())
    };
    let bytes = std::fs::read(file).map_err(|e| unreadable(&e))?;
    // Serde's message has the position of an error, but no value.
    serde_json::from_slice(&bytes).map_err(|e| unreadable(&e))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A home folder with these files.
    pub fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    /// An environment with these variables.
    pub fn environment(home: &Path, vars: &[(&str, &str)]) -> Environment {
        let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Environment {
            vars: vars.collect(),
            home: Some(home.to_owned()),
            machine: None,
        }
    }

    pub fn in_google(mut env: Environment) -> Environment {
        env.machine = Some(Cloud::Google);
        env
    }

    pub fn in_amazon(mut env: Environment) -> Environment {
        env.machine = Some(Cloud::Amazon);
        env
    }

    #[test]
    fn the_cloud_is_detected_from_firmware_tables() {
        let google = home(&[("product_name", "Google Compute Engine\n")]);
        assert_eq!(Cloud::of_machine(google.path()), Some(Cloud::Google));
        let amazon = home(&[("sys_vendor", "Amazon EC2\n"), ("product_name", "m7i\n")]);
        assert_eq!(Cloud::of_machine(amazon.path()), Some(Cloud::Amazon));
        let own = home(&[("sys_vendor", "LENOVO\n")]);
        assert_eq!(Cloud::of_machine(own.path()), None);
    }
}
