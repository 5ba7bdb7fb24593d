//! With which credentials a bucket is asked, and where they come from.
//!
//! The most particular wins: the environment's word to ask without any, CloudVolume's secret for the bucket, the
//! environment, CloudVolume's secret for the cloud, the files of the cloud's own tools, the identity of a machine
//! that is in that cloud. Where there is none of them the bucket is asked without: public ones just work. What was
//! chosen can be told in messages; it holds no secret.

pub(super) mod amazon;
pub(super) mod google;
mod profile;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What credentials are looked for in.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// The environment's variables.
    vars: HashMap<String, String>,
    /// The user's folder.
    home: Option<PathBuf>,
    /// The cloud that this machine is in.
    machine: Option<Cloud>,
}

/// Where a machine may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Google,
    Amazon,
}

/// What a bucket is asked with: settings of `object_store`'s builder, and the choice in words.
#[derive(Debug)]
pub(super) struct Credentials<K> {
    pub settings: Vec<(K, String)>,
    pub choice: Choice,
}

/// A choice, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub anonymous: bool,
    /// After "it was asked": "with the keys in ...".
    pub words: String,
}

impl Choice {
    fn with(words: impl Into<String>) -> Self {
        Self {
            anonymous: false,
            words: words.into(),
        }
    }

    fn anonymous(why: impl std::fmt::Display) -> Self {
        Self {
            anonymous: true,
            words: format!("without credentials ({why})"),
        }
    }
}

impl Environment {
    /// That of the process and the machine.
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

    /// Whether a variable says yes.
    pub(super) fn says_yes(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "true" | "on" | "yes" | "y")
    }

    /// The variables that begin with `prefix` and are settings of a builder.
    fn settings<K: std::str::FromStr>(&self, prefix: &str) -> Vec<(K, String)> {
        let mut named: Vec<_> = self.vars.iter().collect();
        named.sort();
        let settings = named.into_iter().filter_map(|(name, value)| {
            name.starts_with(prefix).then_some(())?;
            Some((name.to_ascii_lowercase().parse().ok()?, value.clone()))
        });
        settings.collect()
    }

    /// The file that a variable names, or one below the user's folder.
    fn file(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        match self.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => Some(self.home.as_ref()?.join(below_home)),
        }
    }

    /// CloudVolume's secret called `name`, in the folders that it looks through.
    fn secret(&self, name: &str) -> Option<PathBuf> {
        let own = self.get("CLOUD_VOLUME_DIR").map(Path::new);
        let below = |base: Option<&Path>, folder: &str| Some(base?.join(folder).join(name));
        let files = [
            below(own, ".cloudvolume/secrets"),
            below(own, "secrets"),
            below(self.home.as_deref(), ".cloudvolume/secrets"),
            below(self.home.as_deref(), ".cloudfiles/secrets"),
        ];
        files.into_iter().flatten().find(|file| file.is_file())
    }
}

impl Cloud {
    /// The cloud that the firmware's tables in `folder` name.
    fn of_machine(folder: &Path) -> Option<Self> {
        let says = |file: &str, who: &str| {
            let text = std::fs::read_to_string(folder.join(file));
            text.is_ok_and(|text| text.trim_start().starts_with(who))
        };
        if says("product_name", "Google") {
            Some(Self::Google)
        } else if says("sys_vendor", "Amazon EC2") {
            Some(Self::Amazon)
        } else {
            None
        }
    }
}

/// The object in the JSON file.
fn read_json(file: &Path) -> Result<serde_json::Map<String, Value>, String> {
    let wrong = |e: &dyn std::fmt::Display| {
        format!("the credentials in {} cannot be read: {e}", file.display())
    };
    let bytes = std::fs::read(file).map_err(|e| wrong(&e))?;
    // Serde's message would tell the place of a mistake, never a value.
    serde_json::from_slice(&bytes).map_err(|e| wrong(&e))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A user's folder with these files.
    pub fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    /// An environment of these variables.
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
    fn a_machine_says_which_cloud_it_is_in() {
        let google = home(&[("product_name", "Google Compute Engine\n")]);
        assert_eq!(Cloud::of_machine(google.path()), Some(Cloud::Google));
        let amazon = home(&[("sys_vendor", "Amazon EC2\n"), ("product_name", "m7i\n")]);
        assert_eq!(Cloud::of_machine(amazon.path()), Some(Cloud::Amazon));
        let own = home(&[("sys_vendor", "LENOVO\n")]);
        assert_eq!(Cloud::of_machine(own.path()), None);
    }
}
