//! Profiles in the files of Amazon's own tools: `~/.aws/credentials` and `~/.aws/config`.

use std::path::{Path, PathBuf};

use configparser::ini::{Ini, IniDefault};

use super::Environment;

/// A profile, merged from both files.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub name: String,
    /// The key id, the secret key, and their file.
    pub keys: Option<(String, String, PathBuf)>,
    pub token: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    /// The first setting that gets keys in an unsupported way.
    pub unsupported: Option<&'static str>,
}

/// Settings of Amazon's tools that are not supported here.
const UNSUPPORTED_SETTINGS: [&str; 6] = [
    "credential_process",
    "sso_session",
    "sso_start_url",
    "role_arn",
    "login_session",
    "web_identity_token_file",
];

impl Profile {
    /// The profile in AWS_PROFILE, or `default`; `None` if neither file has it.
    pub(super) fn find(env: &Environment) -> Result<Option<Self>, String> {
        let requested = env.get("AWS_PROFILE").or(env.get("AWS_DEFAULT_PROFILE"));
        let name = requested.unwrap_or("default");
        let credentials = env.file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
        let config = env.file("AWS_CONFIG_FILE", ".aws/config");
        let mut profile = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut found = false;
        for (file, prefixed) in [(credentials, false), (config, true)] {
            let Some(file) = file else { continue };
            let Some(ini) = load(&file)? else { continue };
            let mut sections = vec![name.to_owned()];
            if prefixed {
                sections.insert(0, format!("profile {name}"));
            }
            let known = ini.sections();
            let same = |a: &str, b: &str| a.split_whitespace().eq(b.split_whitespace());
            let Some(section) = known.iter().find(|k| sections.iter().any(|s| same(k, s))) else {
                continue;
            };
            found = true;
            profile.merge(&file, |key| {
                let value = ini.get(section, key)?;
                let value = value.split(" #").next().unwrap_or_default().trim();
                (!value.is_empty()).then(|| value.to_owned())
            });
        }
        match requested {
            Some(name) if !found => Err(format!(
                "AWS_PROFILE is `{name}`, but neither ~/.aws/credentials nor ~/.aws/config has this profile"
            )),
            _ => Ok(found.then_some(profile)),
        }
    }

    /// Adds the settings of a section of another file. Settings that are already present are kept.
    fn merge(&mut self, file: &Path, get: impl Fn(&str) -> Option<String>) {
        if self.keys.is_none() {
            let keys = get("aws_access_key_id").zip(get("aws_secret_access_key"));
            if let Some((id, secret)) = keys {
                self.keys = Some((id, secret, file.to_owned()));
                self.token = get("aws_session_token");
            }
        }
        let region = self.region.take();
        self.region = region.or_else(|| get("region"));
        let endpoint = self.endpoint.take();
        self.endpoint = endpoint.or_else(|| get("endpoint_url"));
        let mut unsupported = UNSUPPORTED_SETTINGS.into_iter();
        let unsupported = unsupported.find(|setting| get(setting).is_some());
        self.unsupported = self.unsupported.or(unsupported);
    }
}

/// The file's sections; `None` if the file does not exist.
fn load(file: &Path) -> Result<Option<Ini>, String> {
    let unreadable = |e: &dyn std::fmt::Display| format!("{} cannot be read: {e}", file.display());
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&e)),
    };
    let mut defaults = IniDefault::default();
    defaults.case_sensitive = true;
    defaults.delimiters = vec!['='];
    defaults.inline_comment_symbols = Some(Vec::new());
    defaults.enable_inline_comments = false;
    let mut ini = Ini::new_from_defaults(defaults);
    match ini.read(text) {
        Ok(_) => Ok(Some(ini)),
        Err(e) => Err(unreadable(&e)),
    }
}
