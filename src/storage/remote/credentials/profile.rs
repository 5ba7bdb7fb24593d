//! Profiles in the files that Amazon's own tools share: `~/.aws/credentials` and `~/.aws/config`.

use std::path::{Path, PathBuf};

use configparser::ini::{Ini, IniDefault};

use super::Environment;

/// A profile: what both files say of it.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub name: String,
    /// Key and secret, and where they stand.
    pub keys: Option<(String, String, PathBuf)>,
    pub token: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    /// A way to get at keys that is not followed: its key in the file.
    pub other_way: Option<&'static str>,
}

/// Ways that Amazon's tools know, and this program does not.
const OTHER_WAYS: [&str; 6] = [
    "credential_process",
    "sso_session",
    "sso_start_url",
    "role_arn",
    "login_session",
    "web_identity_token_file",
];

impl Profile {
    /// The profile that AWS_PROFILE names, or `default`; `None` where neither file has it.
    pub(super) fn find(env: &Environment) -> Result<Option<Self>, String> {
        let asked = env.get("AWS_PROFILE").or(env.get("AWS_DEFAULT_PROFILE"));
        let name = asked.unwrap_or("default");
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
            let sections = match prefixed {
                true => vec![format!("profile {name}"), name.to_owned()],
                false => vec![name.to_owned()],
            };
            let known = ini.sections();
            let same = |a: &str, b: &str| a.split_whitespace().eq(b.split_whitespace());
            let Some(section) = known.iter().find(|k| sections.iter().any(|s| same(k, s))) else {
                continue;
            };
            found = true;
            profile.take(&file, |key| {
                let value = ini.get(section, key)?;
                let value = value.split(" #").next().unwrap_or_default().trim();
                (!value.is_empty()).then(|| value.to_owned())
            });
        }
        match asked {
            Some(name) if !found => Err(format!(
                "AWS_PROFILE names the profile `{name}`, which neither ~/.aws/credentials nor ~/.aws/config has"
            )),
            _ => Ok(found.then_some(profile)),
        }
    }

    /// Takes what the section of one more file adds; what is there already stands.
    fn take(&mut self, file: &Path, get: impl Fn(&str) -> Option<String>) {
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
        let other = OTHER_WAYS.into_iter().find(|way| get(way).is_some());
        self.other_way = self.other_way.or(other);
    }
}

/// The file's sections; `None` where there is no file.
fn load(file: &Path) -> Result<Option<Ini>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{} cannot be read: {e}", file.display());
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(wrong(&e)),
    };
    let mut defaults = IniDefault::default();
    defaults.case_sensitive = true;
    defaults.delimiters = vec!['='];
    defaults.inline_comment_symbols = Some(Vec::new());
    defaults.enable_inline_comments = false;
    let mut ini = Ini::new_from_defaults(defaults);
    match ini.read(text) {
        Ok(_) => Ok(Some(ini)),
        Err(e) => Err(wrong(&e)),
    }
}
